"""PIPAL's training part (2020)."""

from __future__ import annotations

from pathlib import Path

from glintiqa_jax.data.database import Content, Database, Origin, Sample, distorted, reference_type_level
from glintiqa_jax.data.rated_images import RatedImage
from glintiqa_jax.data.scale import ScoreScale
from glintiqa_jax.data.source_folder import SourceFolder
from glintiqa_jax.data.tables import number, read_text_rows
from glintiqa_jax.errors import InputError


def read_pipal(folder: SourceFolder) -> list[RatedImage]:
    """PIPAL's training part: ``Train_Label/REF.txt`` ("NAME,SCORE"), images in ``Distortion_1`` to ``_4``."""
    tables = folder.inside("Train_Label", ".txt")
    if not tables:
        raise InputError(
            field="source", value=folder.root, expected="Train_Label/*.txt", found=f"none among {folder.files} files"
        )
    images = []
    for table in tables:
        for line, (text,) in read_text_rows(table, 1):
            name, _, score = text.partition(",")
            reference, kind, level = reference_type_level(name, table)
            images.append(
                distorted(
                    name, Path(name), number(score, table, line, "score"), reference, f"{reference}.bmp", kind, level
                )
            )
    return images


def _sample(part: int, name: str, score: float, reference: str, kind: int, level: int) -> RatedImage:
    image = Path(f"Distortion_{part}", name)
    return distorted(name, image, score, reference, f"{reference}.bmp", kind, level)


PIPAL = Database(
    name="pipal",
    title="PIPAL, training part",
    scale=ScoreScale(900, 1900, unit="Elo"),  # ratings found are 917 to 1,836
    content=Content(23200, 200, "reference"),
    origin=Origin("Gu et al., ECCV 2020", "https://www.jasongt.com/projectpages/pipal.html"),
    read=read_pipal,
    sample=Sample(
        {
            "Train_Label/A0001.txt": "A0001_00_00.bmp,1520.0648\nA0001_03_11.bmp,916.7136\n",
            "Train_Label/A0248.txt": "A0248_06_26.bmp,1835.9856\n",
        },
        [
            _sample(1, "A0001_00_00.bmp", 1520.0648, "A0001", 0, 0),
            _sample(2, "A0001_03_11.bmp", 916.7136, "A0001", 3, 11),
            _sample(4, "A0248_06_26.bmp", 1835.9856, "A0248", 6, 26),
        ],
        ["Train_Ref/A0001.bmp"],
    ),
)
