"""LIVE In the Wild Challenge (2016)."""

from __future__ import annotations

from pathlib import Path

from glintiqa_jax.data.database import Content, Database, Origin, Sample
from glintiqa_jax.data.databases.live import LIVE_TERMS
from glintiqa_jax.data.rated_images import RatedImage
from glintiqa_jax.data.scale import ScoreScale
from glintiqa_jax.data.source_folder import SourceFolder
from glintiqa_jax.data.tables import read_matlab
from glintiqa_jax.errors import InputError

_CLIVE_PRACTICE = 7


def read_clive(folder: SourceFolder) -> list[RatedImage]:
    """LIVE In the Wild Challenge: three ``.mat`` files of names, MOS and deviations; practice images left out."""
    tables = [folder.file(f"All{kind}_release.mat") for kind in ("Images", "MOS", "StdDev")]
    variables = [f"All{kind}_release" for kind in ("Images", "MOS", "StdDev")]
    names, scores, stds = (read_matlab(table, variable) for table, variable in zip(tables, variables, strict=True))
    for table, values in zip(tables[1:], (scores, stds), strict=True):
        if len(values) != len(names):
            raise InputError(file=table, expected=f"{len(names)} entries, one for each image", found=len(values))
    rated = list(zip(names, scores, stds, strict=True))[_CLIVE_PRACTICE:]
    if not rated:
        raise InputError(file=tables[0], expected=f"images after the {_CLIVE_PRACTICE} practice images", found="none")
    return [
        RatedImage(str(name), Path("Images", str(name)), float(score), str(name), score_std=float(std))
        for name, score, std in rated
    ]


CLIVE = Database(
    name="clive",
    title="LIVE In the Wild Challenge",
    scale=ScoreScale(0, 100),
    content=Content(1162, 1162),
    origin=Origin(
        "Ghadiyaram, Bovik, IEEE TIP 25(1), 2016",
        "https://live.ece.utexas.edu/research/ChallengeDB/index.html",
        LIVE_TERMS,
    ),
    read=read_clive,
    sample=Sample(
        {
            "Data/AllImages_release.mat": {
                "AllImages_release": [*(f"t{number}.bmp" for number in range(1, 8)), "10.bmp", "DSC_0001.JPG"]
            },
            "Data/AllMOS_release.mat": {"AllMOS_release": [*range(61, 68), 66.359549171234, 3.42]},
            "Data/AllStdDev_release.mat": {"AllStdDev_release": [*[18.0] * 7, 19.5, 17.25]},
        },
        [
            RatedImage("10.bmp", Path("Images/10.bmp"), 66.359549171234, "10.bmp", 19.5),
            RatedImage("DSC_0001.JPG", Path("Images/DSC_0001.JPG"), 3.42, "DSC_0001.JPG", 17.25),
        ],
        ["Images/trainingImages/t1.bmp"],
    ),
)
