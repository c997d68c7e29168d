"""Several databases as one source, each image's score brought to quality by its own database's scale."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from glintiqa_jax.data.digests import digest
from glintiqa_jax.data.near_duplicates import Look, merge_groups, near_duplicates
from glintiqa_jax.data.scale import MIXED_SCALE
from glintiqa_jax.data.source import Index, Source
from glintiqa_jax.errors import InputError


class MixedSource(Source):
    """Several sources, one after the other; the scores are quality in [0, 1].

    Names and groups carry their database in front, so that they stay apart; but images of different databases that show
    nearly the same share a group, as several databases were made of the same photographs.

    Args:
      parts: the sources, at least one.
      weights: how often each is drawn in training, in any unit.

    Attributes:
      shared: how many pairs of images of different databases show nearly the same.

    Raises:
      InputError: for sources of one name.
    """

    def __init__(self, parts: Sequence[Source], weights: Sequence[float]):
        names = [part.name for part in parts]
        if len(set(names)) != len(names):
            raise InputError(
                field="dataset",
                expected="each database once",
                found=", ".join(names),
                hint="`named` gives a source another name",
            )
        self._parts, self.weights = list(parts), list(weights)
        self.name, self.scale = ",".join(names), MIXED_SCALE
        self.skipped = [line for part in parts for line in part.skipped]
        self.max_side = max(part.max_side for part in parts)
        self.licences = [line for part in parts for line in part.licences]
        self.identity = digest(
            [(part.identity, weight / sum(weights)) for part, weight in zip(parts, weights, strict=True)]
        )
        index = _joined(parts)
        origin = self.part_of(np.arange(len(index.names)))
        pairs = [pair for pair in near_duplicates(self.looks(), index.groups) if origin[pair[0]] != origin[pair[1]]]
        self.shared = len(pairs)
        self.index = dataclasses.replace(index, groups=merge_groups(index.groups, pairs))

    @property
    def parts(self) -> Sequence[Source]:
        return self._parts

    def looks(self) -> list[Look]:
        return [look for part in self.parts for look in part.looks()]

    def sizes(self) -> np.ndarray:
        return np.concatenate([part.sizes() for part in self.parts])

    def resized(self, max_short_side: int) -> Source:
        other = copy.copy(self)
        other._parts = [part.resized(max_short_side) for part in self.parts]
        other.max_short_side = max_short_side
        return other

    def _pixels(self, position: int) -> np.ndarray:
        part = int(self.part_of(position))
        return self.parts[part][position - int(self.part_starts()[part])]["image"]


def _joined(parts: Sequence[Source]) -> Index:
    def in_front(part: Source, values: Sequence[str]) -> list[str]:
        return [f"{part.name}/{value}" for value in values]

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
