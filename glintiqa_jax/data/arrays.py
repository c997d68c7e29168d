"""Rated images in memory or in files, used as they are: nothing is prepared or written."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from glintiqa_jax.data.checking import Checked
from glintiqa_jax.data.digests import digest
from glintiqa_jax.data.images import decode_image
from glintiqa_jax.data.names import normal_name
from glintiqa_jax.data.near_duplicates import Look, near_duplicates, shared_groups
from glintiqa_jax.data.own import Columns, read_csv
from glintiqa_jax.data.pixels import to_pixels
from glintiqa_jax.data.rated_images import SPLIT_EXPECTED, SPLIT_WORDS, Collection, RatedImage
from glintiqa_jax.data.scale import ScoreScale, opinion_scale
from glintiqa_jax.data.source import Index, Source
from glintiqa_jax.errors import InputError
from glintiqa_jax.progress import warn

_MISSING = ("None", "nan", "<NA>", "NaT")  # as texts: what Python, NumPy and pandas have where nothing is known


class ArraySource(Source):
    """The images of a collection as they are: arrays, encoded bytes, or files that are decoded when they are asked for.

    Every image is decoded once, at the start, as a check. Identical images share a group.

    Args:
      collection: the images.
      on_bad_image: "fail" stops at the first image that does not decode; "skip" leaves such images out.
      merge_near_duplicates: images that show nearly the same share a group, too.

    Raises:
      InputError: a bad image with "fail", or no good image at all.
    """

    def __init__(self, collection: Collection, *, on_bad_image: str = "fail", merge_near_duplicates: bool = False):
        checked = Checked(collection, lambda rated, _, pixels: (rated.image, pixels), on_bad_image=on_bad_image)
        self._images = list(checked)
        self._looks = checked.looks
        self.name, self.scale = collection.name, collection.scale
        self.skipped = [*collection.missing, *checked.skipped]
        self.merges_near_duplicates = merge_near_duplicates
        groups = [row["group"] for row in checked.rows]
        pairs = near_duplicates(self._looks, groups)
        merged = shared_groups(groups, self._looks, pairs, merge=merge_near_duplicates)
        self.index = Index.of([row | {"group": group} for row, group in zip(checked.rows, merged, strict=True)])
        self.identity = digest(collection.identity, [look.digest for look in self._looks], merge_near_duplicates)

    def looks(self) -> list[Look]:
        return self._looks

    def _pixels(self, position: int) -> np.ndarray:
        image = self._images[position]
        if isinstance(image, np.ndarray):
            return image
        name = self.index.names[position]
        try:
            return decode_image(image if isinstance(image, bytes) else image.read_bytes(), name)
        except OSError as error:
            raise InputError(f"cannot be read any more ({error})", file=image) from error


class FolderSource(ArraySource):
    """A folder with a table of scores: files are decoded when they are asked for, and nothing is written."""


def from_arrays(
    images: Sequence[Any],
    scores: Sequence[float],
    *,
    score_range: tuple[float, float] | None = None,
    lower_is_better: bool = False,
    groups: Sequence[Any] | None = None,
    names: Sequence[str] | None = None,
    splits: Sequence[str] | None = None,
    score_stds: Sequence[float] | None = None,
) -> ArraySource:
    """Rated images in memory as a source.

    Args:
      images: each an array ``(height, width)`` or ``(height, width, channels)`` of bool, integers or floats as
        ``to_pixels`` takes it, a Pillow image, or a file's path, which is decoded when it is asked for.
      scores: the opinion of each, ``(images,)``, in any unit.
      score_range: the lowest and the highest possible score; needed.
      lower_is_better: the scores are DMOS-like.
      groups: the content of each image, of any type that has a text; a content never crosses a split. By default each
        image is its own; an image without a content (None, NaN, "") is refused.
      names: unique; by default paths below their common folder, and numbers for images that are not files.
      splits: "train", "validation" or "test" (or val, dev, ...) of each; by default splits are drawn.
      score_stds: standard deviations of the opinions, in the unit of the scores.

    Raises:
      InputError: arguments of different lengths, an image without a content, scores that are not finite or out of
        range, negative deviations, a name twice, a word that is not a split, and an image that cannot be used, by its
        index.

    Example:
      >>> import numpy as np
      >>> images = np.zeros((3, 48, 64, 3), np.uint8)
      >>> source = from_arrays(images, [20, 55, 90], score_range=(0, 100))
      >>> len(source), source[1]["image"].shape, round(float(source[1]["score"]), 6)
      (3, (48, 64, 3), 0.55)
    """
    given = list(images) if not isinstance(images, str | bytes | os.PathLike) else []
    if not given:
        raise InputError(field="images", expected="a sequence of images", found=type(images).__name__)
    count = len(given)
    if score_range is None:
        raise InputError(field="score_range", expected="the lowest and the highest possible score", found="none")
    scale = opinion_scale(tuple(score_range), lower_is_better)
    raw_scores = _numbers("scores", scores, count)
    _check_range(raw_scores, scale)
    stds = [math.nan] * count if score_stds is None else _numbers("score_stds", score_stds, count)
    called = _names(given, names)
    contents = called if groups is None else _contents(groups, count)
    declared = [""] * count if splits is None else _splits(splits, count)
    rated = [
        RatedImage(
            name=name,
            image=_as_kept(image, f"images[{number}]"),
            raw_score=score,
            score_std=std,
            group=group,
            split=split,
        )
        for number, (name, image, score, std, group, split) in enumerate(
            zip(called, given, raw_scores, stds, contents, declared, strict=True)
        )
    ]
    return ArraySource(
        Collection(
            name="arrays",
            scale=scale,
            size=count,
            identity=digest([image.facts for image in rated], scale.facts()),
            images=lambda: iter(rated),
        )
    )


def from_folder(
    images: str | os.PathLike,
    scores: str | os.PathLike,
    *,
    columns: Columns | Mapping[str, str] | None = None,
    score_range: tuple[float, float] | None = None,
    lower_is_better: bool = False,
    on_bad_image: str = "fail",
    merge_near_duplicates: bool = False,
) -> FolderSource:
    """A folder of images and a table of their scores as a source, read where they are.

    Args:
      images: the folder.
      scores: the table, CSV of any dialect or .xlsx, one row an image.
      columns: of the table: ``{"image": ..., "score": ..., "group": ..., "split": ..., "std": ...}``. By default images
        are in "image", scores in "mos", and the others are not read.
      score_range: the lowest and the highest possible score; needed.
      lower_is_better: the scores are DMOS-like.
      on_bad_image: images that are missing or do not decode stop it ("fail") or are left out ("skip").
      merge_near_duplicates: images that show nearly the same share a group.

    Raises:
      InputError: as ``read_csv``, an image that does not decode with "fail", and unknown columns.
    """
    if not isinstance(columns, Columns):
        columns = columns or {}
        if unknown := set(columns) - {"image", "score", "group", "split", "std"}:
            raise InputError(
                field="columns", expected="image, score, group, split or std", found=", ".join(sorted(unknown))
            )
        columns = Columns(**{f"{name}_column": column for name, column in columns.items()})
    if score_range is None:
        raise InputError(field="score_range", expected="the lowest and the highest possible score", found="none")
    collection = read_csv(
        images,
        scores,
        columns,
        score_range=tuple(score_range),
        lower_is_better=lower_is_better,
        on_bad_image=on_bad_image,
    )
    for note in collection.notes:
        warn(note)
    return FolderSource(collection, on_bad_image=on_bad_image, merge_near_duplicates=merge_near_duplicates)


def _as_kept(image: Any, name: str) -> Path | np.ndarray:
    if isinstance(image, str | os.PathLike):
        path = Path(image).expanduser()
        if not path.is_file():
            raise InputError(field=name, value=path, expected="an image file", found="nothing there")
        return path
    return to_pixels(image, name)


def _names(images: Sequence[Any], names: Sequence[str] | None) -> list[str]:
    if names is None:
        folders = {Path(image).absolute().parent for image in images if isinstance(image, str | os.PathLike)}
        common = os.path.commonpath(folders) if folders else ""
        given: Sequence[str] = [
            os.path.relpath(image, common) if isinstance(image, str | os.PathLike) else f"{number:06d}"
            for number, image in enumerate(images)
        ]
    else:
        given = _of_length("names", names, len(images))
    found: dict[str, int] = {}
    for number, text in enumerate(given):
        try:
            name = normal_name(str(text))
        except ValueError as error:
            raise InputError(f"{error}", field=f"names[{number}]") from error
        if name in found:
            raise InputError(
                field=f"names[{number}]",
                expected="another name for each image",
                found=f"{name!r} of {found[name]} again",
            )
        found[name] = number
    return list(found)


def _of_length(field: str, values: Iterable[Any], count: int) -> list[Any]:
    """By position, whatever labels they have, as those of a pandas Series."""
    found = list(values)
    if len(found) != count:
        raise InputError(field=field, expected=f"{count}, one for each image", found=len(found))
    return found


def _contents(groups: Iterable[Any], count: int) -> list[str]:
    found = []
    for number, group in enumerate(_of_length("groups", groups, count)):
        text = str(group).strip()
        if not text or (text in _MISSING and not isinstance(group, str)):
            hint = "a content of its own is any text that no other image has"
            raise InputError(field=f"groups[{number}]", expected="a content", found=repr(group), hint=hint)
        found.append(str(group))
    return found


def _numbers(field: str, values: Sequence[float], count: int) -> list[float]:
    try:
        numbers = np.asarray(values, np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(field=field, expected="numbers", found=f"something else ({error})") from error
    if numbers.shape != (count,):
        raise InputError(field=field, expected=f"{count} numbers, one for each image", found=f"shape {numbers.shape}")
    for number in np.flatnonzero(~np.isfinite(numbers))[: field == "scores"]:
        raise InputError(field=f"{field}[{number}]", expected="a finite number", found=numbers[number])
    return numbers.tolist()


def _check_range(scores: Sequence[float], scale: ScoreScale) -> None:
    for number, score in enumerate(scores):
        if not scale.low <= score <= scale.high:
            raise InputError(
                field=f"scores[{number}]", expected=f"a score from {scale.low:g} to {scale.high:g}", found=f"{score:g}"
            )


def _splits(words: Sequence[str], count: int) -> list[str]:
    found = []
    for number, word in enumerate(_of_length("splits", words, count)):
        split = SPLIT_WORDS.get(str(word).strip().lower())
        if split is None:
            raise InputError(field=f"splits[{number}]", expected=SPLIT_EXPECTED, found=repr(word))
        found.append(split)
    return found
