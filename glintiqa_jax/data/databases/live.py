"""LIVE, release 2 (2006)."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from glintiqa_jax.data.database import Content, Database, Origin, Sample, check_length, distorted
from glintiqa_jax.data.rated_images import RatedImage
from glintiqa_jax.data.scale import ScoreScale
from glintiqa_jax.data.source_folder import SourceFolder
from glintiqa_jax.data.tables import read_matlab

_LIVE_FOLDERS = {"jp2k": 227, "jpeg": 233, "wn": 174, "gblur": 174, "fastfading": 174}
LIVE_TERMS = "any use, without fee, with the copyright notice and an acknowledgement"


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


def _sample(*images: RatedImage) -> Sample:
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
        LIVE_TERMS,
    ),
    read=read_live,
    sample=_sample(
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
