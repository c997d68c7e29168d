"""The description of a run, kept by it and by each of its checkpoints, and whether a run may be continued."""

from __future__ import annotations

import dataclasses
import functools
import importlib.metadata
import json
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from glintiqa_jax import settings
from glintiqa_jax.data.files import write_json
from glintiqa_jax.data.splits import Split
from glintiqa_jax.errors import InputError
from glintiqa_jax.scoring.card import ModelCard
from glintiqa_jax.scoring.storage import place, read_json, steps
from glintiqa_jax.training.experiment import Execution, Experiment

FILE, SPLIT = "config.json", "split.json"
FORMAT = 2  # 1 is version 0.1.0's
_LIBRARIES = ("glintiqa-jax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy")


@functools.cache
def library_versions() -> dict[str, str]:
    """The versions of Python and of the libraries that figures may depend on."""
    return {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in _LIBRARIES}


@dataclasses.dataclass(frozen=True)
class Description:
    """The description of a run.

    Attributes:
      experiment: what is trained.
      execution: where it runs.
      card: of its model, before there are figures.
      data: how its source was opened, as JSON; empty for a source in memory.
      processes: how many train it together.
      versions: of Python and the libraries.
    """

    experiment: Experiment
    execution: Execution
    card: ModelCard
    data: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    processes: int = dataclasses.field(default_factory=jax.process_count)
    versions: Mapping[str, str] = dataclasses.field(default_factory=library_versions)

    def to_json(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "experiment": settings.to_json(self.experiment),
            "execution": settings.to_json(self.execution),
            "card": self.card.to_json(),
            "data": dict(self.data),
            "processes": self.processes,
            "versions": dict(self.versions),
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Description:
        """The inverse of ``to_json``; ``InputError`` for anything else, such as a run of version 0.1.0."""
        if "format" not in content and "config" in content:
            raise InputError(
                expected="a run of this version",
                found="one that version 0.1.0 began",
                hint="its model can be used as it is; to train, give the run a new folder",
            )
        try:
            return cls(
                experiment=settings.from_json(Experiment, content["experiment"]),
                execution=settings.from_json(Execution, content["execution"]),
                card=ModelCard.from_json(content["card"]),
                data=content["data"],
                processes=content["processes"],
                versions=content["versions"],
            )
        except InputError:
            raise
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise InputError(expected="what a run begins with", found=f"something else ({error})") from error


def begun_with(workdir: Path) -> Description | None:
    """The description that a workdir's run began with; None if there is no run yet.

    Raises:
      InputError: when the path is not a folder, or ``config.json`` is not a run's.
    """
    path = workdir / FILE
    if not path.is_file():
        if workdir.exists() and not workdir.is_dir():
            raise InputError(field="workdir", value=workdir, expected="a folder", found="a file")
        return None
    try:
        return Description.from_json(json.loads(path.read_text(encoding="utf-8")))
    except ValueError as error:
        raise InputError(str(error), file=path) from error


def description_of(path: str | os.PathLike) -> Description | None:
    """The description of a run, by its folder or its model's, its checkpoints' or one checkpoint's; None if there is
    none.

    Raises:
      InputError: for a run of version 0.1.0.
    """
    given = place(path, "model")
    for folder in (given, given.parent, given.parent.parent):
        if (folder / FILE).exists():
            try:
                return Description.from_json(json.loads((folder / FILE).read_text(encoding="utf-8")))
            except ValueError as error:
                raise InputError(str(error), file=folder / FILE) from error
    for checkpoint in (given, *(given / str(step) for step in reversed(steps(given)))):
        if content := read_json(checkpoint, "description"):
            return Description.from_json(content)
    return None


def kept_split(path: str | os.PathLike, split: Split, names: Sequence[str]) -> Split | None:
    """Who trains, validates and is tested in a run: a split less what its start had seen.

    Args:
      path: the run's folder, or its model's, its checkpoints' or one checkpoint's.
      split: that the run was asked for.
      names: of all images.

    Returns:
      None where the run's ``split.json`` is not there.
    """
    given = place(path, "model")
    for folder in (given, given.parent, given.parent.parent):
        if (folder / SPLIT).exists():
            content = json.loads((folder / SPLIT).read_text(encoding="utf-8"))
            positions = {name: position for position, name in enumerate(names)}
            validation, test = ([positions[name] for name in content[part]] for part in ("validation", "test"))
            return split.with_parts(validation, test)
    return None


def claim(workdir: Path, description: Description) -> None:
    """Write the description that a run continues with into ``config.json``, if it changed."""
    path, content = workdir / FILE, json.loads(json.dumps(description.to_json()))
    if path.is_file() and json.loads(path.read_text(encoding="utf-8")) == content:
        return
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        write_json(path, content)
    except OSError as error:
        raise InputError(f"cannot be written ({error})", field="workdir", value=workdir) from error


def check_same_experiment(
    experiment: Experiment, execution: Execution, theirs: Description | None, where: str
) -> tuple[list[str], bool]:
    """Whether a run may be continued by another experiment, or elsewhere, than it began with.

    Args:
      experiment: ours.
      execution: ours; ``allow_config_change`` continues another experiment's run, as far as its checkpoints have the
        same shape.
      theirs: what the run began with; None for a new one.
      where: names it in the error.

    Returns:
      Messages about it, a line each, and whether it is another experiment's.

    Raises:
      InputError: for another experiment's, before any work.
    """
    if theirs is None:
        return [], False
    found = settings.changes(experiment, theirs.experiment) + settings.changes(execution, theirs.execution)
    by_effect: dict[str, list[str]] = {"nothing": [], "rounding": [], "results": [], "shape": []}
    for change in found:
        by_effect[change.effect].append(str(change))
    others = by_effect["results"] + by_effect["shape"]
    if by_effect["shape"] or (others and not execution.allow_config_change):
        raise InputError(
            file=where,
            expected="a new folder or one of this experiment",
            found=f"another one's: {'; '.join(others)}",
            hint="" if by_effect["shape"] else "`allow_config_change` continues it all the same",
        )
    lines = [f"continuing with another value of {line}; no figure depends on it" for line in by_effect["nothing"]]
    lines += [f"continuing with another value of {line}; {_LAST_DIGITS}" for line in by_effect["rounding"]]
    return lines + [f"warning: continuing another experiment's run; {line}" for line in others], bool(others)


_LAST_DIGITS = "figures may differ in their last digits"


def changed_surroundings(theirs: Description) -> list[str]:
    """Messages about libraries, or a number of processes, that have changed since a checkpoint was written."""
    lines = []
    versions = [
        f"{name} {version}, before {theirs.versions[name]}"
        for name, version in library_versions().items()
        if theirs.versions.get(name, version) != version
    ]
    if versions:
        lines.append(f"continuing with {'; '.join(versions)}: {_LAST_DIGITS}")
    if (count := jax.process_count()) != theirs.processes:
        lines.append(f"continuing with processes: {count} here, {theirs.processes} there; {_LAST_DIGITS}")
    return lines


def check_same_data(ours: ModelCard, theirs: Description | None, where: str) -> None:
    """``InputError`` where images, scores or the split are not those that a run began with."""
    if theirs is None:
        return
    mine, before = ours.trained_on, theirs.card.trained_on
    assert mine is not None  # every training has
    if before is None or before.identity != mine.identity:
        raise InputError(
            "images or scores have changed since this run began, or how they were prepared",
            file=where,
            hint="give it a new folder",
        )
    if before.split_sha256 != mine.split_sha256:
        raise InputError("the split has changed since this run began", file=where, hint="give it a new folder")
