"""The released protocol: rounds of random splits by content, and the median over them (paper section IV-A).

Like all protocols it is for one process, with as many devices as that has.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from glintiqa_jax.data.lock import sole_user
from glintiqa_jax.data.paths import local_path
from glintiqa_jax.data.splits import released_seed
from glintiqa_jax.errors import InputError
from glintiqa_jax.evaluation import plots
from glintiqa_jax.evaluation.config import ReportOptions
from glintiqa_jax.evaluation.document import Plot, Section, write_document
from glintiqa_jax.evaluation.metrics import METRICS
from glintiqa_jax.evaluation.prediction import Predictions
from glintiqa_jax.evaluation.published import SOURCE, WITHIN, reference
from glintiqa_jax.evaluation.report import FLATTERED, Evaluated, cited, residuals_section, training_mean
from glintiqa_jax.evaluation.tables import Judged, metrics_table, summary_table
from glintiqa_jax.models.config import describe
from glintiqa_jax.protocols.runs import Running, Task, claim, commits, splits_of
from glintiqa_jax.training.provenance import provenance
from glintiqa_jax.training.result import Result


def run_rounds(
    task: Task, workdir: str | os.PathLike, *, rounds: int = 10, running: Running = Running()
) -> list[Result]:
    """Train and test once for each round, on splits drawn by its seed, and report the median over the rounds.

    Each round is a run of its own in ``round_01`` and so on, with its checkpoints, its split and its report. Run again,
    what is complete is not done again; with more rounds, those are added.

    Args:
      task: what is trained; its split must be left to the rounds.
      workdir: where everything goes: a folder for each round, ``report.md`` and ``report.html``.
      rounds: how many, at least one.
      running: where and how.

    Returns:
      The runs, in the order of the rounds. A signal ends a run after saving, by ``Stopped``.

    Raises:
      InputError: a split that is not left to the rounds, a folder of something else or in use, and what a run refuses.
      KeyboardInterrupt: a signal outside of training steps; the same call resumes.
    """
    folder = local_path("workdir", workdir)
    running = with_one_home_of_baselines(running, folder)
    check_rounds(task, rounds)
    with sole_user(folder, "workdir"):
        round_task(task, 1).check(running)
        claim(folder, "rounds", {"rounds": task})
        runs = train_rounds(task, folder, rounds=rounds, running=running)
        if runs is not None:
            _report(task, folder, runs, running.report)
    return runs


def with_one_home_of_baselines(running: Running, folder: Path) -> Running:
    """What baselines say is kept in the protocol's folder, for all its runs."""
    return dataclasses.replace(running, report=dataclasses.replace(running.report, baselines_folder=folder))


def check_rounds(task: Task, rounds: int) -> None:
    """``InputError`` where the task says which split, which is for the rounds to say, or rounds have no seeds left."""
    if task.splitting.split_round:
        raise InputError("is for the rounds to say", field="split_round", value=task.splitting.split_round)
    if task.splitting.split_by != "auto":
        raise InputError("is for the rounds to say", field="split_by", value=task.splitting.split_by)
    try:
        round_task(task, rounds)
    except InputError as error:
        raise InputError(f"round {rounds} cannot be run ({error})", field="rounds", value=rounds) from error


def train_rounds(task: Task, workdir: Path, *, rounds: int, running: Running) -> list[Result]:
    """The runs of all rounds, those that are complete as they are."""
    runs = []
    for number in range(1, rounds + 1):
        folder = workdir / f"round_{number:02d}"
        running.log.say(f"round {number} of {rounds}: {folder}")
        runs.append(running.train(round_task(task, number), folder, f"round {number}"))
    return runs


def round_task(task: Task, number: int) -> Task:
    """The task of a round, whose seed draws the split and starts the network."""
    splitting = dataclasses.replace(task.splitting, split_round=number)
    seed = task.experiment.start.seed + released_seed(number)
    return dataclasses.replace(task.change(seed=seed), splitting=splitting)


def median_run(runs: Sequence[Result]) -> Result:
    """The run whose SROCC is the median's, or the next below."""
    ordered = sorted(runs, key=lambda run: METRICS["srocc"].worth(run.figures["test"]["srocc"]))
    return ordered[(len(ordered) - 1) // 2]


def tested(run: Result) -> Evaluated:
    """A run's predictions of its test split, which every round has."""
    assert run.tested is not None
    return run.tested


def baselines_of(run: Result, report: ReportOptions) -> dict[str, Judged]:
    """What baselines say of a run's test images."""
    evaluated = tested(run)
    mean = training_mean(evaluated.source, run.training_positions(evaluated.source))
    return evaluated.baselines(report.baselines, report.baselines_folder or run.workdir, mean)


def databases(run: Result) -> list[str]:
    """The databases that a run was tested on."""
    return tested(run).databases


def rows_of(run: Result, name: str = "the network") -> dict[str, Judged]:
    """A run's predictions, a row for each database it was tested on."""
    found = databases(run)
    return {f"{name}, on {one}" if len(found) > 1 else name: tested(run).judged(one) for one in found}


def published_column(names: Sequence[str], rows: int) -> dict[str, list[str]]:
    """A column of published figures beside the first rows, one for each database, where there are any."""
    found = [reference(WITHIN[name]) if name in WITHIN else "-" for name in names]
    return {"published, SROCC / PLCC": found + ["-"] * (rows - len(names))} if set(found) != {"-"} else {}


def _report(task: Task, workdir: Path, runs: Sequence[Result], report: ReportOptions) -> None:
    source, experiment, splitting = task.source, task.experiment, task.splitting
    rows: dict[str, list[Judged]] = {}
    for run in runs:
        for name, judged in (rows_of(run) | baselines_of(run, report)).items():
            rows.setdefault(name, []).append(judged)
    note = f"Baselines are of the same images. {cited(report.baselines)}".strip()
    if any(name in WITHIN for name in databases(runs[0])):
        note += f" Published: {SOURCE}."
    kept = "the step that is best on validation; the test split was used once in each round"
    if experiment.validation.watched == "test":
        kept = f"the step that is best on the test split: {FLATTERED}"
        note += f" The network's rows are {FLATTERED}."
    elif "validation" not in runs[0].figures:
        kept = "the last step, as there is no validation split"
    typical = median_run(runs)
    main = tested(typical)
    sections = [
        Section(
            f"{describe(experiment.model)} on {source.name}: {len(runs)} rounds",
            [
                f"{source.describe()}. In each round whole contents are drawn to test "
                f"({splitting.test_fraction:.0%}), to validate ({splitting.validation_fraction:.0%}) and to train, "
                f"by the seed 12345 x the round's number; kept is {kept}.",
                summary_table(rows, note=note, more=published_column(databases(runs[0]), len(rows))),
            ],
        ),
        _each_round(runs, report.resamples),
        Section(
            "Learning curves",
            [
                Plot(
                    "learning_curves",
                    plots.learning_curve(
                        {run.name: run.history for run in runs},
                        experiment.validation.watched,
                        experiment.objective.loss_name,
                        metric=experiment.validation.selection_metric,
                    ),
                    "learning curves of all rounds",
                )
            ],
        ),
        Section(f"Predicted against true, {typical.name}, whose SROCC is the median", [main.scatter()]),
        residuals_section(_pooled(runs), "all rounds", rounds=[tested(run).predictions for run in runs]),
        Section(f"Best and worst predicted, {typical.name}", main.pictures(shown=report.pictures)),
        provenance(report.command).section(commits(runs), *splits_of(runs)),
    ]
    write_document(workdir, sections, latex=report.latex)


def _each_round(runs: Sequence[Result], resamples: int) -> Section:
    found = {
        f"{run.name}{ending.removeprefix('the network')}": judged
        for run in runs
        for ending, judged in rows_of(run).items()
    }
    kept = [f"{run.figures['best_step']} of {run.figures['step']}" for run in runs for _ in databases(run)]
    return Section("Each round", [metrics_table(found, more={"kept step": kept}, resamples=resamples)])


def _pooled(runs: Sequence[Result]) -> Evaluated:
    """The tests of all rounds as one; an image that several rounds tested is there as often."""
    parts = [tested(run).predictions for run in runs]
    positions, predicted, deviation = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("positions", "predicted", "crop_deviation")
    )
    first = tested(runs[0])
    return dataclasses.replace(first, predictions=Predictions.of(first.source, positions, predicted, deviation))
