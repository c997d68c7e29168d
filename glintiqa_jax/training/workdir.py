"""Whose folder ``--workdir`` is: a run goes on only with what it began with, and says what has changed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import jax
import numpy as np
from etils import epath

from glintiqa_jax.data.files import write_json
from glintiqa_jax.data.near_duplicates import Look, load_looks, save_looks
from glintiqa_jax.data.source import Source
from glintiqa_jax.data.splits import Split
from glintiqa_jax.errors import UserError
from glintiqa_jax.training.checkpoints import Description, library_versions
from glintiqa_jax.training.config import TrainConfig, differences, to_json
from glintiqa_jax.training.storage import place

TRAINED_ON = "trained_on.npz"
_MOST_COMPARED = 200_000  # images whose looks are kept, 1 KB each
# Where data are, what is kept in memory, who loads images and when a run is saved changes no figure, how sums are laid
# out only the last digits; the others would be another experiment. Images and scores are known by their content, which
# ``check_same_data`` compares.
_NO_INFLUENCE = (
    "data.own.images",
    "data.own.scores",
    "data.data_dir",
    "data.data_cache_dir",
    "cache_megabytes",
    "num_workers",
    "save_minutes",
    "save_every",
)
_ROUNDING = ("mesh_data", "mesh_fsdp", "eval_batch_size", "remat")
# What a checkpoint of other values cannot be restored into, and what decides who trains and who is tested.
_ALWAYS_REFUSED = ("variant", "model.", "optimizer", "ema_decay", "data.", "max_short_side", "target")


def experiment(config: TrainConfig) -> dict[str, Any]:
    """A configuration as JSON values, without what changes no figure beyond rounding: equal ones are one experiment."""
    content = to_json(config)
    for name in (*_NO_INFLUENCE, *_ROUNDING):
        *parents, field = name.split(".")
        place = content
        for parent in parents:
            place = place[parent]
        del place[field]
    return content


def begun_with(workdir: Path) -> Description | None:
    """What a workdir's run began with; None where there is none yet.

    Raises:
      UserError: when the path is no folder, or ``config.json`` is not ours.
    """
    path = workdir / "config.json"
    if not path.is_file():
        if workdir.exists() and not workdir.is_dir():
            raise UserError(f"--workdir={workdir}: expected a folder, found a file")
        return None
    try:
        return Description.from_json(json.loads(path.read_text(encoding="utf-8")))
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"{path}: expected what a run of ours began with, found something else ({error})") from error


def check_same_experiment(
    config: TrainConfig, theirs: Description | None, where: str, *, allowed: bool
) -> tuple[list[str], bool]:
    """Whether a run may go on with another configuration than it began with.

    Args:
      config: ours.
      theirs: what the run began with; None for a new one.
      where: names it in the error.
      allowed: go on with another experiment's, as far as its checkpoints have the same shape and its data are the same.

    Returns:
      What to say of it, a line each, and whether it is another experiment's.

    Raises:
      UserError: for another experiment's, before any work.
    """
    if theirs is None:
        return [], False
    lines, others = [], []
    for line in differences(config, theirs.config):
        field = line.split(":")[0]
        if field in _NO_INFLUENCE:
            lines.append(f"going on with another value of {line}; no figure depends on it")
        elif field in _ROUNDING:
            lines.append(f"going on with another value of {line}; figures may differ in their last digits")
        else:
            others.append(line)
    fixed = [line for line in others if line.startswith(_ALWAYS_REFUSED)]
    if fixed or (others and not allowed):
        hint = "" if fixed else "; --allow_config_change goes on all the same"
        raise UserError(
            f"{where}: expected a new folder or one of this experiment, found another one's: {'; '.join(others)}{hint}"
        )
    return lines + [f"warning: going on with another experiment's run; {line}" for line in others], bool(others)


def changed_surroundings(theirs: Description) -> list[str]:
    """What to say where libraries or the number of processes have changed since a checkpoint was written."""
    lines = []
    versions = [
        f"{name} {version}, before {theirs.versions[name]}"
        for name, version in library_versions().items()
        if theirs.versions.get(name, version) != version
    ]
    if versions:
        lines.append(f"going on with {'; '.join(versions)}: figures may differ in their last digits")
    if (count := jax.process_count()) != theirs.processes:
        lines.append(
            f"going on with processes: {count} here, {theirs.processes} there; figures may differ in their last digits"
        )
    return lines


def check_same_data(ours: Description, theirs: Description | None, where: str) -> None:
    """``UserError`` where images, scores or the split are not those that a run began with."""
    if theirs is None:
        return
    if theirs.data_fingerprint != ours.data_fingerprint:
        raise UserError(
            f"{where}: images or scores have changed since this run began, or how they were prepared; "
            "give it a new folder"
        )
    if theirs.split_sha256 != ours.split_sha256:
        raise UserError(
            f"{where}: who trains and who is tested has changed since this run began (--split_by="
            f"{ours.config.data.split.split_by}); give it a new folder"
        )


def claim(workdir: Path, description: Description) -> None:
    """Write what a run goes on with into ``config.json``, where it does not say so already."""
    path = workdir / "config.json"
    content = description.to_json()
    if path.is_file() and json.loads(path.read_text(encoding="utf-8")) == json.loads(json.dumps(content)):
        return
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        write_json(path, content)
    except OSError as error:
        raise UserError(f"--workdir={workdir}: cannot be written ({error})") from error


def looks(source: Source, *positions: np.ndarray) -> list[Look]:
    """What the images at some positions look like, each file once."""
    prints = source.looks()
    return list({prints[position].digest: prints[position] for position in np.concatenate(positions)}.values())


def save_trained_on(workdir: Path, checkpoints: str, source: Source, split: Split, *, selection: str) -> None:
    """Write what the images look like that train or select, so that no test takes them for new ones.

    Into the workdir, and beside the checkpoints where they are elsewhere. Of more than 200,000 different images nothing
    is kept.
    """
    selects = split.test if selection == "test_best" else split.validation
    different = looks(source, split.train, split.validation, selects)
    if len(different) > _MOST_COMPARED:
        return
    save_looks(workdir / TRAINED_ON, different)
    elsewhere = place(checkpoints, "checkpoint_dir")
    if elsewhere.parent != epath.Path(workdir):
        elsewhere.mkdir(parents=True, exist_ok=True)
        (elsewhere / TRAINED_ON).write_bytes((workdir / TRAINED_ON).read_bytes())


def trained_on(checkpoint: str | os.PathLike) -> list[Look] | None:
    """What ``save_trained_on`` wrote for a run, by its workdir, the folder of its checkpoints or one of them.

    None where it is not there, as with imported weights or a checkpoint that was copied alone.
    """
    path = place(checkpoint, "checkpoint")
    for folder in (path, path.parent, path.parent.parent):
        if (folder / TRAINED_ON).exists():
            return load_looks(folder / TRAINED_ON)
    return None


def finished(workdir: Path, last_step: int) -> dict[str, Any] | None:
    """The results of a run that is complete; ``UserError`` for a file of this name that is another's."""
    path = workdir / "results.json"
    if not path.is_file():
        return None
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
        return results if results["step"] == last_step else None
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(
            f"{path}: expected the results of a run of ours, found something else; give --workdir a folder of its own"
        ) from error
