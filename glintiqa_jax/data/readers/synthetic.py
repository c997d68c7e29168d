"""Databases of distorted references: content is the reference, so that no reference is on two sides of a split."""

from __future__ import annotations

import math
from pathlib import Path, PurePath

from glintiqa_jax.data.rated_images import RatedImage
from glintiqa_jax.data.source_folder import SourceFolder
from glintiqa_jax.data.tables import number, read_excel_rows, read_matlab, read_table, read_text_rows, whole_number
from glintiqa_jax.errors import InputError

# LIVE's folders in the order in which its score files list them, and how many images each holds, originals included.
_LIVE_FOLDERS = {"jp2k": 227, "jpeg": 233, "wn": 174, "gblur": 174, "fastfading": 174}
_CSIQ_TYPES = ("AWGN", "BLUR", "contrast", "fnoise", "JPEG", "jpeg2000")
# What the score sheet calls the types.
_CSIQ_SHEET_NAMES = {"noise": "AWGN", "blur": "BLUR", "jpeg": "JPEG", "jpeg 2000": "jpeg2000"}


def read_live(folder: SourceFolder) -> list[RatedImage]:
    """LIVE release 2: ``dmos_realigned.mat`` (``dmos_new``, ``orgs``) and ``refnames_all.mat``; originals left out."""
    table = folder.file("dmos_realigned.mat")
    scores, originals = read_matlab(table, "dmos_new"), read_matlab(table, "orgs")
    names_table = folder.file("refnames_all.mat")
    references = read_matlab(names_table, "refnames_all")
    places = [(kind, number) for kind, count in _LIVE_FOLDERS.items() for number in range(1, count + 1)]
    for path, values in ((table, scores), (table, originals), (names_table, references)):
        _same_length(path, len(values), len(places))
    return [
        RatedImage(
            name=f"{kind}/img{position}.bmp",
            image=Path(kind, f"img{position}.bmp"),
            raw_score=float(score),
            group=str(reference),
            reference=str(reference),
            distortion_type=list(_LIVE_FOLDERS).index(kind) + 1,
        )
        for (kind, position), score, original, reference in zip(places, scores, originals, references, strict=True)
        if not original
    ]


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
            RatedImage(
                name=name,
                image=Path(name),
                raw_score=score,
                score_std=score_std,
                group=reference,
                reference=f"{reference}.png",
                distortion_type=kinds.index(kind.lower()) + 1,
                distortion_level=whole_number(level, table, line, "level"),
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


def read_tid(folder: SourceFolder) -> list[RatedImage]:
    """TID2008 and TID2013: ``mos_with_names.txt``, names ``i01_01_1.bmp`` of reference, type and level in any case."""
    table = folder.file("mos_with_names.txt")
    images = []
    for line, (score, name) in read_text_rows(table, 2):
        reference, kind, level = _reference_type_level(name, table)
        images.append(
            RatedImage(
                name=name,
                image=Path("distorted_images", name),
                raw_score=number(score, table, line, "MOS"),
                group=reference.lower(),
                reference=f"{reference}.BMP",
                distortion_type=kind,
                distortion_level=level,
            )
        )
    return images


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
        _, kind, level = _reference_type_level(name, table)
        images.append(
            RatedImage(
                name=name,
                image=Path(name),
                raw_score=score,
                score_std=std,
                group=reference,
                reference=reference,
                distortion_type=kind,
                distortion_level=level,
            )
        )
    return images


def read_livemd(folder: SourceFolder) -> list[RatedImage]:
    """LIVE Multiply Distorted: two parts, each with ``Imagelists.mat`` (``distimgs``) and ``Scores.mat``."""
    images = []
    for part, kind in ((1, "blurjpeg"), (2, "blurnoise")):
        names_table, scores_table = (
            folder.file(*(f"Part{space}{part}/{file}" for space in (" ", "_", "")))
            for file in ("Imagelists.mat", "Scores.mat")
        )
        names, scores = read_matlab(names_table, "distimgs"), read_matlab(scores_table, "DMOSscores")
        _same_length(scores_table, len(scores), len(names))
        for name, score in zip(names, scores, strict=True):
            reference = str(name).split("_", 1)[0]
            images.append(
                RatedImage(
                    name=f"{kind}/{name}",
                    image=Path(kind, str(name)),
                    raw_score=float(score),
                    group=reference,
                    reference=f"{reference}.bmp",
                    distortion_type=part,
                )
            )
    return images


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
            reference, kind, level = _reference_type_level(name, table)
            images.append(
                RatedImage(
                    name=name,
                    image=Path(name),
                    raw_score=number(score, table, line, "score"),
                    group=reference,
                    reference=f"{reference}.bmp",
                    distortion_type=kind,
                    distortion_level=level,
                )
            )
    return images


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
        sources, kinds, levels = map(list, zip(*(_reference_type_level(name, table) for name in names), strict=True))
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
        RatedImage(
            name=name,
            image=Path(name),
            raw_score=score,
            group=source,
            reference=reference,
            distortion_type=kind,
            distortion_level=level,
        )
        for name, score, source, reference, kind, level in zip(
            names, scores, sources, references, kinds, levels, strict=True
        )
    ]


def _reference_type_level(name: str, table: Path) -> tuple[str, int, int]:
    """``("I01", 7, 3)`` of ``I01_07_03.png``."""
    parts = PurePath(name).stem.rsplit("_", 2)
    if len(parts) != 3 or not (parts[1].isdigit() and parts[2].isdigit()):
        raise InputError(file=table, expected="names REFERENCE_TYPE_LEVEL", found=repr(name))
    return parts[0], int(parts[1]), int(parts[2])


def _same_length(table: Path, found: int, expected: int) -> None:
    if found != expected:
        raise InputError(file=table, expected=f"{expected} entries", found=found)
