"""Orbax's checkpoints, read: their places, their steps, what they say of themselves, their arrays."""

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
from etils import epath

from glintiqa_jax.data.paths import STORES, check_path, is_remote
from glintiqa_jax.errors import InputError

FOLDER = "checkpoints"
"""The folder of a run that holds its checkpoints, unless it is told another."""
ARRAYS = ("model", "state")  # items of arrays; the others are JSON
# What ranks below every figure that is defined: one that is not, of constant predictions, and none at all.
UNDEFINED, NOT_EVALUATED = -1e30, -2e30
_NOT_EVALUATED_0_1 = -3.0  # in version 0.1.0, whose figure was always SROCC


class _LiteralPath(type(epath.Path("/"))):  # type: ignore[misc]
    """A path of this machine whose own name is no pattern: Orbax globs ``checkpoints[1]/model`` for what to merge."""

    def glob(self, pattern: str) -> Iterator[epath.Path]:
        return super(_LiteralPath, type(self)(glob.escape(os.fspath(self)))).glob(pattern)


def _list_anew() -> None:
    """Let fsspec, through which etils opens object stores, list a folder each time.

    It keeps listings for ever: what another process writes would never be seen.
    """
    with contextlib.suppress(ImportError):  # which whoever opens the address will say
        import fsspec.config

        for scheme in STORES:
            fsspec.config.conf.setdefault(scheme, {})["use_listings_cache"] = False


def place(path: str | os.PathLike, field: str) -> epath.Path:
    """A path as Orbax can take it, absolute.

    Args:
      path: of this machine, or an object store's address.
      field: that it is from, for the error.

    Raises:
      InputError: for names that Orbax or TensorStore take for others, and an object store that cannot be reached.
    """
    check_path(field, path, stores=True)
    if not os.fspath(path):  # which would be the folder one is in
        raise InputError(field=field, expected="a path", found="nothing")
    found = epath.Path(path).expanduser()
    if is_remote(path):
        _list_anew()
        try:
            found.exists()
        except Exception as error:  # each object store's client has exceptions of its own
            reason = " ".join(str(error).split())[:300]
            raise InputError(f"cannot be reached ({reason})", field=field, value=path) from error
        return found
    text = str(Path(os.fspath(found)).absolute())
    for wrong, name in (("\\", "a backslash"), ("gs:/", "a folder that ends in 'gs:'")):
        if wrong in text:
            raise InputError(f"checkpoints cannot be kept below {name}, found {text}", field=field, value=path)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"checkpoints cannot be kept below a name that is not UTF-8, found {text!a}", field=field
        ) from error
    return _LiteralPath(text)


def steps(folder: epath.Path) -> list[int]:
    """The steps of all complete checkpoints in a folder, in order.

    Orbax says what is complete: on a disk it renames a folder last, in an object store it writes a marker last.
    """
    try:
        found = [path for path in folder.iterdir() if path.name.isdigit()]
    except FileNotFoundError:
        return []
    return sorted(int(path.name) for path in found if ocp.utils.is_checkpoint_finalized(path))


def best_step(folder: epath.Path) -> int | None:
    """The step with the best figure, of equal ones the last, as Orbax takes it; None where none has one."""
    found = {step: _figure(read_json(folder / str(step), "metrics")) for step in steps(folder)}
    evaluated = {step: figure for step, figure in found.items() if figure is not None}
    return max(evaluated, key=lambda step: (evaluated[step], step), default=None)


def _figure(content: dict[str, Any] | None) -> float | None:
    if not content:
        return None
    if "srocc" in content:  # version 0.1.0
        return content["srocc"] if content["srocc"] > _NOT_EVALUATED_0_1 else None
    return content["figure"] if content["figure"] > NOT_EVALUATED else None


def read_json(checkpoint: epath.Path, item: str) -> dict[str, Any] | None:
    """A JSON item of a checkpoint, read by this process alone; None where it is not there or cannot be read."""
    if not (checkpoint / item).exists():
        return None
    try:
        with checkpointer(alone=True) as reader:
            return reader.restore(checkpoint, args=ocp.args.Composite(**{item: ocp.args.JsonRestore()}))[item]
    except (ValueError, KeyError, TypeError, OSError):
        return None


def read_arrays(checkpoint: epath.Path, item: str) -> Any:
    """An item's nested dicts of arrays, on the host, read by this process alone, whatever wrote them."""
    with checkpointer(alone=True) as reader:
        tree = reader.metadata(checkpoint).item_metadata[item].tree
        restore_args = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), tree)
        restore = ocp.args.PyTreeRestore(restore_args=restore_args)
        return reader.restore(checkpoint, args=ocp.args.Composite(**{item: restore}))[item]


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
        **{name: array_handler(**options) for name in ARRAYS},
        description=ocp.JsonCheckpointHandler(**options),
        metrics=ocp.JsonCheckpointHandler(filename="metrics", **options),
    )
    return ocp.Checkpointer(handler, **options)


def array_handler(**options: Any) -> ocp.PyTreeCheckpointHandler:
    """Of nested arrays, by one replica.

    Orbax spreads the writing of replicated arrays over the replicas, and compiles a slice per array and replica for it:
    a minute for a network of small arrays on eight devices. One replica writes them faster.
    """
    by_one = ocp.type_handlers.ArrayHandler(use_replica_parallel=False)
    registry = ocp.type_handlers.create_type_handler_registry(
        (jax.Array, by_one), (np.ndarray, ocp.type_handlers.NumpyHandler())
    )
    return ocp.PyTreeCheckpointHandler(type_handler_registry=registry, **options)


def unreadable(error: Exception) -> str:
    """Why a checkpoint cannot be restored."""
    reason = " ".join(str(error).split())[:300]
    return f"cannot be restored; it is damaged, or of another network or optimiser ({reason})"
