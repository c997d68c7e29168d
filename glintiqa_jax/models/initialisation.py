"""New parameters, drawn on the host.

A parameter's values are a function of the seed and of its name alone: the same for every device, mesh and backend,
whatever other parts the network has, and without a compilation (jitted, the draws of a small network take XLA 10 s).
"""

from __future__ import annotations

import math
import zlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx


def initial_state(abstract: nnx.State, *, seed: int, identity_start: bool = False) -> nnx.State:
    """Values for every variable of an abstract state, as ``nnx.eval_shape`` gives it.

    Convolutions of the CNN branch have He's deviation, every other weight LeCun's, the ViT's tokens 0.02.

    Args:
      abstract: parameters and batch statistics without values.
      seed: 0 or more.
      identity_start: integration starts by passing the local feature on. CWSA's norms start at scale 0, and SIEM with
        the second d channels passed on, next to a tenth of the usual weights.
    """
    flat = [
        (path, variable.replace(_initial(path, variable.shape, seed, identity_start)))
        for path, variable in nnx.to_flat_state(abstract)
    ]
    return nnx.from_flat_state(flat)


def _initial(path: tuple[Any, ...], shape: tuple[int, ...], seed: int, identity_start: bool) -> jax.Array:
    name = ".".join(map(str, path))
    if path[-1] in ("bias", "mean"):
        return jnp.asarray(np.zeros(shape, np.float32))
    if path[-1] in ("scale", "var"):
        zero = identity_start and path[-3:] == ("cwsa", "norm", "scale")
        return jnp.asarray(np.full(shape, 0.0 if zero else 1.0, np.float32))
    values = np.random.default_rng([seed, zlib.crc32(name.encode())]).standard_normal(shape, np.float32)
    values *= np.float32(_deviation(path, shape))
    if identity_start and "siem" in path:
        values *= np.float32(0.1)  # (3, 3, 2 d, d), or (2 d, d) where a linear layer stands in for it
        width = shape[-1]
        centre = values[1, 1] if values.ndim == 4 else values
        centre[width:] += np.eye(width, dtype=np.float32)
    return jnp.asarray(values)


def _deviation(path: tuple[Any, ...], shape: tuple[int, ...]) -> float:
    if path[-1] in ("cls_token", "pos_embed"):
        return 0.02
    if path[0] == "clfe" and path[-2] != "fc":
        depthwise = len(shape) == 4 and shape[2] == 1
        return math.sqrt(2.0 / (math.prod(shape[:-2]) * (1 if depthwise else shape[-1])))  # by what it is spread over
    return math.sqrt(1.0 / math.prod(shape[:-1]))  # by what a value is a sum of
