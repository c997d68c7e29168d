"""Images that were distorted, of which those of one reference are one content."""

from __future__ import annotations

import math
from pathlib import Path, PurePath

from glintiqa_jax.data.database import Content, Database, Origin, Sample, distorted, reference_type_level
from glintiqa_jax.data.fields import number, whole_number
from glintiqa_jax.data.rated_images import RatedImage
from glintiqa_jax.data.scale import ScoreScale
from glintiqa_jax.data.source_folder import SourceFolder
from glintiqa_jax.data.tables import read_excel_rows, read_table, read_text_rows
from glintiqa_jax.errors import InputError

_CSIQ_TYPES = ("AWGN", "BLUR", "contrast", "fnoise", "JPEG", "jpeg2000")
_CSIQ_SHEET_NAMES = {"noise": "AWGN", "blur": "BLUR", "jpeg": "JPEG", "jpeg 2000": "jpeg2000"}


def read_csiq(folder: SourceFolder) -> list[RatedImage]:
    """CSIQ: ``csiq.DMOS.xlsx``, sheet ``all_by_image``, or the common list ``csiq_label.txt``."""
    table = folder.file("csiq.DMOS.xlsx", "csiq_label.txt")
    rows = _csiq_sheet(table) if table.suffix.lower() == ".xlsx" else _csiq_list(table)
    kinds = [kind.lower() for kind in _CSIQ_TYPES]
    images = []
    for line, name, score, score_std in rows:
        parts = name.rsplit(".", 3)
        if len(parts) != 4 or parts[1].lower() not in kinds:
            raise InputError(file=table, expected="names such as 1600.AWGN.1.png", found=repr(name))
        reference, kind, level, _ = parts
        images.append(
            distorted(
                name,
                Path(name),
                score,
                reference,
                f"{reference}.png",
                kinds.index(kind.lower()) + 1,
                whole_number(level, table, line, "level"),
                score_std,
            )
        )
    return images


def _csiq_sheet(table: Path) -> list[tuple[int, str, float, float]]:
    rows = read_excel_rows(table, "all_by_image")
    wanted = ("image", "dst_type", "dst_lev", "dmos")
    lowered = [["" if cell is None else str(cell).strip().lower() for cell in row] for _, row in rows]
    top = next((line for line, row in enumerate(lowered) if set(wanted) <= set(row)), None)
    if top is None:
        raise InputError(
            file=f"{table}, sheet 'all_by_image'", expected=f"columns {', '.join(wanted)}", found="no such row"
        )
    header = lowered[top]
    image, kind, level, dmos = (header.index(column) for column in wanted)
    found = []
    for line, row in rows[top + 1 :]:
        type_name = str(row[kind]).strip()
        type_name = _CSIQ_SHEET_NAMES.get(type_name.lower(), type_name)
        std = number(row[header.index("dmos_std")], table, line, "dmos_std") if "dmos_std" in header else math.nan
        step = whole_number(row[level], table, line, "dst_lev")
        found.append((line, f"{row[image]}.{type_name}.{step}.png", number(row[dmos], table, line, "dmos"), std))
    return found


def _csiq_list(table: Path) -> list[tuple[int, str, float, float]]:
    return [
        (line, PurePath(name).name, number(score, table, line, "DMOS"), math.nan)
        for line, (name, score) in read_text_rows(table, 2)
    ]


def _csiq_sample(place: str, score: float, std: float, kind: int, level: int) -> RatedImage:
    name = Path(place).name
    reference = name.split(".")[0]
    return distorted(name, Path("dst_imgs", place), score, reference, f"{reference}.png", kind, level, std)


CSIQ = Database(
    name="csiq",
    title="CSIQ",
    scale=ScoreScale(0, 1, lower_is_better=True, unit="DMOS"),
    content=Content(866, 30, "reference"),
    origin=Origin(
        "Larson, Chandler, Journal of Electronic Imaging 19(1), 2010", "https://s2.smu.edu/~eclarson/csiq.html"
    ),
    read=read_csiq,
    sample=Sample(
        {
            "csiq.DMOS.xlsx": {
                "README": [["CSIQ"]],
                "all_by_image": [
                    [None, "DMOS of each image"],
                    [],
                    [None, "image", "dst_idx", "dst_type", "dst_lev", "dmos_std", "dmos"],
                    [None, 1600, 1, "noise", 1, 0.0917, 0.061989314159265],
                    [None, "aerial_city", 4, "fnoise", 5, 0, 1],
                    [None, "woman", 6, "jpeg 2000", 4, 0.2, 0.3333333333333333],
                    [None],
                ],
            }
        },
        [
            _csiq_sample("AWGN/1600.AWGN.1.png", 0.061989314159265, 0.0917, 1, 1),
            _csiq_sample("fnoise/aerial_city.fnoise.5.png", 1.0, 0.0, 4, 5),
            _csiq_sample("jpeg2000/woman.jpeg2000.4.png", 0.3333333333333333, 0.2, 6, 4),
        ],
        ["src_imgs/1600.png", "src_imgs/woman.png"],
    ),
    distortions=("white noise", "Gaussian blur", "contrast", "pink noise", "JPEG", "JPEG 2000"),
)


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


def _tid_sample(name: str, score: float, reference: str, kind: int, level: int) -> RatedImage:
    return distorted(name, Path("distorted_images", name), score, reference.lower(), f"{reference}.BMP", kind, level)


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
        [_tid_sample("I01_01_1.bmp", 5.9706, "I01", 1, 1), _tid_sample("I25_17_4.bmp", 2.41935, "I25", 17, 4)],
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
            _tid_sample("I01_01_1.bmp", 5.51429, "I01", 1, 1),
            _tid_sample("I01_01_2.bmp", 5.56757, "I01", 1, 2),
            _tid_sample("i25_24_5.bmp", 0.24242, "i25", 24, 5),
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


def _pipal_sample(part: int, name: str, score: float, reference: str, kind: int, level: int) -> RatedImage:
    return distorted(name, Path(f"Distortion_{part}", name), score, reference, f"{reference}.bmp", kind, level)


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
            _pipal_sample(1, "A0001_00_00.bmp", 1520.0648, "A0001", 0, 0),
            _pipal_sample(2, "A0001_03_11.bmp", 916.7136, "A0001", 3, 11),
            _pipal_sample(4, "A0248_06_26.bmp", 1835.9856, "A0248", 6, 26),
        ],
        ["Train_Ref/A0001.bmp"],
    ),
)


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


ROWS = (
    CSIQ,
    TID2008,
    TID2013,
    KADID10K,
    PIPAL,
    SAQT,
)
