"""What a protocol trains, its finished runs, and the folder that all of them share."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
from jax.sharding import Mesh

from glintiqa_jax import settings
from glintiqa_jax.data.files import write_json
from glintiqa_jax.data.source import Source
from glintiqa_jax.data.splits import Split
from glintiqa_jax.datasets.config import Splitting
from glintiqa_jax.datasets.opening import split_data
from glintiqa_jax.errors import InputError
from glintiqa_jax.evaluation.config import ReportOptions
from glintiqa_jax.evaluation.document import MARKDOWN
from glintiqa_jax.progress import TERMINAL, Log
from glintiqa_jax.training.description import FILE as RUN
from glintiqa_jax.training.experiment import Execution, Experiment
from glintiqa_jax.training.result import Result
from glintiqa_jax.training.start import first_model
from glintiqa_jax.training.training import train

_FILE = "protocol.json"


@dataclasses.dataclass(frozen=True)
class Running:
    """Where and how a protocol's runs are trained and reported; no figure depends on it beyond its last digits.

    Attributes:
      execution: of each run.
      mesh: the devices; None for all of them.
      report: what goes into the reports beside the runs.
      log: where messages go.
    """

    execution: Execution = Execution()
    mesh: Mesh | None = None
    report: ReportOptions = ReportOptions()
    log: Log = TERMINAL

    def train(self, task: Task, workdir: Path, name: str) -> Result:
        """The result of a task, called ``name`` in tables."""
        result = train(
            task.source,
            task.split(self),
            task.experiment,
            execution=self.execution,
            workdir=workdir,
            mesh=self.mesh,
            report=self.report,
            log=self.log,
        )
        return dataclasses.replace(result, name=name)


@dataclasses.dataclass(frozen=True)
class Task:
    """An experiment on a source, and how that is split.

    Attributes:
      source: the images.
      experiment: what is trained on them.
      splitting: who trains, validates and is tested.
    """

    source: Source
    experiment: Experiment
    splitting: Splitting = Splitting()

    def change(self, **values: Any) -> Task:
        """With other values of the experiment's settings."""
        return dataclasses.replace(self, experiment=settings.replace(self.experiment, **values))

    @property
    def shown(self) -> Source:
        """The images, as large as the experiment wants them."""
        return self.source.resized(self.experiment.images.max_short_side)

    def split(self, running: Running) -> Split:
        """Who trains, validates and is tested."""
        policy = running.execution.loading.on_bad_image
        smallest = self.experiment.model.crop_size
        return split_data(self.splitting, self.shown, smallest=smallest, on_bad_image=policy, say=quiet)

    def check(self, running: Running) -> Split:
        """Its split; ``InputError`` for whatever would stop its training after others have been trained."""
        if self.experiment.start.init:
            first_model(self.experiment)
        return self.split(running)

    def to_json(self) -> dict[str, Any]:
        """What the figures depend on, as JSON has it."""
        return {
            "experiment": settings.to_json(self.experiment),
            "splitting": settings.to_json(self.splitting),
            "images": self.source.identity,
        }


def commits(runs: Sequence[Result]) -> tuple[str, str]:
    """A row of a report's last table: by which commits the runs were made, which may be older than the report."""
    found = dict.fromkeys(run.figures["commit"] or "none" for run in runs)
    return "commit of the runs", ", ".join(found)


def splits_of(runs: Sequence[Result]) -> list[tuple[str, str]]:
    """Rows of a report's last table: each run's split."""
    return [
        (f"split of {run.name}", f"{run.workdir.name}/split.json, SHA-256 {run.figures['split_sha256']}")
        for run in runs
    ]


def quiet(line: str) -> None:
    """What is noticed of a source is said where it is trained or tested on."""


def claim(folder: Path, protocol: str, tasks: Mapping[str, Task], **facts: Any) -> None:
    """Make a folder a protocol's own, or find that it is; called when nothing else is left to refuse.

    Args:
      folder: where its runs and its report go.
      protocol: its name.
      tasks: what it trains.
      facts: plain values that say what else must be the same.

    Raises:
      InputError: where another protocol, another experiment or another report is in it.
    """
    if jax.process_count() > 1:
        raise InputError(expected="one process for a protocol of many runs", found=f"{jax.process_count()}")
    path, mine = folder / _FILE, {"protocol": protocol, "tasks": {name: task.to_json() for name, task in tasks.items()}}
    mine = json.loads(json.dumps(mine | facts))
    expected = "a new folder or one of this protocol"
    if path.is_file():
        try:
            theirs = _completed(json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise InputError(file=path, expected="what a protocol began with", found="something else") from error
        ours, theirs = settings.flat(mine), settings.flat(theirs)
        if changed := [
            f"{name}: {ours.get(name)!r} here, {theirs.get(name)!r} there"
            for name in sorted(ours.keys() | theirs.keys())
            if ours.get(name) != theirs.get(name)
        ]:
            found = f"another one's: {'; '.join(changed)}"
            raise InputError(field="workdir", value=folder, expected=expected, found=found)
        return
    for name in (MARKDOWN, RUN):
        if (folder / name).exists():
            raise InputError(field="workdir", value=folder, expected=expected, found=f"another's {name}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(path, mine)
    except OSError as error:
        raise InputError(f"cannot be written ({error})", field="workdir", value=folder) from error


def _completed(content: dict[str, Any]) -> dict[str, Any]:
    """With the defaults of settings that there were not yet."""
    kinds = {"experiment": Experiment, "splitting": Splitting}
    tasks = {
        name: task
        | {
            part: json.loads(json.dumps(settings.to_json(settings.from_json(kind, task[part]))))
            for part, kind in kinds.items()
        }
        for name, task in content["tasks"].items()
    }
    return content | {"tasks": tasks}
