"""Who trains, who validates, who is tested: always whole content groups, so that no content is on two sides."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from glintiqa_jax.data.readers import SPLIT_NAMES
from glintiqa_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class Split:
    """Record positions of the three parts, each increasing, none empty, none sharing a group with another."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


def split_by_group(groups: Sequence[str], *, validation_fraction: float, test_fraction: float, seed: int) -> Split:
    """Draw the content groups of the test and validation parts; the rest trains.

    Args:
      groups: each image's content group.
      validation_fraction: share of the groups that validates, in (0, 1); at least one group does.
      test_fraction: share of the groups that is tested, in (0, 1); at least one group is.
      seed: the same seed and the same set of groups give the same split, in whatever order the images come.

    Raises:
      UserError: with fewer than three groups.
    """
    distinct = sorted(set(groups))
    if len(distinct) < 3:
        raise UserError(
            "a train, a validation and a test split need at least three content groups, "
            f"found {len(distinct)}: {', '.join(distinct)}"
        )
    shuffled = [distinct[i] for i in np.random.default_rng(seed).permutation(len(distinct))]
    tests = min(max(round(test_fraction * len(distinct)), 1), len(distinct) - 2)
    validations = min(max(round(validation_fraction * len(distinct)), 1), len(distinct) - 1 - tests)
    part = dict.fromkeys(shuffled, "train")
    part |= dict.fromkeys(shuffled[:tests], "test")
    part |= dict.fromkeys(shuffled[tests : tests + validations], "validation")
    return _from_names([part[group] for group in groups])


def split_as_declared(splits: Sequence[str], groups: Sequence[str], *, validation_fraction: float, seed: int) -> Split:
    """The split that the data declare, each image "train", "validation" or "test".

    Where no image is declared "validation", a share of the training groups is held out for it.

    Raises:
      UserError: when a group is on two sides (naming the first five), a part is empty, or training has fewer than two
        groups to hold one out from.
    """
    sides: dict[str, set[str]] = {}
    for group, split in zip(groups, splits, strict=True):
        sides.setdefault(group, set()).add(split)
    torn = sorted(group for group, found in sides.items() if len(found) > 1)
    if torn:
        raise UserError(f"{len(torn)} content groups are on two sides of the declared split: {', '.join(torn[:5])}")
    declared = list(splits)
    for needed in ("train", "test"):
        if needed not in declared:
            raise UserError(f"the declared split has no image in {needed!r}, found {', '.join(sorted(set(declared)))}")
    if "validation" not in declared:
        training = sorted({group for group, split in zip(groups, declared, strict=True) if split == "train"})
        if len(training) < 2:
            raise UserError("to hold a validation split out, 'train' needs at least two content groups, found 1")
        count = min(max(round(validation_fraction * len(training)), 1), len(training) - 1)
        chosen = np.random.default_rng(seed).permutation(len(training))[:count]
        held_out = {training[i] for i in chosen}
        declared = ["validation" if g in held_out else s for g, s in zip(groups, declared, strict=True)]
    return _from_names(declared)


def _from_names(names: Sequence[str]) -> Split:
    array = np.asarray(names)
    return Split(*(np.flatnonzero(array == name) for name in SPLIT_NAMES))
