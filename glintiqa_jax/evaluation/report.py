"""The report of a run: ``report.md`` and ``report.html``."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from glintiqa_jax.data.source import Source
from glintiqa_jax.evaluation import plots
from glintiqa_jax.evaluation.baselines import BASELINES, baseline_values
from glintiqa_jax.evaluation.config import ReportOptions
from glintiqa_jax.evaluation.document import Block, Listing, Plot, Section, Table, write_document
from glintiqa_jax.evaluation.metrics import METRICS
from glintiqa_jax.evaluation.prediction import Predictions, known
from glintiqa_jax.evaluation.published import SOURCE, WITHIN, reference
from glintiqa_jax.evaluation.tables import Judged, comparison_table, metrics_table, types_table

CONSTANT = "constant: the training images' mean score"
FLATTERED = "selected on the test split itself, as released: these figures flatter"
_SHOWN = 6  # images in the tables of the best and the worst


@dataclasses.dataclass(frozen=True)
class Training:
    """A finished training, as its report describes it.

    Attributes:
      title: what was built, such as the name of its variant.
      loss: what the loss is called.
      history: the rows of ``metrics.jsonl``.
      trained: record positions that were trained on.
      split: the split's SHA-256.
      step: the last one.
      best_step: the one that was kept.
      selection: "validation" or "test_best", what it was selected on.
      selection_metric: the key of the metric that it is best by.
    """

    title: str
    loss: str
    history: Sequence[Mapping[str, Any]]
    trained: np.ndarray
    split: str
    step: int
    best_step: int
    selection: str = "validation"
    selection_metric: str = "srocc"

    @property
    def watched(self) -> str:
        """The split that selects."""
        return "test" if self.selection == "test_best" else "validation"

    def kept(self, splits: Collection[str]) -> str:
        """A sentence on which step was kept and how it was selected, given the evaluated splits."""
        which = "" if self.best_step else " (what training started from)"
        kept = f"The network is the one of step {self.best_step} of {self.step}{which}, "
        if self.selection == "test_best":
            return f"{kept}the best of its evaluations on the test split: {FLATTERED}."
        by = METRICS[self.selection_metric].title
        kept += (
            f"the best on validation by {by}. "
            if "validation" in splits
            else "the last, as there is no validation split. "
        )
        return kept + (
            "The test split was used once, for this table." if "test" in splits else "There is no test split."
        )


@dataclasses.dataclass(frozen=True)
class Provenance:
    """How a report was made: the rows of a table, and the command if there was one."""

    rows: Sequence[tuple[str, str]]
    command: str = ""

    def section(self, *more: tuple[str, str]) -> Section:
        """The report's last section."""
        blocks: list[Block] = [Listing(self.command)] if self.command else []
        return Section("How this was made", [*blocks, Table(["", ""], [*self.rows, *more], words=2)])


@dataclasses.dataclass(frozen=True)
class Evaluated:
    """Predictions and the source of their images, with their parts of reports.

    Attributes:
      source: the images.
      predictions: of some of them.
      left_out: how many images were not predicted, as the network was trained on their contents.
    """

    source: Source
    predictions: Predictions
    left_out: int = 0

    @property
    def databases(self) -> list[str]:
        """Of which the predicted images are."""
        return list(dict.fromkeys(self.predictions.databases))

    def rows(self, database: str) -> np.ndarray:
        """Rows of the predictions that are of a database."""
        return np.flatnonzero(np.asarray(self.predictions.databases) == database)

    def judged(self, database: str, predicted: np.ndarray | None = None, *, same_unit: bool = True) -> Judged:
        """Predictions and scores of a database, or another model's predictions of the same images.

        Args:
          database: whose images.
          predicted: ``(images,)`` of the other; images where it is NaN are left out.
          same_unit: of the other, whether it predicts in the unit of the scores.
        """
        rows, found = self.rows(database), self.predictions
        if predicted is not None:
            rows, predicted = rows[~np.isnan(predicted)], predicted[~np.isnan(predicted)]
        groups = np.asarray(found.groups)[rows]
        return Judged(
            predicted=found.predicted[rows] if predicted is None else predicted,
            target=found.target[rows],
            groups=groups if len(set(groups)) < len(groups) else None,
            target_std=known(found.target_std[rows]),
            same_unit=same_unit,
        )

    def kinds(self) -> np.ndarray | None:
        """The distortion of each row, ``(images,)`` labels in order of their numbers; None where there are not two."""
        types = self.source.index.distortion_types[self.predictions.positions]
        databases = np.asarray(self.predictions.databases)
        names = {part.name: part.distortions for part in self.source.parts}
        several, synthetic = len(self.databases) > 1, set(databases[types > 0])
        labels = []
        for database, kind in zip(databases.tolist(), types.tolist(), strict=True):
            name = names[database].get(kind, "") if kind else "not distorted"
            label = f"{kind:2d} {name}".rstrip() if database in synthetic else "as it was taken"
            labels.append(f"{database} {label}" if several else label)
        return np.asarray(labels) if len(set(labels)) > 1 else None

    def sorted_by(self) -> dict[str, np.ndarray]:
        """The ways to sort the rows for their residuals: by type, level and resolution, as far as there are several."""
        positions = self.predictions.positions
        ways: dict[str, np.ndarray] = {}
        if (kinds := self.kinds()) is not None:
            ways["distortion type"] = kinds
        levels = self.source.index.distortion_levels[positions]
        if len(np.unique(levels)) > 1:
            ways["distortion level"] = levels
        index = self.source.index  # the images as they were rated, not as the network was shown them
        pixels = index.heights[positions] * index.widths[positions]
        if len(np.unique(pixels)) > 1 or not ways:
            ways["resolution"] = plots.by_resolution(pixels)
        return ways

    def worst_last(self) -> np.ndarray:
        """Rows, the best predicted first."""
        return np.argsort(np.abs(self.predictions.predicted - self.predictions.target), kind="stable")

    def baselines(self, names: Sequence[str], folder: Path, training_mean: Mapping[str, float]) -> dict[str, Judged]:
        """Baselines on the same images; several databases have a row each.

        Images for which a measure is undefined, being too small or too plain, are left out of its row.

        Args:
          names: which measures.
          folder: of the baselines' cache.
          training_mean: the constant of each database, its training images' mean score.
        """
        found: dict[str, Judged] = {}
        values = baseline_values(self.source, self.predictions.positions, names, folder, progress="baselines")
        several = len(self.databases) > 1
        for database in self.databases:
            rows = self.rows(database)
            ending = f", on {database}" if several else ""
            if database in training_mean:
                found[CONSTANT + ending] = self.judged(database, np.full(len(rows), training_mean[database]))
            for name in names:
                said = values[name][rows]
                if self.source.scale.lower_is_better:
                    said = -said
                if np.isfinite(said).any():
                    found[BASELINES[name].title + ending] = self.judged(database, said, same_unit=False)
        return found

    def scatter(self) -> Plot:
        """Opinion against prediction, a panel for each database."""
        judged = {name: self.judged(name) for name in self.databases}
        panels = {name: (one.predicted, one.target) for name, one in judged.items()}
        figure = plots.scatter(panels, self.source.scale.describe())
        return Plot("predicted_against_true", figure, "predicted against true")

    def pictures(self, *, shown: bool, plot: str = "best_and_worst") -> list[Block]:
        """The best and the worst predicted: their names and scores and, where ``shown``, the images, as ``plot``."""
        order, predictions = self.worst_last(), self.predictions
        count = min(_SHOWN, len(order))
        rows = [
            [
                f"{title} {place + 1}",
                predictions.names[row],
                f"{predictions.predicted[row]:.3f}",
                f"{predictions.target[row]:.3f}",
                f"{predictions.crop_deviation[row]:.3f}",
            ]
            for title, chosen in (("best", order[:count]), ("worst", order[::-1][:count]))
            for place, row in enumerate(chosen)
        ]
        columns = ["", "image", "predicted", "people", "standard deviation over crops"]
        blocks: list[Block] = [Table(columns, rows, words=2)]
        if shown:
            figure = plots.best_and_worst(predictions, self.source, order)
            blocks.append(Plot(plot, figure, "best and worst predicted images with both scores"))
        return blocks


def write_report(
    workdir: Path,
    training: Training,
    evaluated: Mapping[str, Evaluated],
    provenance: Provenance,
    *,
    options: ReportOptions = ReportOptions(),
) -> None:
    """Write ``report.md``, its plots, and ``report.html``, which needs no other file.

    Args:
      workdir: an existing folder.
      training: what was trained.
      evaluated: predictions by the name of the split; everything but the table is about the last one, the test split.
      provenance: how it was made.
      options: what else it contains.
    """
    curve = plots.learning_curve(
        {"": training.history}, training.watched, training.loss, metric=training.selection_metric
    )
    plots.mark_kept(curve, training.best_step)
    curves = Section("Learning curve", [Plot("learning_curve", curve, "learning curve")])
    made_by = provenance.section(("split", f"split.json, SHA-256 {training.split}"))
    if not evaluated:
        sections = [Section(training.title, [training.kept(())]), curves, made_by]
        return write_document(workdir, sections, latex=options.latex)
    name, main = list(evaluated.items())[-1]
    source = main.source
    baselines = main.baselines(
        options.baselines, options.baselines_folder or workdir, training_mean(source, training.trained)
    )
    several = len(main.databases) > 1
    ours = {
        f"{split}, on {database}" if several else split: one.judged(database)
        for split, one in evaluated.items()
        for database in one.databases
    }
    published = "; ".join(
        f"{database}: {reference(WITHIN[database])}" for database in main.databases if database in WITHIN
    )
    note = f"Baselines are of the {name} split's images. {cited(options.baselines)}".strip()
    if training.selection == "test_best":
        note += f" The row of the test split is {FLATTERED}."
    blocks: list[Block] = [
        f"{source.describe()}.",
        metrics_table(ours | baselines, note=note, resamples=options.resamples),
        training.kept(evaluated),
    ]
    if published:
        blocks.append(f"Published, SROCC / PLCC ({SOURCE}): {published}.")
    sections = [Section(f"{training.title} on {source.name}", blocks)]
    if not several:
        own = main.judged(main.databases[0])
        same = {title: one for title, one in baselines.items() if len(one.target) == len(own.target)}
        if less := {title: judged for title, judged in same.items() if title != CONSTANT}:
            sections.append(
                Section("Against baselines", [comparison_table("the network", own, less, resamples=options.resamples)])
            )
    sections.append(curves)
    sections.append(Section(f"Predicted against true, {name} split", [main.scatter()]))
    sections.append(residuals_section(main, f"{name} split"))
    sections.append(
        Section(
            f"Best and worst predicted, {name} split",
            [
                *main.pictures(shown=options.pictures),
                f"Every image's prediction is in predictions_{name}.csv, the whole configuration in config.json, "
                "and who trained and who was tested in split.json.",
            ],
        )
    )
    write_document(workdir, [*sections, made_by], latex=options.latex)


def residuals_section(
    evaluated: Evaluated, title: str, *, plot: str = "residuals", rounds: Sequence[Predictions] = ()
) -> Section:
    """Residuals by type, level and resolution, and the figures of each type where there are several.

    Args:
      evaluated: the predictions.
      title: what they are of.
      plot: the name of the plot's file.
      rounds: where the predictions are of several rounds, one after the other, those of each.
    """
    predictions = evaluated.predictions
    figure = plots.residuals(predictions.predicted, predictions.target, evaluated.sorted_by())
    blocks: list[Block] = [Plot(plot, figure, "residuals by type, level and resolution")]
    if (kinds := evaluated.kinds()) is not None:
        parts = [
            Judged(one.predicted, one.target, target_std=known(one.target_std)) for one in rounds or (predictions,)
        ]
        blocks.append(types_table(kinds, parts, "distortion"))
    return Section(f"Residuals, {title}", blocks)


def cited(baselines: Sequence[str]) -> str:
    """Whom to cite for baselines."""
    return "; ".join(f"{BASELINES[name].title}: {BASELINES[name].source}" for name in baselines)


def training_mean(source: Source, train: np.ndarray) -> dict[str, float]:
    """The mean score of each database's training images, in the source's unit."""
    numbers = source.part_of(train)
    return {
        part.name: float(source.index.raw_scores[train[numbers == number]].mean())
        for number, part in enumerate(source.parts)
        if (numbers == number).any()
    }
