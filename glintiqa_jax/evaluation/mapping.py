"""Mappings from predictions to opinion scores, fitted by least squares.

A metric's scale need not be that of the scores, so the literature fits a logistic curve before it reports PLCC and
RMSE. A curve is fitted to the images that it is then judged on: its figures flatter a little, more so with fewer
images, and do not compare with those of raw predictions.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable

import numpy as np
import scipy.optimize
from scipy.special import expit

from glintiqa_jax.evaluation.arrays import checked, constant

# Where a curve's middle and width are sought, in standard deviations of the predictions: a curve any narrower is a
# step, one any wider or further out is a line or an exponential as far as the data go.
_BEYOND_DATA = 5.0
_WIDTHS = (0.01, 10.0)


def line(x: np.ndarray, slope: float, intercept: float) -> np.ndarray:
    """A straight line."""
    return slope * x + intercept


def logistic4(x: np.ndarray, b1: float, b2: float, b3: float, b4: float) -> np.ndarray:
    """``(b1 - b2) / (1 + exp(-(x - b3) / |b4|)) + b2``, which is monotone (VQEG 2000, FR-TV phase I)."""
    return (b1 - b2) * expit((x - b3) / abs(b4)) + b2


@dataclasses.dataclass(frozen=True)
class Mapping:
    """A fitted mapping: call it with predictions of any shape to get scores of that shape.

    Attributes:
      formula: ``line`` or ``logistic4``.
      parameters: those of the formula after ``x``, in the units of predictions and scores.
    """

    formula: Callable[..., np.ndarray]
    parameters: tuple[float, ...]

    def __call__(self, predicted: np.ndarray) -> np.ndarray:
        return self.formula(np.asarray(predicted, np.float64), *self.parameters)


def fit_line(predicted: np.ndarray, target: np.ndarray) -> Mapping:
    """The least-squares line; the mean score where predictions are constant, or unrelated to the scores.

    Args:
      predicted: ``(images,)``.
      target: ``(images,)``.

    Example:
      >>> mapping = fit_line(np.array([0.0, 0.5, 1.0]), np.array([1.0, 3.0, 5.0]))
      >>> float(mapping(0.25))
      2.0
    """
    x, y = checked(predicted, target)
    if not len(y):
        return Mapping(line, (0.0, float("nan")))
    slope = 0.0
    if not constant(x):
        spread = x.std()
        slope = float(np.mean((x - x.mean()) / spread * (y - y.mean())) / spread)
        slope = 0.0 if _flat(slope * x, y) else slope
    return Mapping(line, (slope, float(y.mean() - slope * x.mean())))


def fit_logistic4(predicted: np.ndarray, target: np.ndarray) -> Mapping:
    """The least-squares ``logistic4``.

    It is the line of ``fit_line`` where there are fewer images than parameters, where one side is constant, or where
    no curve fits better than the line, which is the limit of ever wider curves.

    Given a centre and a width, the best top and bottom are a linear problem. So only those two are sought, from the
    best point of a small grid (Golub and Pereyra 1973), which neither depends on units nor gets lost where the data
    show but a part of the curve.

    Args:
      predicted: ``(images,)``.
      target: ``(images,)``.
    """
    straight = fit_line(predicted, target)
    predicted, target = checked(predicted, target)
    if len(target) < 4 or constant(predicted) or constant(target):
        return straight
    mean, spread = predicted.mean(), predicted.std()
    x = (predicted - mean) / spread

    def solve(shape: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Top and bottom, and residuals in standard deviations of the scores."""
        u = (x - shape[0]) / np.exp(shape[1])
        matrix = np.stack([expit(u), expit(-u)], axis=1)
        weights = np.linalg.lstsq(matrix, target)[0]
        return weights, (matrix @ weights - target) / target.std()

    def residuals(shape: np.ndarray) -> np.ndarray:
        return solve(shape)[1]

    grid = itertools.product(np.quantile(x, (0, 0.1, 0.3, 0.5, 0.7, 0.9, 1)), np.log((0.03, 0.1, 0.3, 1)))
    start = min(map(np.array, grid), key=lambda shape: np.sum(residuals(shape) ** 2))
    narrowest, widest = np.log(_WIDTHS)
    bounds = (x.min() - _BEYOND_DATA, narrowest), (x.max() + _BEYOND_DATA, widest)
    shape = scipy.optimize.least_squares(residuals, start, bounds=bounds, max_nfev=50).x
    top, bottom = map(float, solve(shape)[0])
    curve = Mapping(logistic4, (top, bottom, float(mean + spread * shape[0]), float(spread * np.exp(shape[1]))))

    def error(fitted: Mapping) -> float:
        return float(np.sum((fitted(predicted) - target) ** 2))

    fits_better = error(curve) < error(straight) and not _flat(curve(predicted), target)
    return curve if fits_better else straight


def _flat(mapped: np.ndarray, target: np.ndarray) -> bool:
    """Whether what varies in mapped predictions is no more than rounding."""
    return bool(np.ptp(mapped) <= 1e-9 * np.ptp(target))
