"""Levels of one distortion of one crop, best first: what a ranking learns from (paper section III-D)."""

from __future__ import annotations

import dataclasses

import numpy as np

from glintiqa_jax.saqt.distortions import KADID, LEVELS
from glintiqa_jax.saqt.kadid_scores import MEAN_SCORES


@dataclasses.dataclass(frozen=True)
class LevelLadder:
    """Distorted versions of a crop, a ``data.augmentation.Ladder``.

    One of KADID-10k's distortions is drawn, and different levels of it, in the order in which KADID-10k's observers saw
    them get worse, which for contrast and mean shift is not that of their numbers. No range is stretched, so that
    nothing but the distortion sets a version apart.

    Attributes:
      levels: how many, at most 5.
    """

    levels: int

    def __call__(self, crop: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
        """uint8 ``(side, side, 3)``, at least 32 pixels a side, to ``levels`` of the same shape, best first."""
        scores = MEAN_SCORES[kind := int(rng.integers(len(KADID.rows)))]
        chosen = sorted(rng.permutation(LEVELS)[: self.levels], key=lambda level: -scores[level - 1])
        seed = int(rng.integers(2**31))
        return [KADID.distort(crop, kind + 1, level, seed=seed, rescale=False) for level in chosen]
