"""How a network is computed, not what it is: precision, and what is kept for the backward pass."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx


class LayerNorm(nnx.LayerNorm):
    """Layer normalisation that is computed in float32, whatever comes in and goes out."""

    def __init__(self, features: int, *, epsilon: float, rngs: nnx.Rngs):
        super().__init__(features, epsilon=epsilon, use_fast_variance=False, rngs=rngs)

    def __call__(self, x: jax.Array, *, mask: jax.Array | None = None) -> jax.Array:
        return super().__call__(x.astype(jnp.float32), mask=mask).astype(x.dtype)


class Recomputable(nnx.Module):
    """A block whose inner values may be computed again for its gradient rather than kept; see ``recompute_blocks``."""

    recomputed = False

    def apply(self, *inputs: jax.Array, rngs: nnx.Rngs | None = None, **options: Any) -> Any:
        """What calling the block gives, and with ``recompute_blocks`` by keeping less for the gradient.

        Args:
          inputs: the block's arrays.
          rngs: passed on where given.
          options: the block's other keywords, which are not arrays.
        """

        def call(block: Recomputable, rngs: nnx.Rngs | None, *inputs: jax.Array) -> Any:
            return block(*inputs, **options, **({} if rngs is None else {"rngs": rngs}))

        return (nnx.remat(call) if self.recomputed else call)(self, rngs, *inputs)


def recompute_blocks(model: nnx.Module) -> None:
    """Rematerialisation, in place: of all blocks only what goes in is kept for the gradient, and the rest made again.

    For GPUs and TPUs: XLA's CPU backend merges about half of it back, and saves no memory by the rest.
    """
    for _, module in nnx.iter_modules(model):
        if isinstance(module, Recomputable):
            module.recomputed = True


def compute_in(model: nnx.Module, dtype: jax.typing.DTypeLike) -> None:
    """Let a model's linear layers and convolutions compute in a dtype, in place; parameters keep theirs.

    Norms, softmax, means over many values and the whole head, which gives the scores, stay in float32.
    """
    for path, module in nnx.iter_modules(model):
        if isinstance(module, nnx.Linear | nnx.Conv) and "head" not in path:
            module.dtype = jnp.dtype(dtype)
