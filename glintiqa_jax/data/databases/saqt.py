"""What semantic-aligned quality transfer makes (paper section III-D)."""

from __future__ import annotations

from pathlib import Path

from glintiqa_jax.data.database import Content, Database, Origin, Sample, distorted, reference_type_level
from glintiqa_jax.data.rated_images import RatedImage
from glintiqa_jax.data.scale import ScoreScale
from glintiqa_jax.data.source_folder import SourceFolder
from glintiqa_jax.data.tables import read_table


def read_saqt(folder: SourceFolder) -> list[RatedImage]:
    """Images with transferred scores: ``labels.csv``, or the only CSV there, with the released columns.

    These are distorted_image, quality_score, source_image, matched_reference, distortion_type and distortion_level, or
    dist_img and label alone, where the name is SOURCE_TYPE_LEVEL.
    """
    table = folder.find("labels.csv") or folder.only_file(".csv")
    short = "dist_img" in read_table(table).columns
    columns = ["dist_img", "label"] if short else ["distorted_image", "quality_score", "source_image"]
    rows = read_table(table, columns)
    names, scores = rows.texts(columns[0]), rows.numbers(columns[1])
    if short:
        sources, kinds, levels = map(list, zip(*(reference_type_level(name, table) for name in names), strict=True))
        references = [""] * len(names)
    else:
        sources = rows.texts("source_image")
        kinds, levels = (
            rows.whole_numbers(column, missing=0) if column in rows.columns else [0] * len(names)
            for column in ("distortion_type", "distortion_level")
        )
        known = "matched_reference" in rows.columns
        references = rows.texts("matched_reference") if known else [""] * len(names)
    return [
        distorted(name, Path(name), score, source, reference, kind, level)
        for name, score, source, reference, kind, level in zip(
            names, scores, sources, references, kinds, levels, strict=True
        )
    ]


SAQT = Database(
    name="saqt",
    title="semantic-aligned quality transfer",
    scale=ScoreScale(0, 9),
    content=Content(0, 0, "source image", merge_near_duplicates=True),
    origin=Origin("Wang, Zhang, arXiv 2408.03885", "", "that of the source images"),
    read=read_saqt,
    sample=Sample(
        {
            "labels.csv": "distorted_image,quality_score,source_image,matched_reference,distortion_type,"
            "distortion_level\nbeach_01_03.png,4.123456789012345,beach.jpg,I01.png,1,3\n"
            "old_town_25_05.png,1.5,old_town.jpg,I01.png,25,5\n"
        },
        [
            distorted(name, Path("images", name), score, source, "I01.png", kind, level)
            for name, score, source, kind, level in (
                ("beach_01_03.png", 4.123456789012345, "beach.jpg", 1, 3),
                ("old_town_25_05.png", 1.5, "old_town.jpg", 25, 5),
            )
        ],
    ),
)
