"""Train, validation and test splits, always of whole content groups, so that no content is on two sides."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from glintiqa_jax.data.files import write_json
from glintiqa_jax.data.names import normal_name, positions_by_name
from glintiqa_jax.data.rated_images import SPLIT_NAMES
from glintiqa_jax.data.tables import first_five
from glintiqa_jax.errors import InputError

_RELEASED_SEED = 12345  # times the number of the round (paper section IV-A, as released)


@dataclasses.dataclass(frozen=True)
class Split:
    """Positions of the images of the three parts.

    Validation may be empty, and so may test if all else trains.

    Attributes:
      train: positions, any sequence of integers; kept increasing, as int64 ``(images,)``, and so are the others.
      validation: of the images that select the step to keep.
      test: of the images that are tested.
      shares_contents: images of one content may be in several parts, whose figures flatter.

    Raises:
      InputError: what is no sequence of integers.

    Example:
      >>> Split(train=[3, 0, 1], validation=[2], test=[]).train.tolist()
      [0, 1, 3]
    """

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    shares_contents: bool = dataclasses.field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        for part in SPLIT_NAMES:
            given = np.asarray(getattr(self, part))
            if given.ndim != 1 or (given.size and given.dtype.kind not in "iu"):
                found = f"an array of {given.dtype}, shape {given.shape}"
                raise InputError(field=f"split.{part}", expected="positions, a sequence of integers", found=found)
            object.__setattr__(self, part, np.sort(given.astype(np.int64)))

    def with_parts(self, validation: Sequence[int] | np.ndarray, test: Sequence[int] | np.ndarray) -> Split:
        """With other images to validate and to test."""
        parts = (np.asarray(part, np.int64) for part in (validation, test))
        return Split(self.train, *parts, shares_contents=self.shares_contents)

    def check(self, names: Sequence[str], groups: Sequence[str]) -> None:
        """``InputError`` unless each position is an image's, in one part once, and each group in one part.

        Args:
          names: of the source's images.
          groups: their content groups, which may be in several parts where ``shares_contents``.
        """
        declared: dict[int, str] = {}
        for part in SPLIT_NAMES:
            for position in getattr(self, part).tolist():
                if not 0 <= position < len(names):
                    expected = f"positions from 0 to {len(names) - 1}"
                    raise InputError(field=f"split.{part}", expected=expected, found=position)
                if position in declared:
                    expected, found = "each image once", f"{names[position]}, which is in {declared[position]!r}"
                    raise InputError(field=f"split.{part}", expected=expected, found=found)
                declared[position] = part
        if not self.shares_contents:
            try:
                _torn(list(declared.values()), [groups[position] for position in declared])
            except InputError as error:
                raise InputError(str(error), field="split", hint="`shares_contents=True` allows that") from error


def split_by_group(groups: Sequence[str], *, validation_fraction: float, test_fraction: float, seed: int) -> Split:
    """Draw the content groups of the test and validation parts; the rest trains.

    Args:
      groups: each image's content group.
      validation_fraction: share of the groups that validates, in [0, 1); at least one group does, unless it is 0.
      test_fraction: share of the groups that is tested, in [0, 1); at least one group is, unless it is 0.
      seed: the same seed and the same set of groups give the same split, in whatever order the images come.

    Raises:
      InputError: with fewer groups than parts.
    """
    distinct = sorted(set(groups))
    parts = 1 + bool(validation_fraction) + bool(test_fraction)
    if len(distinct) < parts:
        raise InputError(
            expected=f"at least {parts} content groups, for a split into {parts} parts",
            found=f"{len(distinct)}: {', '.join(distinct)}",
        )
    shuffled = [distinct[i] for i in np.random.default_rng(seed).permutation(len(distinct))]
    tests = validations = 0
    if test_fraction:
        tests = min(max(round(test_fraction * len(distinct)), 1), len(distinct) - parts + 1)
    if validation_fraction:
        validations = min(max(round(validation_fraction * len(distinct)), 1), len(distinct) - 1 - tests)
    part = dict.fromkeys(shuffled, "train")
    part |= dict.fromkeys(shuffled[:tests], "test")
    part |= dict.fromkeys(shuffled[tests : tests + validations], "validation")
    return _from_names([part[group] for group in groups])


def released_seed(round_number: int) -> int:
    """The seed of a round of the released protocol, from 1; which contents it draws is this library's."""
    return _RELEASED_SEED * round_number


def split_as_declared(
    splits: Sequence[str],
    groups: Sequence[str],
    *,
    validation_fraction: float,
    seed: int,
    leave_out: bool = False,
    needed: Sequence[str] = ("train", "test"),
) -> Split:
    """The split that the data declare: "train", "validation" or "test" for each image.

    Where no image is declared "validation", a share of the training groups is held out for it.

    Args:
      splits: what the data declare of each image.
      groups: each image's content group.
      validation_fraction: share of the training groups held out where none is declared; 0 holds none out.
      seed: of the choice of what is held out.
      leave_out: where a group is on two sides, keep the test images as they are declared and train or validate on none
        of their content (nor train on any that validates), rather than to refuse.
      needed: the parts that must have images.

    Raises:
      InputError: when a group is on two sides (naming the first five), a part is empty, or training has fewer than two
        groups to hold one out from.
    """
    declared = list(splits)
    torn = _torn(declared, groups, refused=not leave_out)
    for position, group in enumerate(groups):
        if group in torn:
            kept = next(name for name in reversed(SPLIT_NAMES) if name in torn[group])  # test before validation
            declared[position] = kept if declared[position] == kept else ""
    for part in needed:
        if part not in declared:
            raise InputError(f"the declared split has no image in {part!r}, found {', '.join(sorted(set(declared)))}")
    if "validation" not in declared and validation_fraction:
        training = sorted({group for group, side in zip(groups, declared, strict=True) if side == "train"})
        if len(training) < 2:
            raise InputError("to hold a validation split out, 'train' needs at least two content groups, found 1")
        count = min(max(round(validation_fraction * len(training)), 1), len(training) - 1)
        chosen = np.random.default_rng(seed).permutation(len(training))[:count]
        held_out = {training[i] for i in chosen}
        declared = [
            "validation" if g in held_out and s == "train" else s for g, s in zip(groups, declared, strict=True)
        ]
    return _from_names(declared)


def _torn(declared: Sequence[str], groups: Sequence[str], *, refused: bool = True) -> dict[str, set[str]]:
    """The groups that are on several sides of a split, and which; ``InputError`` for any where they are ``refused``."""
    sides: dict[str, set[str]] = {}
    for group, side in zip(groups, declared, strict=True):
        sides.setdefault(group, set()).add(side)
    torn = {group: found for group, found in sides.items() if len(found) > 1}
    if torn and refused:
        raise InputError(
            f"{len(torn)} content groups are on two sides of the declared split: {first_five(sorted(torn))}"
        )
    return torn


def save_split(path: Path, split: Split, names: Sequence[str], database: str) -> None:
    """Write a split as JSON, for others to reuse: ``database``, and names in ``train``, ``validation``, ``test``."""
    write_json(path, {"database": database} | _by_name(split, names))


def load_split(path: Path, names: Sequence[str], groups: Sequence[str], database: str) -> Split:
    """A split that ``save_split`` wrote, over the images of a source; those it does not name are in no part.

    Raises:
      InputError: a file that is not a split, or is of another database, names that the source does not have or that are
        in two parts, a content group on two sides, nothing to train on.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InputError(
            field="split_by", value=path, expected="the name of a way to split, or a file of a split", found=error
        ) from error
    except ValueError as error:
        raise InputError(field="split_by", value=path, expected="JSON", found=f"something else ({error})") from error
    if not isinstance(content, dict) or not all(isinstance(content.get(name), list) for name in SPLIT_NAMES):
        raise InputError(field="split_by", value=path, expected=f"lists of image names called {', '.join(SPLIT_NAMES)}")
    if content.get("database") != database:
        raise InputError(
            field="split_by", value=path, expected=f"a split of {database}", found=f"one of {content.get('database')}"
        )
    positions = positions_by_name(names)
    declared = [""] * len(names)
    unknown = []
    for part in SPLIT_NAMES:
        for given in content[part]:
            try:
                name = normal_name(str(given))
            except ValueError as error:
                raise InputError(f"{part!r}: {error}", field="split_by", value=path) from error
            if name not in positions:
                unknown.append(str(given))
            elif declared[positions[name]]:
                raise InputError(f"{given!r} is named twice", field="split_by", value=path)
            else:
                declared[positions[name]] = part
    if unknown:
        raise InputError(
            f"{len(unknown)} of its images are not in this dataset: {first_five(unknown)}", field="split_by", value=path
        )
    kept = [position for position, part in enumerate(declared) if part]
    sides, contents = ([values[position] for position in kept] for values in (declared, groups))
    try:
        chosen = split_as_declared(sides, contents, validation_fraction=0, seed=0, needed=("train",))
    except InputError as error:
        raise InputError(str(error), field="split_by", value=path) from error
    return Split(*(np.asarray(kept)[getattr(chosen, part)] for part in SPLIT_NAMES))


def split_digest(split: Split, names: Sequence[str]) -> str:
    """SHA-256 of a split by names: two runs with the same digest trained and tested on the same images."""
    return hashlib.sha256(json.dumps(_by_name(split, names), sort_keys=True).encode()).hexdigest()


def _by_name(split: Split, names: Sequence[str]) -> dict[str, Any]:
    return {part: sorted(names[position] for position in getattr(split, part)) for part in SPLIT_NAMES}


def _from_names(names: Sequence[str]) -> Split:
    array = np.asarray(names)
    return Split(*(np.flatnonzero(array == name) for name in SPLIT_NAMES))
