"""KonIQ-10k (2020)."""

from __future__ import annotations

from pathlib import Path

from glintiqa_jax.data.database import Content, Database, Origin, Sample
from glintiqa_jax.data.rated_images import SPLIT_WORDS, RatedImage
from glintiqa_jax.data.scale import ScoreScale
from glintiqa_jax.data.source_folder import SourceFolder
from glintiqa_jax.data.tables import read_table

_KONIQ_SIZES = ("1024x768", "512x384")


def read_koniq10k(folder: SourceFolder) -> list[RatedImage]:
    """KonIQ-10k: ``koniq10k_distributions_sets.csv``, which has the sets, or ``..._scores_and_distributions``.

    Scores are the z-score MOS in 0..100, which the first calls MOS and the second MOS_zscore. Deviations are of the
    ratings 1..5 and are brought to that range. Of the two sizes of the images, 1024x768 is taken where it is there.
    """
    table = folder.file("koniq10k_distributions_sets.csv", "koniq10k_scores_and_distributions.csv")
    with_sets = table.name.lower() == "koniq10k_distributions_sets.csv"
    column = "MOS" if with_sets else "MOS_zscore"
    size = next((size for size in _KONIQ_SIZES if folder.has_folder(size)), "")
    rows = read_table(table, ["image_name", column, "SD", *["set"] * with_sets])
    names = rows.texts("image_name")
    sets = rows.words("set", SPLIT_WORDS) if with_sets else [""] * len(names)
    return [
        RatedImage(name, Path(size, name), score, name, score_std=25.0 * std, split=split)
        for name, score, std, split in zip(names, rows.numbers(column), rows.numbers("SD"), sets, strict=True)
    ]


KONIQ10K = Database(
    name="koniq10k",
    title="KonIQ-10k",
    scale=ScoreScale(0, 100),
    content=Content(10073, 10073),
    origin=Origin(
        "Hosu, Lin, Sziranyi, Saupe, IEEE TIP 29, 2020", "https://database.mmsp-kn.de/koniq-10k-database.html"
    ),
    read=read_koniq10k,
    sample=Sample(
        {
            "koniq10k_distributions_sets.csv": "image_name,c1,c2,c3,c4,c5,c_total,MOS,SD,set\n"
            "10004473376.jpg,0.0,0.0,0.25,0.5,0.25,105,77.3836206897,0.527277894494,training\n"
            "10007357496.jpg,0.0,0.0,0.25,0.5,0.25,105,68.7285714286,0.5,test\n"
            "826373.jpg,0.0,0.0,0.25,0.5,0.25,105,3.91176470588,0.25,validation\n"
        },
        [
            RatedImage(name, Path("1024x768", name), score, name, 25 * std, split=split)
            for name, score, std, split in (
                ("10004473376.jpg", 77.3836206897, 0.527277894494, "train"),
                ("10007357496.jpg", 68.7285714286, 0.5, "test"),
                ("826373.jpg", 3.91176470588, 0.25, "validation"),
            )
        ],
    ),
)
