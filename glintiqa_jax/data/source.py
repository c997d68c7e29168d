"""Rated images as a source: random access by position, wherever they are kept.

Four kinds: ``RecordSource`` (prepared records), ``FolderSource`` (files and their scores), ``ArraySource`` (memory) and
``MixedSource`` (several of these).
"""

from __future__ import annotations

import abc
import copy
import dataclasses
import types
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from glintiqa_jax.data.images import limit_short_side, limited_size
from glintiqa_jax.data.near_duplicates import Look
from glintiqa_jax.data.scale import ScoreScale


@dataclasses.dataclass(frozen=True)
class Index:
    """The metadata of a source's images: one entry per image, by position.

    The fields of ``RatedImage``, and height and width in pixels before ``resized``.
    """

    names: list[str]
    raw_scores: np.ndarray
    score_stds: np.ndarray
    groups: list[str]
    splits: list[str]
    references: list[str]
    distortion_types: np.ndarray
    distortion_levels: np.ndarray
    heights: np.ndarray
    widths: np.ndarray

    @classmethod
    def of(cls, rows: Sequence[dict[str, Any]]) -> Index:
        """From a row per image: values, or their texts, by ``RatedImage``'s attributes, ``height`` and ``width``."""

        def texts(column: str) -> list[str]:
            return [row[column] for row in rows]

        def numbers(column: str, dtype: type) -> np.ndarray:
            return np.asarray([row[column] for row in rows], dtype)

        return cls(
            names=texts("name"),
            raw_scores=numbers("raw_score", np.float64),
            score_stds=numbers("score_std", np.float64),
            groups=texts("group"),
            splits=texts("split"),
            references=texts("reference"),
            distortion_types=numbers("distortion_type", np.int32),
            distortion_levels=numbers("distortion_level", np.int32),
            heights=numbers("height", np.int64),
            widths=numbers("width", np.int64),
        )


class Source(abc.ABC):
    """``len()`` and ``[position]`` over rated images.

    An item is a dict: ``image`` uint8 ``(height, width, 3)``; ``score`` in [0, 1], higher is better; ``raw_score`` and
    ``score_std`` (NaN where not known) in the unit and direction of ``scale``; ``name``, ``group``, ``split``,
    ``reference``, ``distortion_type``, ``distortion_level``. A position counts from the end where it is negative, and
    is an ``IndexError`` beyond it; an image that cannot be read is an ``InputError``.

    Attributes:
      name: the database's, "csv" for the user's own images; for a mixture all names, comma-separated.
      scale: what the scores mean.
      index: the metadata of all images.
      identity: a digest of the images, their scores and all other metadata, before ``resized``; not of where they are.
      skipped: what was left out, and why, a line each.
      max_side: the longer side to which images were shrunk when they were prepared; 0 where they were not.
      max_short_side: the shorter side to which ``[position]`` shrinks larger images; 0 where it does not.
      merges_near_duplicates: images that show nearly the same share a group.
      weights: how often each of ``parts`` is drawn in training, in any unit.
      distortions: names of the types of distortion by their numbers; empty where they have none.
      licences: of the images, a line each, where known.
      origin: how it was opened, as JSON, to open it again; empty for a source in memory.
    """

    name: str
    scale: ScoreScale
    index: Index
    identity: str
    skipped: Sequence[str] = ()
    max_side: int = 0
    max_short_side: int = 0
    merges_near_duplicates: bool = False
    weights: Sequence[float] = (1.0,)
    distortions: Mapping[int, str] = types.MappingProxyType({})
    licences: Sequence[str] = ()
    origin: Mapping[str, Any] = types.MappingProxyType({})

    @property
    def parts(self) -> Sequence[Source]:
        """The databases of a mixture, in order; otherwise the source itself."""
        return [self]

    def describe(self) -> str:
        """For people: ``500 images of 4 contents; scores: MOS 1 to 5, higher is better``."""
        return f"{len(self)} images of {len(set(self.index.groups))} contents; scores: {self.scale.describe()}"

    def __len__(self) -> int:
        return len(self.index.names)

    def __getitem__(self, position: int) -> dict[str, Any]:
        position = range(len(self))[int(position)]
        index = self.index
        raw_score = float(index.raw_scores[position])
        return {
            "image": limit_short_side(self._pixels(position), self.max_short_side),
            "score": np.float32(self.scale.to_quality(raw_score)),
            "raw_score": raw_score,
            "score_std": float(index.score_stds[position]),
            "name": index.names[position],
            "group": index.groups[position],
            "split": index.splits[position],
            "reference": index.references[position],
            "distortion_type": int(index.distortion_types[position]),
            "distortion_level": int(index.distortion_levels[position]),
        }

    @abc.abstractmethod
    def _pixels(self, position: int) -> np.ndarray:
        """The image before ``resized``."""

    @abc.abstractmethod
    def looks(self) -> list[Look]:
        """What the images look like, by position, to find near-duplicates in other sources."""

    def sizes(self) -> np.ndarray:
        """Height and width of every image as ``[position]`` gives it, int64 ``(images, 2)``."""
        sizes = zip(self.index.heights.tolist(), self.index.widths.tolist(), strict=True)
        return np.asarray([limited_size(*size, self.max_short_side) for size in sizes], np.int64)

    def resized(self, max_short_side: int) -> Source:
        """The same images, shrunk where the shorter side is longer than this, in pixels; 0 leaves them as they are.

        Pillow's antialiased bicubic; the shape is kept, and nothing is ever enlarged.
        """
        other = copy.copy(self)
        other.max_short_side = max_short_side
        return other

    def named(self, name: str) -> Source:
        """The same images under another name, by which a mixture distinguishes its parts."""
        other = copy.copy(self)
        other.name = name
        return other

    def part_starts(self) -> np.ndarray:
        """The position at which each part begins, and last the length, int64 ``(parts + 1,)``."""
        return np.cumsum([0, *(len(part) for part in self.parts)])

    def part_of(self, positions: npt.ArrayLike) -> np.ndarray:
        """The number of the part that each position belongs to, int64 of the same shape."""
        return np.searchsorted(self.part_starts(), positions, side="right") - 1
