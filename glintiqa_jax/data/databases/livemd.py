"""LIVE Multiply Distorted (2012)."""

from __future__ import annotations

from pathlib import Path

from glintiqa_jax.data.database import Content, Database, Origin, Sample, check_length, distorted
from glintiqa_jax.data.databases.live import LIVE_TERMS
from glintiqa_jax.data.rated_images import RatedImage
from glintiqa_jax.data.scale import ScoreScale
from glintiqa_jax.data.source_folder import SourceFolder
from glintiqa_jax.data.tables import read_matlab


def read_livemd(folder: SourceFolder) -> list[RatedImage]:
    """LIVE Multiply Distorted: two parts, each with ``Imagelists.mat`` (``distimgs``) and ``Scores.mat``."""
    images = []
    for part, kind in ((1, "blurjpeg"), (2, "blurnoise")):
        names_table, scores_table = (
            folder.file(*(f"Part{space}{part}/{file}" for space in (" ", "_", "")))
            for file in ("Imagelists.mat", "Scores.mat")
        )
        names, scores = read_matlab(names_table, "distimgs"), read_matlab(scores_table, "DMOSscores")
        check_length(scores_table, len(scores), len(names))
        for name, score in zip(names, scores, strict=True):
            reference = str(name).split("_", 1)[0]
            images.append(
                distorted(f"{kind}/{name}", Path(kind, str(name)), float(score), reference, f"{reference}.bmp", part)
            )
    return images


def _sample(part: int, name: str, score: float, reference: str) -> RatedImage:
    image = Path(f"Part {part}", name)
    return distorted(name, image, score, reference, f"{reference}.bmp", part)


LIVEMD = Database(
    name="livemd",
    title="LIVE Multiply Distorted",
    scale=ScoreScale(0, 100, lower_is_better=True, unit="DMOS"),
    content=Content(450, 15, "reference"),
    origin=Origin(
        "Jayaraman, Mittal, Moorthy, Bovik, Asilomar 2012",
        "https://live.ece.utexas.edu/research/Quality/live_multidistortedimage.html",
        LIVE_TERMS,
    ),
    read=read_livemd,
    sample=Sample(
        {
            "Part 1/Imagelists.mat": {"distimgs": ["babygirl_blur1.bmp"], "ref4dist": [1]},
            "Part 1/Scores.mat": {"DMOSscores": [21.578947368421051]},
            "Part 2/Imagelists.mat": {"distimgs": ["babygirl_blur1.bmp", "wheel_blur3_noise3.bmp"]},
            "Part 2/Scores.mat": {"DMOSscores": [32.5, 84.666666666666671]},
        },
        [
            _sample(1, "blurjpeg/babygirl_blur1.bmp", 21.578947368421051, "babygirl"),
            _sample(2, "blurnoise/babygirl_blur1.bmp", 32.5, "babygirl"),
            _sample(2, "blurnoise/wheel_blur3_noise3.bmp", 84.666666666666671, "wheel"),
        ],
        ["Part 1/blurjpeg/babygirl.bmp", "Part 2/blurnoise/babygirl.bmp"],
    ),
)
