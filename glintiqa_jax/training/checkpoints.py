"""Checkpoints by Orbax: state, data iterator, best-so-far and configuration as one unit.

Restart order, all in ``CheckpointStore.restore``: the latest complete checkpoint gives step, parameters, statistics and
optimiser state, then the Grain iterator is set to the position saved with them. Dropout keys are a function of the
seed and the step, so that nothing else has to come back.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
import os
from pathlib import Path
from typing import Any

import grain
import jax
import numpy as np
import orbax.checkpoint as ocp
from absl import logging
from flax import nnx
from orbax.checkpoint import checkpoint_managers

from glintiqa_jax.data.catalog import ScoreScale
from glintiqa_jax.errors import UserError
from glintiqa_jax.models.glintiqa import GlintIQA, abstract_model, split_model
from glintiqa_jax.sharding import replicated
from glintiqa_jax.training import config as config_module
from glintiqa_jax.training.config import TrainConfig
from glintiqa_jax.training.step import TrainState

FOLDER = "checkpoints"
IMPORTED = "imported"  # the data fingerprint of weights that were trained elsewhere
# Orbax spreads the writing of replicated arrays over the replicas, and compiles a slice per array and replica for it:
# a minute for a network of small arrays on eight devices. One replica writes them faster.
_verbosity = logging.get_verbosity()
logging.set_verbosity(logging.ERROR)  # it warns of being overridden
ocp.type_handlers.register_type_handler(
    jax.Array, ocp.type_handlers.ArrayHandler(use_replica_parallel=False), override=True
)
logging.set_verbosity(_verbosity)
_UNDEFINED = -2.0  # ranks an undefined SROCC (constant predictions) below every defined one


@dataclasses.dataclass(frozen=True)
class Description:
    """What a checkpoint says of itself.

    Attributes:
      config: how it was trained.
      scale: what its scores mean.
      data_fingerprint: of the records it was trained on.
      split_sha256: of who trained and who was tested.
      max_side: the longer side that its images were shrunk to when they were prepared; 0 where they were not.
    """

    config: TrainConfig
    scale: ScoreScale
    data_fingerprint: str
    split_sha256: str = ""
    max_side: int = 0

    def to_json(self) -> dict[str, Any]:
        return {
            "config": config_module.to_json(self.config),
            "scale": dataclasses.asdict(self.scale),
            "data_fingerprint": self.data_fingerprint,
            "split_sha256": self.split_sha256,
            "max_side": self.max_side,
        }

    @staticmethod
    def from_json(content: dict[str, Any]) -> Description:
        return Description(
            config=config_module.from_json(content["config"]),
            scale=ScoreScale(**content["scale"]),
            data_fingerprint=content["data_fingerprint"],
            split_sha256=content["split_sha256"],
            max_side=content["max_side"],
        )


class CheckpointStore:
    """The checkpoints of one training run: the latest, to go on from, and the best on validation, to use."""

    def __init__(self, workdir: str | os.PathLike, description: Description):
        self._description = description
        self._manager = ocp.CheckpointManager(Path(workdir).absolute() / FOLDER, options=_manager_options())

    def latest_step(self) -> int | None:
        return self._manager.latest_step()

    def best_step(self) -> int | None:
        """The step with the best validation SROCC."""
        return self._manager.best_step()

    def save(self, state: TrainState, iterator: grain.DatasetIterator, validation: dict[str, float] | None) -> None:
        """Save in the background; ``validation`` holds the metrics when this step was evaluated."""
        metrics = None
        if validation is not None:
            srocc = validation["srocc"]
            metrics = {"srocc": _UNDEFINED if math.isnan(srocc) else srocc}
        self._manager.save(
            int(state.step),
            args=ocp.args.Composite(
                model=ocp.args.StandardSave(_model_arrays(state.params, state.rest)),
                optimiser=ocp.args.StandardSave(_optimiser_arrays(state)),
                data=grain.checkpoint.CheckpointSave(iterator),
                description=ocp.args.JsonSave(self._description.to_json()),
            ),
            metrics=metrics,
            force=True,
        )

    def restore(
        self, abstract: TrainState, sharding: TrainState, iterator: grain.DatasetIterator | None, *, step: int
    ) -> TrainState:
        """A saved state in the given shardings; the iterator, where given, is moved to where it was."""
        items: dict[str, Any] = {
            "model": _target(
                _model_arrays(abstract.params, abstract.rest), _model_arrays(sharding.params, sharding.rest)
            ),
            "optimiser": _target(_optimiser_arrays(abstract), _optimiser_arrays(sharding)),
        }
        if iterator is not None:
            items["data"] = grain.checkpoint.CheckpointRestore(iterator)
        restored = self._manager.restore(step, args=ocp.args.Composite(**items))
        opt_state = jax.tree.unflatten(jax.tree.structure(abstract.opt_state), restored["optimiser"]["opt_state"])
        return TrainState(
            restored["optimiser"]["step"],
            _filled(abstract.params, restored["model"]["params"]),
            _filled(abstract.rest, restored["model"]["rest"]),
            opt_state,
        )

    def wait(self) -> None:
        """Until everything saved is on disk."""
        self._manager.wait_until_finished()

    def close(self) -> None:
        self.wait()
        self._manager.close()


def save_model(folder: str | os.PathLike, model: GlintIQA, description: Description) -> None:
    """Write a network as a checkpoint by itself, which ``load_model`` reads but no training run goes on from."""
    _, params, rest = split_model(model)
    items = {
        "model": ocp.args.StandardSave(_model_arrays(params, rest)),
        "description": ocp.args.JsonSave(description.to_json()),
    }
    with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as checkpointer:
        checkpointer.save(Path(folder).absolute(), args=ocp.args.Composite(**items))


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
    folder = _checkpoint_folder(Path(path).expanduser())
    with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as checkpointer:
        content = checkpointer.restore(folder.absolute(), args=ocp.args.Composite(description=ocp.args.JsonRestore()))[
            "description"
        ]
        description = Description.from_json(content)
        graphdef, params, rest = split_model(abstract_model(description.config.model))
        arrays = _model_arrays(params, rest)
        everywhere = jax.tree.map(lambda _: replicated(mesh), arrays)
        restored = checkpointer.restore(folder.absolute(), args=ocp.args.Composite(model=_target(arrays, everywhere)))[
            "model"
        ]
    return LoadedModel(description, graphdef, _filled(params, restored["params"]), _filled(rest, restored["rest"]))


def _checkpoint_folder(path: Path) -> Path:
    if _is_checkpoint(path):
        return path
    steps = [path / FOLDER, path]
    for folder in steps:
        if folder.is_dir() and any(_is_checkpoint(child) for child in folder.iterdir()):
            with ocp.CheckpointManager(folder.absolute(), options=_manager_options(create=False)) as manager:
                step = manager.best_step() or manager.latest_step()
            return folder / str(step)
    found = "a folder without one" if path.is_dir() else "a file" if path.exists() else "nothing there"
    raise UserError(
        f"--checkpoint={path}: expected a training run's --workdir or one checkpoint's folder, found {found}"
    )


def _is_checkpoint(folder: Path) -> bool:
    return (folder / "model").is_dir() and (folder / "description").is_dir()


def _manager_options(**options: Any) -> ocp.CheckpointManagerOptions:
    best = checkpoint_managers.BestN(
        get_metric_fn=lambda metrics: metrics["srocc"], n=1, keep_checkpoints_without_metrics=False
    )
    return ocp.CheckpointManagerOptions(
        preservation_policy=checkpoint_managers.AnyPreservationPolicy([checkpoint_managers.LatestN(1), best]),
        best_fn=lambda metrics: metrics["srocc"],
        best_mode="max",
        **options,
    )


def _model_arrays(params: nnx.State, rest: nnx.State) -> dict[str, Any]:
    """Nested dicts of arrays, named as in the model: a file format that outlives Flax's classes."""
    return {"params": nnx.to_pure_dict(params), "rest": nnx.to_pure_dict(rest)}


def _optimiser_arrays(state: TrainState) -> dict[str, Any]:
    return {"step": state.step, "opt_state": jax.tree.leaves(state.opt_state)}


def _target(abstract: Any, sharding: Any) -> ocp.args.StandardRestore:
    return ocp.args.StandardRestore(
        jax.tree.map(
            lambda leaf, shard: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=shard),
            abstract,
            sharding,
        )
    )


def _filled(like: nnx.State, pure: dict[str, Any]) -> nnx.State:
    state = jax.tree.map(lambda leaf: leaf, like)  # a copy: the values are replaced in place
    nnx.replace_by_pure_dict(state, pure)
    return state


def digest(state: TrainState) -> str:
    """SHA-256 of every parameter and statistic, names and values: equal for equal networks."""
    sha = hashlib.sha256()
    flat = jax.tree_util.tree_flatten_with_path(_model_arrays(state.params, state.rest))[0]
    for path, leaf in flat:
        sha.update(jax.tree_util.keystr(path).encode())
        sha.update(np.ascontiguousarray(jax.device_get(leaf)).tobytes())
    return sha.hexdigest()
