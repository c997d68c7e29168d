"""Finished training runs as a protocol looks at them, and the folder that all runs of a protocol share."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from glintiqa_jax.data.files import write_json
from glintiqa_jax.data.mixture import MixedSource
from glintiqa_jax.data.source import RatedSource
from glintiqa_jax.data.splits import Split
from glintiqa_jax.errors import InputError
from glintiqa_jax.evaluation.document import MARKDOWN
from glintiqa_jax.evaluation.prediction import read_predictions
from glintiqa_jax.evaluation.report import Evaluated
from glintiqa_jax.training.config import TrainConfig, from_json, to_json
from glintiqa_jax.training.dataset import distortion_names, open_source, split_source
from glintiqa_jax.training.loop import first_model
from glintiqa_jax.training.metrics_log import read_metrics
from glintiqa_jax.training.workdir import experiment

_FILE = "protocol.json"


@dataclasses.dataclass(frozen=True)
class Run:
    """A finished run, from its folder.

    Attributes:
      name: what tables call it.
      workdir: where it is.
      results: the content of its ``results.json``.
      tested: its predictions of the test split; None where it has none.
    """

    name: str
    workdir: Path
    results: dict[str, Any]
    tested: Evaluated | None

    @property
    def history(self) -> list[dict[str, Any]]:
        """The rows of its ``metrics.jsonl``."""
        return read_metrics(self.workdir)


def load_run(name: str, workdir: Path, source: RatedSource | MixedSource) -> Run:
    """A run that is complete, with its predictions joined to the source that it was tested on."""
    path = workdir / "predictions_test.csv"
    tested = Evaluated(source, read_predictions(path, source), distortion_names(source)) if path.is_file() else None
    return Run(name, workdir, json.loads((workdir / "results.json").read_text(encoding="utf-8")), tested)


def training_positions(workdir: Path, source: RatedSource | MixedSource) -> np.ndarray:
    """Positions of the images that a run was trained on, by its ``split.json``."""
    trained = set(json.loads((workdir / "split.json").read_text(encoding="utf-8"))["train"])
    return np.flatnonzero([name in trained for name in source.index.names])


def commits(runs: Sequence[Run]) -> tuple[str, str]:
    """A row of a report's last table: by which commits the runs were made, which may be older than the report."""
    found = dict.fromkeys(run.results["commit"] or "none" for run in runs)
    return "commit of the runs", ", ".join(found)


def splits_of(runs: Sequence[Run]) -> list[tuple[str, str]]:
    """Rows of a report's last table: each run's split."""
    return [
        (f"split of {run.name}", f"{run.workdir.name}/split.json, SHA-256 {run.results['split_sha256']}")
        for run in runs
    ]


def check_experiment(config: TrainConfig) -> tuple[RatedSource | MixedSource, Split]:
    """The source and the split of an experiment, whose weights are there, too.

    Raises:
      InputError: for whatever would stop its training after others have been trained.
    """
    if config.backbone_weights:
        first_model(config)
    source = open_source(config.data, crop_size=config.model.crop_size, say=quiet)
    split = split_source(config.data, source, crop_size=config.model.crop_size, say=quiet)
    return source, split


def quiet(line: str) -> None:
    """What is noticed of a source is said where it is trained or tested on."""


def claim(folder: Path, protocol: str, configs: Mapping[str, TrainConfig], **facts: Any) -> None:
    """Make a folder a protocol's own, or find that it is; called when nothing else is left to refuse.

    Args:
      folder: where its runs and its report go.
      protocol: its name.
      configs: its experiments.
      facts: plain values that say what else must be the same.

    Raises:
      InputError: where another protocol, another experiment or another report is in it.
    """
    path = folder / _FILE
    whose: dict[str, Any] = {
        "field": "workdir",
        "value": folder,
        "expected": "a new folder or one of this protocol",
    }
    mine = {"protocol": protocol, "configs": {name: to_json(config) for name, config in configs.items()}} | facts
    mine = json.loads(json.dumps(mine))
    if path.is_file():
        try:
            theirs = _identity(json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            expected = "what a protocol of ours began with"
            raise InputError(file=path, expected=expected, found="something else") from error
        if changed := _differences(_identity(mine), theirs):
            raise InputError(**whose, found=f"another one's: {'; '.join(changed)}")
        return
    for name in (MARKDOWN, "config.json"):
        if (folder / name).exists():
            raise InputError(**whose, found=f"another's {name}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(path, mine)
    except OSError as error:
        raise InputError(f"cannot be written ({error})", field="workdir", value=folder) from error


def _identity(content: dict[str, Any]) -> dict[str, Any]:
    """Without what changes no figure, and with the defaults of fields that there were not yet."""
    return content | {"configs": {name: experiment(from_json(each)) for name, each in content["configs"].items()}}


def _differences(mine: Any, theirs: Any, name: str = "") -> list[str]:
    if isinstance(mine, dict) and isinstance(theirs, dict):
        return [
            line
            for key in sorted(mine.keys() | theirs.keys())
            for line in _differences(mine.get(key), theirs.get(key), f"{name}.{key}".lstrip("."))
        ]
    return [] if mine == theirs else [f"{name}: {mine!r} here, {theirs!r} there"]
