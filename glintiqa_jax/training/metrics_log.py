"""The metrics of a run: ``metrics.jsonl``, and TensorBoard's files if ``tensorboardX`` is installed."""

from __future__ import annotations

import importlib.util
import json
import math
import socket
import time
from pathlib import Path
from typing import Any

from glintiqa_jax.data.files import write_text
from glintiqa_jax.evaluation.metrics import METRICS

FILE = "metrics.jsonl"
TENSORBOARD = "tensorboard"
SPEED = ("images_per_second", "step_seconds", "data_seconds")
"""What a row of losses says of how fast its steps were: images over all processes; of this process the mean seconds of
a step, and those of them in which it waited for data."""


class MetricsLog:
    """One row per logged loss or evaluation, each step once, whatever interrupted the run.

    Args:
      workdir: where the files are.
      step: the step that the run resumes from; later rows of an interrupted run are dropped, as they come again.
    """

    def __init__(self, workdir: Path, step: int):
        self._path = workdir / FILE
        self._rows = [row for row in read_metrics(workdir) if row["step"] <= step]
        write_text(self._path, "".join(json.dumps(row) + "\n" for row in self._rows))
        self._board = _tensorboard(workdir)
        for row in self._rows:
            self._show(row)

    def write(self, row: dict[str, Any]) -> None:
        """Add a row: ``step``, and numbers or dicts of numbers."""
        self._rows.append(row)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        self._show(row)
        if self._board is not None:
            self._board.flush()

    def best(self, split: str, metric: str) -> float | None:
        """The best figure of every evaluation on a split so far; None before the first that has one."""
        found = [row[split].get(metric) for row in self._rows if split in row]
        return max((value for value in found if value is not None), key=METRICS[metric].worth, default=None)

    def close(self) -> None:
        if self._board is not None:
            self._board.close()

    def _show(self, row: dict[str, Any]) -> None:
        if self._board is None:
            return
        for name, value in row.items():
            values = (
                {f"{name}/{key}": each for key, each in value.items()} if isinstance(value, dict) else {name: value}
            )
            for tag, number in values.items():
                if tag != "step" and number is not None:
                    self._board.add_scalar(tag, number, row["step"])


def read_metrics(workdir: Path, *, speed: bool = True) -> list[dict[str, Any]]:
    """The rows of a run's ``metrics.jsonl``; a last line that a killed run left unfinished is none.

    Args:
      workdir: the run's.
      speed: whether with ``SPEED``, which differs between two runs that are the same otherwise.
    """
    path = workdir / FILE
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.is_file() else []
    rows = [json.loads(line) for line in lines if line.endswith("\n")]
    return rows if speed else [{name: row[name] for name in row if name not in SPEED} for row in rows]


def plain(metrics: dict[str, float | int]) -> dict[str, float | int | None]:
    """JSON has no NaN: an undefined correlation is null."""
    return {name: None if math.isnan(value) else value for name, value in metrics.items()}


def _tensorboard(workdir: Path) -> _Board | None:
    """A writer of new files, which hold all rows: TensorBoard would show those of an interrupted run twice."""
    if importlib.util.find_spec("tensorboardX") is None:
        return None
    folder = workdir / TENSORBOARD
    folder.mkdir(exist_ok=True)
    for path in folder.glob("events.out.tfevents.*"):
        path.unlink()
    return _Board(folder)


class _Board:
    """tensorboardX's records, written at once: where its ``SummaryWriter``'s thread ends on a full disk, a run hangs.

    Args:
      folder: where the one file goes.
    """

    def __init__(self, folder: Path):
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.record_writer import RecordWriter

        self._event = Event
        name = f"events.out.tfevents.{int(time.time())}.{socket.gethostname()}"
        self._records = RecordWriter(str(folder / name))
        self._write(file_version="brain.Event:2")

    def add_scalar(self, tag: str, number: float, step: int) -> None:
        self._write(step=step, summary={"value": [{"tag": tag, "simple_value": number}]})

    def flush(self) -> None:
        self._records.flush()

    def close(self) -> None:
        self._records.close()

    def _write(self, **content: Any) -> None:
        self._records.write(self._event(wall_time=time.time(), **content).SerializeToString())
