"""The plots of a report: curves, scatter, residuals and images."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ParamSpec, TypeVar

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from glintiqa_jax.data.source import Source
from glintiqa_jax.errors import visible
from glintiqa_jax.evaluation.mapping import fit_logistic4
from glintiqa_jax.evaluation.metrics import METRICS
from glintiqa_jax.evaluation.prediction import Predictions

_STYLE: Any = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
_SHOWN = 6  # images in each row of the contact sheet
_FIFTHS = 5  # parts of equally many images that resolutions are divided into
_Arguments = ParamSpec("_Arguments")
_Drawn = TypeVar("_Drawn")


def _in_our_style(draw: Callable[_Arguments, _Drawn]) -> Callable[_Arguments, _Drawn]:
    @functools.wraps(draw)
    def drawn(*arguments: _Arguments.args, **named: _Arguments.kwargs) -> _Drawn:
        with matplotlib.rc_context(_STYLE):
            return draw(*arguments, **named)

    return drawn


@_in_our_style
def learning_curve(
    histories: Mapping[str, Sequence[Mapping[str, Any]]], watched: str, loss: str, *, metric: str = "srocc"
) -> Figure:
    """Training loss, and a metric on the split that selects.

    Args:
      histories: rows of ``metrics.jsonl`` by the name of the run.
      watched: which split was evaluated on the way, "validation" or "test".
      loss: what the loss is called.
      metric: its key.
    """
    figure = Figure(figsize=(7, 3), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name, history in histories.items():
        trained = [row for row in history if "loss" in row]
        left.plot([row["step"] for row in trained], [row["loss"] for row in trained], linewidth=1, label=name)
        seen = [row for row in history if watched in row and row[watched][metric] is not None]
        figures = [row[watched][metric] for row in seen]
        right.plot([row["step"] for row in seen], figures, marker="o", markersize=3, label=name)
    left.set(xlabel="step", ylabel=f"training loss ({loss})")
    right.set(xlabel="step", ylabel=f"{watched} {METRICS[metric].title}")
    if 1 < len(histories) <= 10:
        right.legend(frameon=False, fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


@_in_our_style
def mark_kept(figure: Figure, step: int) -> None:
    """Mark in a learning curve the step that was kept."""
    axes = figure.axes[1]
    axes.axvline(step, color="grey", linestyle=":", label=f"kept: step {step}")
    axes.legend(frameon=False)


@_in_our_style
def scatter(panels: Mapping[str, tuple[np.ndarray, np.ndarray]], scale: str) -> Figure:
    """Opinion against prediction, one panel each, with the four-parameter logistic fit.

    Args:
      panels: predicted and opinion scores, ``(images,)`` each, by title.
      scale: what the opinion scores are.
    """
    columns = min(len(panels), 3)
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(4.2 * columns if columns == 1 else 3.4 * columns, 3.6 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid[len(panels) :]:
        axes.axis("off")
    for number, (axes, (title, (predicted, target))) in enumerate(zip(grid, panels.items(), strict=False)):
        axes.scatter(predicted, target, s=8, alpha=0.4, linewidths=0)
        line = np.linspace(predicted.min(), predicted.max(), 200)
        axes.plot(line, fit_logistic4(predicted, target)(line), color="black", linewidth=1.2, label="logistic fit")
        axes.set_xlabel("prediction")
        if number % columns == 0:
            axes.set_ylabel(f"opinion score ({scale})")
        if len(panels) > 1:
            axes.set_title(visible(title), fontsize=8, parse_math=False)
        else:
            axes.legend(frameon=False)
    return figure


@_in_our_style
def residuals(predicted: np.ndarray, target: np.ndarray, by: Mapping[str, np.ndarray]) -> Figure:
    """Boxes of the residuals, mapped prediction minus opinion score, with a panel for each way to group the images.

    Args:
      predicted: ``(images,)``.
      target: ``(images,)``.
      by: labels or numbers, ``(images,)`` each, by their title; each label gets a box, in order.
    """
    residual = fit_logistic4(predicted, target)(predicted) - target
    labels = {name: np.unique(values) for name, values in by.items()}
    widths = [max(1.5, 0.25 * len(found)) for found in labels.values()]
    figure = Figure(figsize=(min(1.5 + sum(widths) * 1.3, 14), 4), layout="constrained")
    panels = figure.subplots(1, len(by), squeeze=False, sharey=True, width_ratios=widths)[0]
    for axes, (name, values) in zip(panels, by.items(), strict=True):
        found = labels[name]
        axes.boxplot([residual[values == label] for label in found], flierprops={"markersize": 2}, widths=0.6)
        axes.set_xticks(range(1, len(found) + 1), [str(label) for label in found], rotation=90, fontsize=7)
        for label in axes.get_xticklabels():
            label.set_parse_math(False)
        axes.axhline(0, color="grey", linewidth=0.8)
        axes.set_xlabel(name)
    panels[0].set_ylabel("mapped prediction - people")
    return figure


def by_resolution(pixels: np.ndarray) -> np.ndarray:
    """A label for each image's number of pixels, from the fewest on: the number, or a fifth of the images.

    Args:
      pixels: int ``(images,)``.
    """
    distinct = np.unique(pixels)
    if len(distinct) <= _FIFTHS:
        return np.asarray([f"{count / 1e6:7.3f} MP" for count in pixels])
    edges = np.unique(np.quantile(pixels, np.linspace(0, 1, _FIFTHS + 1)))
    term = np.clip(np.searchsorted(edges, pixels, side="right") - 1, 0, len(edges) - 2)
    return np.asarray([f"{edges[one] / 1e6:7.3f} to {edges[one + 1] / 1e6:.3f} MP" for one in term])


@_in_our_style
def best_and_worst(predictions: Predictions, source: Source, order: Sequence[int] | np.ndarray) -> Figure:
    """The images whose predictions err the least and the most, with both scores.

    Args:
      predictions: of the images.
      source: where they are.
      order: rows of the predictions, the best predicted first.
    """
    names, predicted, target = predictions.names, predictions.predicted, predictions.target
    rows = [
        [
            (
                int(predictions.positions[row]),
                f"{title}: {short(names[row])}\npredicted {predicted[row]:.2f}, people {target[row]:.2f}",
            )
            for row in chosen[:_SHOWN]
        ]
        for title, chosen in (("best", order), ("worst", order[::-1]))
    ]
    return contact_sheet(source, rows)


@_in_our_style
def contact_sheet(source: Source, rows: Sequence[Sequence[tuple[int, str]]]) -> Figure:
    """Images side by side: the position of each and what is above it, row by row, all rows of one length."""
    figure = Figure(figsize=(2 * len(rows[0]), 2.1 * len(rows)), layout="constrained")
    grid = figure.subplots(len(rows), len(rows[0]), squeeze=False)
    for axes, (position, title) in zip(grid.ravel(), [cell for row in rows for cell in row], strict=True):
        axes.imshow(source[position]["image"])
        axes.set_title(title, fontsize=7, parse_math=False)  # a name may hold a $
        axes.axis("off")
    return figure


def short(name: str) -> str:
    """A name that fits above an image: its end is what tells it from others."""
    shown = visible(name)
    return shown if len(shown) <= 24 else "..." + shown[-21:]
