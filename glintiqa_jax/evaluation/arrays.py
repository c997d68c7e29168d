"""Arrays of predictions and scores, checked."""

from __future__ import annotations

import warnings

import numpy as np


def checked(predicted: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both as float64.

    Raises:
      ValueError: their shapes differ or are not ``(images,)``, or a value is not finite.
    """
    predicted, target = np.asarray(predicted, np.float64), np.asarray(target, np.float64)
    if predicted.shape != target.shape or predicted.ndim != 1:
        raise ValueError(f"expected two arrays of one shape (images,), found {predicted.shape} and {target.shape}")
    if bad := np.count_nonzero(~(np.isfinite(predicted) & np.isfinite(target))):
        raise ValueError(f"{bad} of {len(target)} images have values that are not finite")
    return predicted, target


def undefined(name: str, why: str, *, stacklevel: int = 3) -> float:
    """NaN, after a warning."""
    warnings.warn(f"{name} is undefined: {why}", stacklevel=stacklevel)
    return float("nan")


def constant(values: np.ndarray) -> bool:
    """Whether fewer than two different values are there."""
    return len(values) < 2 or bool(np.min(values) == np.max(values))
