"""A network as a function of crops, compiled: the one way in which scoring, evaluation and training predict."""

from __future__ import annotations

import jax
from flax import nnx
from jax.sharding import Mesh

from glintiqa_jax import compilation
from glintiqa_jax.models.ops import few_at_a_time
from glintiqa_jax.sharding import batch_sharding, replicated


class Predict:
    """``predict(crops, *states)``: uint8 ``(images, crops, height, width, 3)`` to float32 ``(images, crops)``.

    The states are those of ``nnx.split``, which ``nnx.merge`` makes a model of. What comes out is what the network was
    trained on: quality in [0, 1], higher is better, or the raw score.

    Args:
      graphdef: the network's definition.
      mesh: the devices, over which images are spread.

    Attributes:
      jitted: the same of crops and a tuple of the states, by ``jax.jit``.
    """

    def __init__(self, graphdef: nnx.GraphDef, mesh: Mesh):
        def predict(crops: jax.Array, states: tuple[nnx.State, ...]) -> jax.Array:
            # (images, crops, height, width, 3) -> (images * crops, height, width, 3) and back
            flat = crops.reshape(-1, *crops.shape[2:])
            network = nnx.merge(graphdef, *states)
            return (few_at_a_time(network, flat) if one_cpu else network(flat)).reshape(crops.shape[:2])

        self.mesh = mesh
        one_cpu = mesh.size == 1 and compilation.platform_of(mesh) == "cpu"
        self.jitted = compilation.jit(
            predict,
            mesh,
            forward_only=True,
            in_shardings=(batch_sharding(mesh), None),
            out_shardings=replicated(mesh),
        )

    def __call__(self, crops: jax.typing.ArrayLike, *states: nnx.State) -> jax.Array:
        return self.jitted(crops, states)
