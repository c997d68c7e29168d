"""SPAQ (2020)."""

from __future__ import annotations

from pathlib import Path

from glintiqa_jax.data.database import Content, Database, Origin, Sample, own_contents
from glintiqa_jax.data.rated_images import RatedImage
from glintiqa_jax.data.scale import ScoreScale
from glintiqa_jax.data.source_folder import SourceFolder
from glintiqa_jax.data.tables import read_table


def read_spaq(folder: SourceFolder) -> list[RatedImage]:
    """SPAQ: ``MOS and Image attribute scores.xlsx`` ("Image name", "MOS"), images in ``TestImage``."""
    table = folder.file("MOS and Image attribute scores.xlsx", "MOS_and_Image_attribute_scores.xlsx")
    return own_contents(read_table(table, ["Image name", "MOS"]), "Image name", "MOS", folder="TestImage")


SPAQ = Database(
    name="spaq",
    title="SPAQ",
    scale=ScoreScale(0, 100),
    content=Content(11125, 11125),
    origin=Origin(
        "Fang, Zhu, Zeng, Ma, Wang, CVPR 2020",
        "https://github.com/h4nwei/SPAQ",
        "MIT, as an author answered in the repository's issue 29",
    ),
    read=read_spaq,
    sample=Sample(
        {
            "Annotations/MOS and Image attribute scores.xlsx": {
                "Sheet1": [["Image name", "MOS", "Brightness"], ["00001.jpg", 48.86, 50.0], ["11125.jpg", 10.8, 50.0]]
            },
            "Annotations/Scene category labels.xlsx": {"Sheet1": [["Image name", "Animal"], ["00001.jpg", 0]]},
        },
        [
            RatedImage("00001.jpg", Path("TestImage/00001.jpg"), 48.86, "00001.jpg"),
            RatedImage("11125.jpg", Path("TestImage/11125.jpg"), 10.8, "11125.jpg"),
        ],
    ),
)
