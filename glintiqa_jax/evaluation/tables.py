"""Tables of figures: with their intervals, side by side with others', by type of distortion, over rounds."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
import statistics
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from glintiqa_jax.evaluation.config import RESAMPLES
from glintiqa_jax.evaluation.document import Table
from glintiqa_jax.evaluation.metrics import METRICS, UNDEFINED, Metric, columns_of, how_to_read
from glintiqa_jax.evaluation.significance import (
    FEWEST_IMAGES,
    Interval,
    bootstrap_interval,
    paired_bootstrap,
    residual_f_test,
)

_FEW = 10  # contents, below which resamples of them hardly differ
More = Mapping[str, Sequence[str]]
"""Further columns of a table by their titles, with one cell for each row."""


@dataclasses.dataclass(frozen=True)
class Judged:
    """Predictions and opinion scores of the same images.

    Attributes:
      predicted: float ``(images,)``, in any unit that rises and falls with ``target``.
      target: float ``(images,)``, opinion scores in their own unit and direction.
      groups: the content of each image, where several show the same; else None, and images are independent.
      target_std: float ``(images,)``, standard deviations of the opinions; None where they are not known.
      same_unit: predictions are in the unit of the scores, so that errors mean something without a mapping.
    """

    predicted: np.ndarray
    target: np.ndarray
    groups: np.ndarray | None = None
    target_std: np.ndarray | None = None
    same_unit: bool = True

    @property
    def images(self) -> str:
        """The number of images and, if it is smaller, that of contents."""
        contents = "" if self.groups is None else f" ({len(set(self.groups))} contents)"
        return f"{len(self.target)}{contents}"

    @functools.cached_property
    def columns(self) -> dict[str, tuple[np.ndarray, ...]]:
        """The arguments of each metric that these images have, by its key."""
        return columns_of(self.predicted, self.target, self.target_std, same_unit=self.same_unit)

    @functools.cached_property
    def figures(self) -> dict[str, float]:
        """Each of these metrics; NaN where it is undefined."""
        with _without_warnings():
            return {key: METRICS[key].function(*columns) for key, columns in self.columns.items()}

    def interval(self, key: str, *, resamples: int = RESAMPLES) -> Interval | None:
        """A metric with its 95 % interval; None where these images do not have it."""
        if key not in self.columns:
            return None
        with _without_warnings():
            return bootstrap_interval(
                METRICS[key].function, *self.columns[key], groups=self.groups, resamples=resamples
            )

    def only(self, rows: np.ndarray) -> Judged:
        """Some of the images, by a mask or by their numbers."""
        fields = ("predicted", "target", "groups", "target_std")
        parts = {name: each[rows] for name in fields if (each := getattr(self, name)) is not None}
        return dataclasses.replace(self, **parts)


def metrics_table(
    rows: Mapping[str, Judged],
    *,
    note: str = "",
    more: More | None = None,
    explained: bool = True,
    resamples: int = RESAMPLES,
) -> Table:
    """One row per name, with every metric and its interval.

    Args:
      rows: by the name of the model.
      note: added to the caption.
      more: further columns.
      explained: explain the figures in the caption; once is enough in a report.
      resamples: of the intervals.
    """
    cells = {name: [judged.images] for name, judged in rows.items()}
    keys = _keys(rows.values())
    for name, judged in rows.items():
        cells[name] += [in_words(METRICS[key], judged.interval(key, resamples=resamples)) for key in keys]
    contents = [len(set(judged.groups)) for judged in rows.values() if judged.groups is not None]
    caption = (
        f"In brackets 95 % bootstrap intervals ({resamples:,} resamples) over images or, where contents are counted "
        f"beside them, over whole contents, the fitted mapping held as it is; none of fewer than {FEWEST_IMAGES} "
        f"images. {how_to_read(keys)}"
    )
    if contents and min(contents) < _FEW:
        caption += f" An interval over as few as {min(contents)} contents says little."
    return _table(["", "images"], keys, cells, more, f"{caption if explained else ''} {note}".strip())


def summary_table(
    rows: Mapping[str, Sequence[Judged]], *, note: str = "", more: More | None = None, explained: bool = True
) -> Table:
    """One row per name, with median, mean and standard deviation of every metric over rounds.

    Args:
      rows: the rounds, by the name of the model.
      note: added to the caption.
      more: further columns.
      explained: explain the figures in the caption; once is enough in a report.
    """
    keys = _keys([judged for found in rows.values() for judged in found])
    cells = {name: [f"{len(found)}"] for name, found in rows.items()}
    for name, found in rows.items():
        figures = [judged.figures for judged in found]
        cells[name] += [
            summary(METRICS[key], [one[key] for one in figures]) if all(key in one for one in figures) else "-"
            for key in keys
        ]
    caption = f"Median over rounds, in brackets mean and standard deviation. {how_to_read(keys)}"
    return _table(["", "rounds"], keys, cells, more, f"{caption if explained else ''} {note}".strip())


def types_table(kinds: np.ndarray, judged: Sequence[Judged], title: str) -> Table:
    """Every metric for each label; where there are several runs, their medians.

    Args:
      kinds: the label of each row, ``(images,)``, of every run one after the other.
      judged: each run, whose images follow one another as in ``kinds``.
      title: what the labels are.
    """
    keys, cells = _keys(judged), {}
    by_run = np.split(kinds, np.cumsum([len(one.target) for one in judged])[:-1])
    for kind in np.unique(kinds):
        masks = [labels == kind for labels in by_run]
        figures = [one.only(mask).figures for one, mask in zip(judged, masks, strict=True) if mask.any()]
        cells[str(kind).strip()] = [
            f"{np.sum(kinds == kind)}",
            *(METRICS[key].text(_median([one[key] for one in figures if key in one])) for key in keys),
        ]
    medians = "Medians over the rounds that have images of it; images are counted over all rounds."
    return _table([title, "images"], keys, cells, None, medians if len(judged) > 1 else "")


def comparison_table(
    name: str, reference: Judged, others: Mapping[str, Judged], *, explained: bool = True, resamples: int = RESAMPLES
) -> Table:
    """Differences of models from a reference on the same images: paired bootstrap of metrics, F-test on residuals.

    Args:
      name: of the reference. reference: the reference. others: the other models, with the same images and scores.
      explained: explain the figures in the caption; once is enough in a report.
      resamples: of the intervals.
    """
    keys, rows = compared([reference, *others.values()]), []
    for other_name, other in others.items():
        cells = [other_name]
        for key in keys:
            first, second = other.columns[key], reference.columns[key]
            with _without_warnings():
                found = paired_bootstrap(
                    METRICS[key].function, first[0], *second, groups=reference.groups, resamples=resamples
                )
            cells += [in_words(METRICS[key], found, sign="+"), _p_value(found.p_value)]
        with _without_warnings():
            test = residual_f_test(other.predicted, reference.predicted, reference.target)
        smaller = {"first": other_name, "second": name, None: "neither"}[test.better]
        rows.append([*cells, UNDEFINED if math.isnan(test.ratio) else f"{smaller} (ratio {test.ratio:.2f})"])
    differences = [title for key in keys for title in (f"Δ {METRICS[key].title}", "p")]
    caption = (
        f"Differences on the same images, each row's figure less that of {name}; 95 % paired bootstrap intervals and "
        f"two-sided p. {how_to_read(keys)} The F-test on residuals of the mapped predictions (5 %) is VQEG's; it takes "
        "the models to be independent, which on the same images they seldom are."
    )
    columns = [f"less {name}", *differences, "smaller residual variance, F-test"]
    return Table(columns, rows, caption if explained else "")


def differences_table(name: str, reference: Sequence[Judged], others: Mapping[str, Sequence[Judged]]) -> Table:
    """Differences of models from a reference round by round, each round on its own test images.

    Args:
      name: of the reference. reference: the reference, in each round. others: the other models, in the same rounds.
    """
    keys = compared([*reference, *(judged for found in others.values() for judged in found)])
    cells = []
    for other, found in others.items():
        pairs = [(one.figures, two.figures) for one, two in zip(found, reference, strict=True)]
        cells.append([other, *(cell for key in keys for cell in _differences(key, pairs))])
    columns = [
        title
        for key in keys
        for title in (f"Δ {METRICS[key].title}, median", "lowest to highest", "rounds in which it is better")
    ]
    return Table([f"less {name}", *columns], cells, "Differences round by round, on the same test images.")


def compared(judged: Sequence[Judged]) -> list[str]:
    """Keys of the metrics that models are compared by, if all models have them."""
    have = [one.columns for one in judged]
    return [key for key, metric in METRICS.items() if metric.compared and all(key in one for one in have)]


def in_words(metric: Metric, interval: Interval | None, *, sign: str = "") -> str:
    """``0.859 (0.828 to 0.882)``."""
    if interval is None:
        return "-"
    ends = [] if math.isnan(interval.low) else [interval.low, interval.high]
    return metric.text(interval.estimate, *ends, sign=sign, fewer=1)


def summary(metric: Metric, values: Sequence[float]) -> str:
    """``0.8591 (0.8573 ± 0.0041)``: median, mean and standard deviation over rounds."""
    if np.isnan(values).any():
        return UNDEFINED
    spread = f" ± {metric.text(statistics.stdev(values))}" if len(values) > 1 else ""
    return f"{metric.text(statistics.median(values))} ({metric.text(statistics.fmean(values))}{spread})"


def _keys(judged: Iterable[Judged]) -> list[str]:
    """Keys of the metrics that some have, in the order of ``METRICS``."""
    have = {key for one in judged for key in one.columns}
    return [key for key in METRICS if key in have]


def _table(
    first: Sequence[str], keys: Sequence[str], cells: Mapping[str, Sequence[str]], more: More | None, caption: str
) -> Table:
    """A row per name: its cells, then its further ones."""
    further = zip(*(more or {}).values(), strict=True) if more else [()] * len(cells)
    rows = [[name, *row, *rest] for (name, row), rest in zip(cells.items(), further, strict=True)]
    return Table([*first, *(METRICS[key].title for key in keys), *(more or {})], rows, caption)


def _differences(key: str, pairs: Sequence[tuple[Mapping[str, float], Mapping[str, float]]]) -> list[str]:
    """Median, range and how many are better; all undefined where one is."""
    metric, found = METRICS[key], [one[key] - two[key] for one, two in pairs]
    if any(math.isnan(difference) for difference in found):
        return [UNDEFINED] * 3
    median, lowest, highest = (metric.text(each(found), sign="+") for each in (statistics.median, min, max))
    return [median, f"{lowest} to {highest}", f"{sum(metric.worth(each) > 0 for each in found)} of {len(found)}"]


def _median(values: Sequence[float]) -> float:
    defined = [value for value in values if not math.isnan(value)]
    return float(np.median(defined)) if defined else math.nan


def _p_value(value: float) -> str:
    return UNDEFINED if math.isnan(value) else f"{value:.3f}" if value >= 0.001 else "< 0.001"


@contextlib.contextmanager
def _without_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
