"""How well predictions agree with people: plain functions of ``(predicted, target)``.

All take two arrays of shape ``(images,)`` in one unit and direction. The correlations are NaN, with a warning that
says why, where one side is constant: there is then no order to agree with.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import scipy.optimize
import scipy.special
import scipy.stats


def srocc(predicted: np.ndarray, target: np.ndarray) -> float:
    """Spearman rank order correlation, in [-1, 1]; ties get their mean rank."""
    return _correlation("SROCC", scipy.stats.spearmanr, predicted, target)


def plcc(predicted: np.ndarray, target: np.ndarray) -> float:
    """Pearson linear correlation of the raw predictions, in [-1, 1]; no mapping is fitted."""
    return _correlation("PLCC", scipy.stats.pearsonr, predicted, target)


def krocc(predicted: np.ndarray, target: np.ndarray) -> float:
    """Kendall rank order correlation tau-b, in [-1, 1]."""
    return _correlation("KROCC", scipy.stats.kendalltau, predicted, target)


def rmse(predicted: np.ndarray, target: np.ndarray) -> float:
    """Root mean squared error of the raw predictions, in the scores' unit."""
    predicted, target = _checked(predicted, target)
    return float(np.sqrt(np.mean(np.square(predicted - target))))


METRICS: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "srocc": srocc,
    "plcc": plcc,
    "krocc": krocc,
    "rmse": rmse,
}


def all_metrics(predicted: np.ndarray, target: np.ndarray) -> dict[str, float | int]:
    """Every metric of ``METRICS`` by name, and ``images``, how many it was computed on."""
    return {name: metric(predicted, target) for name, metric in METRICS.items()} | {"images": len(target)}


def logistic_mapping(predicted: np.ndarray, target: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """The four-parameter logistic from predictions to scores, fitted by least squares (VQEG).

    With fewer images than parameters, or where the fit does not converge, it is the least-squares line.
    """
    predicted, target = _checked(predicted, target)

    def logistic(x: np.ndarray, top: float, bottom: float, centre: float, log_width: float) -> np.ndarray:
        return bottom + (top - bottom) * scipy.special.expit((x - centre) / np.exp(log_width))

    if len(target) < 4:
        return _line(predicted, target)
    start = (target.max(), target.min(), predicted.mean(), np.log(max(predicted.std(), 1e-9) / 2))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", scipy.optimize.OptimizeWarning)
            # "trf": the default "lm" takes no step in a parameter that starts near 0
            fitted, _ = scipy.optimize.curve_fit(logistic, predicted, target, start, method="trf", max_nfev=2000)
    except RuntimeError:
        return _line(predicted, target)
    return lambda x: logistic(np.asarray(x), *fitted)


def _line(predicted: np.ndarray, target: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    centred = predicted - predicted.mean()
    slope = centred @ (target - target.mean()) / max(centred @ centred, 1e-12)
    return lambda x: target.mean() + slope * (np.asarray(x) - predicted.mean())


def _correlation(name: str, statistic: Callable, predicted: np.ndarray, target: np.ndarray) -> float:
    predicted, target = _checked(predicted, target)
    for side, values in (("predictions", predicted), ("scores", target)):
        if len(values) < 2 or np.ptp(values) == 0:
            warnings.warn(f"{name} is undefined: the {len(values)} {side} are all equal", stacklevel=3)
            return float("nan")
    return float(statistic(predicted, target).statistic)


def _checked(predicted: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    predicted, target = np.asarray(predicted, np.float64), np.asarray(target, np.float64)
    if predicted.shape != target.shape or predicted.ndim != 1:
        raise ValueError(f"expected two arrays of one shape (images,), found {predicted.shape} and {target.shape}")
    return predicted, target
