"""Quality over an image: overlapping windows are scored, and their scores blended."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from glintiqa_jax.data.crops import mirrored
from glintiqa_jax.data.images import resized
from glintiqa_jax.data.scale import ScoreScale

_FEWEST = 5  # windows along a side that is longer than one


@dataclasses.dataclass(frozen=True)
class Window:
    """A part of an image and its score.

    Attributes:
      left: in pixels of the image, as are ``top``, ``width`` and ``height``.
      top: from above.
      width: of the window.
      height: of the window.
      score: in the unit of the model's scale.
    """

    left: float
    top: float
    width: float
    height: float
    score: float


@dataclasses.dataclass(frozen=True)
class QualityMap:
    """Quality over an image; an array of its values where one is expected, as in ``plt.imshow(map)``.

    Attributes:
      values: float32 ``(height, width)`` in the unit of ``scale``: at each pixel the mean of the windows over it,
        weighted by how near it is to their middle.
      windows: what was scored, row by row.
      image: uint8 ``(height, width, 3)``, the image as a viewer shows it.
      scale: what the values mean.
      notes: as of a ``Score``.
    """

    values: np.ndarray
    windows: tuple[Window, ...]
    image: np.ndarray
    scale: ScoreScale
    notes: tuple[str, ...] = ()

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        return np.array(self.values, dtype, copy=copy)

    @property
    def worst(self) -> Window:
        """The window of the lowest quality."""
        return min(self.windows, key=lambda window: float(self.scale.to_quality(window.score)))


def quality_map(
    image: np.ndarray,
    shown: np.ndarray,
    side: int,
    overlap: float,
    scores: Callable[[Iterable[np.ndarray]], np.ndarray],
    scale: ScoreScale,
) -> QualityMap:
    """The map of an image.

    Args:
      image: uint8 ``(height, width, 3)``.
      shown: the same as large as the network sees it.
      side: of a window, in pixels of ``shown``; a smaller image is continued by its mirror image.
      overlap: of neighbouring windows at least, as a share of their side, in [0, 1).
      scores: of any number of windows, uint8 ``(side, side, 3)``, to ``(windows,)`` in the unit of ``scale``.
      scale: what scores mean.
    """
    padded = mirrored(shown, side)
    before = [(large - small) // 2 for large, small in zip(padded.shape[:2], shown.shape[:2], strict=True)]
    tops, lefts = (_starts(length, side, overlap) for length in padded.shape[:2])
    places = [(top, left) for top in tops for left in lefts]
    found = scores(padded[top : top + side, left : left + side] for top, left in places)
    values = _blended(places, found, padded.shape[:2], side)
    values = values[before[0] : before[0] + shown.shape[0], before[1] : before[1] + shown.shape[1]]
    # of a pixel of what is shown, in pixels of the image
    down, across = (whole / small for whole, small in zip(image.shape[:2], shown.shape[:2], strict=True))
    windows = tuple(
        Window(
            left=max(left - before[1], 0) * across,
            top=max(top - before[0], 0) * down,
            width=min(side, shown.shape[1]) * across,
            height=min(side, shown.shape[0]) * down,
            score=float(score),
        )
        for (top, left), score in zip(places, found, strict=True)
    )
    return QualityMap(resized(np.ascontiguousarray(values), image.shape[:2]), windows, image, scale)


def _blended(places: Sequence[tuple[int, int]], scores: np.ndarray, size: tuple[int, int], side: int) -> np.ndarray:
    """Float32 of ``size``: scores of windows at these places, each weighing most in its middle."""
    total, weights = np.zeros(size, np.float32), np.zeros(size, np.float32)
    slope = np.sin(np.pi * (np.arange(side) + 0.5) / side).astype(np.float32)
    weight = np.outer(slope, slope)
    for (top, left), score in zip(places, scores, strict=True):
        total[top : top + side, left : left + side] += weight * np.float32(score)
        weights[top : top + side, left : left + side] += weight
    return total / weights


def _starts(length: int, side: int, overlap: float) -> list[int]:
    """Where windows begin along a side: evenly, from edge to edge, no fewer than five where there is room."""
    count = 1 + int(np.ceil((length - side) / max(side * (1 - overlap), 1)))
    count = min(max(count, _FEWEST), 1 + length - side)
    return [round(place) for place in np.linspace(0, length - side, count)]
