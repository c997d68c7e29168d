"""Finished training runs as a protocol looks at them, and the folder that all runs of a protocol share."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from glintiqa_jax.data.files import write_json
from glintiqa_jax.data.mixture import MixedSource
from glintiqa_jax.data.source import RatedSource
from glintiqa_jax.errors import UserError
from glintiqa_jax.evaluation.document import MARKDOWN
from glintiqa_jax.evaluation.prediction import read_predictions
from glintiqa_jax.evaluation.report import Evaluated
from glintiqa_jax.training.dataset import distortion_names
from glintiqa_jax.training.metrics_log import read_metrics

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
    return Run(name, workdir, json.loads((workdir / "results.json").read_text()), tested)


def training_positions(workdir: Path, source: RatedSource | MixedSource) -> np.ndarray:
    """Positions of the images that a run was trained on, by its ``split.json``."""
    trained = set(json.loads((workdir / "split.json").read_text())["train"])
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


def claim(folder: Path, protocol: dict[str, Any]) -> None:
    """Make a folder a protocol's own, or find that it is.

    Args:
      folder: where its runs and its report go.
      protocol: plain values that say which it is.

    Raises:
      UserError: where another protocol, another experiment or another report is in it.
    """

    path = folder / _FILE
    mine = json.loads(json.dumps(protocol))
    if path.is_file():
        theirs = json.loads(path.read_text())
        if theirs != mine:
            changed = "; ".join(_differences(mine, theirs))
            raise UserError(
                f"--workdir={folder}: expected a new folder or one of this protocol, found another one's: {changed}"
            )
        return
    for name in (MARKDOWN, "config.json"):
        if (folder / name).exists():
            raise UserError(
                f"--workdir={folder}: expected a new folder or one of this protocol, found another's {name}"
            )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(path, mine)
    except OSError as error:
        raise UserError(f"--workdir={folder}: cannot be written ({error})") from error


def _differences(mine: Any, theirs: Any, name: str = "") -> list[str]:
    if isinstance(mine, dict) and isinstance(theirs, dict):
        return [
            line
            for key in sorted(mine.keys() | theirs.keys())
            for line in _differences(mine.get(key), theirs.get(key), f"{name}.{key}".lstrip("."))
        ]
    return [] if mine == theirs else [f"{name}: {mine!r} here, {theirs!r} there"]
