"""Confidence intervals of figures, and whether one model is better than another: the bootstrap and tests.

A bootstrap draws as many images as there are, with replacement, and measures how a figure varies over such resamples
(Efron and Tibshirani 1993, chapters 13 and 15). Versions of one content are not independent images: if a database has
them, give ``groups``, and whole content groups are drawn instead.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Iterator
from typing import Literal

import numpy as np
import scipy.stats

from glintiqa_jax.evaluation.arrays import checked, constant, undefined
from glintiqa_jax.evaluation.mapping import fit_logistic4

Statistic = Callable[..., float]

# Of fewer images (or, where they come in groups, of one group alone) resamples say nothing: of two, half of them are
# one image twice and the others have a correlation of 1.
FEWEST_IMAGES = 10
_SIGNIFICANCE = 0.05  # of the F-test


@dataclasses.dataclass(frozen=True)
class Interval:
    """A figure with its 95 % bootstrap interval, by the percentile method; NaN where undefined.

    An interval is undefined for fewer than ``FEWEST_IMAGES`` images. Resamples that give no figure, as the correlation
    of constant values, are left out.

    Attributes:
      low: 2.5th percentile over the resamples.
      high: 97.5th percentile.
      estimate: the figure on all images, which a biased figure's interval need not hold.
    """

    low: float
    high: float
    estimate: float


@dataclasses.dataclass(frozen=True)
class Difference(Interval):
    """An ``Interval`` of the first model's figure less the second's.

    Attributes:
      p_value: two-sided, in (0, 1], of there being no difference: twice the share of resamples on the rarer side of 0,
        itself counted among them, so never below ``2 / (resamples + 1)``.
    """

    p_value: float


@dataclasses.dataclass(frozen=True)
class FTest:
    """Whether the residual variances of two models differ.

    Attributes:
      ratio: the larger variance over the smaller, at least 1.
      p_value: one-sided, of a ratio at least as large.
      better: which model has the significantly smaller variance (5 %), or None.
    """

    ratio: float
    p_value: float
    better: Literal["first", "second"] | None


def bootstrap_interval(
    metric: Statistic,
    predicted: np.ndarray,
    target: np.ndarray,
    *per_image: np.ndarray,
    groups: np.ndarray | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> Interval:
    """The 95 % interval of a metric.

    Args:
      metric: of ``(predicted, target, *per_image)``; NaN where it is undefined.
      predicted: ``(images,)``.
      target: ``(images,)``.
      *per_image: the metric's further arguments, ``(images,)`` each, such as ``target_std`` of ``outlier_ratio``.
      groups: ``(images,)``, the content of each image; images are independent when None.
      resamples: how many to draw.
      seed: the same seed draws the same resamples.

    Example:
      >>> from glintiqa_jax.evaluation.metrics import srocc
      >>> scores = np.arange(50.0)
      >>> found = bootstrap_interval(srocc, scores + np.tile([0, 9], 25), scores)
      >>> found.low < found.estimate < found.high
      True
    """
    columns = [np.asarray(column) for column in (predicted, target, *per_image)]
    return _interval(*_bootstrap(metric, columns, groups, resamples, seed))


def paired_bootstrap(
    metric: Statistic,
    first: np.ndarray,
    second: np.ndarray,
    target: np.ndarray,
    *per_image: np.ndarray,
    groups: np.ndarray | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> Difference:
    """The difference of two models' figures on the same images, each resample being shared by both.

    Args:
      metric: as in ``bootstrap_interval``.
      first: ``(images,)``, predictions of one model.
      second: ``(images,)``, predictions of the other.
      target: ``(images,)``.
      *per_image: as in ``bootstrap_interval``.
      groups: as in ``bootstrap_interval``.
      resamples: how many to draw.
      seed: the same seed draws the same resamples.
    """
    columns = [np.asarray(column) for column in (first, second, target, *per_image)]

    def difference(one: np.ndarray, other: np.ndarray, *rest: np.ndarray) -> float:
        return metric(one, *rest) - metric(other, *rest)

    estimate, drawn = _bootstrap(difference, columns, groups, resamples, seed)
    found = drawn[~np.isnan(drawn)]
    rarer = int(min(np.count_nonzero(found <= 0), np.count_nonzero(found >= 0)))
    p_value = min(1.0, 2 * (rarer + 1) / (len(found) + 1)) if len(found) else float("nan")
    return Difference(**dataclasses.asdict(_interval(estimate, drawn)), p_value=p_value)


def residual_f_test(first: np.ndarray, second: np.ndarray, target: np.ndarray) -> FTest:
    """The F-test on residual variances after each model's own mapping (Sheikh et al. 2006; ITU-T P.1401, 7.6.4).

    A variance is the sum of squared residuals over the degrees of freedom, images less the mapping's parameters. As in
    that literature the larger variance is tested one-sided, so that one of two equal models is called better in up to
    10 % of cases, and the residuals of two models count as independent, which on the same images they
    seldom are: ``paired_bootstrap`` does without both. Constant predictions count as those of a model that always says
    the mean score. Equal scores, or no more images than parameters, give NaN with a warning.

    Args:
      first: ``(images,)``, predictions of one model.
      second: ``(images,)``, predictions of the other.
      target: ``(images,)``.
    """
    fits = []
    for predicted in (first, second):
        predicted, scores = checked(predicted, target)
        mapping = fit_logistic4(predicted, scores)
        fits.append((scores - mapping(predicted), len(scores) - len(mapping.parameters)))
    if constant(scores):
        return _no_f_test("the scores are all equal")
    if min(freedom for _, freedom in fits) < 1:
        return _no_f_test("there are no more images than parameters")
    variances = [float(residuals @ residuals) / freedom for residuals, freedom in fits]
    smaller, larger = np.argsort(variances, kind="stable")
    if variances[larger] <= 1e-18 * scores.var():  # no more than rounding
        return _no_f_test("neither mapping leaves residuals")
    ratio = variances[larger] / variances[smaller] if variances[smaller] else float("inf")
    p_value = float(scipy.stats.f.sf(ratio, fits[larger][1], fits[smaller][1]))
    better: Literal["first", "second"] = "first" if smaller == 0 else "second"
    return FTest(ratio, p_value, better if p_value < _SIGNIFICANCE else None)


def _no_f_test(why: str) -> FTest:
    nan = undefined("F-test", why, stacklevel=4)
    return FTest(nan, nan, None)


def _bootstrap(
    statistic: Statistic, columns: list[np.ndarray], groups: np.ndarray | None, resamples: int, seed: int
) -> tuple[float, np.ndarray]:
    """The statistic on all images and on each resample, NaN where it is undefined; single resamples do not warn."""
    estimate = float(statistic(*columns))
    drawn = np.full(resamples, np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number, rows in enumerate(_resampled_rows(len(columns[0]), groups, resamples, seed)):
            drawn[number] = statistic(*(column[rows] for column in columns))
    if np.isnan(drawn).all() and not np.isnan(estimate):
        undefined("interval", f"resamples of {len(columns[0])} images gave no figure", stacklevel=4)
    return estimate, drawn


def _resampled_rows(images: int, groups: np.ndarray | None, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """The rows of each resample; there is none where there are too few images, or all are of one group."""
    rng = np.random.default_rng(seed)
    if groups is None:
        return (rng.integers(0, images, images) for _ in range(resamples if images >= FEWEST_IMAGES else 0))
    if np.shape(groups) != (images,):
        raise ValueError(f"expected the content group of each of {images} images, found shape {np.shape(groups)}")
    _, number, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    members = np.split(np.argsort(number, kind="stable"), np.cumsum(sizes)[:-1])
    return (
        np.concatenate([members[group] for group in rng.integers(0, len(members), len(members))])
        for _ in range(resamples if images >= FEWEST_IMAGES and len(members) > 1 else 0)
    )


def _interval(estimate: float, drawn: np.ndarray) -> Interval:
    found = drawn[~np.isnan(drawn)]
    low, high = np.quantile(found, (0.025, 0.975)) if len(found) else (np.nan, np.nan)
    return Interval(float(low), float(high), estimate)
