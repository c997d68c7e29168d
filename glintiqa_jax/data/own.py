"""The user's own images: a folder and a table of scores."""

from __future__ import annotations

import dataclasses
import math
import os
from pathlib import Path

from glintiqa_jax.data.digests import digest
from glintiqa_jax.data.fields import Table
from glintiqa_jax.data.names import normal_name
from glintiqa_jax.data.rated_images import LEAVES_OUT, SPLIT_WORDS, Collection, RatedImage
from glintiqa_jax.data.scale import ScoreScale, opinion_scale
from glintiqa_jax.data.tables import first_five, read_table
from glintiqa_jax.data.walk import Found, files_below, only_images
from glintiqa_jax.errors import InputError
from glintiqa_jax.settings import setting


@dataclasses.dataclass(frozen=True)
class Columns:
    """The columns of a table of scores; an empty name stands for a column that does not exist."""

    image_column: str = setting("image", "csv: column of the image names, relative to `images`")
    score_column: str = setting("mos", "csv: column of the scores, in any unit")
    group_column: str = setting(
        "", "csv: column of the content groups, which never cross a split; none: each image is one"
    )
    split_column: str = setting("", "csv: column that says train, validation or test; none: splits are drawn")
    std_column: str = setting("", "csv: column of the standard deviations of the opinions; none: not known")


def read_csv(
    images: str | os.PathLike,
    scores: str | os.PathLike,
    columns: Columns = Columns(),
    *,
    score_range: tuple[float, ...] | None = None,
    lower_is_better: bool = False,
    on_bad_image: str = "fail",
) -> Collection:
    """The user's own images: a folder and a table with a header row.

    Args:
      images: folder; the image column's names are relative to it, in any spelling that ``normal_name`` knows.
      scores: a table as ``read_table`` takes it: CSV, or Excel's .xlsx.
      columns: of the table. Scores are in any unit, deviations in the same; splits are ``SPLIT_WORDS``.
      score_range: lowest and highest possible score; without one, the lowest and highest found.
      lower_is_better: the scores are DMOS-like.
      on_bad_image: "fail" stops where scored images are missing; "skip" leaves them out and lists them.

    Raises:
      InputError: a missing or empty folder or file, a missing column, a score that is not a number or out of range, a
        word that is not a split, a name twice, names that leave the folder (by ``..``, an absolute path or a link),
        names without an image (the first five and the count).
    """
    folder, path = Path(images).expanduser(), Path(scores).expanduser()
    if not folder.is_dir():
        raise InputError(field="images", value=images, expected="a folder of images", found=_what_is(folder))
    if path.is_dir() or not path.exists():
        raise InputError(field="scores", value=scores, expected="a CSV file", found=_what_is(path))
    files = files_below(folder)
    if not files.images:
        raise InputError("the folder holds no image", field="images", value=images)
    table = read_table(path, [column for column in dataclasses.astuple(columns) if column])
    names = table.names(columns.image_column, folder)
    raw_scores = table.numbers(columns.score_column)
    stds = table.numbers(columns.std_column) if columns.std_column else [math.nan] * len(names)
    splits = table.words(columns.split_column, SPLIT_WORDS) if columns.split_column else [""] * len(names)
    groups = _groups(table, columns.group_column) if columns.group_column else names
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
        raise InputError(
            f"{len(missing)} of {len(listed)} scored images are not in {folder}: {first_five(missing)}",
            file=path,
            hint=LEAVES_OUT if rated else "",
        )
    scale = _scale(raw_scores, score_range, lower_is_better, f"{path}, column {columns.score_column!r}")
    notes = _notes(folder, files, {Path(image.image) for image in listed})  # type: ignore[arg-type]
    if score_range is None:
        notes.append(
            f"`score_range` is not given: taking the lowest and highest score found, {scale.low:g},{scale.high:g}"
        )
    facts = [image.facts for image in rated]
    return Collection(
        name="csv",
        scale=scale,
        size=len(rated),
        identity=digest(facts, scale.facts()),
        sources=tuple(Path(image.image) for image in rated),  # type: ignore[arg-type]
        images=lambda: iter(rated),
        notes=tuple(notes),
        missing=tuple(f"{name}: scored, but not there" for name in missing),
    )


def _groups(table: Table, column: str) -> list[str]:
    groups = table.texts(column)
    if "" in groups:
        line, _ = table.rows[groups.index("")]
        where = f"{table.path}, line {line}, column {column!r}"
        raise InputError(file=where, expected="a content group", found="nothing")
    return groups


def _by_name(folder: Path, files: Found) -> dict[str, list[Path]]:
    """The files by their name as tables are read; several where names differ only in how accents are written."""
    found: dict[str, list[Path]] = {}
    for path in files.images:
        found.setdefault(normal_name(path.relative_to(folder).as_posix()), []).append(path)
    return found


def _place(folder: Path, root: Path, name: str, found: list[Path], where: str) -> Path:
    """The file of a name, which need not exist; ``InputError`` if the name is ambiguous or outside the folder."""
    literal = folder / name
    try:
        path = found[0] if len(found) == 1 else literal
        if len(found) > 1 and not literal.is_file():
            raise InputError(file=where, expected=f"one file {name!r}", found=first_five([str(one) for one in found]))
        # realpath, unlike resolve, takes links that go round in circles
        inside = Path(os.path.realpath(path)).is_relative_to(root)
        path.is_file()
    except OSError as error:
        raise InputError(file=where, expected="the name of a file", found=f"{name[:80]!r} ({error})") from error
    if not inside:
        raise InputError(f"{name!r} is a link that points outside the folder {folder}", file=where)
    return path


def _notes(folder: Path, files: Found, scored: set[Path]) -> list[str]:
    """A note on images without a score; other files are not mentioned."""
    others = only_images([path for path in files.images if path not in scored])
    notes = []
    if others.images:
        names = first_five([str(path.relative_to(folder)) for path in others.images])
        notes.append(f"warning: {len(others.images)} images in {folder} have no score and are left out: {names}")
    if note := files.note():
        notes.append(f"warning: in {folder}, {note}")
    return notes


def _scale(
    raw_scores: list[float], score_range: tuple[float, ...] | None, lower_is_better: bool, where: str
) -> ScoreScale:
    lowest, highest = min(raw_scores), max(raw_scores)
    try:
        scale = opinion_scale(score_range or (lowest, highest), lower_is_better)
    except InputError as error:
        if score_range:
            raise
        raise InputError(file=where, expected=error.expected, found=error.found) from error
    if lowest < scale.low or highest > scale.high:
        raise InputError(
            field="score_range",
            value=f"{scale.low:g},{scale.high:g}",
            expected=f"it to hold every score of {where}",
            found=f"{lowest:g} to {highest:g}",
        )
    return scale


def _what_is(path: Path) -> str:
    if path == Path() or str(path) == ".":
        return "nothing given"
    if path.is_dir():
        return "a folder"
    return "a file" if path.exists() else "nothing there"
