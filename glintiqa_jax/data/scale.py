"""What opinion scores mean: their range, direction and unit, and their conversion to quality in [0, 1]."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from glintiqa_jax.errors import InputError


@dataclasses.dataclass(frozen=True)
class ScoreScale:
    """The scale of a database's opinion scores.

    Attributes:
      low: the lowest score the database can give, in its own unit.
      high: the highest.
      lower_is_better: True for DMOS-like scores.
      unit: the name of the score, "MOS" or "DMOS".
    """

    low: float
    high: float
    lower_is_better: bool = False
    unit: str = "MOS"

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise InputError(
                field="score_range",
                value=f"{self.low:g},{self.high:g}",
                expected="a lowest score below the highest, both finite",
                found=f"{self.low:g} and {self.high:g}",
            )
        smallest, largest = map(float, (np.finfo(np.float32).tiny, np.finfo(np.float32).max))
        if not (smallest <= self.high - self.low and max(abs(self.low), abs(self.high)) <= largest):
            raise InputError(
                field="score_range",
                value=f"{self.low:g},{self.high:g}",
                expected="scores that single precision holds",
                found=f"{self.low:g} to {self.high:g}",
            )

    def to_quality(self, raw):
        """Scores in the database's unit to quality in [0, 1], higher is better.

        Example:
          >>> float(ScoreScale(0, 100, lower_is_better=True, unit="DMOS").to_quality(30.0))
          0.7
        """
        quality = (_array(raw) - self.low) / (self.high - self.low)
        return 1.0 - quality if self.lower_is_better else quality

    def to_raw(self, quality):
        """Quality in [0, 1] (predictions may lie outside) back to the database's unit and direction."""
        quality = 1.0 - _array(quality) if self.lower_is_better else _array(quality)
        return quality * (self.high - self.low) + self.low

    def facts(self) -> list[object]:
        """For digests; the last stands for a removed field, so that earlier preparations are found."""
        return [*dataclasses.astuple(self), False]

    def describe(self) -> str:
        """For people: ``MOS 1 to 5, higher is better``."""
        direction = "lower is better" if self.lower_is_better else "higher is better"
        return f"{self.unit} {self.low:g} to {self.high:g}, {direction}"


def _array(values):
    """Arrays as they are, JAX's inside a computation, too."""
    return values if hasattr(values, "dtype") else np.asarray(values)


def opinion_scale(score_range: tuple[float, ...], lower_is_better: bool) -> ScoreScale:
    """The scale of scores from the user's lowest and highest.

    Raises:
      InputError: other than two numbers, or an invalid range.
    """
    if len(score_range) != 2:
        raise InputError(field="score_range", expected="lowest,highest", found=f"{len(score_range)} numbers")
    low, high = map(float, score_range)
    return ScoreScale(low, high, lower_is_better, "DMOS" if lower_is_better else "MOS")


# Of several databases together: each is brought to quality by its own scale.
MIXED_SCALE = ScoreScale(0, 1, unit="quality")
