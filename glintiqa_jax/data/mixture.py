"""Several prepared databases as one source, each image's score brought to quality by its own database's scale."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from glintiqa_jax.data.catalog import MIXED_SCALE
from glintiqa_jax.data.near_duplicates import Fingerprint, merge_groups, near_duplicates
from glintiqa_jax.data.rated_images import fingerprint
from glintiqa_jax.data.source import Index, RatedSource
from glintiqa_jax.errors import UserError


class MixedSource:
    """``len()`` and ``[position]`` over several sources, one after the other; the scores are quality in [0, 1].

    Names and groups carry their database in front, so that they stay apart; but images of different databases that show
    nearly the same share a group, as several databases were made of the same photographs.

    Args:
      parts: the sources, at least one.
      weights: how often each is drawn in training, in any unit.

    Attributes:
      shared: how many pairs of images of different databases show nearly the same.

    Raises:
      UserError: for sources of one database twice, or trained on raw scores, whose units cannot be mixed.
    """

    def __init__(self, parts: Sequence[RatedSource], weights: Sequence[float]):
        names = [part.card["name"] for part in parts]
        if len(set(names)) != len(names):
            raise UserError(f"--dataset: expected each database once, found {', '.join(names)}")
        if any(part.scale.raw_target for part in parts):
            raise UserError(
                "--target=raw: the scores of several databases have no unit in common; use --target=quality"
            )
        self.parts, self.weights = list(parts), list(weights)
        self.scale = MIXED_SCALE
        self._starts = part_starts(self)
        index = _joined(self.parts)
        origin = database_of(self, np.arange(len(self)))
        pairs = [
            pair for pair in near_duplicates(self.fingerprints(), index.groups) if origin[pair[0]] != origin[pair[1]]
        ]
        self.shared = len(pairs)
        self.index = dataclasses.replace(index, groups=merge_groups(index.groups, pairs))
        total = sum(weights)
        self.card: dict[str, Any] = {
            "name": ",".join(names),
            "images": sum(part.card["images"] for part in parts),
            "groups": len(set(self.index.groups)),
            "skipped": [line for part in parts for line in part.card["skipped"]],
            "max_side": max(part.card["max_side"] for part in parts),
            "fingerprint": fingerprint(
                [(part.card["fingerprint"], weight / total) for part, weight in zip(parts, weights, strict=True)]
            ),
        }

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, position: int) -> dict[str, Any]:
        position = range(len(self))[int(position)]
        part = int(np.searchsorted(self._starts, position, side="right")) - 1
        item = self.parts[part][position - int(self._starts[part])]
        return item | {
            "raw_score": float(self.index.raw_scores[position]),
            "score_std": float(self.index.score_stds[position]),
            "name": self.index.names[position],
            "group": self.index.groups[position],
        }

    def fingerprints(self) -> list[Fingerprint]:
        """What the images look like, in record order."""
        return [one for part in self.parts for one in part.fingerprints()]

    def sizes(self) -> np.ndarray:
        """Height and width of every image as ``[position]`` gives it, int64 ``(images, 2)``."""
        return np.concatenate([part.sizes() for part in self.parts])


def part_starts(source: RatedSource | MixedSource) -> np.ndarray:
    """The position at which each part of a source begins, and last the source's length, int64 ``(parts + 1,)``."""
    return np.cumsum([0, *(len(part) for part in source.parts)])


def database_of(source: RatedSource | MixedSource, positions: np.ndarray) -> np.ndarray:
    """The number of the part that each position belongs to, int64 of the same shape."""
    return np.searchsorted(part_starts(source), positions, side="right") - 1


def _joined(parts: Sequence[RatedSource]) -> Index:
    def in_front(part: RatedSource, values: Sequence[str]) -> list[str]:
        return [f"{part.card['name']}/{value}" for value in values]

    columns: dict[str, Any] = {}
    for field in dataclasses.fields(Index):
        if field.name in ("names", "groups"):
            columns[field.name] = [v for part in parts for v in in_front(part, getattr(part.index, field.name))]
        elif field.name == "raw_scores":
            columns[field.name] = np.concatenate([part.scale.to_quality(part.index.raw_scores) for part in parts])
        elif field.name == "score_stds":
            spans = [part.scale.high - part.scale.low for part in parts]
            columns[field.name] = np.concatenate(
                [part.index.score_stds / span for part, span in zip(parts, spans, strict=True)]
            )
        else:
            values = [getattr(part.index, field.name) for part in parts]
            columns[field.name] = (
                np.concatenate(values) if isinstance(values[0], np.ndarray) else [v for part in values for v in part]
            )
    return Index(**columns)
