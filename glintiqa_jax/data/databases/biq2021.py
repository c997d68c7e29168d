"""BIQ2021 (2022)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from glintiqa_jax.data.database import Content, Database, Origin, Sample, own_contents
from glintiqa_jax.data.rated_images import RatedImage
from glintiqa_jax.data.scale import ScoreScale
from glintiqa_jax.data.source_folder import SourceFolder
from glintiqa_jax.data.tables import read_table
from glintiqa_jax.errors import InputError


def read_biq2021(folder: SourceFolder) -> list[RatedImage]:
    """BIQ2021: one CSV of the published training images and one of the test images, with trailing blank columns."""
    images = []
    for file, split in (("Train (Images and MOS).csv", "train"), ("Test (Images and MOS).csv", "test")):
        table = folder.file(file)
        rows = read_table(table)
        images += own_contents(rows, *_image_and_score_columns(table, rows.columns), folder="Images", split=split)
    return images


def _image_and_score_columns(table: Path, columns: Sequence[str]) -> tuple[str, str]:
    """The column of names and the one of MOS, by what their headers say: copies differ in the exact words."""
    names, scores = (
        [column for column in columns if column and column.strip().lower() in known]
        for known in (("image", "images", "image name", "name"), ("mos", "score"))
    )
    if len(names) != 1 or len(scores) != 1:
        raise InputError(
            file=table, expected="columns Images and MOS", found=", ".join(filter(None, columns)) or "none"
        )
    return names[0], scores[0]


BIQ2021 = Database(
    name="biq2021",
    title="BIQ2021",
    scale=ScoreScale(0, 1),
    content=Content(12000, 12000, merge_near_duplicates=True),
    origin=Origin(
        "Ahmed, Asif, Journal of Electronic Imaging 31(5), 2022",
        "https://github.com/nisarahmedrana/BIQ2021",
        "freely available for use and benchmarking",
    ),
    read=read_biq2021,
    sample=Sample(
        {
            "Train (Images and MOS).csv": "Image Name,MOS,,\nss03 (3753).jpg,0.8471,,\nss01 (1726).JPG,0.2874,,\n",
            "Test (Images and MOS).csv": "Image Name,MOS\nss03 (793).jpg,0.0\n",
        },
        [
            RatedImage(name, Path("Images", name), score, name, split=split)
            for name, score, split in (
                ("ss03 (3753).jpg", 0.8471, "train"),
                ("ss01 (1726).JPG", 0.2874, "train"),
                ("ss03 (793).jpg", 0.0, "test"),
            )
        ],
    ),
)
