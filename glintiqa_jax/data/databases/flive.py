"""LIVE-FB, also called FLIVE and PaQ-2-PiQ (2020)."""

from __future__ import annotations

from pathlib import Path

from glintiqa_jax.data.database import Content, Database, Origin, Sample, own_contents
from glintiqa_jax.data.rated_images import RatedImage
from glintiqa_jax.data.scale import ScoreScale
from glintiqa_jax.data.source_folder import SourceFolder
from glintiqa_jax.data.tables import read_table


def read_flive(folder: SourceFolder) -> list[RatedImage]:
    """LIVE-FB (FLIVE, PaQ-2-PiQ): ``labels_image.csv`` (name, mos); names are paths from the root."""
    table = folder.file("labels_image.csv")
    return own_contents(read_table(table, ["name", "mos"]), "name", "mos")


FLIVE = Database(
    name="flive",
    title="LIVE-FB (FLIVE, PaQ-2-PiQ)",
    scale=ScoreScale(0, 100),
    content=Content(39810, 39810),
    origin=Origin("Ying et al., CVPR 2020", "https://github.com/niu-haoran/FLIVE_Database"),
    read=read_flive,
    sample=Sample(
        {
            "labels_image.csv": "name,mos,mos_patch_1,zscore,is_valid,width,height\n"
            "voc_emotic_ava/AVA__149.jpg,73.21428571428571,70.5,0.1,False,2,2\n"
            "blur_dataset/out_of_focus0027.JPG,40.5,70.5,0.1,False,2,2\n"
        },
        [
            RatedImage(name, Path("database", name), score, name)
            for name, score in (
                ("voc_emotic_ava/AVA__149.jpg", 73.21428571428571),
                ("blur_dataset/out_of_focus0027.JPG", 40.5),
            )
        ],
    ),
)
