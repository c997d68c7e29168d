"""What is known of each database: its scores' range, direction and unit, its size, whom to cite. One table."""

from __future__ import annotations

import dataclasses

from glintiqa_jax.data.scale import ScoreScale


@dataclasses.dataclass(frozen=True)
class Database:
    """One row of the catalog.

    Attributes:
      title: what people call it.
      scale: what its scores mean.
      images: rated images as published; 0 where there is no such number.
      groups: content groups as published, likewise.
      content: what makes the images of a group the same content: "reference", "image", "prompt" or "source image".
      citation: whom to cite.
      home: where it is from.
      licence: its terms as its authors state them; "not known here" where we have not seen any.
      merge_near_duplicates: images that show nearly the same share a group unless the user says otherwise.
      distortions: what its types of distortion are, in the order of their numbers from 1; none where they have no
        names, or where they are KADID-10k's, which ``saqt.distortions`` has.
    """

    title: str
    scale: ScoreScale
    images: int
    groups: int
    content: str
    citation: str
    home: str
    licence: str = "not known here"
    merge_near_duplicates: bool = False
    distortions: tuple[str, ...] = ()


_TID2008_DISTORTIONS = (
    "additive Gaussian noise",
    "noise in colour components",
    "spatially correlated noise",
    "masked noise",
    "high-frequency noise",
    "impulse noise",
    "quantisation noise",
    "Gaussian blur",
    "denoising",
    "JPEG",
    "JPEG 2000",
    "JPEG transmission errors",
    "JPEG 2000 transmission errors",
    "non-eccentricity pattern noise",
    "local blocks",
    "mean shift",
    "contrast change",
)
_TID2013_DISTORTIONS = (
    *_TID2008_DISTORTIONS,
    "saturation",
    "multiplicative Gaussian noise",
    "comfort noise",
    "lossy compression of noisy images",
    "colour quantisation with dither",
    "chromatic aberrations",
    "sparse sampling",
)
_LIVE_TERMS = "any use, without fee, with the copyright notice and an acknowledgement"

DATABASES: dict[str, Database] = {
    "live": Database(
        "LIVE, release 2",
        # realigned DMOS go a little below 0 and beyond 100: found are -2.6 and 111.8
        ScoreScale(-3, 112, lower_is_better=True, unit="DMOS"),
        779,
        29,
        "reference",
        "Sheikh, Sabir, Bovik, IEEE TIP 15(11), 2006",
        "https://live.ece.utexas.edu/research/quality/subjective.htm",
        _LIVE_TERMS,
        distortions=("JPEG 2000", "JPEG", "white noise", "Gaussian blur", "fast fading"),
    ),
    "csiq": Database(
        "CSIQ",
        ScoreScale(0, 1, lower_is_better=True, unit="DMOS"),
        866,
        30,
        "reference",
        "Larson, Chandler, Journal of Electronic Imaging 19(1), 2010",
        "https://s2.smu.edu/~eclarson/csiq.html",
        distortions=("white noise", "Gaussian blur", "contrast", "pink noise", "JPEG", "JPEG 2000"),
    ),
    "tid2008": Database(
        "TID2008",
        ScoreScale(0, 9),
        1700,
        25,
        "reference",
        "Ponomarenko et al., Advances of Modern Radioelectronics 10, 2009",
        "https://www.ponomarenko.info/tid2008.htm",
        "education and research, without fee, unmodified, with the notice",
        distortions=_TID2008_DISTORTIONS,
    ),
    "tid2013": Database(
        "TID2013",
        ScoreScale(0, 9),
        3000,
        25,
        "reference",
        "Ponomarenko et al., Signal Processing: Image Communication 30, 2015",
        "https://www.ponomarenko.info/tid2013.htm",
        distortions=_TID2013_DISTORTIONS,
    ),
    "kadid10k": Database(
        "KADID-10k",
        ScoreScale(1, 5),
        10125,
        81,
        "reference",
        "Lin, Hosu, Saupe, QoMEX 2019",
        "https://database.mmsp-kn.de/kadid-10k-database.html",
    ),
    "livemd": Database(
        "LIVE Multiply Distorted",
        ScoreScale(0, 100, lower_is_better=True, unit="DMOS"),
        450,
        15,
        "reference",
        "Jayaraman, Mittal, Moorthy, Bovik, Asilomar 2012",
        "https://live.ece.utexas.edu/research/Quality/live_multidistortedimage.html",
        _LIVE_TERMS,
    ),
    "clive": Database(
        "LIVE In the Wild Challenge",
        ScoreScale(0, 100),
        1162,
        1162,
        "image",
        "Ghadiyaram, Bovik, IEEE TIP 25(1), 2016",
        "https://live.ece.utexas.edu/research/ChallengeDB/index.html",
        _LIVE_TERMS,
    ),
    "koniq10k": Database(
        "KonIQ-10k",
        ScoreScale(0, 100),
        10073,
        10073,
        "image",
        "Hosu, Lin, Sziranyi, Saupe, IEEE TIP 29, 2020",
        "https://database.mmsp-kn.de/koniq-10k-database.html",
    ),
    "spaq": Database(
        "SPAQ",
        ScoreScale(0, 100),
        11125,
        11125,
        "image",
        "Fang, Zhu, Zeng, Ma, Wang, CVPR 2020",
        "https://github.com/h4nwei/SPAQ",
        "MIT, as an author answered in the repository's issue 29",
    ),
    "bid": Database(
        "BID",
        ScoreScale(0, 5),
        586,
        586,
        "image",
        "Ciancio et al., IEEE TIP 20(1), 2011",
        "https://www02.smt.ufrj.br/~eduardo/ImageDatabase.htm",
    ),
    "flive": Database(
        "LIVE-FB (FLIVE, PaQ-2-PiQ)",
        ScoreScale(0, 100),
        39810,
        39810,
        "image",
        "Ying et al., CVPR 2020",
        "https://github.com/niu-haoran/FLIVE_Database",
    ),
    "biq2021": Database(
        "BIQ2021",
        ScoreScale(0, 1),
        12000,
        12000,
        "image",
        "Ahmed, Asif, Journal of Electronic Imaging 31(5), 2022",
        "https://github.com/nisarahmedrana/BIQ2021",
        "freely available for use and benchmarking",
        merge_near_duplicates=True,
    ),
    "pipal": Database(
        "PIPAL, training part",
        # Elo ratings; found are 917 to 1,836
        ScoreScale(900, 1900, unit="Elo"),
        23200,
        200,
        "reference",
        "Gu et al., ECCV 2020",
        "https://www.jasongt.com/projectpages/pipal.html",
    ),
    "agiqa3k": Database(
        "AGIQA-3K",
        ScoreScale(0, 5),
        2982,
        300,
        "prompt",
        "Li et al., IEEE TCSVT, 2023",
        "https://github.com/lcysyzxdxc/AGIQA-3k-Database",
        "MIT",
    ),
    "saqt": Database(
        "semantic-aligned quality transfer",
        ScoreScale(0, 9),
        0,
        0,
        "source image",
        "Wang, Zhang, arXiv 2408.03885",
        "",
        "that of the source images",
        merge_near_duplicates=True,
    ),
}
