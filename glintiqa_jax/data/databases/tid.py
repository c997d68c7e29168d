"""TID2008 and TID2013."""

from __future__ import annotations

from pathlib import Path

from glintiqa_jax.data.database import Content, Database, Origin, Sample, distorted, reference_type_level
from glintiqa_jax.data.rated_images import RatedImage
from glintiqa_jax.data.scale import ScoreScale
from glintiqa_jax.data.source_folder import SourceFolder
from glintiqa_jax.data.tables import number, read_text_rows


def read_tid(folder: SourceFolder) -> list[RatedImage]:
    """TID2008 and TID2013: ``mos_with_names.txt``, names ``i01_01_1.bmp`` of reference, type and level in any case."""
    table = folder.file("mos_with_names.txt")
    images = []
    for line, (score, name) in read_text_rows(table, 2):
        reference, kind, level = reference_type_level(name, table)
        images.append(
            distorted(
                name,
                Path("distorted_images", name),
                number(score, table, line, "MOS"),
                reference.lower(),
                f"{reference}.BMP",
                kind,
                level,
            )
        )
    return images


def _sample(name: str, score: float, reference: str, kind: int, level: int) -> RatedImage:
    image = Path("distorted_images", name)
    return distorted(name, image, score, reference.lower(), f"{reference}.BMP", kind, level)


_DISTORTIONS_2008 = (
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

TID2008 = Database(
    name="tid2008",
    title="TID2008",
    scale=ScoreScale(0, 9),
    content=Content(1700, 25, "reference"),
    origin=Origin(
        "Ponomarenko et al., Advances of Modern Radioelectronics 10, 2009",
        "https://www.ponomarenko.info/tid2008.htm",
        "education and research, without fee, unmodified, with the notice",
    ),
    read=read_tid,
    sample=Sample(
        {"mos_with_names.txt": "5.9706 I01_01_1.bmp\r\n2.41935 I25_17_4.bmp\r\n", "mos_std.txt": "0.5\n0.5\n"},
        [_sample("I01_01_1.bmp", 5.9706, "I01", 1, 1), _sample("I25_17_4.bmp", 2.41935, "I25", 17, 4)],
        ["reference_images/I01.BMP"],
    ),
    distortions=_DISTORTIONS_2008,
)

TID2013 = Database(
    name="tid2013",
    title="TID2013",
    scale=ScoreScale(0, 9),
    content=Content(3000, 25, "reference"),
    origin=Origin(
        "Ponomarenko et al., Signal Processing: Image Communication 30, 2015",
        "https://www.ponomarenko.info/tid2013.htm",
    ),
    read=read_tid,
    sample=Sample(
        {"mos_with_names.txt": "5.51429 I01_01_1.bmp\n5.56757 I01_01_2.bmp\n0.24242 i25_24_5.bmp\n"},
        [
            _sample("I01_01_1.bmp", 5.51429, "I01", 1, 1),
            _sample("I01_01_2.bmp", 5.56757, "I01", 1, 2),
            _sample("i25_24_5.bmp", 0.24242, "i25", 24, 5),
        ],
        ["reference_images/I01.BMP"],
    ),
    distortions=(
        *_DISTORTIONS_2008,
        "saturation",
        "multiplicative Gaussian noise",
        "comfort noise",
        "lossy compression of noisy images",
        "colour quantisation with dither",
        "chromatic aberrations",
        "sparse sampling",
    ),
)
