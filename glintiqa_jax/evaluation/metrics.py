"""How well predictions agree with people: functions of ``(predicted, target)``, and ``METRICS``, the table of them.

The functions take arrays of shape ``(images,)`` in one unit and direction, and refuse shapes that differ and values
that are not finite. A figure that is undefined, as a correlation is where one side is constant (there is then no order
to agree with), is NaN, with a warning that says why. ``significance.py`` has intervals and tests.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping

import numpy as np

from glintiqa_jax.evaluation.arrays import checked, constant, undefined

UNDEFINED = "undefined"
_SMALLEST, _LARGEST = 5e-4, 1e7  # figures that decimals show; beyond, four significant digits


def srocc(predicted: np.ndarray, target: np.ndarray) -> float:
    """Spearman rank order correlation, in [-1, 1]; ties get their mean rank.

    Example:
      >>> round(srocc(np.array([0.1, 0.4, 0.3, 0.9]), np.array([20, 40, 60, 80])), 4)
      0.8
    """
    from scipy.stats import spearmanr

    return _correlation("SROCC", spearmanr, predicted, target)


def plcc(predicted: np.ndarray, target: np.ndarray) -> float:
    """Pearson linear correlation of the raw predictions, in [-1, 1]; no mapping is fitted."""
    from scipy.stats import pearsonr

    return _correlation("PLCC", pearsonr, predicted, target)


def krocc(predicted: np.ndarray, target: np.ndarray) -> float:
    """Kendall rank order correlation tau-b, in [-1, 1]."""
    from scipy.stats import kendalltau

    return _correlation("KROCC", kendalltau, predicted, target)


def rmse(predicted: np.ndarray, target: np.ndarray) -> float:
    """Root mean squared error of the raw predictions, in the scores' unit."""
    predicted, target = checked(predicted, target)
    return math.sqrt(_mean("RMSE", np.square(predicted - target)))


def mae(predicted: np.ndarray, target: np.ndarray) -> float:
    """Mean absolute error of the raw predictions, in the scores' unit."""
    predicted, target = checked(predicted, target)
    return _mean("MAE", np.abs(predicted - target))


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
    return _mean("outlier ratio", np.abs(predicted - target) > 2 * target_std)


@dataclasses.dataclass(frozen=True)
class Metric:
    """A row of ``METRICS``: all that results, tables and the selection of a checkpoint need to know of a metric.

    Attributes:
      title: what tables and results call it.
      function: of ``(predicted, target)``, arrays ``(images,)``; where ``needs_std`` of ``target_std``, too.
      higher_is_better: its direction.
      in_unit: an error in the scores' unit, which means nothing of raw predictions in another unit.
      mapped: of the predictions after the four-parameter logistic fitted to the same images.
      needs_std: known only where the standard deviations of the opinions are.
      compared: models are compared by it, with a test of the difference, and not only listed.
      decimals: digits after the point, in results; tables with intervals show one less.
      note: a sentence for captions.
    """

    title: str
    function: Callable[..., float]
    higher_is_better: bool = True
    in_unit: bool = False
    mapped: bool = False
    needs_std: bool = False
    compared: bool = True
    decimals: int = 4
    note: str = ""

    def worth(self, figure: float | None) -> float:
        """A number that is larger for a better figure; ``-inf`` if the figure is undefined (NaN or None)."""
        if figure is None or math.isnan(figure):
            return -math.inf
        return figure if self.higher_is_better else -figure

    def text(self, *figures: float | None, sign: str = "", fewer: int = 0) -> str:
        """``0.8591``, or that it is undefined; of several figures ``0.8591 (0.8573 to 0.8602)``.

        Four significant digits where decimals would not show the first figure, which says how all are written.

        Args:
          figures: one, or an estimate with its lowest and highest; NaN or None where undefined.
          sign: "+" where differences show theirs.
          fewer: show this many digits fewer after the point.
        """
        first = figures[0]
        if first is None or math.isnan(first):
            return UNDEFINED
        ordinary = not first or _SMALLEST <= abs(first) < _LARGEST
        style = f"{sign}.{self.decimals - fewer}f" if ordinary else f"{sign}.4g"
        estimate, *interval = (format(figure, style) for figure in figures)
        return f"{estimate} ({' to '.join(interval)})" if interval else estimate


METRICS: dict[str, Metric] = {
    "srocc": Metric("SROCC", srocc),
    "plcc": Metric("PLCC", plcc, compared=False),
    "krocc": Metric("KROCC", krocc, compared=False),
    "rmse": Metric("RMSE", rmse, higher_is_better=False, in_unit=True, compared=False),
    "mae": Metric("MAE", mae, higher_is_better=False, in_unit=True, compared=False),
    "plcc_mapped": Metric("PLCC mapped", plcc, mapped=True),
    "rmse_mapped": Metric("RMSE mapped", rmse, higher_is_better=False, mapped=True, compared=False),
    "outlier_ratio": Metric(
        "outlier ratio",
        outlier_ratio,
        higher_is_better=False,
        mapped=True,
        needs_std=True,
        compared=False,
        note="The outlier ratio is the share of images whose mapped error is more than two standard deviations of the "
        "opinions.",
    ),
}
"""By key, the name in ``results.json``. Results, reports and tables follow from it; it may be extended."""


def all_metrics(
    predicted: np.ndarray, target: np.ndarray, target_std: np.ndarray | None = None
) -> dict[str, float | int]:
    """Every metric of ``METRICS`` that these images have, by key, and ``images``, how many they are.

    Args:
      predicted: ``(images,)``, in the unit of the scores.
      target: ``(images,)``.
      target_std: ``(images,)``, standard deviations of the opinions; None where they are not known.
    """
    columns = columns_of(predicted, target, target_std)
    return {key: METRICS[key].function(*each) for key, each in columns.items()} | {"images": len(target)}


def columns_of(
    predicted: np.ndarray, target: np.ndarray, target_std: np.ndarray | None = None, *, same_unit: bool = True
) -> dict[str, tuple[np.ndarray, ...]]:
    """The arguments of each metric that these images have, by key: predictions, mapped or not, scores, deviations.

    Predictions that are not in the ``same_unit`` as the scores have no ``in_unit`` errors.
    """
    from glintiqa_jax.evaluation.mapping import fit_logistic4

    mapped, deviations = fit_logistic4(predicted, target)(predicted), () if target_std is None else (target_std,)
    return {
        key: (mapped if metric.mapped else predicted, target, *(deviations if metric.needs_std else ()))
        for key, metric in METRICS.items()
        if (same_unit or not metric.in_unit) and not (metric.needs_std and target_std is None)
    }


def result_line(figures: Mapping[str, float | int | None]) -> str:
    """``SROCC 0.7123  PLCC 0.7012  ...  (500 images)``, of what ``all_metrics`` gave or ``results.json`` holds."""
    said = [f"{metric.title} {metric.text(figures[key])}" for key, metric in METRICS.items() if key in figures]
    return f"{'  '.join(said)}  ({figures['images']} images)"


def how_to_read(keys: Iterable[str]) -> str:
    """A caption's sentences on some metrics: directions, mapping and notes."""
    rows = [METRICS[key] for key in keys]
    sentences = [
        f"{', '.join(titles)}: {direction} is better."
        for direction, up in (("higher", True), ("lower", False))
        if (titles := [row.title for row in rows if row.higher_is_better == up])
    ]
    if any(row.mapped for row in rows):
        sentences.append("Mapped figures are after the four-parameter logistic fitted to the same images.")
    return " ".join([*sentences, *(row.note for row in rows if row.note)])


def _correlation(name: str, statistic: Callable, predicted: np.ndarray, target: np.ndarray) -> float:
    predicted, target = checked(predicted, target)
    for side, values in (("predictions", predicted), ("scores", target)):
        if constant(values):
            return undefined(name, f"the {len(values)} {side} are all equal", stacklevel=4)
    return float(statistic(predicted, target).statistic)


def _mean(name: str, values: np.ndarray) -> float:
    return float(np.mean(values)) if len(values) else undefined(name, "there are no images", stacklevel=4)
