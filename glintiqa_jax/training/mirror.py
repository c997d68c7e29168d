"""What a run's folder says, kept beside checkpoints that are elsewhere: a preempted machine loses its disk."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from etils import epath

from glintiqa_jax.data.paths import is_remote
from glintiqa_jax.training.description import FILE as CONFIG

_FOLDER = "run"  # below the checkpoints
_LEFT_OUT = ("checkpoints", "tensorboard", "profile")


def is_elsewhere(workdir: Path, checkpoints: epath.Path) -> bool:
    """Whether checkpoints are not below a run's folder, an absolute path."""
    return epath.Path(workdir) not in checkpoints.parents


def keep(workdir: Path, checkpoints: epath.Path, *names: str) -> None:
    """Copy files of a run's folder to below its checkpoints, where those are elsewhere.

    Args:
      workdir: the run's folder.
      checkpoints: where its checkpoints are.
      names: of the files; none for all that are not checkpoints, TensorBoard's or the profiler's.
    """
    if not is_elsewhere(workdir, checkpoints):
        return
    for path in [workdir / name for name in names] or list(_files(workdir)):
        _copy(path, checkpoints / _FOLDER / path.relative_to(workdir).as_posix())


def bring_back(workdir: Path, checkpoints: epath.Path) -> bool:
    """Copy what ``keep`` has kept into a folder that has no run yet; whether there was something."""
    kept = checkpoints / _FOLDER
    if (workdir / CONFIG).exists() or not (kept / CONFIG).exists():
        return False
    # what says that there is a run comes last: all else is there then
    for path in sorted(_files(kept), key=lambda path: path.name == CONFIG):
        _copy(path, workdir / path.relative_to(kept).as_posix())
    return True


def _copy(path: Path | epath.Path, target: Path | epath.Path) -> None:
    """A file in another place, whole or not at all: stores have no rename, and write no half objects."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if is_remote(target):
        target.write_bytes(path.read_bytes())
        return
    partial = target.with_name(f"{target.name}.partial")
    partial.write_bytes(path.read_bytes())
    partial.replace(target)


def _files(folder: Path | epath.Path) -> Iterator[Path | epath.Path]:
    for path in sorted(folder.iterdir(), key=os.fspath):
        if path.is_dir():
            if path.name not in _LEFT_OUT:
                yield from _files(path)  # as etils' paths have no rglob
        elif not path.name.startswith("."):
            yield path
