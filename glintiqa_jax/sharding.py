"""One mesh ("data", "fsdp") from a laptop to a pod, and the rule that lays arrays on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from glintiqa_jax.errors import UserError

AXES = ("data", "fsdp")
SMALLEST_SHARDED = 2**14  # elements; smaller parameters are replicated, the transfers would cost more


def make_mesh(data: int = 0, fsdp: int = 1, *, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """The mesh over the devices, all of them by default; ``data=0`` takes what ``fsdp`` leaves.

    Raises:
      UserError: when the two sizes do not use every device exactly once.
    """
    devices = jax.devices() if devices is None else devices
    count = len(devices)
    data = data or count // fsdp
    if data * fsdp != count:
        raise UserError(
            f"--mesh_data, --mesh_fsdp: expected sizes whose product is the {count} devices, found {data} x {fsdp}"
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


def check_divides(flag: str, size: int, mesh: Mesh) -> None:
    """Raise ``UserError`` naming the flag when a batch does not divide over the mesh's devices."""
    if size % mesh.size:
        raise UserError(f"--{flag}: expected a multiple of the {mesh.size} devices, found {size}")
