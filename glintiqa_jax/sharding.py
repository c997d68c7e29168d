"""One mesh ("data", "fsdp") from a laptop to a pod, and the rule that lays arrays on it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from glintiqa_jax import compilation
from glintiqa_jax.errors import InputError

AXES = ("data", "fsdp")
SMALLEST_SHARDED = 2**14  # elements; smaller parameters are replicated, the transfers would cost more


def make_mesh(data: int = 0, fsdp: int = 1, *, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """The mesh over the devices, all of them by default; ``data=0`` takes what ``fsdp`` leaves.

    Raises:
      InputError: when the two sizes do not use every device exactly once.
    """
    devices = jax.devices() if devices is None else devices
    count = len(devices)
    data = data or count // fsdp
    if data * fsdp != count:
        raise InputError(
            field="mesh_data",
            expected=f"sizes whose product, with `mesh_fsdp`, is the {count} devices",
            found=f"{data} x {fsdp}",
        )
    return jax.make_mesh((data, fsdp), AXES, axis_types=(AxisType.Auto, AxisType.Auto), devices=devices)


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """A batch is spread over every device along its first axis."""
    return NamedSharding(mesh, PartitionSpec(AXES))


def replicated(mesh: Mesh) -> NamedSharding:
    """The whole array on every device."""
    return NamedSharding(mesh, PartitionSpec())


def state_sharding(mesh: Mesh, state: Any) -> Any:
    """Shardings for a pytree of arrays or shapes: large arrays along their longest axis that "fsdp" divides."""
    size = mesh.shape["fsdp"]

    def rule(leaf: Any) -> NamedSharding:
        shape = np.shape(leaf)
        axes = [axis for axis, length in enumerate(shape) if length % size == 0]
        if size == 1 or not axes or np.prod(shape) < SMALLEST_SHARDED:
            return replicated(mesh)
        longest = max(axes, key=lambda axis: shape[axis])
        return NamedSharding(mesh, PartitionSpec(*(None,) * longest, "fsdp"))

    return jax.tree.map(rule, state)


def place(arrays: Any, shardings: Any) -> Any:
    """Arrays that every process has whole, in their shards: no device gets more of one than its own part.

    The results share no memory with ``arrays``: a training step donates them.
    """

    def placed(array: Any, sharding: NamedSharding) -> jax.Array:
        host = np.asarray(array)
        return jax.make_array_from_callback(host.shape, sharding, lambda index: np.array(host[index]))

    return jax.tree.map(placed, arrays, shardings)


def share(mesh: Mesh) -> tuple[tuple[int, ...], int]:
    """Which of how many equal parts of a batch this process has to give: what its devices hold, in their order.

    The order of a mesh is the hardware's: on a torus it need not be that of the processes, nor a process's devices be
    side by side. A crop has its row all the same, and by its row its dropout.
    """
    owners = [device.process_index for device in mesh.devices.flat]
    each = len(owners) // len(set(owners))
    blocks = [owners[start : start + each] for start in range(0, len(owners), each)]
    if all(len(set(block)) == 1 for block in blocks):
        owners = [block[0] for block in blocks]
    return tuple(place for place, owner in enumerate(owners) if owner == jax.process_index()), len(owners)


def global_batch(batch: Any, mesh: Mesh) -> Any:
    """What each process has of a batch, along the first axis, as arrays over all processes."""
    sharding = batch_sharding(mesh)
    return jax.tree.map(lambda part: jax.make_array_from_process_local_data(sharding, part), batch)


def everywhere(array: Any) -> np.ndarray:
    """The whole of an array, on the host of every process; all of them must call this."""
    if isinstance(array, jax.Array) and not (array.is_fully_addressable or array.is_fully_replicated):
        assert isinstance(array.sharding, NamedSharding)  # all of ours are
        assert isinstance(array.sharding.mesh, Mesh)
        array = _gather(array.sharding.mesh)(array)
    return np.asarray(array)


@functools.cache
def _gather(mesh: Mesh) -> Callable[[jax.Array], jax.Array]:
    return compilation.jit(lambda x: x, mesh, out_shardings=replicated(mesh))


def describe_sharding(state: Any, shardings: Any) -> str:
    """A table of every array of a pytree: name, shape, dtype, how it is laid out, bytes on each device."""
    rows = [("array", "shape", "dtype", "layout", "bytes per device")]
    total = 0
    for (path, leaf), sharding in zip(
        jax.tree_util.tree_leaves_with_path(state), jax.tree.leaves(shardings), strict=True
    ):
        each = int(np.prod(sharding.shard_shape(leaf.shape))) * leaf.dtype.itemsize
        total += each
        layout = " x ".join(str(axis or "whole") for axis in sharding.spec) or "replicated"
        name = jax.tree_util.keystr(path, simple=True, separator=".")
        rows.append((name, str(leaf.shape), str(leaf.dtype), layout, f"{each:,}"))
    rows.append(("all", "", "", "", f"{total:,}"))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return "\n".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(row[:4], widths, strict=True)), row[4].rjust(16)])
        for row in rows
    )


def describe_step(params: Any, shardings: Any, mesh: Mesh, batch: int) -> str:
    """Bytes of a training step on each device, beside its state and its activations.

    What a device sends is counted for rings: of a replicated parameter's gradient a sum over all devices, twice
    (n - 1) / n of it; a sharded parameter is gathered twice and its gradient scattered along "fsdp", and the shards
    are summed along "data".

    Args:
      params: the trained parameters, arrays or shapes.
      shardings: theirs.
      mesh: the devices.
      batch: bytes of a batch over all of them.
    """
    data, fsdp = (mesh.shape[name] for name in AXES)
    gradients, sent = 0, 0.0
    for leaf, sharding in zip(jax.tree.leaves(params), jax.tree.leaves(shardings), strict=True):
        whole = leaf.size * leaf.dtype.itemsize
        each = int(np.prod(sharding.shard_shape(leaf.shape))) * leaf.dtype.itemsize
        gradients += each
        parts = fsdp if each < whole else 1
        among = data if parts > 1 else data * fsdp
        sent += 3 * whole * (parts - 1) / parts + 2 * each * (among - 1) / among
    rows = (("gradients", gradients), ("images", batch // mesh.size), ("sent a step", round(sent)))
    return "\n".join(f"{name:<12}{size:>16,} bytes per device" for name, size in rows)


def check_divides(field: str, size: int, mesh: Mesh, *, parts: int = 1) -> None:
    """``InputError`` naming a field when a batch, in so many parts, does not divide over the mesh's devices."""
    if size % (mesh.size * parts):
        times = f" times `accumulate={parts}`" if parts > 1 else ""
        fits = -(-size // (mesh.size * parts)) * mesh.size * parts
        hint = f"the next is `{field}={fits}`"
        raise InputError(field=field, expected=f"a multiple of the {mesh.size} devices{times}", found=size, hint=hint)
