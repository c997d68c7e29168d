"""CSIQ (2010)."""

from __future__ import annotations

import math
from pathlib import Path, PurePath

from glintiqa_jax.data.database import Content, Database, Origin, Sample, distorted
from glintiqa_jax.data.rated_images import RatedImage
from glintiqa_jax.data.scale import ScoreScale
from glintiqa_jax.data.source_folder import SourceFolder
from glintiqa_jax.data.tables import number, read_excel_rows, read_text_rows, whole_number
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


def _sample(place: str, score: float, std: float, kind: int, level: int) -> RatedImage:
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
            _sample("AWGN/1600.AWGN.1.png", 0.061989314159265, 0.0917, 1, 1),
            _sample("fnoise/aerial_city.fnoise.5.png", 1.0, 0.0, 4, 5),
            _sample("jpeg2000/woman.jpeg2000.4.png", 0.3333333333333333, 0.2, 6, 4),
        ],
        ["src_imgs/1600.png", "src_imgs/woman.png"],
    ),
    distortions=("white noise", "Gaussian blur", "contrast", "pink noise", "JPEG", "JPEG 2000"),
)
