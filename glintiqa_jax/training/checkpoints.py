"""Checkpoints by Orbax: the train state, its validation figures and its description as one unit.

Restart order: ``CheckpointStore`` first sets aside what has been damaged since it was written, then ``restore`` takes
the latest checkpoint's step, parameters, statistics, moving average and optimiser state. Batches, dropout keys and the
learning rate are functions of the seed and the step, so that nothing else has to come back, and a run may go on with
another number of workers, processes or devices.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib.metadata
import math
import os
import platform
import shutil
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath
from flax import nnx

from glintiqa_jax.data.catalog import ScoreScale
from glintiqa_jax.data.paths import is_remote
from glintiqa_jax.errors import UserError
from glintiqa_jax.models.freezing import freeze, split_model
from glintiqa_jax.models.glintiqa import GlintIQA, abstract_model
from glintiqa_jax.sharding import everywhere, replicated
from glintiqa_jax.training import config as config_module
from glintiqa_jax.training import integrity, processes, storage
from glintiqa_jax.training.config import TrainConfig
from glintiqa_jax.training.step import TrainState

FOLDER = "checkpoints"
_SET_ASIDE = "_damaged"  # a folder of this ending, beside, takes checkpoints that are not as they were written
_LIBRARIES = ("glintiqa-jax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy")
IMPORTED = "imported"  # the data fingerprint of weights that were trained elsewhere
_OVERHEAD = 2**20  # bytes: a checkpoint's metadata, and the blocks of a disk that small files fill in part


@functools.cache
def library_versions() -> dict[str, str]:
    """Of Python and of the libraries whose changes may move a figure."""
    return {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in _LIBRARIES}


@dataclasses.dataclass(frozen=True)
class Description:
    """What a checkpoint says of itself.

    Attributes:
      config: how it was trained.
      scale: what its scores mean.
      data_fingerprint: of the records it was trained on.
      split_sha256: of who trained and who was tested.
      max_side: the longer side that its images were shrunk to when they were prepared; 0 where they were not.
      versions: of Python and the libraries that it was trained with.
      processes: how many trained it together.
    """

    config: TrainConfig
    scale: ScoreScale
    data_fingerprint: str
    split_sha256: str = ""
    max_side: int = 0
    versions: dict[str, str] = dataclasses.field(default_factory=library_versions)
    processes: int = dataclasses.field(default_factory=jax.process_count)

    def to_json(self) -> dict[str, Any]:
        return {
            "config": config_module.to_json(self.config),
            "scale": dataclasses.asdict(self.scale),
            "data_fingerprint": self.data_fingerprint,
            "split_sha256": self.split_sha256,
            "max_side": self.max_side,
            "versions": self.versions,
            "processes": self.processes,
        }

    @staticmethod
    def from_json(content: dict[str, Any]) -> Description:
        return Description(
            config=config_module.from_json(content["config"]),
            scale=ScoreScale(**content["scale"]),
            data_fingerprint=content["data_fingerprint"],
            split_sha256=content["split_sha256"],
            max_side=content["max_side"],
            versions=content.get("versions", {}),  # earlier checkpoints do not have the last two
            processes=content.get("processes", 1),
        )


class CheckpointStore:
    """The checkpoints of one training run: the latest two, to go on from, and the best on validation, to use.

    Every process of a run has one, over the same folder.

    Args:
      folder: where they are, a path or an object store's ``gs://...``.
      description: what each of them says of itself.
      warn: is told, a line each, of checkpoints that have been damaged; they are moved to a folder beside.

    Raises:
      UserError: a folder whose checkpoints could not be read back, before the first is written.
    """

    def __init__(self, folder: str | os.PathLike, description: Description, warn: Callable[[str], None]):
        self._description = description
        self._folder = storage.place(folder, "checkpoint_dir")
        for line in processes.by_the_first(lambda: _set_damaged_aside(self._folder)):
            warn(line)
        self._trusted = bool(processes.by_the_first(lambda: storage.steps(self._folder)))
        if not self._trusted:
            storage.check_storage(self._folder, f"--checkpoint_dir={folder}")
        self._unsealed: int | None = None
        self._manager = storage.manager(self._folder)

    def latest_step(self) -> int | None:
        return self._manager.latest_step()

    def best_step(self) -> int | None:
        """The step with the best validation SROCC."""
        return storage.best_step(self._folder)

    def unseen_losses(self, step: int) -> list[float]:
        """Those of the steps before a checkpoint that no row of the log has yet."""
        return (storage.read_json(self._folder / str(step), "description") or {}).get("unseen_losses", [])

    def save(
        self, state: TrainState, validation: dict[str, float] | None, *, unseen_losses: Sequence[float] = ()
    ) -> None:
        """Save in the background; the first checkpoint of a folder is read back at once.

        Args:
          state: all that training goes on from.
          validation: the metrics, when this step was evaluated.
          unseen_losses: of the last steps, as far as no row of the log has them yet.

        Raises:
          UserError: a first checkpoint that does not come back as it was.
        """
        self.wait()
        srocc = storage.NOT_EVALUATED if validation is None else validation["srocc"]
        step = int(state.step)
        arrays = {"model": _model_arrays(state.evaluated, state.rest), "optimiser": _optimiser_arrays(state)}
        if lack := _lack_of_room(self._folder, arrays):
            raise UserError(
                f"{lack}; what was saved before is whole, and with some room the same command goes on from there"
            )
        said = self._description.to_json() | {"unseen_losses": [float(loss) for loss in unseen_losses]}
        items = {name: storage.saving(part) for name, part in arrays.items()}
        self._manager.save(
            step,
            args=ocp.args.Composite(description=ocp.args.JsonSave(said), **items),
            metrics={"srocc": storage.UNDEFINED if math.isnan(srocc) else srocc},
            force=True,
        )
        self._unsealed = step
        if not self._trusted:
            self._read_back(step, arrays)

    def _read_back(self, step: int, arrays: dict[str, Any]) -> None:
        self.wait()
        written = self._folder / str(step)
        try:
            wrong = None if storage.same_arrays(written, **arrays) else "other numbers came back"
        except (ValueError, KeyError, OSError) as error:
            wrong = " ".join(str(error).split())[:300]
        if wrong:
            raise UserError(f"{written}: the first checkpoint cannot be read back ({wrong}); training ends here")
        self._trusted = True

    def restore(self, abstract: TrainState, sharding: TrainState, *, step: int) -> TrainState:
        """A saved state in the given shardings."""
        items = {
            "model": storage.restoring(
                _model_arrays(abstract.evaluated, abstract.rest), _model_arrays(sharding.evaluated, sharding.rest)
            ),
            "optimiser": storage.restoring(_optimiser_arrays(abstract), _optimiser_arrays(sharding)),
        }
        restored = self._restored(step, **items)
        model, optimiser = restored["model"], restored["optimiser"]
        evaluated = _filled(abstract.evaluated, model["params"])
        averages = abstract.average is not None
        return TrainState(
            optimiser["step"],
            _filled(abstract.params, optimiser["params"]) if averages else evaluated,
            _filled(abstract.rest, model["rest"]),
            jax.tree.unflatten(jax.tree.structure(abstract.opt_state), optimiser["opt_state"]),
            evaluated if averages else None,
        )

    def _restored(self, step: int, **items: Any) -> Any:
        try:
            return self._manager.restore(step, args=ocp.args.Composite(**items))
        except (ValueError, KeyError, OSError) as error:
            without = "Without this folder, the same command goes on from the one before"
            raise UserError(f"{_unreadable(self._folder / str(step), error)}. {without}") from error

    def tend(self) -> None:
        """Seal with checksums what has been written in the meantime."""
        if self._unsealed is not None and not self._manager.is_saving_in_progress():
            self.wait()

    def wait(self) -> None:
        """Until everything saved is on disk, and sealed with checksums."""
        unsealed, self._unsealed = self._unsealed, None  # where saving fails, nothing is there to be sealed
        with storage.silent():
            self._manager.wait_until_finished()
        if unsealed is not None and processes.is_first():
            integrity.seal(self._folder / str(unsealed))

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
    """Move checkpoints that are not as they were written to a folder beside; a line about each."""
    lines = []
    steps = storage.steps(folder)
    for step in steps:
        wrong = integrity.damage(folder / str(step))
        if wrong is None and not integrity.is_sealed(folder / str(step)):  # its run was killed just then
            if _description(folder / str(step)) is None:
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
        whole = [step for step in steps if step in storage.steps(folder)]
        rest = "no other is there: starting over"
        if whole:
            rest = f"the checkpoint of step {whole[-1]} is whole; the best on validation is now the best of those left"
        lines.append(f"warning: {rest}")
    return lines


def latest_description(folder: str | os.PathLike) -> Description | None:
    """What the latest checkpoint of a run's folder says of itself; None where there is none that can be read."""
    path = storage.place(folder, "checkpoint_dir")
    for step in reversed(storage.steps(path)):
        if (description := _description(path / str(step))) is not None:
            return description
    return None


def _description(checkpoint: epath.Path) -> Description | None:
    """Read by this process alone, without waiting for others."""
    try:
        content = storage.read_json(checkpoint, "description")
        return None if content is None else Description.from_json(content)
    except (ValueError, KeyError, TypeError):
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


def save_model(folder: str | os.PathLike, model: GlintIQA, description: Description) -> None:
    """Write a network as a checkpoint by itself, which ``load_model`` reads but no training run goes on from."""
    model = nnx.clone(model)
    freeze(model, description.config.frozen)
    _, params, rest = split_model(model)
    arrays = _model_arrays(params, rest)
    items = {"model": storage.saving(arrays), "description": ocp.args.JsonSave(description.to_json())}
    written = storage.place(folder, "output")
    if lack := _lack_of_room(written, arrays):
        raise UserError(lack)
    with storage.checkpointer() as checkpointer:
        checkpointer.save(written, args=ocp.args.Composite(**items))
    integrity.seal(written)


@dataclasses.dataclass(frozen=True)
class LoadedModel:
    """A trained network and what its checkpoint says of it; ``nnx.merge(graphdef, params, rest)`` makes a model."""

    description: Description
    graphdef: nnx.GraphDef
    params: nnx.State
    rest: nnx.State


def load_model(path: str | os.PathLike, mesh: jax.sharding.Mesh) -> LoadedModel:
    """Load a trained network; nothing but the checkpoint is needed.

    Args:
      path: a training run's ``--workdir``, whose best checkpoint is taken, or the folder of one checkpoint.
      mesh: the devices it is put on, replicated.

    Raises:
      UserError: when there is no checkpoint at the path, or one of another kind or version.
    """
    folder = _checkpoint_folder(path)
    if wrong := integrity.damage(folder):
        raise UserError(f"--checkpoint={path}: {folder} is damaged: {wrong}")
    try:
        with storage.checkpointer() as checkpointer:
            items = ocp.args.Composite(description=ocp.args.JsonRestore())
            content = checkpointer.restore(folder, args=items)["description"]
            description = Description.from_json(content)
            model = abstract_model(description.config.model)
            freeze(model, description.config.frozen)
            graphdef, params, rest = split_model(model)
            arrays = _model_arrays(params, rest)
            on_all = jax.tree.map(lambda _: replicated(mesh), arrays)
            items = ocp.args.Composite(model=storage.restoring(arrays, on_all))
            restored = checkpointer.restore(folder, args=items)["model"]
    except (ValueError, KeyError, OSError) as error:
        raise UserError(f"--checkpoint={path}: {_unreadable(folder, error)}") from error
    return LoadedModel(description, graphdef, _filled(params, restored["params"]), _filled(rest, restored["rest"]))


def _unreadable(folder: epath.Path, error: Exception) -> str:
    reason = " ".join(str(error).split())[:300]
    return f"{folder}: cannot be restored; it is damaged, or of another network or optimiser ({reason})"


def _checkpoint_folder(given: str | os.PathLike) -> epath.Path:
    path = storage.place(given, "checkpoint")
    if _is_checkpoint(path):
        return path
    for folder in (path / FOLDER, path):
        if folder.is_dir() and any(_is_checkpoint(folder / str(step)) for step in storage.steps(folder)):
            best = storage.best_step(folder)
            return folder / str(storage.steps(folder)[-1] if best is None else best)
    found = "a folder without one" if path.is_dir() else "a file" if path.exists() else "nothing there"
    raise UserError(
        f"--checkpoint={given}: expected a training run's --workdir or one checkpoint's folder, found {found}"
    )


def _is_checkpoint(folder: epath.Path) -> bool:
    return (folder / "model").is_dir() and (folder / "description").is_dir()


def _model_arrays(params: nnx.State, rest: nnx.State) -> dict[str, Any]:
    """Nested dicts of arrays, named as in the model: a file format that outlives Flax's classes."""
    return {"params": nnx.to_pure_dict(params), "rest": nnx.to_pure_dict(rest)}


def _optimiser_arrays(state: TrainState) -> dict[str, Any]:
    arrays = {"step": state.step, "opt_state": jax.tree.leaves(state.opt_state)}
    if state.average is not None:  # which is the model that is used, beside the one that is trained
        arrays["params"] = nnx.to_pure_dict(state.params)
    return arrays


def _filled(like: nnx.State, pure: dict[str, Any]) -> nnx.State:
    state = jax.tree.map(lambda leaf: leaf, like)  # a copy: the values are replaced in place
    nnx.replace_by_pure_dict(state, pure)
    return state


def digest(state: TrainState) -> str:
    """SHA-256 of every parameter and statistic, names and values: equal for equal networks.

    Every process has to come here.
    """
    sha = hashlib.sha256()
    arrays = _model_arrays(state.params, state.rest)
    if state.average is not None:
        arrays["average"] = nnx.to_pure_dict(state.average)
    for path, leaf in jax.tree_util.tree_flatten_with_path(arrays)[0]:
        sha.update(jax.tree_util.keystr(path).encode())
        sha.update(np.ascontiguousarray(everywhere(leaf)).tobytes())
    return sha.hexdigest()
