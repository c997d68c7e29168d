"""Checkpoints by Orbax: the train state, its validation figures and its description as one unit.

Restart order: ``CheckpointStore`` first sets aside what has been damaged since it was written, then ``restore`` takes
the latest checkpoint's state, all of it. Batches, dropout keys and the learning rate are functions of the seed and the
step, so that nothing else has to come back, and a run may be continued with another number of workers, processes or
devices.
"""

from __future__ import annotations

import hashlib
import logging
import math
import os
import shutil
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath
from flax import nnx

from glintiqa_jax.data import integrity
from glintiqa_jax.data.paths import is_remote
from glintiqa_jax.errors import InputError
from glintiqa_jax.progress import quiet
from glintiqa_jax.scoring.storage import (
    NOT_EVALUATED,
    UNDEFINED,
    best_step,
    place,
    read_json,
    steps,
    unreadable,
)
from glintiqa_jax.sharding import everywhere
from glintiqa_jax.training import processes, storage
from glintiqa_jax.training.description import Description
from glintiqa_jax.training.step import TrainState

_SET_ASIDE = "_damaged"  # a folder of this ending, beside, takes checkpoints that are not as they were written
_OVERHEAD = 2**20  # bytes: a checkpoint's metadata, and the blocks of a disk that small files fill in part


class CheckpointStore:
    """The checkpoints of a training run: the latest two, to resume from, and the best on validation, to use.

    Every process of a run has one, over the same folder.

    Args:
      folder: where they are, a path or an object store's ``gs://...``.
      description: is written into each of them.
      warn: gets a line for each damaged checkpoint; they are moved to a folder beside.

    Attributes:
      folder: where they are.

    Raises:
      InputError: a folder whose checkpoints could not be read back, before the first is written.
    """

    def __init__(self, folder: str | os.PathLike, description: Description, warn: Callable[[str], None]):
        self._description = description
        self.folder = place(folder, "checkpoint_dir")
        storage.check_shared(self.folder)
        for line in processes.by_the_first(lambda: _set_damaged_aside(self.folder)):
            warn(line)
        self._trusted = bool(processes.by_the_first(lambda: steps(self.folder)))
        if not self._trusted:
            storage.check_storage(self.folder)
        self._unsealed: int | None = None
        self._manager = storage.manager(
            self.folder, description.execution.devices.step_timeout if jax.process_count() > 1 else 0
        )

    def latest_step(self) -> int | None:
        return self._manager.latest_step()

    def best_step(self) -> int | None:
        """The step with the best figure on the selecting split."""
        return best_step(self.folder)

    def unseen_losses(self, step: int) -> list[float]:
        """Those of the steps before a checkpoint that no row of the log has yet."""
        return (read_json(self.folder / str(step), "description") or {}).get("unseen_losses", [])

    def save(self, state: TrainState, figure: float | None, *, unseen_losses: Sequence[float] = ()) -> None:
        """Save in the background; the first checkpoint of a folder is read back at once.

        Args:
          state: all that training resumes from.
          figure: of this step on the selecting split, higher is better, ``-inf`` if undefined; None if it was not
            evaluated.
          unseen_losses: of the last steps, as far as no row of the log has them yet.

        Raises:
          InputError: a first checkpoint that is not read back as it was.
        """
        self.wait()
        if figure is None:
            figure = NOT_EVALUATED
        step, arrays = int(state.step), _items(state)
        if lack := _lack_of_room(self.folder, arrays):
            raise InputError(
                f"{lack}; what was saved before is intact, and with free space the same command resumes from it"
            )
        said = self._description.to_json() | {"unseen_losses": [float(loss) for loss in unseen_losses]}
        items = {name: ocp.args.PyTreeSave(part) for name, part in arrays.items()}
        self._manager.save(
            step,
            args=ocp.args.Composite(description=ocp.args.JsonSave(said), **items),
            metrics={"figure": figure if math.isfinite(figure) else UNDEFINED},
            force=True,
        )
        self._unsealed = step
        if not self._trusted:
            self._read_back(step, arrays)

    def _read_back(self, step: int, arrays: dict[str, Any]) -> None:
        self.wait()
        written = self.folder / str(step)
        try:
            wrong = None if storage.same_arrays(written, **arrays) else "other numbers came back"
        except (ValueError, KeyError, OSError) as error:
            if processes.says_lost(error):
                raise
            wrong = " ".join(str(error).split())[:300]
        if wrong:
            raise InputError(f"the first checkpoint cannot be read back ({wrong}); training ends here", file=written)
        self._trusted = True

    def restore(self, abstract: TrainState, sharding: TrainState, *, step: int) -> TrainState:
        """A saved state in the given shardings."""
        shapes, shards = _items(abstract), _items(sharding)
        items = {name: storage.restoring(shapes[name], shards[name]) for name in shapes}
        try:
            restored = self._manager.restore(step, args=ocp.args.Composite(**items))
        except (ValueError, KeyError, OSError) as error:
            if processes.says_lost(error):
                raise
            raise InputError(
                unreadable(error),
                file=self.folder / str(step),
                hint="without this folder, the same command resumes from the one before",
            ) from error
        return _state(abstract, {name: restored[name] for name in shapes})

    def tend(self) -> None:
        """Seal with checksums what has been written in the meantime."""
        if self._unsealed is not None and not self._manager.is_saving_in_progress():
            self.wait()

    def wait(self) -> None:
        """Wait until everything saved is on disk, and there sealed with checksums."""
        unsealed, self._unsealed = self._unsealed, None  # where saving fails, nothing is there to be sealed
        # Orbax logs the traceback of a save that failed, and raises it: said once, by who catches it
        with quiet("absl", level=logging.CRITICAL + 1):
            self._manager.wait_until_finished()
        if unsealed is not None and processes.is_first() and not is_remote(self.folder):
            integrity.seal(self.folder / str(unsealed))

    def close(self) -> None:
        self.wait()
        self._manager.close()

    def __enter__(self) -> CheckpointStore:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        if processes.says_lost(error):
            return  # a process is lost: closing would wait for it
        self.close()


def _set_damaged_aside(folder: epath.Path) -> list[str]:
    """Move checkpoints that are not as they were written to a folder beside; a line about each.

    Not in an object store, which has checksums of its own and cannot move a folder.
    """
    if is_remote(folder):
        return []
    lines = []
    found = steps(folder)
    for step in found:
        wrong = integrity.damage(folder / str(step))
        if wrong is None and not integrity.is_sealed(folder / str(step)):  # its run was killed just then
            if read_json(folder / str(step), "description") is None:
                wrong = "what it says of itself cannot be read"
            else:
                integrity.seal(folder / str(step))
        if wrong:
            aside = folder.with_name(folder.name + _SET_ASIDE)
            aside.mkdir(parents=True, exist_ok=True)
            taken = {path.name for path in aside.iterdir()}
            name = next(name for number in range(len(taken) + 1) if (name := f"{step}-{number}") not in taken)
            (folder / str(step)).rename(aside / name)
            lines.append(f"warning: the checkpoint of step {step} is damaged: {wrong}; it is now {aside / name}")
    if lines:
        whole = [step for step in found if step in steps(folder)]
        rest = "no other is there: starting over"
        if whole:
            rest = f"the checkpoint of step {whole[-1]} is whole; the best on validation is now the best of those left"
        lines.append(f"warning: {rest}")
    return lines


def latest_description(folder: str | os.PathLike) -> Description | None:
    """The description in the latest checkpoint of a run's folder; None if none can be read.

    Raises:
      InputError: where it is of another version's run.
    """
    path = place(folder, "checkpoint_dir")
    for step in reversed(steps(path)):
        if (content := read_json(path / str(step), "description")) is not None:
            try:
                return Description.from_json(content)
            except InputError as error:
                raise InputError(str(error), file=path / str(step)) from error
    return None


def _lack_of_room(folder: epath.Path, arrays: Any) -> str | None:
    """To end before Orbax' threads do, each with a traceback, where the disk is too small for what is to be saved."""
    if is_remote(folder):
        return None
    needed = sum(leaf.nbytes for leaf in jax.tree.leaves(arrays)) + _OVERHEAD
    free = shutil.disk_usage(next(place for place in (folder, *folder.parents) if place.exists())).free
    if free >= needed:
        return None
    return f"{folder}: the disk is full (a checkpoint takes {needed / 1e6:.1f} MB, {free / 1e6:.1f} MB are free)"


def _items(state: TrainState) -> dict[str, Any]:
    """A state as it is stored: the model to predict with by its names, everything else as lists of arrays.

    Both are of the whole state, whatever fields it has. A model's names are a format that outlives Flax's classes.
    """
    fields = state._asdict()
    evaluated = fields.pop(state.evaluated_field)
    model = {"params": nnx.to_pure_dict(evaluated), "rest": nnx.to_pure_dict(fields.pop("rest"))}
    return {
        "model": model,
        "state": {name: jax.tree.leaves(value) for name, value in fields.items() if value is not None},
    }


def _state(like: TrainState, items: dict[str, Any]) -> TrainState:
    """The inverse of ``_items``."""
    fields: dict[str, Any] = {
        name: jax.tree.unflatten(jax.tree.structure(getattr(like, name)), leaves)
        for name, leaves in items["state"].items()
    }
    fields[like.evaluated_field] = _filled(like.evaluated, items["model"]["params"])
    fields["rest"] = _filled(like.rest, items["model"]["rest"])
    return TrainState(**{name: None for name in TrainState._fields} | fields)


def _filled(like: nnx.State, pure: dict[str, Any]) -> nnx.State:
    state = jax.tree.map(lambda leaf: leaf, like)  # a copy: the values are replaced in place
    nnx.replace_by_pure_dict(state, pure)
    return state


def digest(state: TrainState) -> str:
    """SHA-256 of every parameter and statistic, names and values: equal for equal networks.

    Every process must call this.
    """
    sha = hashlib.sha256()
    arrays = {"params": nnx.to_pure_dict(state.params), "rest": nnx.to_pure_dict(state.rest)}
    if state.average is not None:
        arrays["average"] = nnx.to_pure_dict(state.average)
    for path, leaf in jax.tree_util.tree_flatten_with_path(arrays)[0]:
        sha.update(jax.tree_util.keystr(path).encode())
        sha.update(np.ascontiguousarray(everywhere(leaf)).tobytes())
    return sha.hexdigest()
