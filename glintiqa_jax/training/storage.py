"""Orbax as checkpoints use it: paths taken literally, one replica writing, nothing replaced in Orbax itself."""

from __future__ import annotations

import contextlib
import glob
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from absl import logging
from etils import epath
from orbax.checkpoint import checkpoint_managers

from glintiqa_jax.data.paths import check_path, is_remote
from glintiqa_jax.errors import UserError
from glintiqa_jax.sharding import everywhere, replicated
from glintiqa_jax.training import processes

_ARRAYS = ("model", "optimiser")  # items of arrays; the others are JSON
_PROBE = "written_to_try"
# What rank below every SROCC that is defined: one that is not, of constant predictions, and none at all.
UNDEFINED, NOT_EVALUATED = -2.0, -3.0


class _LiteralPath(type(epath.Path("/"))):  # type: ignore[misc]
    """A path of this machine whose own name is no pattern: Orbax globs ``checkpoints[1]/model`` for what to merge."""

    def glob(self, pattern: str) -> Iterator[epath.Path]:
        return super(_LiteralPath, type(self)(glob.escape(os.fspath(self)))).glob(pattern)


def place(path: str | os.PathLike, where: str) -> epath.Path:
    """A path as Orbax can take it, absolute.

    Args:
      path: of this machine, or an object store's address.
      where: the flag that it is from, for the error.

    Raises:
      UserError: for names that Orbax or TensorStore take for others, and an object store that cannot be reached.
    """
    check_path(where, path, stores=True)
    if not os.fspath(path):  # which would be the folder one is in
        raise UserError(f"--{where}: expected a path, found nothing")
    found = epath.Path(path).expanduser()
    if is_remote(path):
        try:
            found.exists()
        except Exception as error:  # each object store's client has exceptions of its own
            raise UserError(f"--{where}={path}: cannot be reached ({' '.join(str(error).split())[:300]})") from error
        return found
    text = str(Path(os.fspath(found)).absolute())
    for wrong, name in (("\\", "a backslash"), ("gs:/", "a folder that ends in 'gs:'")):
        if wrong in text:
            raise UserError(f"--{where}={path}: checkpoints cannot be kept below {name}, found {text}")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise UserError(f"--{where}={text!a}: checkpoints cannot be kept below a name that is not UTF-8") from error
    return _LiteralPath(text)


def manager(folder: epath.Path) -> ocp.CheckpointManager:
    """Keeps the latest two checkpoints and the best; clears away what a killed run left unfinished."""
    registry = ocp.handlers.DefaultCheckpointHandlerRegistry()
    for name in _ARRAYS:
        handler = _array_handler()
        registry.add(name, ocp.args.PyTreeSave, handler)
        registry.add(name, ocp.args.PyTreeRestore, handler)
    best = checkpoint_managers.BestN(
        get_metric_fn=lambda metrics: metrics["srocc"], n=1, keep_checkpoints_without_metrics=False
    )
    options = ocp.CheckpointManagerOptions(
        preservation_policy=checkpoint_managers.AnyPreservationPolicy([checkpoint_managers.LatestN(2), best]),
        best_fn=lambda metrics: metrics["srocc"],
        best_mode="max",
        cleanup_tmp_directories=True,
    )
    return ocp.CheckpointManager(folder, options=options, handler_registry=registry)


def checkpointer(*, alone: bool = False) -> ocp.Checkpointer:
    """Writes or reads one checkpoint; ``alone`` without waiting for the other processes of a run."""
    options = {}
    if alone:
        options["multiprocessing_options"] = ocp.options.MultiprocessingOptions(
            primary_host=jax.process_index(),
            active_processes={jax.process_index()},
            barrier_sync_key_prefix=f"alone_{jax.process_index()}",
        )
    handler = ocp.CompositeCheckpointHandler(
        **{name: _array_handler(**options) for name in _ARRAYS},
        description=ocp.JsonCheckpointHandler(**options),
        metrics=ocp.JsonCheckpointHandler(filename="metrics", **options),
    )
    return ocp.Checkpointer(handler, **options)


def _array_handler(**options: Any) -> ocp.PyTreeCheckpointHandler:
    # Orbax spreads the writing of replicated arrays over the replicas, and compiles a slice per array and replica for
    # it: a minute for a network of small arrays on eight devices. One replica writes them faster.
    by_one = ocp.type_handlers.ArrayHandler(use_replica_parallel=False)
    registry = ocp.type_handlers.create_type_handler_registry(
        (jax.Array, by_one), (np.ndarray, ocp.type_handlers.NumpyHandler())
    )
    return ocp.PyTreeCheckpointHandler(type_handler_registry=registry, **options)


def saving(arrays: Any) -> ocp.args.PyTreeSave:
    """Nested dicts and lists of arrays, to be written."""
    return ocp.args.PyTreeSave(arrays)


def restoring(abstract: Any, sharding: Any) -> ocp.args.PyTreeRestore:
    """The same arrays, to be read in the given shardings."""
    target = jax.tree.map(
        lambda leaf, shard: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=shard), abstract, sharding
    )
    return ocp.args.PyTreeRestore(target, restore_args=ocp.checkpoint_utils.construct_restore_args(target))


def read_json(checkpoint: epath.Path, item: str) -> dict[str, Any] | None:
    """A JSON item of a checkpoint, read by this process alone; None where it is not there or cannot be read."""
    if not (checkpoint / item).exists():
        return None
    try:
        with checkpointer(alone=True) as reader:
            return reader.restore(checkpoint, args=ocp.args.Composite(**{item: ocp.args.JsonRestore()}))[item]
    except (ValueError, KeyError, TypeError, OSError):
        return None


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """Orbax logs the traceback of a save that failed, and raises it: said once, by who catches it."""
    level = logging.get_verbosity()
    logging.set_verbosity(logging.FATAL)
    try:
        yield
    finally:
        logging.set_verbosity(level)


def steps(folder: epath.Path) -> list[int]:
    """The steps of all complete checkpoints in a folder, in order."""
    if not folder.exists():
        return []
    return sorted(int(path.name) for path in folder.iterdir() if path.name.isdigit())


def best_step(folder: epath.Path) -> int | None:
    """The step with the best validation SROCC, of equal ones the last, as Orbax takes it; None where none has one."""
    said = {step: read_json(folder / str(step), "metrics") for step in steps(folder)}
    found = {step: content["srocc"] for step, content in said.items() if content}
    evaluated = [step for step in found if found[step] > NOT_EVALUATED]
    return max(evaluated, key=lambda step: (found[step], step), default=None)


def check_storage(folder: epath.Path, where: str) -> None:
    """Write a small checkpoint into a folder, read it and remove it. Every process has to come here.

    Raises:
      UserError: where it does not come back, before anything long is done whose checkpoints would not either.
    """
    written = folder / _PROBE
    numbers = np.arange(7.0, dtype=np.float32)
    on_all = replicated(jax.sharding.Mesh(np.array(jax.devices()), ("devices",)))
    tried = {"probe": jax.make_array_from_callback(numbers.shape, on_all, lambda index: numbers[index])}
    try:
        processes.by_the_first(lambda: folder.mkdir(parents=True, exist_ok=True))
        with checkpointer() as both:
            both.save(written, args=ocp.args.Composite(model=saving(tried)), force=True)
            items = ocp.args.Composite(model=restoring(tried, {"probe": on_all}))
            read = both.restore(written, args=items)["model"]
        if not np.array_equal(everywhere(read["probe"]), numbers):
            raise ValueError("other numbers came back")
        processes.by_the_first(lambda: written.rmtree())
    except Exception as error:  # of TensorStore, of an object store's client, of the disk
        reason = " ".join(str(error).split())[:300]
        raise UserError(f"{where}: a checkpoint that is written to {folder} cannot be read back ({reason})") from error


def same_arrays(checkpoint: epath.Path, **items: Any) -> bool:
    """Whether a checkpoint holds exactly these arrays: each process reads it alone and compares the shards it has."""
    on_host = ocp.RestoreArgs(restore_type=np.ndarray)
    with checkpointer(alone=True) as reader:
        for name, arrays in items.items():
            restore = ocp.args.PyTreeRestore(arrays, restore_args=jax.tree.map(lambda _: on_host, arrays))
            read = reader.restore(checkpoint, args=ocp.args.Composite(**{name: restore}))[name]
            if not all(map(_same, jax.tree.leaves(arrays), jax.tree.leaves(read))):
                return False
    return True


def _same(array: jax.Array, read: np.ndarray) -> bool:
    read = np.asarray(read)
    return read.dtype == array.dtype and all(
        np.asarray(shard.data).tobytes() == np.ascontiguousarray(read[shard.index]).tobytes()
        for shard in array.addressable_shards
    )
