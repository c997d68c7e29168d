"""Trained on all of one database, tested on all of the others (paper section IV-C)."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from glintiqa_jax.data.files import write_json
from glintiqa_jax.data.lock import sole_user
from glintiqa_jax.data.paths import local_path
from glintiqa_jax.data.source import Source
from glintiqa_jax.datasets.opening import usable_positions
from glintiqa_jax.errors import InputError
from glintiqa_jax.evaluation import plots
from glintiqa_jax.evaluation.config import ReportOptions
from glintiqa_jax.evaluation.document import Plot, Section, Table, write_document
from glintiqa_jax.evaluation.evaluating import evaluate, new_positions
from glintiqa_jax.evaluation.metrics import METRICS
from glintiqa_jax.evaluation.prediction import read_predictions
from glintiqa_jax.evaluation.published import ACROSS, SOURCE, reference
from glintiqa_jax.evaluation.report import CONSTANT, FLATTERED, Evaluated, cited, residuals_section
from glintiqa_jax.evaluation.tables import Judged, compared, in_words, metrics_table
from glintiqa_jax.models.config import describe
from glintiqa_jax.protocols.runs import Running, Task, claim, commits, quiet, splits_of
from glintiqa_jax.training.provenance import provenance
from glintiqa_jax.training.result import Result


@dataclasses.dataclass(frozen=True)
class Cell:
    """A network trained on one database and tested on another.

    Attributes:
      run: the training.
      tested_on: the second's name.
      evaluated: its predictions, in the unit of the second.
      training_quality: the mean quality of the images that were trained on.
    """

    run: Result
    tested_on: str
    evaluated: Evaluated
    training_quality: float

    @property
    def title(self) -> str:
        return f"{self.run.name} on {self.tested_on}"


def cross_dataset(
    tasks: Mapping[str, Task],
    tests: Mapping[str, Source],
    workdir: str | os.PathLike,
    *,
    running: Running = Running(),
) -> list[Cell]:
    """Train on each database, test each network on the others, and report the matrix.

    Each training is a run of its own, and each test a file of predictions, ``TRAINED_on_TESTED.csv``; another call
    skips what is complete. Where tasks are split by "all", a network trains on all images but those that validate, and
    the matrix has no diagonal; with another split, the network's own test images are on the diagonal.

    Args:
      tasks: what is trained on each database, by its name.
      tests: each database that is tested on, by its name.
      workdir: where everything goes.
      running: where and how.

    Returns:
      The matrix's cells, row by row. A signal ends a run after saving, by ``Stopped``.

    Raises:
      InputError: nothing to test, a test set whose contents were all trained on, a folder of something else or in use,
        and what a run refuses.
      KeyboardInterrupt: a signal outside of training steps; the same call resumes.
    """
    folder = local_path("workdir", workdir)
    if not any(trained != tested for trained in tasks for tested in tests):
        raise InputError(
            field="test_on", expected="another database than `train_on` names", found=f"only {', '.join(tests)}"
        )
    with sole_user(folder, "workdir"):
        _check(tasks, tests, running)
        claim(folder, "cross_dataset", tasks)
        runs, cells = _runs_and_cells(tasks, tests, folder, running)
        _report(next(iter(tasks.values())), folder, runs, cells, running.report)
    return cells


def _runs_and_cells(
    tasks: Mapping[str, Task], tests: Mapping[str, Source], workdir: Path, running: Running
) -> tuple[list[Result], list[Cell]]:
    """Each network, trained, and its tests."""
    runs, cells = [], []
    for name, task in tasks.items():
        running.log.say(f"training on {name}: {workdir / name}")
        run = running.train(task, workdir / name, name)
        home = task.source
        quality = float(np.mean(home.scale.to_quality(home.index.raw_scores[run.training_positions(home)])))
        runs.append(run)
        for tested_on, source in tests.items():
            if tested_on != name:
                cells.append(Cell(run, tested_on, _tested(run, tested_on, source, running), quality))
            elif run.tested:
                cells.append(Cell(run, tested_on, run.tested, quality))
    return runs, cells


def _check(tasks: Mapping[str, Task], tests: Mapping[str, Source], running: Running) -> None:
    """``InputError`` for what cannot be used, before anything is trained."""
    for name, task in tasks.items():
        split, looks = task.check(running), task.source.looks()
        known = [looks[position] for position in np.concatenate([split.train, split.validation])]
        for tested_on, source in tests.items():
            if tested_on != name:
                source = source.resized(task.experiment.images.max_short_side)
                policy = running.execution.loading.on_bad_image
                usable = usable_positions(source, task.experiment.model.crop_size, on_bad_image=policy, say=quiet)
                new_positions(known, source, usable)


def _tested(run: Result, tested_on: str, source: Source, running: Running) -> Evaluated:
    """A run on all of another database: what its file says, where that is of this run and these images."""
    path = run.workdir.parent / f"{run.name}_on_{tested_on}.csv"
    of = {"run": run.figures["params_sha256"], "step": run.figures["best_step"], "images": source.identity}
    said = path.with_suffix(".json")  # written last
    if said.is_file():
        content = json.loads(said.read_text(encoding="utf-8"))
        if content["of"] == of:
            source = source.resized(run.model.card.view.max_short_side)
            return Evaluated(source, read_predictions(path, source), content["left_out"])
    running.log.say(f"testing {run.name} on {tested_on}: {path}")
    said.unlink(missing_ok=True)
    evaluated = evaluate(
        run.model,
        source,
        mesh=running.mesh,
        batch_size=running.execution.eval_batch_size,
        loading=running.execution.loading,
        log=running.log,
    )
    evaluated.predictions.write_csv(path)
    write_json(said, {"of": of, "left_out": evaluated.left_out})
    return evaluated


def matrix(cells: Sequence[Cell], judged: Mapping[str, Judged], key: str, *, resamples: int) -> Table:
    """A metric of each cell with its interval, trained on by tested on; ``judged`` by the cells' titles."""
    rows = list(dict.fromkeys(cell.run.name for cell in cells))
    tested = list(dict.fromkeys(cell.tested_on for cell in cells))
    columns = [name for name in rows if name in tested] + [name for name in tested if name not in rows]
    found = {
        (cell.run.name, cell.tested_on): in_words(METRICS[key], judged[cell.title].interval(key, resamples=resamples))
        for cell in cells
    }
    table = [[row, *(found.get((row, column), "-") for column in columns)] for row in rows]
    return Table([f"{METRICS[key].title}, trained on", *(f"tested on {column}" for column in columns)], table)


def _report(task: Task, workdir: Path, runs: Sequence[Result], cells: Sequence[Cell], report: ReportOptions) -> None:
    judged = {cell.title: cell.evaluated.judged(cell.evaluated.databases[0]) for cell in cells}
    panels = {title: (one.predicted, one.target) for title, one in judged.items()}
    all_names = dict.fromkeys([*(run.name for run in runs), *(cell.tested_on for cell in cells)])
    remarks = [
        f"{cell.title}: {cell.evaluated.left_out} images are left out, whose contents it was trained on."
        for cell in cells
        if cell.evaluated.left_out
    ]
    published = [
        f"{cell.title}: {reference(ACROSS[cell.run.name, cell.tested_on])}."
        for cell in cells
        if (cell.run.name, cell.tested_on) in ACROSS
    ]
    if published:
        remarks.append(f"Published SROCC ({SOURCE}): {' '.join(published)}")
    experiment = task.experiment
    validation, loss = experiment.validation, experiment.objective.loss_name
    histories = {run.name: run.history for run in runs}
    curves = plots.learning_curve(histories, validation.watched, loss, metric=validation.selection_metric)
    matrices = [matrix(cells, judged, key, resamples=report.resamples) for key in compared(list(judged.values()))]
    sections = [
        Section(
            f"{describe(experiment.model)} across {', '.join(all_names)}",
            [_how(task, runs), *matrices, *remarks],
        ),
        Section(
            "All figures, and baselines on the same images",
            [
                metrics_table(
                    judged | _baselines(cells, workdir, report),
                    note=f"Baselines are of the images that they name. {cited(report.baselines)}".strip(),
                    resamples=report.resamples,
                )
            ],
        ),
        Section(
            "Predicted against true", [Plot("predicted_against_true", plots.scatter(panels, "in its unit"), "scatter")]
        ),
        Section("Learning curves", [Plot("learning_curves", curves, "learning curves of the trainings")]),
    ]
    for cell in cells:
        name = cell.title.replace(" ", "_")
        pictures = cell.evaluated.pictures(shown=report.pictures, plot=f"best_and_worst_{name}")
        sections.append(residuals_section(cell.evaluated, cell.title, plot=f"residuals_{name}"))
        sections.append(Section(f"Best and worst predicted, {cell.title}", pictures))
    more = [commits(runs), *splits_of(runs)]
    write_document(workdir, [*sections, provenance(report.command).section(*more)], latex=report.latex)


def _how(task: Task, runs: Sequence[Result]) -> str:
    training = (
        "all images but those that validate" if task.splitting.split_by == "all" else "the training part of a split"
    )
    kept = "kept is the step that is best on validation images of that database"
    if task.experiment.validation.watched == "test":
        kept = f"kept is the step that is best on test images of that database: {FLATTERED}"
    elif "validation" not in runs[0].figures:
        kept = "kept is the last step, as there is no validation split"
    text = f"Each network is trained on {training} of one database, and tested on all images of another; {kept}."
    at_home = " On the diagonal it is tested on the test part of its own database."
    return text if task.splitting.split_by == "all" else text + at_home


def _baselines(cells: Sequence[Cell], workdir: Path, report: ReportOptions) -> dict[str, Judged]:
    """What baselines say of each cell's images, once where several cells have the same."""
    rows: dict[str, Judged] = {}
    same: dict[tuple[str, bytes, str], str] = {}
    for cell in cells:
        scale, positions = cell.evaluated.source.scale, cell.evaluated.predictions.positions
        mean = {name: float(scale.to_raw(cell.training_quality)) for name in cell.evaluated.databases}
        for title, judged in cell.evaluated.baselines(report.baselines, workdir, mean).items():
            what = (cell.tested_on, positions.tobytes(), title)
            if title == CONSTANT or what not in same:  # the constant is the training's
                same[what] = cell.title
                rows[f"{cell.title}: {title}" if title == CONSTANT else f"{title}, images of {cell.title}"] = judged
    return rows
