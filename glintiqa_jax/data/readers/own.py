"""The user's own images: a folder and a table of scores."""

from __future__ import annotations

import dataclasses
import math
import os
from pathlib import Path

from glintiqa_jax.data.catalog import ScoreScale
from glintiqa_jax.data.images import IMAGE_SUFFIXES
from glintiqa_jax.data.rated_images import SPLIT_NAMES, Collection, RatedImage, file_facts, fingerprint
from glintiqa_jax.data.tables import first_five, number, read_csv_rows
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
    """The user's own images: a folder and a CSV file with a header row.

    Args:
      images: folder; the image column's names are relative to it.
      scores: CSV file, UTF-8 with or without a byte-order mark, separated by commas, semicolons or tabs.
      image_column: column of the image names.
      score_column: column of the scores, any unit.
      group_column: column of the content groups; without one, each image is its own group.
      split_column: column that says train, validation or test; without one, splits are drawn.
      std_column: column of the opinions' standard deviations, in the unit of the scores; without one, not known.
      score_range: lowest and highest possible score; without one, the lowest and highest found.
      lower_is_better: the scores are DMOS-like.
      on_bad_image: "fail" stops where scored images are missing; "skip" leaves them out and lists them.

    Raises:
      UserError: a missing or empty folder or file, a missing column, a score that is no number or out of range,
        a split that is none of the three names, a name twice, names that leave the folder (by ``..``, an absolute path
        or a link), names without an image (the first five and the count).
    """
    folder, table = Path(images).expanduser(), Path(scores).expanduser()
    if not folder.is_dir():
        raise UserError(f"--images={images}: expected a folder of images, found {_what_is(folder)}")
    if not table.is_file():
        raise UserError(f"--scores={scores}: expected a CSV file, found {_what_is(table)}")
    columns = (image_column, score_column, group_column, split_column, std_column)
    present = _images_below(folder)
    if not present:
        raise UserError(f"--images={images}: the folder holds no image ({', '.join(sorted(IMAGE_SUFFIXES))})")
    listed: dict[str, RatedImage] = {}
    for line, row in read_csv_rows(table, [column for column in columns if column]):
        name = row[image_column].strip()
        if name in listed:
            raise UserError(f"{table}, line {line}: {name!r} is named a second time; an image has one score")
        _check_inside(folder, name, f"{table}, line {line}")
        split = row[split_column].strip().lower() if split_column else ""
        if split_column and split not in SPLIT_NAMES:
            raise UserError(
                f"{table}, line {line}, column {split_column!r}: expected {', '.join(SPLIT_NAMES)}, found {split!r}"
            )
        group = row[group_column].strip() if group_column else name
        if not group:
            raise UserError(f"{table}, line {line}, column {group_column!r}: expected a content group, found nothing")
        listed[name] = RatedImage(
            name=name,
            image=folder / name,
            raw_score=number(row[score_column], table, line, score_column),
            score_std=number(row[std_column], table, line, std_column) if std_column else math.nan,
            group=group,
            split=split,
        )
    rated = [image for image in listed.values() if (folder / image.name).is_file()]
    missing = [name for name in listed if not (folder / name).is_file()]
    if not rated or (missing and on_bad_image == "fail"):
        hint = "; --on_bad_image=skip leaves them out" if rated else ""
        raise UserError(
            f"{table}: {len(missing)} of {len(listed)} scored images are not in {folder}: {first_five(missing)}{hint}"
        )
    notes = []
    unscored = sorted(present - {os.path.normpath(name) for name in listed})
    if unscored:
        notes.append(
            f"warning: {len(unscored)} images in {folder} have no score and are left out: {first_five(unscored)}"
        )
    scale = _scale([image.raw_score for image in listed.values()], score_range, lower_is_better, table, score_column)
    if score_range is None:
        notes.append(
            f"--score_range is not given: taking the lowest and highest score found, {scale.low:g},{scale.high:g}"
        )
    facts = [[str(value) for value in dataclasses.astuple(dataclasses.replace(image, image=b""))] for image in rated]
    files = file_facts([folder / image.name for image in rated])
    return Collection(
        name="csv",
        scale=scale,
        size=len(rated),
        fingerprint=fingerprint(
            str(folder.resolve()),
            facts,
            files,
            dataclasses.astuple(scale),
        ),
        images=lambda: iter(rated),
        notes=tuple(notes),
        missing=tuple(f"{name}: scored, but not there" for name in missing),
    )


def _check_inside(folder: Path, name: str, where: str) -> None:
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise UserError(f"{where}: {name!r} points outside the folder {folder}")
    try:
        # realpath, unlike resolve, takes links that go round in circles
        inside = Path(os.path.realpath(folder / name)).is_relative_to(os.path.realpath(folder))
        (folder / name).is_file()
    except (OSError, ValueError) as error:
        raise UserError(f"{where}: expected the name of a file, found {name[:80]!r} ({error})") from error
    if not inside:
        raise UserError(f"{where}: {name!r} is a link that points outside the folder {folder}")


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


def _what_is(path: Path) -> str:
    if path == Path() or str(path) == ".":
        return "nothing given"
    if path.is_dir():
        return "a folder"
    return "a file" if path.exists() else "nothing there"
