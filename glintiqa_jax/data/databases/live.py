"""The databases of the LIVE laboratory in Austin: scores in MATLAB files."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from glintiqa_jax.data.database import Content, Database, Origin, Sample, check_length, distorted
from glintiqa_jax.data.rated_images import RatedImage
from glintiqa_jax.data.scale import ScoreScale
from glintiqa_jax.data.source_folder import SourceFolder
from glintiqa_jax.data.tables import read_matlab
from glintiqa_jax.errors import InputError

_LIVE_FOLDERS = {"jp2k": 227, "jpeg": 233, "wn": 174, "gblur": 174, "fastfading": 174}
_TERMS = "any use, without fee, with the copyright notice and an acknowledgement"


def read_live(folder: SourceFolder) -> list[RatedImage]:
    """LIVE release 2: ``dmos_realigned.mat`` (``dmos_new``, ``orgs``) and ``refnames_all.mat``; originals left out."""
    table = folder.file("dmos_realigned.mat")
    scores, originals = read_matlab(table, "dmos_new"), read_matlab(table, "orgs")
    names_table = folder.file("refnames_all.mat")
    references = read_matlab(names_table, "refnames_all")
    places = [(kind, number) for kind, count in _LIVE_FOLDERS.items() for number in range(1, count + 1)]
    for path, values in ((table, scores), (table, originals), (names_table, references)):
        check_length(path, len(values), len(places))
    return [
        distorted(
            f"{kind}/img{position}.bmp",
            Path(kind, f"img{position}.bmp"),
            float(score),
            str(reference),
            str(reference),
            list(_LIVE_FOLDERS).index(kind) + 1,
        )
        for (kind, position), score, original, reference in zip(places, scores, originals, references, strict=True)
        if not original
    ]


def _live_sample(*images: RatedImage) -> Sample:
    """Of all that the score files list these are distorted, and the others originals."""
    by_name = {image.name: image for image in images}
    places = [f"{kind}/img{number}.bmp" for kind, count in _LIVE_FOLDERS.items() for number in range(1, count + 1)]
    listed = [by_name.get(place) for place in places]
    return Sample(
        {
            "dmos_realigned.mat": {
                "dmos_new": [image.raw_score if image else 0.0 for image in listed],
                "orgs": [int(image is None) for image in listed],
            },
            "refnames_all.mat": {"refnames_all": [image.group if image else "bikes.bmp" for image in listed]},
        },
        [dataclasses.replace(image, reference=image.group) for image in images],
        ["jp2k/img1.bmp", "refimgs/rapids.bmp"],
    )


LIVE = Database(
    name="live",
    title="LIVE, release 2",
    # realigned DMOS go a little below 0 and beyond 100: found are -2.6 and 111.8
    scale=ScoreScale(-3, 112, lower_is_better=True, unit="DMOS"),
    content=Content(779, 29, "reference"),
    origin=Origin(
        "Sheikh, Sabir, Bovik, IEEE TIP 15(11), 2006",
        "https://live.ece.utexas.edu/research/quality/subjective.htm",
        _TERMS,
    ),
    read=read_live,
    sample=_live_sample(
        RatedImage(
            "jp2k/img2.bmp", Path("jp2k/img2.bmp"), 15.512954417537026, "studentsculpture.bmp", distortion_type=1
        ),
        RatedImage("jpeg/img233.bmp", Path("jpeg/img233.bmp"), -2.640015016409613, "rapids.bmp", distortion_type=2),
        RatedImage(
            "fastfading/img1.bmp", Path("fastfading/img1.bmp"), 111.7746935263145, "rapids.bmp", distortion_type=5
        ),
    ),
    distortions=("JPEG 2000", "JPEG", "white noise", "Gaussian blur", "fast fading"),
)


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


def _livemd_sample(part: int, name: str, score: float, reference: str) -> RatedImage:
    return distorted(name, Path(f"Part {part}", name), score, reference, f"{reference}.bmp", part)


LIVEMD = Database(
    name="livemd",
    title="LIVE Multiply Distorted",
    scale=ScoreScale(0, 100, lower_is_better=True, unit="DMOS"),
    content=Content(450, 15, "reference"),
    origin=Origin(
        "Jayaraman, Mittal, Moorthy, Bovik, Asilomar 2012",
        "https://live.ece.utexas.edu/research/Quality/live_multidistortedimage.html",
        _TERMS,
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
            _livemd_sample(1, "blurjpeg/babygirl_blur1.bmp", 21.578947368421051, "babygirl"),
            _livemd_sample(2, "blurnoise/babygirl_blur1.bmp", 32.5, "babygirl"),
            _livemd_sample(2, "blurnoise/wheel_blur3_noise3.bmp", 84.666666666666671, "wheel"),
        ],
        ["Part 1/blurjpeg/babygirl.bmp", "Part 2/blurnoise/babygirl.bmp"],
    ),
)


_CLIVE_PRACTICE = 7


def read_clive(folder: SourceFolder) -> list[RatedImage]:
    """LIVE In the Wild Challenge: three ``.mat`` files of names, MOS and deviations; practice images left out."""
    tables = [folder.file(f"All{kind}_release.mat") for kind in ("Images", "MOS", "StdDev")]
    variables = [f"All{kind}_release" for kind in ("Images", "MOS", "StdDev")]
    names, scores, stds = (read_matlab(table, variable) for table, variable in zip(tables, variables, strict=True))
    for table, values in zip(tables[1:], (scores, stds), strict=True):
        check_length(table, len(values), len(names))
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
        _TERMS,
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


ROWS = (
    LIVE,
    LIVEMD,
    CLIVE,
)
