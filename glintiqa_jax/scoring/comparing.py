"""Two folders of the same photographs compared, as before and after a restoration: pairs by name, and their mean."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from glintiqa_jax.scoring.score import Comparison

_RESAMPLES = 10_000
FEWEST = 5
"""Pairs without which there is no interval."""


@dataclasses.dataclass(frozen=True)
class PairedComparison:
    """The mean difference of pairs.

    Attributes:
      pairs: how many.
      difference: mean of the second minus the first, in percent of the scale; positive where the second is better.
      interval: 95 % by the bootstrap over pairs, in percent; None for fewer than five pairs.
      improved: share of pairs in which the second is better.
    """

    pairs: int
    difference: float
    interval: tuple[float, float] | None
    improved: float

    @classmethod
    def of(cls, comparisons: Sequence[Comparison], *, seed: int = 0) -> PairedComparison:
        """From the comparisons of at least one pair. Resampled pairs say how the mean varies with the photographs."""
        differences = np.asarray([one.difference for one in comparisons])
        interval = None
        if len(differences) >= FEWEST:
            rng = np.random.default_rng(seed)
            counts = rng.multinomial(len(differences), np.full(len(differences), 1 / len(differences)), _RESAMPLES)
            low, high = np.quantile(counts @ differences / len(differences), (0.025, 0.975))
            interval = (float(low), float(high))
        return cls(len(differences), float(differences.mean()), interval, float(np.mean(differences > 0)))

    @property
    def certain(self) -> bool | None:
        """Whether the interval leaves zero out; None without one."""
        return None if self.interval is None else not self.interval[0] <= 0 <= self.interval[1]
