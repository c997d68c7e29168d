"""KADID-10k (2019)."""

from __future__ import annotations

import math
from pathlib import Path

from glintiqa_jax.data.database import Content, Database, Origin, Sample, distorted, reference_type_level
from glintiqa_jax.data.rated_images import RatedImage
from glintiqa_jax.data.scale import ScoreScale
from glintiqa_jax.data.source_folder import SourceFolder
from glintiqa_jax.data.tables import read_table


def read_kadid10k(folder: SourceFolder) -> list[RatedImage]:
    """KADID-10k: ``dmos.csv`` (dist_img, ref_img, dmos, var).

    Its "dmos" is higher for better images, and its "var" is a standard deviation: the first image's .496 is that of 13
    fours and 17 fives, whose mean is its 4.57.
    """
    return read_kadid_table(folder.file("dmos.csv"))


def read_kadid_table(table: Path) -> list[RatedImage]:
    """The rows of KADID-10k's ``dmos.csv`` by itself; ``InputError`` for what does not read as one."""
    rows = read_table(table, ["dist_img", "ref_img", "dmos"])
    scores = rows.numbers("dmos")
    stds = rows.numbers("var", missing=math.nan) if "var" in rows.columns else [math.nan] * len(scores)
    images = []
    for name, reference, score, std in zip(rows.texts("dist_img"), rows.texts("ref_img"), scores, stds, strict=True):
        _, kind, level = reference_type_level(name, table)
        images.append(distorted(name, Path(name), score, reference, reference, kind, level, std))
    return images


KADID10K = Database(
    name="kadid10k",
    title="KADID-10k",
    scale=ScoreScale(1, 5),
    content=Content(10125, 81, "reference"),
    origin=Origin("Lin, Hosu, Saupe, QoMEX 2019", "https://database.mmsp-kn.de/kadid-10k-database.html"),
    read=read_kadid10k,
    sample=Sample(
        {
            "dmos.csv": "dist_img,ref_img,dmos,var\nI01_01_01.png,I01.png,4.57,1.0\n"
            "I81_25_05.png,I81.png,1.3333333333333333,0.0\n"
        },
        [
            distorted("I01_01_01.png", Path("images/I01_01_01.png"), 4.57, "I01.png", "I01.png", 1, 1, 1.0),
            distorted(
                "I81_25_05.png", Path("images/I81_25_05.png"), 1.3333333333333333, "I81.png", "I81.png", 25, 5, 0.0
            ),
        ],
        ["images/I01.png"],
    ),
)
