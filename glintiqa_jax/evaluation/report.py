"""What a run leaves for people to look at: ``report.md`` with its plots."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from glintiqa_jax.data.files import save_figure, write_text
from glintiqa_jax.data.mixture import MixedSource
from glintiqa_jax.data.source import RatedSource
from glintiqa_jax.evaluation.mapping import fit_logistic4
from glintiqa_jax.evaluation.metrics import METRICS
from glintiqa_jax.evaluation.prediction import Predictions

_SHOWN = 6  # images in each row of the contact sheet


def write_report(
    workdir: Path,
    *,
    source: RatedSource | MixedSource,
    predictions: Predictions,
    history: list[dict[str, Any]],
    results: dict[str, Any],
    config: dict[str, Any],
) -> None:
    """Write ``report.md``, ``learning_curve.png``, ``predicted_against_true.png`` and ``best_and_worst.png``.

    Args:
      workdir: an existing folder.
      source: the images that were predicted.
      predictions: of the test split.
      history: the rows of ``metrics.jsonl``.
      results: the content of ``results.json``.
      config: the configuration as JSON values.
    """
    with matplotlib.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        save_figure(_learning_curve(history, results["best_step"], config["loss"]), workdir / "learning_curve.png")
        save_figure(_scatter(predictions, source.scale.describe()), workdir / "predicted_against_true.png")
        save_figure(_best_and_worst(predictions, source), workdir / "best_and_worst.png")
    write_text(workdir / "report.md", _markdown(source, results, config))


def _learning_curve(history: list[dict[str, Any]], best_step: int, loss: str) -> Figure:
    figure = Figure(figsize=(7, 3), layout="constrained")
    left, right = figure.subplots(1, 2)
    trained = [row for row in history if "loss" in row]
    left.plot([row["step"] for row in trained], [row["loss"] for row in trained], linewidth=1)
    left.set(xlabel="step", ylabel=f"training loss ({loss})")
    validated = [row for row in history if "validation" in row and row["validation"]["srocc"] is not None]
    right.plot(
        [row["step"] for row in validated],
        [row["validation"]["srocc"] for row in validated],
        marker="o",
        markersize=3,
    )
    right.axvline(best_step, color="grey", linestyle=":", label=f"kept: step {best_step}")
    right.set(xlabel="step", ylabel="validation SROCC")
    right.legend(frameon=False)
    return figure


def _scatter(predictions: Predictions, scale: str) -> Figure:
    figure = Figure(figsize=(4.2, 4), layout="constrained")
    axes: Axes = figure.subplots()
    axes.scatter(predictions.predicted, predictions.target, s=8, alpha=0.4, linewidths=0)
    mapping = fit_logistic4(predictions.predicted, predictions.target)
    line = np.linspace(predictions.predicted.min(), predictions.predicted.max(), 200)
    axes.plot(line, mapping(line), color="black", linewidth=1.2, label="logistic fit")
    axes.set(xlabel="predicted score", ylabel=f"opinion score ({scale})")
    axes.legend(frameon=False)
    return figure


def _best_and_worst(predictions: Predictions, source: RatedSource | MixedSource) -> Figure:
    order = np.argsort(np.abs(predictions.predicted - predictions.target), kind="stable")
    count = min(_SHOWN, len(order))
    figure = Figure(figsize=(2 * count, 4.2), layout="constrained")
    grid = figure.subplots(2, count, squeeze=False)
    for row, (title, chosen) in enumerate((("best", order[:count]), ("worst", order[::-1][:count]))):
        for axes, index in zip(grid[row], chosen, strict=True):
            axes.imshow(source[int(predictions.positions[index])]["image"])
            name = predictions.names[index]
            axes.set_title(
                f"{title}: {name if len(name) <= 24 else name[:21] + '...'}\n"
                f"predicted {predictions.predicted[index]:.2f}, people {predictions.target[index]:.2f}",
                fontsize=7,
                parse_math=False,  # a name may hold a $
            )
            axes.axis("off")
    return figure


def _markdown(source: RatedSource | MixedSource, results: dict[str, Any], config: dict[str, Any]) -> str:
    header = "| split | images | " + " | ".join(name.upper() for name in METRICS) + " |"
    rows = [header, "|---" * (2 + len(METRICS)) + "|"]
    for split, part in results.items():
        if not isinstance(part, dict):
            continue
        values = ["undefined" if part[name] is None else f"{part[name]:.4f}" for name in METRICS]
        rows.append(f"| {split} | {part['images']} | " + " | ".join(values) + " |")
    kept = f"The network is the one of step {results['best_step']} of {results['step']}, "
    kept += "the best on validation. " if "validation" in results else "the last, as there is no validation split. "
    return "\n".join(
        [
            f"# {config['variant']} on {source.card['name']}",
            "",
            f"{source.card['images']} images of {source.card['groups']} contents; scores: {source.scale.describe()}. "
            "SROCC, PLCC and KROCC are higher is better; RMSE is in the unit of the scores, lower is better.",
            "",
            *rows,
            "",
            kept + "The test split was used once, for this table.",
            "",
            "## Learning curve",
            "",
            "![learning curve](learning_curve.png)",
            "",
            "## Predicted against true, test split",
            "",
            "![predicted against true](predicted_against_true.png)",
            "",
            "## Best and worst predicted, test split",
            "",
            "![best and worst predicted](best_and_worst.png)",
            "",
            "Every image's prediction is in `predictions_test.csv`, the whole configuration in `config.json`, and who "
            "trained and who was tested in `split.json`.",
            "",
        ]
    )
