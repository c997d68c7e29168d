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

from glintiqa_jax.evaluation.arrays import checked, constant, power_of

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


def logistic5(x: np.ndarray, b1: float, b2: float, b3: float, b4: float, b5: float) -> np.ndarray:
    """``b1 (1/2 - 1 / (1 + exp(b2 (x - b3)))) + b4 x + b5``, which need not be monotone (Sheikh et al. 2006)."""
    return b1 * (1 / 2 - expit(-b2 * (x - b3))) + b4 * x + b5


@dataclasses.dataclass(frozen=True)
class Mapping:
    """A fitted mapping: call it with predictions of any shape to get scores of that shape.

    Attributes:
      formula: ``line``, ``logistic4`` or ``logistic5``.
      parameters: those of the formula after ``x``, in the units of predictions and scores.
      powers: of two, by which predictions and scores are divided first where they are far beyond ordinary numbers.
    """

    formula: Callable[..., np.ndarray]
    parameters: tuple[float, ...]
    powers: tuple[int, int] = (0, 0)

    def __call__(self, predicted: np.ndarray) -> np.ndarray:
        x = np.ldexp(np.asarray(predicted, np.float64), -self.powers[0])
        return np.ldexp(self.formula(x, *self.parameters), self.powers[1])


Fit = Callable[[np.ndarray, np.ndarray], Mapping]


def fit_line(predicted: np.ndarray, target: np.ndarray) -> Mapping:
    """The least-squares line; the mean score where predictions are constant, or unrelated to the scores.

    Args:
      predicted: ``(images,)``.
      target: ``(images,)``.
    """
    x, y, powers = _in_ordinary_numbers(predicted, target)
    if not len(y):
        return Mapping(line, (0.0, float("nan")))
    slope = 0.0
    if not constant(x):
        spread = x.std()
        slope = float(np.mean((x - x.mean()) / spread * (y - y.mean())) / spread)
        slope = 0.0 if _flat(slope * x, y) else slope
    return Mapping(line, (slope, float(y.mean() - slope * x.mean())), powers)


def fit_logistic4(predicted: np.ndarray, target: np.ndarray) -> Mapping:
    """The least-squares ``logistic4``.

    It is the line of ``fit_line`` where there are fewer images than parameters, where one side is constant, or where
    no curve fits better than the line, which is the limit of ever wider curves.

    Args:
      predicted: ``(images,)``.
      target: ``(images,)``.
    """

    def mapping(weights: np.ndarray, centre: float, width: float) -> Mapping:
        top, bottom = map(float, weights)
        return Mapping(logistic4, (top, bottom, centre, width))

    return _fitted(lambda u: (expit(u), expit(-u)), mapping, 4, predicted, target)


def fit_logistic5(predicted: np.ndarray, target: np.ndarray) -> Mapping:
    """The least-squares ``logistic5``, or a line for the reasons of ``fit_logistic4``, whose arguments it takes."""

    def mapping(weights: np.ndarray, centre: float, width: float) -> Mapping:
        height, rise, middle = map(float, weights)
        return Mapping(logistic5, (height, 1 / width, centre, rise / width, middle - rise * centre / width))

    return _fitted(lambda u: (1 / 2 - expit(-u), u, np.ones_like(u)), mapping, 5, predicted, target)


def _fitted(
    columns: Callable[[np.ndarray], tuple[np.ndarray, ...]],
    mapping: Callable[[np.ndarray, float, float], Mapping],
    parameters: int,
    predicted: np.ndarray,
    target: np.ndarray,
) -> Mapping:
    """Fit a weighted sum of ``columns(u)``, where ``u = (predicted - centre) / width``.

    Given a centre and a width, the best weights are a linear problem. So only those two are sought, from the best
    point of a small grid (Golub and Pereyra 1973), which neither depends on units nor gets lost where the data show
    but a part of the curve.
    """
    straight = dataclasses.replace(fit_line(predicted, target), powers=(0, 0))
    predicted, target, powers = _in_ordinary_numbers(predicted, target)
    if len(target) < parameters or constant(predicted) or constant(target):
        return dataclasses.replace(straight, powers=powers)
    mean, spread = predicted.mean(), predicted.std()
    x = (predicted - mean) / spread

    def solve(shape: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Weights and residuals, in standard deviations of the scores."""
        matrix = np.stack(columns((x - shape[0]) / np.exp(shape[1])), axis=1)
        weights = np.linalg.lstsq(matrix, target)[0]
        return weights, (matrix @ weights - target) / target.std()

    def residuals(shape: np.ndarray) -> np.ndarray:
        return solve(shape)[1]

    grid = itertools.product(np.quantile(x, (0, 0.1, 0.3, 0.5, 0.7, 0.9, 1)), np.log((0.03, 0.1, 0.3, 1)))
    start = min(map(np.array, grid), key=lambda shape: np.sum(residuals(shape) ** 2))
    narrowest, widest = np.log(_WIDTHS)
    bounds = (x.min() - _BEYOND_DATA, narrowest), (x.max() + _BEYOND_DATA, widest)
    shape = scipy.optimize.least_squares(residuals, start, bounds=bounds, max_nfev=50).x
    curve = mapping(solve(shape)[0], float(mean + spread * shape[0]), float(spread * np.exp(shape[1])))

    def error(fitted: Mapping) -> float:
        return float(np.sum((fitted(predicted) - target) ** 2))

    fits_better = error(curve) < error(straight) and not _flat(curve(predicted), target)
    return dataclasses.replace(curve if fits_better else straight, powers=powers)


def _flat(mapped: np.ndarray, target: np.ndarray) -> bool:
    """Whether what varies in mapped predictions is no more than rounding."""
    return bool(np.ptp(mapped) <= 1e-9 * np.ptp(target))


def _in_ordinary_numbers(predicted: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray, tuple[int, int]]:
    """Both, divided by powers of two where squares would overflow or vanish, and these powers."""
    predicted, target = checked(predicted, target)
    powers = power_of(predicted), power_of(target)
    return np.ldexp(predicted, -powers[0]), np.ldexp(target, -powers[1]), powers
