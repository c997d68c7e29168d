"""Tables of figures: with their intervals, side by side with others', by type of distortion."""

from __future__ import annotations

import dataclasses
import functools
import math
import warnings
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from glintiqa_jax.evaluation.document import Table
from glintiqa_jax.evaluation.mapping import fit_logistic4
from glintiqa_jax.evaluation.metrics import all_metrics, krocc, mae, outlier_ratio, plcc, rmse, srocc
from glintiqa_jax.evaluation.significance import (
    FEWEST_IMAGES,
    Interval,
    bootstrap_interval,
    paired_bootstrap,
    residual_f_test,
)

RESAMPLES = 1000
UNDEFINED = "undefined"
_SMALLEST, _LARGEST = 5e-4, 1e7  # figures that three decimals show
_FEW = 10  # contents, below which resamples of them hardly differ
HOW_SURE = (
    "In brackets 95 % bootstrap intervals ({resamples} resamples) over images or, where contents are counted beside "
    "them, over whole contents. SROCC, KROCC and PLCC are higher is better, errors and the outlier ratio lower is "
    "better. Mapped figures are after the four-parameter logistic fitted to the same images, which their intervals "
    "hold as it is. Of fewer than {fewest} images there is no interval."
)


@dataclasses.dataclass(frozen=True)
class Judged:
    """Images as a model and people judge them.

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
        """How many there are and, where they are fewer, of how many contents."""
        contents = "" if self.groups is None else f" ({len(set(self.groups))} contents)"
        return f"{len(self.target)}{contents}"

    @functools.cached_property
    def intervals(self) -> dict[str, Interval | None]:
        """Figures by the title of their column, with their intervals; None where one has no meaning."""
        mapped = fit_logistic4(self.predicted, self.target)(self.predicted)

        def interval(metric: Callable[..., float], predicted: np.ndarray, *more: np.ndarray) -> Interval:
            return bootstrap_interval(metric, predicted, self.target, *more, groups=self.groups, resamples=RESAMPLES)

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what is undefined is shown as such
            found: dict[str, Interval | None] = {
                "SROCC": interval(srocc, self.predicted),
                "KROCC": interval(krocc, self.predicted),
                "PLCC": interval(plcc, self.predicted),
                "PLCC mapped": interval(plcc, mapped),
                "RMSE": interval(rmse, self.predicted) if self.same_unit else None,
                "RMSE mapped": interval(rmse, mapped),
                "MAE": interval(mae, self.predicted) if self.same_unit else None,
            }
            if self.target_std is not None:
                found["outlier ratio"] = interval(outlier_ratio, mapped, self.target_std)
        return found


def metrics_table(
    rows: Mapping[str, Judged],
    *,
    note: str = "",
    more: Mapping[str, Sequence[str]] | None = None,
    explained: bool = True,
) -> Table:
    """One row per name, with the figures and their intervals.

    Args:
      rows: what was judged, by whom.
      note: further words under the table.
      more: further columns by title, with one cell for each row.
      explained: say under it what the figures are; not needed again in one report.
    """
    found = {name: judged.intervals for name, judged in rows.items()}
    titles = list(dict.fromkeys(title for one in found.values() for title in one))
    cells = []
    for place, (name, one) in enumerate(found.items()):
        values = [in_words(one[title]) if title in one else "-" for title in titles]
        cells.append([name, rows[name].images, *values, *(extra[place] for extra in (more or {}).values())])
    contents = [len(set(judged.groups)) for judged in rows.values() if judged.groups is not None]
    caption = HOW_SURE.format(resamples=f"{RESAMPLES:,}", fewest=FEWEST_IMAGES)
    if contents and min(contents) < _FEW:
        caption += f" An interval over as few as {min(contents)} contents says little."
    if "outlier ratio" in titles:
        caption += (
            " The outlier ratio is the share of images whose mapped error is more than two standard deviations of the "
            "opinions."
        )
    return Table(["", "images", *titles, *(more or {})], cells, f"{caption if explained else ''} {note}".strip())


def comparison_table(name: str, reference: Judged, others: Mapping[str, Judged], *, explained: bool = True) -> Table:
    """How far others are from one, on the same images: paired bootstrap of SROCC and PLCC, F-test on residuals.

    Args:
      name: of the one.
      reference: the one.
      others: the others, whose images and scores are the same.
      explained: say under it what the figures are; not needed again in one report.
    """
    rows = []
    for other_name, other in others.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            by_rank, by_value = (
                paired_bootstrap(metric, one, two, reference.target, groups=reference.groups, resamples=RESAMPLES)
                for metric, one, two in (
                    (srocc, other.predicted, reference.predicted),
                    (plcc, _mapped(other), _mapped(reference)),
                )
            )
            test = residual_f_test(other.predicted, reference.predicted, reference.target)
        better = {"first": other_name, "second": name, None: "neither"}[test.better]
        rows.append(
            [
                other_name,
                in_words(by_rank, "+.3f"),
                _p_value(by_rank.p_value),
                in_words(by_value, "+.3f"),
                _p_value(by_value.p_value),
                UNDEFINED if math.isnan(test.ratio) else f"{better} (ratio {test.ratio:.2f})",
            ]
        )
    columns = [f"less {name}", "Δ SROCC", "p", "Δ PLCC mapped", "p", "smaller residual variance, F-test"]
    caption = (
        f"Differences on the same images, positive where the row is better than {name}; 95 % paired bootstrap "
        "intervals and two-sided p. The F-test on residuals of the mapped predictions (5 %) is VQEG's; it takes the "
        "models to be independent, which on the same images they seldom are."
    )
    return Table(columns, rows, caption if explained else "")


def types_table(kinds: np.ndarray, judged: Sequence[tuple[np.ndarray, np.ndarray]], title: str) -> Table:
    """SROCC and PLCC for each label; where there are several runs, their medians.

    Args:
      kinds: the label of each row, ``(images,)``, of every run one after the other.
      judged: predicted and opinion scores of each run, whose images follow one another as in ``kinds``.
      title: what the labels are.
    """
    by_run = np.repeat(np.arange(len(judged)), [len(target) for _, target in judged])
    predicted = np.concatenate([one for one, _ in judged])
    target = np.concatenate([one for _, one in judged])
    rows = []
    for kind in np.unique(kinds):
        found = []
        for run in range(len(judged)):
            chosen = (kinds == kind) & (by_run == run)
            if chosen.any():
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    found.append(all_metrics(predicted[chosen], target[chosen]))
        images = sum(int(one["images"]) for one in found)
        values = [number(_median([one[name] for one in found])) for name in ("srocc", "plcc", "krocc", "rmse")]
        rows.append([str(kind).strip(), f"{images}", *values])
    caption = (
        "Medians over the rounds that have images of it; images are counted over all rounds." if len(judged) > 1 else ""
    )
    return Table([title, "images", "SROCC", "PLCC", "KROCC", "RMSE"], rows, caption)


def in_words(interval: Interval | None, style: str = ".3f") -> str:
    """``0.859 (0.828 to 0.882)``."""
    if interval is None:
        return "-"
    if math.isnan(interval.estimate):
        return UNDEFINED
    if not _SMALLEST <= abs(interval.estimate) < _LARGEST and interval.estimate:
        style = style.replace(".3f", ".4g")  # an error in a unit of its own
    if math.isnan(interval.low):
        return format(interval.estimate, style)
    return f"{interval.estimate:{style}} ({interval.low:{style}} to {interval.high:{style}})"


def number(value: float) -> str:
    """A figure, or that it is undefined."""
    if math.isnan(value):
        return UNDEFINED
    return f"{value:.4f}" if not value or _SMALLEST <= abs(value) < _LARGEST else f"{value:.4g}"


def _median(values: Sequence[float]) -> float:
    defined = [value for value in values if not math.isnan(value)]
    return float(np.median(defined)) if defined else math.nan


def _mapped(judged: Judged) -> np.ndarray:
    return fit_logistic4(judged.predicted, judged.target)(judged.predicted)


def _p_value(value: float) -> str:
    return UNDEFINED if math.isnan(value) else f"{value:.3f}" if value >= 0.001 else "< 0.001"
