"""Orbax, writing: the manager of a run's checkpoints, and proof that what is written comes back."""

from __future__ import annotations

import secrets
import time
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath
from orbax.checkpoint import checkpoint_managers

from glintiqa_jax.errors import InputError
from glintiqa_jax.scoring.storage import ARRAYS, array_handler, checkpointer
from glintiqa_jax.sharding import everywhere, replicated
from glintiqa_jax.training import processes

_PROBE = "written_to_try"
_UNTIL_SEEN = 10  # seconds after which a file that another machine has written is there on any shared file system


def manager(folder: epath.Path, timeout: float = 0) -> ocp.CheckpointManager:
    """Keeps the latest two checkpoints and the best; removes incomplete ones of a killed run.

    Args:
      folder: where they are.
      timeout: seconds that a process waits for the others' parts of a save; 0 for Orbax' own 20 minutes.
    """
    registry = ocp.handlers.DefaultCheckpointHandlerRegistry()
    for name in ARRAYS:
        handler = array_handler()
        registry.add(name, ocp.args.PyTreeSave, handler)
        registry.add(name, ocp.args.PyTreeRestore, handler)
    best = checkpoint_managers.BestN(
        get_metric_fn=lambda metrics: metrics["figure"], n=1, keep_checkpoints_without_metrics=False
    )
    options = ocp.CheckpointManagerOptions(
        preservation_policy=checkpoint_managers.AnyPreservationPolicy([checkpoint_managers.LatestN(2), best]),
        best_fn=lambda metrics: metrics["figure"],
        best_mode="max",
        cleanup_tmp_directories=True,
        async_options=ocp.AsyncOptions(timeout_secs=int(timeout)) if timeout else None,
    )
    return ocp.CheckpointManager(folder, options=options, handler_registry=registry)


def restoring(abstract: Any, sharding: Any) -> ocp.args.PyTreeRestore:
    """The same arrays, to be read in the given shardings."""
    target = jax.tree.map(
        lambda leaf, shard: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=shard), abstract, sharding
    )
    return ocp.args.PyTreeRestore(target, restore_args=ocp.checkpoint_utils.construct_restore_args(target))


def check_shared(folder: epath.Path) -> None:
    """``InputError`` unless all processes see one folder. Every process must call this."""
    if jax.process_count() == 1:
        return

    def write() -> str:
        folder.mkdir(parents=True, exist_ok=True)
        name = f"{_PROBE}_{secrets.token_hex(4)}"  # a new one, of which no file system has kept that it is not there
        (folder / name).write_text("process 0")
        return name

    token = folder / processes.by_the_first(write)
    seen = processes.gather(_appears(token))
    processes.by_the_first(lambda: token.unlink())
    if not all(seen):
        raise InputError(
            field="checkpoint_dir",
            expected="a folder that all processes see",
            found=f"{folder}, in which process {seen.index(False)} does not see what process 0 has written",
        )


def _appears(token: epath.Path) -> bool:
    for _ in range(_UNTIL_SEEN):
        if token.exists():
            return True
        time.sleep(1)
    return False


def check_storage(folder: epath.Path) -> None:
    """Write a small checkpoint into a folder, read it and remove it. Every process must call this.

    Raises:
      InputError: it is not read back as it was; this is known before any long work.
    """
    written = folder / _PROBE
    numbers = np.arange(7.0, dtype=np.float32)
    on_all = replicated(jax.sharding.Mesh(np.array(jax.devices()), ("devices",)))
    tried = {"probe": jax.make_array_from_callback(numbers.shape, on_all, lambda index: numbers[index])}
    try:
        processes.by_the_first(lambda: folder.mkdir(parents=True, exist_ok=True))
        with checkpointer() as both:
            both.save(written, args=ocp.args.Composite(model=ocp.args.PyTreeSave(tried)), force=True)
            items = ocp.args.Composite(model=restoring(tried, {"probe": on_all}))
            read = both.restore(written, args=items)["model"]
        if not np.array_equal(everywhere(read["probe"]), numbers):
            raise ValueError("other numbers came back")
        processes.by_the_first(lambda: written.rmtree())
    except Exception as error:  # of TensorStore, of an object store's client, of the disk
        if processes.says_lost(error):
            raise
        reason = " ".join(str(error).split())[:300]
        raise InputError(f"a checkpoint that is written there cannot be read back ({reason})", file=folder) from error


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
