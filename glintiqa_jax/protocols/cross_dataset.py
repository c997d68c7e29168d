"""Trained on all of one database, tested on all of the others (paper section IV-C)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from glintiqa_jax.data.mixture import MixedSource
from glintiqa_jax.data.source import RatedSource
from glintiqa_jax.errors import UserError
from glintiqa_jax.evaluation import plots
from glintiqa_jax.evaluation.document import Plot, Section, Table, write_document
from glintiqa_jax.evaluation.prediction import read_predictions
from glintiqa_jax.evaluation.published import ACROSS, SOURCE, reference
from glintiqa_jax.evaluation.report import FLATTERED, Evaluated, ReportOptions
from glintiqa_jax.evaluation.tables import Judged, in_words, metrics_table, types_table
from glintiqa_jax.protocols.runs import Run, claim, commits, load_run, splits_of, training_positions
from glintiqa_jax.scoring.evaluate import evaluate_checkpoint
from glintiqa_jax.training.config import DataConfig, TrainConfig
from glintiqa_jax.training.dataset import distortion_names, open_source, usable_positions
from glintiqa_jax.training.loop import train_and_evaluate
from glintiqa_jax.training.provenance import provenance
from glintiqa_jax.training.workdir import experiment


@dataclasses.dataclass(frozen=True)
class Cell:
    """A network trained on one database and tested on another.

    Attributes:
      run: the training.
      tested_on: the second's name.
      evaluated: its predictions, in the unit of the second.
      left_out: how many images of the second were left out, as the first shows their contents.
    """

    run: Run
    tested_on: str
    evaluated: Evaluated
    left_out: int

    @property
    def title(self) -> str:
        return f"{self.run.name} on {self.tested_on}"


def cross_dataset(
    configs: Mapping[str, TrainConfig],
    tests: Mapping[str, DataConfig],
    workdir: Path,
    *,
    report: ReportOptions | None = None,
) -> list[Cell] | None:
    """Train on each database, test each network on the others, and report the matrix.

    Each training is a run of its own, and each test a file of predictions, ``TRAINED_on_TESTED.csv``; run again, what
    is complete is not done again. With ``split_by="all"`` a network trains on all images but those that validate, and
    nothing is tested at home; with another split, the network's own test images stand on the matrix's diagonal.

    Args:
      configs: the experiment on each database that is trained on, by its name.
      tests: each database that is tested on, by its name.
      workdir: where everything goes.
      report: what goes into the report.

    Returns:
      The matrix's cells, row by row; None when a signal ended a run after saving.

    Raises:
      UserError: nothing to test, a test set whose contents were all trained on, a folder of something else, and what a
        run refuses.
    """
    report = report or ReportOptions()
    pairs = [(trained, tested) for trained in configs for tested in tests if trained != tested]
    if not pairs:
        raise UserError(f"--test_on: expected another database than --train_on's, found only {', '.join(tests)}")
    protocol: dict[str, Any] = {"protocol": "cross_dataset", "configs": {n: experiment(c) for n, c in configs.items()}}
    claim(workdir, protocol)
    crop_size = max(config.model.crop_size for config in configs.values())
    # what cannot be used is refused before anything is trained
    sources = {name: open_source(data, crop_size=crop_size, say=_quiet) for name, data in tests.items()}
    runs = {}
    for name, config in configs.items():
        tqdm.write(f"training on {name}: {workdir / name}")
        if train_and_evaluate(config, workdir / name, report=report) is None:
            return None
        source = open_source(config.data, crop_size=config.model.crop_size, say=_quiet)
        runs[name] = load_run(name, workdir / name, source)
    cells = []
    for trained, run in runs.items():
        for tested, source in sources.items():
            if trained != tested:
                cells.append(_test(run, tests[tested], tested, source, configs[trained].model.crop_size))
            elif run.tested:
                cells.append(Cell(run, tested, run.tested, 0))
    _report(configs, workdir, list(runs.values()), cells, report)
    return cells


def _test(run: Run, data: DataConfig, tested_on: str, source: RatedSource | MixedSource, crop_size: int) -> Cell:
    """Test a run on all of another database, or find that it was."""
    path = run.workdir.parent / f"{run.name}_on_{tested_on}.csv"
    if path.is_file():
        evaluated = Evaluated(source, read_predictions(path, source), distortion_names(source))
    else:
        tqdm.write(f"testing {run.name} on {tested_on}: {path}")
        _, evaluated = evaluate_checkpoint(run.workdir, data)
        evaluated.predictions.write_csv(path)
    left_out = len(usable_positions(source, crop_size)) - len(evaluated.predictions.names)
    return Cell(run, tested_on, evaluated, left_out)


def _quiet(line: str) -> None:
    """What preparing a source says is said where it is trained or tested on."""


def matrix(cells: list[Cell], figure: str) -> Table:
    """A figure of each cell with its interval, trained on by tested on."""
    rows = list(dict.fromkeys(cell.run.name for cell in cells))
    tested = list(dict.fromkeys(cell.tested_on for cell in cells))
    columns = [name for name in rows if name in tested] + [name for name in tested if name not in rows]
    found = {(cell.run.name, cell.tested_on): _judged(cell) for cell in cells}
    table = [
        [
            row,
            *(
                in_words(found[row, column].intervals()[figure]) if (row, column) in found else "-"
                for column in columns
            ),
        ]
        for row in rows
    ]
    return Table([f"{figure}, trained on", *(f"tested on {column}" for column in columns)], table)


def _judged(cell: Cell, predicted: np.ndarray | None = None) -> Judged:
    (database,) = cell.evaluated.databases
    return cell.evaluated.judged(database, predicted)


def _report(
    configs: Mapping[str, TrainConfig],
    workdir: Path,
    runs: Sequence[Run],
    cells: list[Cell],
    report: ReportOptions,
) -> None:
    config = next(iter(configs.values()))
    rows: dict[str, Judged] = {}
    peers: dict[str, Judged] = {}
    left_out, published, panels = [], [], {}
    for cell in cells:
        rows[cell.title] = judged = _judged(cell)
        panels[cell.title] = (judged.predicted, judged.target)
        mean = _constant(cell, configs[cell.run.name])
        path = workdir / f"peers_{cell.tested_on}.csv"
        for title, peer in cell.evaluated.peers(report.peers, path, mean).items():
            if peer.same_unit:  # the constant, which depends on what was trained on
                peers[f"{cell.title}: {title}"] = peer
            else:
                peers[f"{title} on {cell.tested_on}"] = peer
        if cell.left_out:
            left_out.append(f"{cell.title}: {cell.left_out} images are left out, whose contents it was trained on.")
        if pair := ACROSS.get((cell.run.name, cell.tested_on)):
            published.append(f"{cell.title}: {reference(pair)}.")
    training = "all images but those that validate" if config.data.split_by == "all" else "the training part of a split"
    kept = "selected on validation images of the database that trains"
    if config.selection == "test_best":
        kept = f"{FLATTERED}, on the database that trains"
    text = f"Each network is trained on {training} of one database, {kept}, and tested on all images of another."
    if config.data.split_by != "all":
        text += " On the diagonal it is tested on the test part of its own database."
    blocks: list[Any] = [text, matrix(cells, "SROCC"), matrix(cells, "PLCC mapped"), *left_out]
    if published:
        blocks.append(f"Published SROCC ({SOURCE}): {' '.join(published)}")
    watched = "test" if config.selection == "test_best" else "validation"
    curves = plots.learning_curve({run.name: run.history for run in runs}, watched, config.loss)
    sections = [
        Section(
            f"{config.variant} across {', '.join(dict.fromkeys([*configs, *(cell.tested_on for cell in cells)]))}",
            blocks,
        ),
        Section("All figures, and simple measures on the same images", [metrics_table(rows | peers)]),
        Section(
            "Predicted against true", [Plot("predicted_against_true", plots.scatter(panels, "in its unit"), "scatter")]
        ),
    ]
    for cell in cells:
        if (kinds := cell.evaluated.kinds()) is not None:
            table = types_table(kinds, {"": panels[cell.title]}, "distortion")
            sections.append(Section(f"By distortion: {cell.title}", [table]))
    sections.append(Section("Learning curves", [Plot("learning_curves", curves, "learning curves of the trainings")]))
    for cell in cells:
        sections.append(Section(f"Best and worst predicted: {cell.title}", cell.evaluated.pictures(shown=False)))
    more = [commits(runs), *splits_of(runs)]
    write_document(workdir, [*sections, provenance().section(*more)], latex=report.latex)


def _constant(cell: Cell, config: TrainConfig) -> dict[str, float]:
    """The training images' mean quality, in the unit of the database that is tested."""
    source = open_source(config.data, crop_size=config.model.crop_size, say=_quiet)
    scores = source.index.raw_scores[training_positions(cell.run.workdir, source)]
    quality = float(np.mean(source.scale.to_quality(scores)))
    return {name: float(cell.evaluated.source.scale.to_raw(quality)) for name in cell.evaluated.databases}
