"""What the scores of a database mean: range, direction, unit. One table, the only home of these facts."""

from __future__ import annotations

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class ScoreScale:
    """A database's opinion scores, and the way to the MOS-like score that everything inside works with.

    Attributes:
      low: the lowest score the database can give, in its own unit.
      high: the highest.
      lower_is_better: True for DMOS-like scores.
      unit: what a person calls the score, "MOS" or "DMOS".
    """

    low: float
    high: float
    lower_is_better: bool = False
    unit: str = "MOS"

    def __post_init__(self) -> None:
        if not (np.isfinite(self.low) and np.isfinite(self.high) and self.low < self.high):
            raise ValueError(f"a score range needs low < high, both finite; found {self.low}, {self.high}")

    def to_quality(self, raw):
        """Scores in the database's unit to quality in [0, 1], higher is better."""
        quality = (np.asarray(raw) - self.low) / (self.high - self.low)
        return 1.0 - quality if self.lower_is_better else quality

    def to_raw(self, quality):
        """Quality in [0, 1] (predictions may lie outside) back to the database's unit and direction."""
        quality = np.asarray(quality)
        quality = 1.0 - quality if self.lower_is_better else quality
        return quality * (self.high - self.low) + self.low

    def describe(self) -> str:
        """For people: ``MOS 1 to 5, higher is better``."""
        direction = "lower is better" if self.lower_is_better else "higher is better"
        return f"{self.unit} {self.low:g} to {self.high:g}, {direction}"


SCALES: dict[str, ScoreScale] = {
    # KADID-10k's observers rated impairment from 1 (very annoying) to 5 (imperceptible); the demo carries their means.
    "demo": ScoreScale(1.0, 5.0, unit="MOS"),
}
