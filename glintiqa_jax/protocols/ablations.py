"""The paper's ablations as one table of changes to an experiment, each trained and tested on the same splits."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from glintiqa_jax import settings
from glintiqa_jax.data.lock import sole_user
from glintiqa_jax.data.paths import check_path, local_path
from glintiqa_jax.data.splits import split_digest
from glintiqa_jax.errors import InputError
from glintiqa_jax.evaluation import plots
from glintiqa_jax.evaluation.config import ReportOptions
from glintiqa_jax.evaluation.document import Block, Plot, Section, Table, write_document
from glintiqa_jax.evaluation.report import FLATTERED
from glintiqa_jax.evaluation.tables import Judged, comparison_table, differences_table, metrics_table, summary_table
from glintiqa_jax.models.backbones import ViTConfig
from glintiqa_jax.models.config import VARIANTS, describe
from glintiqa_jax.models.freezing import found_in
from glintiqa_jax.models.glintiqa import abstract_model
from glintiqa_jax.models.pretrained import has_weights, model_folder
from glintiqa_jax.protocols.rounds import (
    baselines_of,
    check_rounds,
    databases,
    round_task,
    rows_of,
    train_rounds,
    with_one_home_of_baselines,
)
from glintiqa_jax.protocols.runs import Running, Task, claim, commits, splits_of
from glintiqa_jax.training.provenance import provenance
from glintiqa_jax.training.result import Result
from glintiqa_jax.training.step import trained_parameters

Rows = dict[str, Task]
_DEEPER = 2  # blocks beyond the last that is tapped, which windows of taps may reach
_BACKBONES = ("glintiqa_ti16_r18", "glintiqa_s16_r50", "glintiqa_b16_r50")


def _check_start(task: Task) -> None:
    """``InputError`` for a start from a whole model, which no other network can have."""
    for name in task.experiment.start.init:
        if model_folder(name):
            hint = "`recipe=scratch` has none"
            raise InputError(field="init", expected="backbones, which other networks have", found=name, hint=hint)


def _model(task: Task, **changes: Any) -> Task:
    """Another network, trained from the weights that there are for it, and frozen where it has what was frozen."""
    _check_start(task)
    start = task.experiment.start
    model = settings.replace(task.experiment.model, **changes)
    return task.change(
        model=model,
        init=tuple(name for name in start.init if has_weights(name, model)),
        frozen=tuple(pattern for pattern in start.frozen if found_in(abstract_model(model), pattern)),
    )


def _branches(task: Task) -> Rows:
    """The global and the local branch, each alone."""
    return {
        "both branches": task,
        "ViT branch only": _model(task, cnn=None, **({"vit_stem": 0} if task.experiment.model.vit else {})),
        "CNN branch only": _model(task, vit=None),
    }


def _kernels(task: Task) -> Rows:
    """Which maps of the CNN are embedded, each by the kernel that brings it onto the grid of tokens."""
    all_maps = task.experiment.model.embedded_stages
    rows = {}
    for size in range(len(all_maps), 0, -1):
        for maps in itertools.combinations(all_maps, size):
            label = f"maps {', '.join(map(str, maps))}" if len(maps) > 1 else f"map {maps[0]}"
            rows[label] = _model(task, embedded_stages=maps)
    return rows


def _integration(task: Task) -> Rows:
    """Channel-wise self-attention and spatial interaction, each alone, and neither."""
    return {
        "CWSA and SIEM": task,
        "CWSA only": _model(task, use_siem=False),
        "SIEM only": _model(task, use_cwsa=False),
        "neither": _model(task, use_cwsa=False, use_siem=False),
        "CWSA without its index shuffle": _model(task, attention_layout="transposed"),
    }


def _stages(task: Task) -> Rows:
    """How many maps of the ViT are integrated, the last ones."""
    taps = _vit(task).tapped_blocks
    return {
        f"{count} {'stages' if count > 1 else 'stage'}": _model(task, tapped_blocks=taps[-count:])
        for count in range(len(taps), 0, -1)
    }


def _taps(task: Task) -> Rows:
    """Which blocks of the ViT are tapped: as many in a row, from every other block on. No tapped block is frozen."""
    taps = _vit(task).tapped_blocks
    rows = {f"blocks {', '.join(map(str, taps))}": task}
    for first in range(0, taps[-1] + _DEEPER - len(taps) + 2, 2):
        blocks = tuple(range(first, first + len(taps)))
        row = _model(task, tapped_blocks=blocks)
        row = row.change(frozen=_frozen_before(row, first))
        rows.setdefault(f"blocks {', '.join(map(str, blocks))}", row)
    return rows


def _frozen_before(task: Task, block: int) -> tuple[str, ...]:
    """The patterns of what is frozen, of the ViT's blocks only those before one."""
    patterns = task.experiment.start.frozen
    kept, blocks = [], set()
    for pattern in patterns:
        found = [
            int(name.split(".")[2])
            for name in found_in(abstract_model(task.experiment.model), pattern)
            if name.startswith("vgfe.blocks.")
        ]
        if not found:
            kept.append(pattern)
        blocks |= {number for number in found if number < block}
    if blocks:
        kept.append(rf"^vgfe\.(patch_embed|blocks\.({'|'.join(map(str, sorted(blocks)))}))\.")
    return tuple(kept)


def _vit(task: Task) -> ViTConfig:
    if task.experiment.model.vit is None:
        raise InputError(field="model.vit", expected="a ViT branch, whose blocks are looked at", found="none")
    return task.experiment.model.vit


def _backbones(task: Task) -> Rows:
    """Sizes of both backbones, those that the weights are there for."""
    _check_start(task)
    rows = {describe(task.experiment.model): task}
    for name in _BACKBONES:
        if all(has_weights(weights, VARIANTS[name]) for weights in task.experiment.start.init):
            frozen = tuple(p for p in task.experiment.start.frozen if found_in(abstract_model(VARIANTS[name]), p))
            rows.setdefault(name, task.change(model=VARIANTS[name], frozen=frozen))
    return rows


def _selection(task: Task) -> Rows:
    """What the released way to keep a step adds to the figures: it looks at the test split."""
    if not task.splitting.validation_fraction:
        raise InputError("needs a validation split, found `validation_fraction=0`", field="tables", value="selection")
    return {
        "selected on validation": task.change(selection="validation"),
        "selected on the test split": task.change(selection="test_best"),
    }


TABLES: Mapping[str, Callable[[Task], Rows]] = {
    "branches": _branches,
    "kernels": _kernels,
    "integration": _integration,
    "stages": _stages,
    "taps": _taps,
    "backbones": _backbones,
    "selection": _selection,
}
SAQT = "saqt"


def ablation_rows(task: Task, tables: Sequence[str], *, saqt_weights: str = "") -> dict[str, Rows]:
    """The tasks of each table by the names of their rows; the first row is the one to compare with.

    Args:
      task: what is trained, as it is.
      tables: names of ``TABLES``, or "saqt".
      saqt_weights: a file of weights that were pretrained on transferred scores, for the table "saqt".

    Raises:
      InputError: an unknown table, one that the task has no rows for, or weights without their table or the other way
        round.
    """
    names = (*TABLES, SAQT)
    if not tables:
        raise InputError(field="tables", expected=f"some of {', '.join(names)}", found="none")
    check_path("saqt_weights", saqt_weights)
    for name in tables:
        if name not in names or tables.count(name) > 1:
            raise InputError(field="tables", expected=f"each of {', '.join(names)} at most once", found=repr(name))
    if (SAQT in tables) != bool(saqt_weights):
        found_in = f"`tables={','.join(tables)}`"
        raise InputError(f"needed with {SAQT} in `tables`, and only there; found {found_in}", field="saqt_weights")
    found = {}
    for name in tables:
        if name != SAQT:
            try:
                found[name] = TABLES[name](task)
            except InputError as error:  # a network without a branch has nothing to leave out, say
                raise InputError(str(error), field="tables", value=name) from error
    if saqt_weights:
        found[SAQT] = {"without SAQT": task, "with SAQT": task.change(init=(saqt_weights,))}
    return found


def run_ablations(
    task: Task,
    workdir: str | os.PathLike,
    *,
    tables: Sequence[str],
    rounds: int = 10,
    saqt_weights: str = "",
    running: Running = Running(),
) -> dict[str, dict[str, list[Result]]]:
    """Train and test every row of some tables, and report each beside the first.

    Rows that are the same experiment are run once. Another call skips what is complete; tables can be added.

    Args:
      task: what is trained, as it is.
      workdir: where everything goes: a folder for each row, ``report.md`` and ``report.html``.
      tables: names of ``TABLES``, or "saqt".
      rounds: how many splits by the rounds' seeds; 0 for one run on the split that the task says.
      saqt_weights: a file of weights that were pretrained on transferred scores, for the table "saqt".
      running: where and how.

    Returns:
      The runs by table and row. A signal ends a run after saving, by ``Stopped``.

    Raises:
      InputError: what ``ablation_rows`` refuses, a row whose weights are not there or do not fit, a folder of something
        else or in use, and what a run refuses.
      KeyboardInterrupt: a signal outside of training steps; the same call resumes.
    """
    folder = local_path("workdir", workdir)
    running = with_one_home_of_baselines(running, folder)
    rows = ablation_rows(task, tables, saqt_weights=saqt_weights)
    if rounds:
        check_rounds(task, rounds)
    tasks: dict[str, Task] = {}
    folders: dict[tuple[str, str], str] = {}
    for table, by_label in rows.items():
        for label, row in by_label.items():
            same = next((name for name, other in tasks.items() if other == row), None)
            name = same or ("full" if row == task else f"{table}_{re.sub('[^a-z0-9]+', '_', label.lower())}")
            tasks[name], folders[table, label] = row, name
    with sole_user(folder, "workdir"):
        _check_same_images({name: round_task(row, 1) if rounds else row for name, row in tasks.items()}, running)
        claim(folder, "ablations", {"full": task}, rounds=rounds > 0)
        runs: dict[str, list[Result]] = {}
        for place, (name, row) in enumerate(tasks.items(), start=1):
            running.log.say(f"row {place} of {len(tasks)}: {folder / name}")
            runs[name] = _train(row, folder / name, rounds, running)
        by_table = {
            table: {label: runs[folders[table, label]] for label in by_label} for table, by_label in rows.items()
        }
        _report(task, rows, by_table, folder, running.report)
    return by_table


def _check_same_images(tasks: Mapping[str, Task], running: Running) -> None:
    """``InputError`` for a row that cannot be trained, or is tested on none or on other images than the first."""
    splits = {name: task.check(running) for name, task in tasks.items()}
    first, *others = splits
    if not len(splits[first].test):
        value = tasks[first].splitting.split_by
        raise InputError("there is nothing to test, and so nothing to compare", field="split_by", value=value)
    digests = {name: split_digest(split, tasks[name].source.index.names) for name, split in splits.items()}
    for name in others:
        if digests[name] != digests[first]:
            sizes = [tasks[one].experiment.model.crop_size for one in (first, name)]
            raise InputError(
                f"rows are compared on the same images, but those that hold {name}'s crop of {sizes[1]} pixels are not "
                f"those that hold {first}'s of {sizes[0]}",
                field="tables",
                hint="leave the smaller images out of the data",
            )


def _train(task: Task, workdir: Path, rounds: int, running: Running) -> list[Result]:
    if rounds:
        return train_rounds(task, workdir, rounds=rounds, running=running)
    return [running.train(task, workdir, "the run")]


def _report(
    task: Task,
    rows: Mapping[str, Rows],
    by_table: Mapping[str, Mapping[str, list[Result]]],
    workdir: Path,
    report: ReportOptions,
) -> None:
    first = next(iter(next(iter(by_table.values())).values()))
    source = task.source
    splits = f"{len(first)} splits" if len(first) > 1 else "split"
    text = f"{source.describe()}. All rows are trained and tested on the same {splits}, from the same seed."
    if len(first) == 1:
        text += " One run each: differences of the size that another seed makes are no findings."
    sections = [Section(f"Ablations of {describe(task.experiment.model)} on {source.name}", [text])]
    for table, runs in by_table.items():
        blocks = _table(table, rows[table], runs, explained=len(sections) == 1, resamples=report.resamples)
        sections.append(Section(table, blocks))
    baselines: dict[str, list[Judged]] = {}
    for run in first:
        for name, judged in baselines_of(run, report).items():
            baselines.setdefault(name, []).append(judged)
    sections.append(
        Section("Baselines on the same images", [_figures(baselines, explained=False, resamples=report.resamples)])
    )
    all_runs = [run for runs in by_table.values() for found in runs.values() for run in found]
    more = [commits(all_runs), *splits_of(first)]  # all rows have the first one's splits
    write_document(workdir, [*sections, provenance(report.command).section(*more)], latex=report.latex)


def _table(table: str, rows: Rows, runs: Mapping[str, list[Result]], *, explained: bool, resamples: int) -> list[Block]:
    judged: dict[str, list[Judged]] = {}
    trained, notes = [], []
    for label, found in runs.items():
        for place, name in enumerate(databases(found[0])):
            title = f"{label}, on {name}" if len(databases(found[0])) > 1 else label
            if rows[label].experiment.validation.watched == "test":
                notes.append(f"The row '{title}' is {FLATTERED}.")
            judged[title] = [list(rows_of(run).values())[place] for run in found]
            trained.append(f"{trained_parameters(rows[label].experiment) / 1e6:.2f} M")
    more = {"trained parameters": trained}
    blocks: list[Block] = [_figures(judged, more=more, note=" ".join(notes), explained=explained, resamples=resamples)]
    (name, full), *others = judged.items()
    if others and len(databases(next(iter(runs.values()))[0])) == 1:
        if len(full) == 1:
            alone = {other: found[0] for other, found in others}
            blocks.append(comparison_table(name, full[0], alone, explained=explained, resamples=resamples))
        else:
            blocks.append(differences_table(name, full, dict(others)))
    curves = {
        f"{label}, {found[0].name}" if len(found) > 1 else label: found[0].history for label, found in runs.items()
    }
    first = next(iter(rows.values())).experiment
    watched, metric = first.validation.watched, first.validation.selection_metric
    figure = plots.learning_curve(curves, watched, first.objective.loss_name, metric=metric)
    return [*blocks, Plot(f"learning_curves_{table}", figure, f"learning curves of {table}")]


def _figures(judged: Mapping[str, list[Judged]], *, resamples: int, **options: Any) -> Table:
    """Figures of one run with their intervals, of several their median; ``options`` of both tables."""
    if all(len(found) == 1 for found in judged.values()):
        return metrics_table({name: found[0] for name, found in judged.items()}, resamples=resamples, **options)
    return summary_table(judged, **options)
