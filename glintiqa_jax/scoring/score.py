"""What scoring gives: the score of an image, and the comparison of two."""

from __future__ import annotations

import dataclasses
import math

from glintiqa_jax.data.scale import ScoreScale


@dataclasses.dataclass(frozen=True)
class Score:
    """One image's score.

    ``float(score)`` is the value, ``f"{score:.2f}"`` formats it, and ``str(score)`` says what it means.

    Attributes:
      value: in the unit and direction of ``scale``.
      deviation: standard deviation over the image's crops, in the same unit.
      interval: lowest and highest opinion score to expect in 95 of 100 images, in the same unit and within the scale;
        None if the model is not calibrated.
      scale: what the value means.
      width: of the image in pixels, as a viewer shows it.
      height: of the image.
      notes: what was done to the image that a viewer may do differently, as "alpha over white".
    """

    value: float
    deviation: float
    interval: tuple[float, float] | None
    scale: ScoreScale
    width: int
    height: int
    notes: tuple[str, ...] = ()

    @property
    def percent(self) -> float:
        """Quality from 0, the worst of the scale, to 100, the best; an extraordinary image may lie outside."""
        return 100.0 * float(self.scale.to_quality(self.value))

    def __float__(self) -> float:
        return self.value

    def __format__(self, spec: str) -> str:
        return format(self.value, spec) if spec else str(self)

    def __str__(self) -> str:
        between = "" if self.interval is None else " ({:.4g} to {:.4g})".format(*self.interval)
        return f"{self.value:.4g}{between}, {self.scale.describe()}"


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Two images compared.

    Attributes:
      first: the score of one.
      second: the score of the other.
    """

    first: Score
    second: Score

    @property
    def difference(self) -> float:
        """By how much the second is better, in percent of the scale; negative where it is worse."""
        return self.second.percent - self.first.percent

    @property
    def uncertainty(self) -> float | None:
        """What the difference exceeds by chance in 5 of 100 pairs, in percent; None if the model is not calibrated.

        Errors of two predictions are taken to be independent. Where they are not, as for two versions of one
        photograph, this is more than needed.
        """
        if self.first.interval is None or self.second.interval is None:
            return None
        ends = ((self.first.value, self.first.interval), (self.second.value, self.second.interval))
        widths = [max(abs(end - value) for end in interval) for value, interval in ends]
        return 100.0 * math.hypot(*widths) / (self.first.scale.high - self.first.scale.low)

    @property
    def certain(self) -> bool | None:
        """Whether the difference exceeds the uncertainty; None if the model is not calibrated."""
        return None if self.uncertainty is None else abs(self.difference) > self.uncertainty

    def __str__(self) -> str:
        sure = {True: "certain", False: "not certain", None: "of a model that is not calibrated"}[self.certain]
        if self.better == "neither":
            return "neither is better"
        return f"the {self.better} is better by {abs(self.difference):.1f} percent of the scale ({sure})"

    @property
    def better(self) -> str:
        """Which is better, "first", "second" or "neither"."""
        return "neither" if not self.difference else "second" if self.difference > 0 else "first"
