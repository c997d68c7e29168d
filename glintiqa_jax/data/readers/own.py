"""The user's own images: a folder and a table of scores."""

from __future__ import annotations

import dataclasses
import math
import os
from pathlib import Path

import numpy as np

from glintiqa_jax.data.catalog import ScoreScale
from glintiqa_jax.data.names import normal_name
from glintiqa_jax.data.rated_images import SPLIT_WORDS, Collection, RatedImage, fingerprint
from glintiqa_jax.data.tables import Table, first_five, read_table
from glintiqa_jax.data.walk import Found, files_below, only_images
from glintiqa_jax.errors import UserError


def read_csv(
    images: str | os.PathLike,
    scores: str | os.PathLike,
    *,
    image_column: str = "image",
    score_column: str = "mos",
    group_column: str = "",
    split_column: str = "",
    std_column: str = "",
    score_range: tuple[float, ...] | None = None,
    lower_is_better: bool = False,
    on_bad_image: str = "fail",
) -> Collection:
    """The user's own images: a folder and a table with a header row.

    Args:
      images: folder; the image column's names are relative to it, in any spelling that ``normal_name`` knows.
      scores: a table as ``read_table`` takes it: CSV, or Excel's .xlsx.
      image_column: column of the image names.
      score_column: column of the scores, any unit.
      group_column: column of the content groups; without one, each image is its own group.
      split_column: column that says train, validation or test (or val, dev, ...); without one, splits are drawn.
      std_column: column of the opinions' standard deviations, in the unit of the scores; without one, not known.
      score_range: lowest and highest possible score; without one, the lowest and highest found.
      lower_is_better: the scores are DMOS-like.
      on_bad_image: "fail" stops where scored images are missing; "skip" leaves them out and lists them.

    Raises:
      UserError: a missing or empty folder or file, a missing column, a score that is no number or out of range,
        a split that is none of the three, a name twice, names that leave the folder (by ``..``, an absolute path
        or a link), names without an image (the first five and the count).
    """
    folder, path = Path(images).expanduser(), Path(scores).expanduser()
    if not folder.is_dir():
        raise UserError(f"--images={images}: expected a folder of images, found {_what_is(folder)}")
    if path.is_dir() or not path.exists():
        raise UserError(f"--scores={scores}: expected a CSV file, found {_what_is(path)}")
    files = files_below(folder)
    if not files.images:
        raise UserError(f"--images={images}: the folder holds no image")
    columns = (image_column, score_column, group_column, split_column, std_column)
    table = read_table(path, [column for column in columns if column])
    names = table.names(image_column, folder)
    raw_scores = table.numbers(score_column)
    stds = table.numbers(std_column) if std_column else [math.nan] * len(names)
    splits = table.words(split_column, SPLIT_WORDS) if split_column else [""] * len(names)
    groups = _groups(table, group_column) if group_column else names
    listed = []
    on_disk, root = _by_name(folder, files), Path(os.path.realpath(folder))
    for (line, _), name, score, std, split, group in zip(
        table.rows, names, raw_scores, stds, splits, groups, strict=True
    ):
        image = _place(folder, root, name, on_disk.get(name, []), f"{path}, line {line}")
        listed.append(RatedImage(name, image, score, group, score_std=std, split=split))
    rated = [image for image in listed if Path(image.image).is_file()]  # type: ignore[arg-type]
    missing = [image.name for image in listed if not Path(image.image).is_file()]  # type: ignore[arg-type]
    if not rated or (missing and on_bad_image == "fail"):
        hint = "; --on_bad_image=skip leaves them out" if rated else ""
        raise UserError(
            f"{path}: {len(missing)} of {len(listed)} scored images are not in {folder}: {first_five(missing)}{hint}"
        )
    scale = _scale(raw_scores, score_range, lower_is_better, path, score_column)
    notes = _notes(folder, files, {Path(image.image) for image in listed})  # type: ignore[arg-type]
    if score_range is None:
        notes.append(
            f"--score_range is not given: taking the lowest and highest score found, {scale.low:g},{scale.high:g}"
        )
    facts = [[str(value) for value in dataclasses.astuple(dataclasses.replace(image, image=b""))] for image in rated]
    return Collection(
        name="csv",
        scale=scale,
        size=len(rated),
        fingerprint=fingerprint(facts, dataclasses.astuple(scale)),
        sources=tuple(Path(image.image) for image in rated),  # type: ignore[arg-type]
        images=lambda: iter(rated),
        notes=tuple(notes),
        missing=tuple(f"{name}: scored, but not there" for name in missing),
    )


def _groups(table: Table, column: str) -> list[str]:
    groups = table.texts(column)
    if "" in groups:
        line, _ = table.rows[groups.index("")]
        raise UserError(f"{table.path}, line {line}, column {column!r}: expected a content group, found nothing")
    return groups


def _by_name(folder: Path, files: Found) -> dict[str, list[Path]]:
    """The files by their name as tables are read; several where names differ only in how accents are written."""
    found: dict[str, list[Path]] = {}
    for path in files.images:
        found.setdefault(normal_name(path.relative_to(folder).as_posix()), []).append(path)
    return found


def _place(folder: Path, root: Path, name: str, found: list[Path], where: str) -> Path:
    """The file of a name, there or not; ``UserError`` where it cannot be told, or is outside the folder."""
    literal = folder / name
    try:
        path = found[0] if len(found) == 1 else literal
        if len(found) > 1 and not literal.is_file():
            raise UserError(f"{where}: expected one file {name!r}, found {first_five([str(one) for one in found])}")
        # realpath, unlike resolve, takes links that go round in circles
        inside = Path(os.path.realpath(path)).is_relative_to(root)
        path.is_file()
    except OSError as error:
        raise UserError(f"{where}: expected the name of a file, found {name[:80]!r} ({error})") from error
    if not inside:
        raise UserError(f"{where}: {name!r} is a link that points outside the folder {folder}")
    return path


def _notes(folder: Path, files: Found, scored: set[Path]) -> list[str]:
    """What is to be said of files that no score is for; those that are no images are none of our business."""
    others = only_images([path for path in files.images if path not in scored])
    notes = []
    if others.images:
        names = first_five([str(path.relative_to(folder)) for path in others.images])
        notes.append(f"warning: {len(others.images)} images in {folder} have no score and are left out: {names}")
    if note := files.note():
        notes.append(f"warning: in {folder}, {note}")
    return notes


def _scale(
    raw_scores: list[float],
    score_range: tuple[float, ...] | None,
    lower_is_better: bool,
    table: Path,
    column: str,
) -> ScoreScale:
    lowest, highest = min(raw_scores), max(raw_scores)
    low, high = score_range or (lowest, highest)
    given = f"--score_range={low:g},{high:g}" if score_range else f"{table}, column {column!r}"
    if low >= high:
        raise UserError(f"{given}: expected a lowest score below the highest, found {low:g} and {high:g}")
    smallest, largest = map(float, (np.finfo(np.float32).tiny, np.finfo(np.float32).max))
    if not (smallest <= high - low and max(abs(low), abs(high)) <= largest):  # nor where one is no number
        raise UserError(f"{given}: expected scores that single precision holds, found {low:g} to {high:g}")
    if lowest < low or highest > high:
        raise UserError(
            f"--score_range={low:g},{high:g}: expected it to hold every score of {table}, "
            f"found {lowest:g} to {highest:g}"
        )
    return ScoreScale(low, high, lower_is_better, "DMOS" if lower_is_better else "MOS")


def _what_is(path: Path) -> str:
    if path == Path() or str(path) == ".":
        return "nothing given"
    if path.is_dir():
        return "a folder"
    return "a file" if path.exists() else "nothing there"
