"""The released protocol: rounds of random splits by content, and the median over them (paper section IV-A).

Like all protocols it is for one process, with as many devices as that has.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from glintiqa_jax import settings
from glintiqa_jax.data.lock import sole_user
from glintiqa_jax.data.paths import local_path
from glintiqa_jax.data.splits import released_seed
from glintiqa_jax.datasets.opening import open_data
from glintiqa_jax.errors import UserError
from glintiqa_jax.evaluation import plots
from glintiqa_jax.evaluation.document import Plot, Section, write_document
from glintiqa_jax.evaluation.metrics import METRICS
from glintiqa_jax.evaluation.prediction import Predictions
from glintiqa_jax.evaluation.published import SOURCE, WITHIN, reference
from glintiqa_jax.evaluation.report import (
    FLATTERED,
    Evaluated,
    ReportOptions,
    cited,
    residuals_section,
    training_mean,
)
from glintiqa_jax.evaluation.tables import Judged, metrics_table, summary_table
from glintiqa_jax.progress import say
from glintiqa_jax.protocols.runs import (
    Run,
    check_experiment,
    claim,
    commits,
    load_run,
    quiet,
    splits_of,
    training_positions,
)
from glintiqa_jax.training.config import TrainConfig
from glintiqa_jax.training.loop import train_and_evaluate
from glintiqa_jax.training.provenance import provenance


def run_rounds(
    config: TrainConfig, workdir: Path, *, rounds: int = 10, report: ReportOptions | None = None
) -> list[Run] | None:
    """Train and test once for each round, on splits drawn by its seed, and report the median over the rounds.

    Each round is a run of its own in ``round_01`` and so on, with its checkpoints, its split and its report. Run again,
    what is complete is not done again; with more rounds, those are added.

    Args:
      config: the experiment; its split must be left to the rounds.
      workdir: where everything goes: a folder for each round, ``report.md`` and ``report.html``.
      rounds: how many, at least one.
      report: what goes into the reports beside the runs.

    Returns:
      The runs, in the order of the rounds; None when a signal ended one after saving.

    Raises:
      UserError: a split that is not left to the rounds, a folder of something else or in use, and what a run refuses.
      KeyboardInterrupt: a signal in anything else than training; the same call goes on with what is not complete.
    """
    workdir = local_path("workdir", workdir)
    report = dataclasses.replace(report or ReportOptions(), baselines_folder=workdir)
    check_rounds(config, rounds)
    with sole_user(workdir, "workdir"):
        check_experiment(round_config(config, 1))
        claim(workdir, "rounds", {"rounds": config})
        runs = train_rounds(config, workdir, rounds=rounds, report=report)
        if runs is not None:
            _report(config, workdir, runs, report)
    return runs


def check_rounds(config: TrainConfig, rounds: int) -> None:
    """``UserError`` where the flags say which split, which is for the rounds to say, or rounds have no seeds left."""
    if config.data.split.split_round:
        raise UserError(f"--split_round: is for the rounds to say, found {config.data.split.split_round}")
    if config.data.split.split_by != "auto":
        raise UserError(f"--split_by: is for the rounds to say, found {config.data.split.split_by}")
    try:
        round_config(config, rounds)
    except UserError as error:
        raise UserError(f"--rounds={rounds}: round {rounds} cannot be run ({error})") from error


def train_rounds(config: TrainConfig, workdir: Path, *, rounds: int, report: ReportOptions) -> list[Run] | None:
    """The runs of all rounds, those that are complete as they are; None when a signal ended one after saving."""
    folders = []
    for round_number in range(1, rounds + 1):
        folders.append(workdir / f"round_{round_number:02d}")
        say(f"round {round_number} of {rounds}: {folders[-1]}")
        if train_and_evaluate(round_config(config, round_number), folders[-1], report=report) is None:
            return None
    source = open_data(config.data, on_bad_image=config.on_bad_image, say=quiet).resized(config.max_short_side)
    return [load_run(f"round {place}", folder, source) for place, folder in enumerate(folders, start=1)]


def round_config(config: TrainConfig, round_number: int) -> TrainConfig:
    """The experiment of a round, whose seed draws the split and starts the network."""
    data = settings.replace(config.data, split_round=round_number)
    return dataclasses.replace(config, data=data, seed=config.seed + released_seed(round_number))


def median_run(runs: Sequence[Run]) -> Run:
    """The run whose SROCC is the median's, or the next below."""
    ordered = sorted(runs, key=lambda run: METRICS["srocc"].worth(run.results["test"]["srocc"]))
    return ordered[(len(ordered) - 1) // 2]


def tested(run: Run) -> Evaluated:
    """A run's predictions of its test split, which every round has."""
    assert run.tested is not None
    return run.tested


def baselines_of(run: Run, report: ReportOptions) -> dict[str, Judged]:
    """What baselines say of a run's test images."""
    evaluated = tested(run)
    mean = training_mean(evaluated.source, training_positions(run.workdir, evaluated.source))
    return evaluated.baselines(report.baselines, report.baselines_folder or run.workdir, mean)


def databases(run: Run) -> list[str]:
    """The databases that a run was tested on."""
    return tested(run).databases


def rows_of(run: Run, name: str = "the network") -> dict[str, Judged]:
    """A run's predictions, a row for each database it was tested on."""
    found = databases(run)
    return {f"{name}, on {one}" if len(found) > 1 else name: tested(run).judged(one) for one in found}


def published_column(names: Sequence[str], rows: int) -> dict[str, list[str]]:
    """A column of published figures beside the first rows, one for each database, where there are any."""
    found = [reference(WITHIN[name]) if name in WITHIN else "-" for name in names]
    return {"published, SROCC / PLCC": found + ["-"] * (rows - len(names))} if set(found) != {"-"} else {}


def _report(config: TrainConfig, workdir: Path, runs: Sequence[Run], report: ReportOptions) -> None:
    source = tested(runs[0]).source
    rows: dict[str, list[Judged]] = {}
    for run in runs:
        for name, judged in (rows_of(run) | baselines_of(run, report)).items():
            rows.setdefault(name, []).append(judged)
    note = f"Baselines are of the same images. {cited(report.baselines)}".strip()
    if any(name in WITHIN for name in databases(runs[0])):
        note += f" Published: {SOURCE}."
    watched, kept = "validation", "the step that is best on validation; the test split was used once in each round"
    if config.selection == "test_best":
        watched, kept = "test", f"the step that is best on the test split: {FLATTERED}"
        note += f" The network's rows are {FLATTERED}."
    elif "validation" not in runs[0].results:
        kept = "the last step, as there is no validation split"
    typical = median_run(runs)
    main = tested(typical)
    sections = [
        Section(
            f"{config.variant} on {source.name}: {len(runs)} rounds",
            [
                f"{len(source)} images of {len(set(source.index.groups))} contents; scores: "
                f"{source.scale.describe()}. In each round whole contents are drawn to test "
                f"({config.data.split.test_fraction:.0%}), to validate "
                f"({config.data.split.validation_fraction:.0%}) and to train, "
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
                    plots.learning_curve({run.name: run.history for run in runs}, watched, config.loss),
                    "learning curves of all rounds",
                )
            ],
        ),
        Section(f"Predicted against true, {typical.name}, whose SROCC is the median", [main.scatter()]),
        residuals_section(_pooled(runs), "all rounds", rounds=[tested(run).predictions for run in runs]),
        Section(f"Best and worst predicted, {typical.name}", main.pictures(shown=report.pictures)),
        provenance().section(commits(runs), *splits_of(runs)),
    ]
    write_document(workdir, sections, latex=report.latex)


def _each_round(runs: Sequence[Run], resamples: int) -> Section:
    found = {
        f"{run.name}{ending.removeprefix('the network')}": judged
        for run in runs
        for ending, judged in rows_of(run).items()
    }
    kept = [f"{run.results['best_step']} of {run.results['step']}" for run in runs for _ in databases(run)]
    return Section("Each round", [metrics_table(found, more={"kept step": kept}, resamples=resamples)])


def _pooled(runs: Sequence[Run]) -> Evaluated:
    """The tests of all rounds as one; an image that several rounds tested is there as often."""
    parts = [tested(run).predictions for run in runs]
    positions, predicted, deviation = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("positions", "predicted", "crop_deviation")
    )
    first = tested(runs[0])
    return dataclasses.replace(first, predictions=Predictions.of(first.source, positions, predicted, deviation))
