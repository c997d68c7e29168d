"""How well predictions agree with people: plain functions of ``(predicted, target)``.

All take arrays of shape ``(images,)`` in one unit and direction, and refuse shapes that differ and values that are not
finite. A figure that is undefined, as a correlation is where one side is constant (there is then no order to agree
with), is NaN, with a warning that says why. ``mapping.py`` has the figures after a fitted mapping, ``significance.py``
intervals and tests.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import scipy.stats

_ORDINARY = 200  # powers of two, either way, whose fourth powers are numbers


def srocc(predicted: np.ndarray, target: np.ndarray) -> float:
    """Spearman rank order correlation, in [-1, 1]; ties get their mean rank."""
    return _correlation("SROCC", scipy.stats.spearmanr, predicted, target)


def plcc(predicted: np.ndarray, target: np.ndarray) -> float:
    """Pearson linear correlation of the raw predictions, in [-1, 1]; no mapping is fitted."""
    return _correlation("PLCC", _pearson, predicted, target)


def krocc(predicted: np.ndarray, target: np.ndarray) -> float:
    """Kendall rank order correlation tau-b, in [-1, 1]."""
    return _correlation("KROCC", scipy.stats.kendalltau, predicted, target)


def rmse(predicted: np.ndarray, target: np.ndarray) -> float:
    """Root mean squared error of the raw predictions, in the scores' unit."""
    differences, power = _differences(predicted, target)
    return _times_power(np.sqrt(_mean("RMSE", np.square(differences))), power)


def mae(predicted: np.ndarray, target: np.ndarray) -> float:
    """Mean absolute error of the raw predictions, in the scores' unit."""
    differences, power = _differences(predicted, target)
    return _times_power(_mean("MAE", np.abs(differences)), power)


def outlier_ratio(predicted: np.ndarray, target: np.ndarray, target_std: np.ndarray) -> float:
    """Share of images, in [0, 1], whose error is more than two standard deviations of their opinion score.

    Args:
      predicted: ``(images,)``, in the scores' unit; predictions in another need a mapping first.
      target: ``(images,)``, the opinion scores.
      target_std: ``(images,)``, not negative. The literature has two conventions, so say which was used: the standard
        error of the mean opinion (VQEG; ITU-T P.1401, 7.5.2.2), or the standard deviation of the opinions themselves,
        which is larger by the square root of their number and so gives fewer outliers.
    """
    predicted, target = checked(predicted, target)
    target_std, _ = checked(target_std, target)
    if (target_std < 0).any():
        raise ValueError(f"{(target_std < 0).sum()} standard deviations of scores are negative")
    return _mean("outlier ratio", np.abs(predicted / 2 - target / 2) > target_std)  # halves do not overflow


METRICS: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "srocc": srocc,
    "plcc": plcc,
    "krocc": krocc,
    "rmse": rmse,
}


def all_metrics(predicted: np.ndarray, target: np.ndarray) -> dict[str, float | int]:
    """Every metric of ``METRICS`` by name, and ``images``, how many it was computed on."""
    return {name: metric(predicted, target) for name, metric in METRICS.items()} | {"images": len(target)}


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


def power_of(values: np.ndarray) -> int:
    """The power of two by which values are to be divided, which is exact, before they are squared.

    It is 0 but where squares would overflow or vanish, so that ordinary values stay as they are.
    """
    power = int(np.frexp(np.max(np.abs(values), initial=0.0))[1])
    return power if abs(power) > _ORDINARY else 0


def _correlation(name: str, statistic: Callable, predicted: np.ndarray, target: np.ndarray) -> float:
    predicted, target = checked(predicted, target)
    for side, values in (("predictions", predicted), ("scores", target)):
        if constant(values):
            return undefined(name, f"the {len(values)} {side} are all equal", stacklevel=4)
    return float(statistic(predicted, target).statistic)


def _pearson(predicted: np.ndarray, target: np.ndarray):
    return scipy.stats.pearsonr(*(np.ldexp(values, -power_of(values)) for values in (predicted, target)))


def _differences(predicted: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, int]:
    """What predictions are off, divided by a power of two."""
    predicted, target = checked(predicted, target)
    power = power_of(np.concatenate([predicted, target]))
    return np.ldexp(predicted, -power) - np.ldexp(target, -power), power


def _times_power(value: float, power: int) -> float:
    with np.errstate(over="ignore"):  # an error beyond all numbers is infinite
        return float(np.ldexp(value, power))


def _mean(name: str, values: np.ndarray) -> float:
    return float(np.mean(values)) if len(values) else undefined(name, "there are no images", stacklevel=4)
