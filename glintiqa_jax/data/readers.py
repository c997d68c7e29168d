"""Databases as distributed -> rated images. One reader per layout; nothing else knows a layout."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from glintiqa_jax.data.catalog import ScoreScale
from glintiqa_jax.data.images import IMAGE_SUFFIXES
from glintiqa_jax.errors import UserError

SPLIT_NAMES = ("train", "validation", "test")


@dataclasses.dataclass(frozen=True)
class RatedImage:
    """One image and the opinion people had of it.

    Attributes:
      name: unique in its collection; what errors, reports and score files call the image.
      image: the file that holds it, or its encoded bytes.
      raw_score: opinion score in the collection's own unit and direction.
      group: images with the same content share a group, which never crosses a split.
      split: "train", "validation" or "test" where the source fixes it, else "".
      distortion_type: number of the distortion in its database's numbering, 0 where there is none.
      distortion_level: level of the distortion, 0 where there is none.
    """

    name: str
    image: Path | bytes
    raw_score: float
    group: str
    split: str = ""
    distortion_type: int = 0
    distortion_level: int = 0

    def encoded(self) -> bytes:
        """The image file's bytes."""
        return self.image if isinstance(self.image, bytes) else self.image.read_bytes()


@dataclasses.dataclass(frozen=True)
class Collection:
    """Rated images that belong together.

    Attributes:
      name: short name, part of the prepared records' path.
      scale: what the scores mean.
      size: how many images ``images`` yields.
      fingerprint: changes when anything changes that the records would show; records are reused while it is equal.
      images: a new iterator over the images, always in the same order.
      notes: what the reader noticed and the user should hear, a line each.
    """

    name: str
    scale: ScoreScale
    size: int
    fingerprint: str
    images: Callable[[], Iterator[RatedImage]]
    notes: tuple[str, ...] = ()


def fingerprint(*facts: object) -> str:
    """Digest of JSON-serialisable facts."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def read_csv(
    images: str | os.PathLike,
    scores: str | os.PathLike,
    *,
    image_column: str = "image",
    score_column: str = "mos",
    group_column: str = "",
    split_column: str = "",
    score_range: tuple[float, ...] | None = None,
    lower_is_better: bool = False,
) -> Collection:
    """The user's own images: a folder and a CSV file with a header row.

    Args:
      images: folder; the image column's names are relative to it.
      scores: CSV file, UTF-8 with or without a byte-order mark, separated by commas, semicolons or tabs.
      image_column: column of the image names.
      score_column: column of the scores, any unit.
      group_column: column of the content groups; without one, each image is its own group.
      split_column: column that says train, validation or test; without one, splits are drawn.
      score_range: lowest and highest possible score; without one, the lowest and highest found.
      lower_is_better: the scores are DMOS-like.

    Raises:
      UserError: a missing or empty folder or file, a missing column, a score that is no number or out of range,
        a split that is none of the three names, a name twice, names that leave the folder, names without an image
        (the first five and the count).
    """
    folder, table = Path(images), Path(scores)
    if not folder.is_dir():
        raise UserError(f"--images={images}: expected a folder of images, found {_what_is(folder)}")
    if not table.is_file():
        raise UserError(f"--scores={scores}: expected a CSV file, found {_what_is(table)}")
    rows = _rows(table, [c for c in (image_column, score_column, group_column, split_column) if c])
    names = [row[image_column].strip() for row in rows]
    raw_scores = [_number(row[score_column], table, line, score_column) for line, row in enumerate(rows, start=2)]
    splits = [row[split_column].strip().lower() if split_column else "" for row in rows]
    groups = [row[group_column].strip() if group_column else name for row, name in zip(rows, names, strict=True)]

    for line, split in enumerate(splits, start=2):
        if split_column and split not in SPLIT_NAMES:
            raise UserError(
                f"{table}, line {line}, column {split_column!r}: expected {', '.join(SPLIT_NAMES)}, found {split!r}"
            )
    seen: set[str] = set()
    for line, name in enumerate(names, start=2):
        if name in seen:
            raise UserError(f"{table}, line {line}: {name!r} is named a second time; an image has one score")
        seen.add(name)
    present = _images_below(folder)
    if not present:
        raise UserError(f"--images={images}: the folder holds no image ({', '.join(sorted(IMAGE_SUFFIXES))})")
    for line, name in enumerate(names, start=2):
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise UserError(f"{table}, line {line}: {name!r} points outside the folder {folder}")
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise UserError(
            f"{table}: {len(missing)} of {len(names)} scored images are not in {folder}: {_first_five(missing)}"
        )
    notes = []
    unscored = sorted(present - {os.path.normpath(name) for name in names})
    if unscored:
        notes.append(
            f"warning: {len(unscored)} images in {folder} have no score and are left out: {_first_five(unscored)}"
        )
    scale = _scale(raw_scores, score_range, lower_is_better, table, score_column)
    if score_range is None:
        notes.append(
            f"--score_range is not given: taking the lowest and highest score found, {scale.low:g},{scale.high:g}"
        )
    rated = [
        RatedImage(name, folder / name, score, group, split)
        for name, score, group, split in zip(names, raw_scores, groups, splits, strict=True)
    ]
    sizes = [(image.stat().st_size, image.stat().st_mtime_ns) for image in (folder / name for name in names)]
    return Collection(
        name="csv",
        scale=scale,
        size=len(rated),
        fingerprint=fingerprint(
            str(folder.resolve()), names, raw_scores, groups, splits, sizes, dataclasses.astuple(scale)
        ),
        images=lambda: iter(rated),
        notes=tuple(notes),
    )


def _rows(table: Path, columns: list[str]) -> list[dict[str, str]]:
    try:
        text = table.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{table}: expected a CSV file in UTF-8, found other bytes ({error.reason})") from error
    header = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=header.count)
    reader = csv.DictReader(text.splitlines(), delimiter=delimiter)
    found = reader.fieldnames or []
    for column in columns:
        if column not in found:
            raise UserError(f"{table}: expected a column {column!r}, found {', '.join(found) or 'an empty file'}")
    rows = list(reader)
    if not rows:
        raise UserError(f"{table}: expected one row per image below the header, found none")
    for line, row in enumerate(rows, start=2):
        if any(row[column] is None for column in columns):
            raise UserError(f"{table}, line {line}: expected {len(found)} fields, found fewer")
    return rows


def _number(text: str, table: Path, line: int, column: str) -> float:
    try:
        # A decimal comma is the habit of half the world; thousands are never separated in a score.
        value = float(text.strip().replace(",", "."))
    except ValueError:
        value = float("nan")
    if value != value or value in (float("inf"), float("-inf")):
        raise UserError(f"{table}, line {line}, column {column!r}: expected a number, found {text!r}")
    return value


def _scale(
    raw_scores: list[float],
    score_range: tuple[float, ...] | None,
    lower_is_better: bool,
    table: Path,
    column: str,
) -> ScoreScale:
    lowest, highest = min(raw_scores), max(raw_scores)
    low, high = score_range or (lowest, highest)
    if not low < high:
        given = f"--score_range={low:g},{high:g}" if score_range else f"{table}, column {column!r}"
        raise UserError(f"{given}: expected a lowest score below the highest, found {low:g} and {high:g}")
    if lowest < low or highest > high:
        raise UserError(
            f"--score_range={low:g},{high:g}: expected it to hold every score of {table}, "
            f"found {lowest:g} to {highest:g}"
        )
    return ScoreScale(low, high, lower_is_better, "DMOS" if lower_is_better else "MOS")


def _images_below(folder: Path) -> set[str]:
    found = set()
    for root, _, files in os.walk(folder):
        for file in files:
            if Path(file).suffix.lower() in IMAGE_SUFFIXES:
                found.add(os.path.normpath((Path(root) / file).relative_to(folder)))
    return found


def _first_five(names: list[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")


def _what_is(path: Path) -> str:
    if path == Path() or str(path) == ".":
        return "nothing given"
    if path.is_dir():
        return "a folder"
    return "a file" if path.exists() else "nothing there"
