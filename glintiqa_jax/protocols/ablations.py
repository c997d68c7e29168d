"""The paper's ablations as one table of changes to an experiment, each trained and tested on the same splits."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from glintiqa_jax.data.lock import sole_user
from glintiqa_jax.data.paths import check_path, local_path
from glintiqa_jax.data.splits import split_digest
from glintiqa_jax.datasets.opening import open_data
from glintiqa_jax.errors import UserError
from glintiqa_jax.evaluation import plots
from glintiqa_jax.evaluation.document import Block, Plot, Section, Table, write_document
from glintiqa_jax.evaluation.report import FLATTERED, ReportOptions
from glintiqa_jax.evaluation.tables import Judged, comparison_table, differences_table, metrics_table, summary_table
from glintiqa_jax.models.glintiqa import VARIANTS, parameter_counts
from glintiqa_jax.models.pretrained import has_weights
from glintiqa_jax.progress import say
from glintiqa_jax.protocols.rounds import (
    baselines_of,
    check_rounds,
    databases,
    round_config,
    rows_of,
    tested,
    train_rounds,
)
from glintiqa_jax.protocols.runs import Run, check_experiment, claim, commits, load_run, quiet, splits_of
from glintiqa_jax.training.config import TrainConfig
from glintiqa_jax.training.loop import train_and_evaluate
from glintiqa_jax.training.provenance import provenance

Rows = dict[str, TrainConfig]
_DEEPER = 2  # blocks beyond the last that is tapped, which windows of taps may reach
_BACKBONES = ("glintiqa_ti16_r18", "glintiqa_s16_r50", "glintiqa_b16_r50")


def _model(config: TrainConfig, **changes: Any) -> TrainConfig:
    return dataclasses.replace(config, model=dataclasses.replace(config.model, **changes))


def _branches(config: TrainConfig) -> Rows:
    """The global and the local branch, each alone."""
    rows = {
        "both branches": config,
        "ViT branch only": _model(config, use_cnn=False),
        "CNN branch only": _model(config, use_vit=False),
    }
    return {name: _with_weights_there_are(row) for name, row in rows.items()}


def _kernels(config: TrainConfig) -> Rows:
    """Which maps of the CNN are embedded, each by the kernel that brings it onto the grid of tokens."""
    all_maps = config.model.embedded_stages
    choices = [some for size in range(len(all_maps), 0, -1) for some in itertools.combinations(all_maps, size)]
    rows = {}
    for maps in choices:
        built = maps[-1] if config.model.cnn == "efficientnet_lite0" else 3
        label = f"maps {', '.join(map(str, maps))}" if len(maps) > 1 else f"map {maps[0]}"
        rows[label] = _model(config, embedded_stages=maps, frozen_stages=min(config.model.frozen_stages, built))
    return rows


def _integration(config: TrainConfig) -> Rows:
    """Channel-wise self-attention and spatial interaction, each alone, and neither."""
    return {
        "CWSA and SIEM": config,
        "CWSA only": _model(config, use_siem=False),
        "SIEM only": _model(config, use_cwsa=False),
        "neither": _model(config, use_cwsa=False, use_siem=False),
        "CWSA without its index shuffle": _model(config, attention_layout="transposed"),
    }


def _stages(config: TrainConfig) -> Rows:
    """How many maps of the ViT are integrated, the last ones."""
    taps = config.model.tapped_blocks
    return {
        f"{count} {'stages' if count > 1 else 'stage'}": _model(config, tapped_blocks=taps[-count:])
        for count in range(len(taps), 0, -1)
    }


def _taps(config: TrainConfig) -> Rows:
    """Which blocks of the ViT are tapped: as many in a row, from every other block on."""
    taps = config.model.tapped_blocks
    rows = {f"blocks {', '.join(map(str, taps))}": config}
    for first in range(0, taps[-1] + _DEEPER - len(taps) + 2, 2):
        blocks = tuple(range(first, first + len(taps)))
        frozen = min(config.model.frozen_blocks, first)
        rows.setdefault(
            f"blocks {', '.join(map(str, blocks))}", _model(config, tapped_blocks=blocks, frozen_blocks=frozen)
        )
    return rows


def _backbones(config: TrainConfig) -> Rows:
    """Sizes of both backbones, those that the weights are there for."""
    rows = {config.variant: config}
    for name in _BACKBONES:
        if all(has_weights(weights, VARIANTS[name]) for weights in config.backbone_weights):
            rows.setdefault(name, dataclasses.replace(config, variant=name, model=VARIANTS[name]))
    return rows


def _selection(config: TrainConfig) -> Rows:
    """What the released way to keep a step adds to the figures: it looks at the test split."""
    if not config.data.split.validation_fraction:
        raise UserError("--tables=selection: needs a validation split, found --validation_fraction=0")
    return {
        "selected on validation": dataclasses.replace(config, selection="validation"),
        "selected on the test split": dataclasses.replace(config, selection="test_best"),
    }


TABLES: Mapping[str, Callable[[TrainConfig], Rows]] = {
    "branches": _branches,
    "kernels": _kernels,
    "integration": _integration,
    "stages": _stages,
    "taps": _taps,
    "backbones": _backbones,
    "selection": _selection,
}
SAQT = "saqt"


def ablation_rows(config: TrainConfig, tables: Sequence[str], *, saqt_weights: str = "") -> dict[str, Rows]:
    """The experiments of each table by the names of their rows; the first row is the one to compare with.

    Args:
      config: the experiment as it is.
      tables: names of ``TABLES``, or "saqt".
      saqt_weights: a file of weights that were pretrained on transferred scores, for the table "saqt".

    Raises:
      UserError: an unknown table, one that the experiment has no rows for, or weights without their table or the other
        way round.
    """
    if not tables:
        raise UserError(f"--tables: expected some of {', '.join((*TABLES, SAQT))}, found none")
    check_path("saqt_weights", saqt_weights)
    for name in tables:
        if name not in (*TABLES, SAQT) or tables.count(name) > 1:
            raise UserError(f"--tables: expected each of {', '.join((*TABLES, SAQT))} at most once, found {name!r}")
    if (SAQT in tables) != bool(saqt_weights):
        raise UserError(
            "--saqt_weights: needed with saqt in --tables, and only there, found "
            f"{saqt_weights or 'nothing'} and --tables={','.join(tables)}"
        )
    found = {}
    for name in tables:
        if name != SAQT:
            try:
                found[name] = TABLES[name](config)
            except ValueError as error:  # a network without a branch has nothing to leave out, say
                raise UserError(f"--tables={name}: {error}") from error
    if saqt_weights:
        pretrained = dataclasses.replace(config, backbone_weights=(saqt_weights,))
        found[SAQT] = {"without SAQT": config, "with SAQT": pretrained}
    return found


def run_ablations(
    config: TrainConfig,
    workdir: Path,
    *,
    tables: Sequence[str],
    rounds: int = 10,
    saqt_weights: str = "",
    report: ReportOptions | None = None,
) -> dict[str, dict[str, list[Run]]] | None:
    """Train and test every row of some tables, and report each beside the first.

    Rows that are the same experiment are run once. Run again, what is complete is not done again; tables can be added.

    Args:
      config: the experiment as it is.
      workdir: where everything goes: a folder for each row, ``report.md`` and ``report.html``.
      tables: names of ``TABLES``, or "saqt".
      rounds: how many splits by the rounds' seeds; 0 for one run on the split that the configuration says.
      saqt_weights: a file of weights that were pretrained on transferred scores, for the table "saqt".
      report: what goes into the report beside the runs.

    Returns:
      The runs by table and row; None when a signal ended one after saving.

    Raises:
      UserError: what ``ablation_rows`` refuses, a row whose weights are not there or do not fit, a folder of something
        else or in use, and what a run refuses.
      KeyboardInterrupt: a signal in anything else than training; the same call goes on with what is not complete.
    """
    workdir = local_path("workdir", workdir)
    report = dataclasses.replace(report or ReportOptions(), baselines_folder=workdir)
    rows = ablation_rows(config, tables, saqt_weights=saqt_weights)
    if rounds:
        check_rounds(config, rounds)
    elif config.data.split.split_by == "all":
        raise UserError("--split_by=all: there is nothing to test, and so nothing to compare")
    experiments: dict[str, TrainConfig] = {}
    folders: dict[tuple[str, str], str] = {}
    for table, configs in rows.items():
        for label, row in configs.items():
            same = next((name for name, other in experiments.items() if other == row), None)
            name = same or ("full" if row == config else f"{table}_{re.sub('[^a-z0-9]+', '_', label.lower())}")
            experiments[name], folders[table, label] = row, name
    with sole_user(workdir, "workdir"):
        _check_same_images({name: round_config(row, 1) if rounds else row for name, row in experiments.items()})
        claim(workdir, "ablations", {"full": config}, rounds=rounds > 0)
        runs: dict[str, list[Run]] = {}
        for place, (name, row) in enumerate(experiments.items(), start=1):
            say(f"row {place} of {len(experiments)}: {workdir / name}")
            if (found := _train(row, workdir / name, rounds, report)) is None:
                return None
            runs[name] = found
        by_table = {table: {label: runs[folders[table, label]] for label in configs} for table, configs in rows.items()}
        _report(config, rows, by_table, workdir, report)
    return by_table


def _check_same_images(experiments: Mapping[str, TrainConfig]) -> None:
    """``UserError`` for a row that cannot be trained, or is tested on other images than the first."""
    splits = {}
    for name, config in experiments.items():
        source, split = check_experiment(config)
        splits[name] = split_digest(split, source.index.names)
    first, *others = splits
    for name in others:
        if splits[name] != splits[first]:
            sizes = [experiments[one].model.crop_size for one in (first, name)]
            raise UserError(
                f"--tables: rows are compared on the same images, but those that hold {name}'s crop of {sizes[1]} "
                f"pixels are not those that hold {first}'s of {sizes[0]}; leave the smaller images out of the data"
            )


def _train(config: TrainConfig, workdir: Path, rounds: int, report: ReportOptions) -> list[Run] | None:
    if rounds:
        return train_rounds(config, workdir, rounds=rounds, report=report)
    if train_and_evaluate(config, workdir, report=report) is None:
        return None
    source = open_data(config.data, on_bad_image=config.on_bad_image, say=quiet).resized(config.max_short_side)
    return [load_run("the run", workdir, source)]


def _with_weights_there_are(config: TrainConfig) -> TrainConfig:
    """Without the weights whose branch is left out."""
    kept = tuple(name for name in config.backbone_weights if has_weights(name, config.model))
    return dataclasses.replace(config, backbone_weights=kept)


def _report(
    config: TrainConfig,
    rows: Mapping[str, Rows],
    by_table: Mapping[str, Mapping[str, list[Run]]],
    workdir: Path,
    report: ReportOptions,
) -> None:
    first = next(iter(next(iter(by_table.values())).values()))
    source = tested(first[0]).source
    splits = f"{len(first)} splits" if len(first) > 1 else "split"
    text = (
        f"{len(source)} images of {len(set(source.index.groups))} contents; scores: {source.scale.describe()}. All "
        f"rows are trained and tested on the same {splits}, from the same seed."
    )
    if len(first) == 1:
        text += " One run each: differences of the size that another seed makes are no findings."
    sections = [Section(f"Ablations of {config.variant} on {source.name}", [text])]
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
    write_document(workdir, [*sections, provenance().section(*more)], latex=report.latex)


def _table(table: str, rows: Rows, runs: Mapping[str, list[Run]], *, explained: bool, resamples: int) -> list[Block]:
    judged: dict[str, list[Judged]] = {}
    trained, notes = [], []
    for label, found in runs.items():
        for place, name in enumerate(databases(found[0])):
            title = f"{label}, on {name}" if len(databases(found[0])) > 1 else label
            if rows[label].selection == "test_best":
                notes.append(f"The row '{title}' is {FLATTERED}.")
            judged[title] = [list(rows_of(run).values())[place] for run in found]
            trained.append(f"{parameter_counts(rows[label].model)[1] / 1e6:.2f} M")
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
    config = next(iter(rows.values()))
    watched = "test" if all(row.selection == "test_best" for row in rows.values()) else "validation"
    figure = plots.learning_curve(curves, watched, config.loss)
    return [*blocks, Plot(f"learning_curves_{table}", figure, f"learning curves of {table}")]


def _figures(judged: Mapping[str, list[Judged]], *, resamples: int, **options: Any) -> Table:
    """Figures of one run with their intervals, of several their median; ``options`` of both tables."""
    if all(len(found) == 1 for found in judged.values()):
        return metrics_table({name: found[0] for name, found in judged.items()}, resamples=resamples, **options)
    return summary_table(judged, **options)
