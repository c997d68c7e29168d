"""The paper's own parts (sections III-B, III-C): multi-kernel embedding, CWSA, SIEM, progressive integration."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from flax import nnx

from glintiqa_jax.models.computation import LayerNorm, Recomputable
from glintiqa_jax.models.config import Integration
from glintiqa_jax.models.ops import Linear, PatchEmbedding


def l2_normalise(x: jax.Array, epsilon: float = 1e-12) -> jax.Array:
    """``x / max(|x|, epsilon)`` over the last axis, with a gradient of zero rather than NaN at x = 0."""
    wide = x.astype(jnp.float32)
    squared = jnp.sum(jnp.square(wide), axis=-1, keepdims=True)
    norm = jnp.sqrt(jnp.maximum(squared, epsilon**2))
    return (wide / norm).astype(x.dtype)


class ChannelWiseSelfAttention(nnx.Module):
    """CWSA: attention between channels, a channel's vector being its values on the N tokens.

    Args:
      tokens: N; the weights are N x N, which ties a model to its crop size.
      dropout: rate of the dropout on the attended values.
      layout: ``"released"`` or ``"transposed"``, see ``__call__``.
    """

    def __init__(self, tokens: int, *, dropout: float, layout: str, rngs: nnx.Rngs):
        self.layout = layout
        self.query = Linear(tokens, tokens, rngs=rngs)
        self.key = Linear(tokens, tokens, rngs=rngs)
        self.value = Linear(tokens, tokens, rngs=rngs)
        self.dropout = nnx.Dropout(dropout)
        self.norm = LayerNorm(tokens, epsilon=1e-5, rngs=rngs)

    @classmethod
    def where_used(cls, integration: Integration, tokens: int, rngs: nnx.Rngs) -> ChannelWiseSelfAttention | None:
        dropout, layout = integration.attention_dropout, integration.attention_layout
        return cls(tokens, dropout=dropout, layout=layout, rngs=rngs) if integration.use_cwsa else None

    def __call__(self, x: jax.Array, *, train: bool, rngs: nnx.Rngs | None) -> jax.Array:
        """``(batch, channels, tokens)`` to the same shape.

        The released code takes the attended values y as (tokens, channels) and reads that buffer as (channels,
        tokens), without transposing back: an index shuffle that mixes channels and places. Every released weight
        was trained with it, so ``layout="released"`` keeps it; ``"transposed"`` is the plain y.
        """
        weights, total = self._weights(x)
        # divided after the product: there are fewer tokens than channels
        y = (jnp.einsum("bcd,bdn->bcn", weights.astype(x.dtype), self.value(x)) / total).astype(x.dtype)
        if self.layout == "released":
            # (batch, channels, tokens) -> (batch, tokens, channels), read again as (batch, channels, tokens)
            y = y.transpose(0, 2, 1).reshape(x.shape)
        y = self.dropout(y, deterministic=not train, rngs=rngs)
        return x + self.norm(y)

    def attention(self, x: jax.Array) -> jax.Array:
        """``(batch, channels, tokens)`` to ``(batch, channels, channels)``: how much each channel attends to each.

        Rows sum to 1.
        """
        weights, total = self._weights(x)
        return (weights / total).astype(x.dtype)

    def _weights(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The softmax's exponentials, ``(batch, channels, channels)``, and their sums, ``(batch, channels, 1)``.

        Queries and keys have length 1, so that no logit leaves +-1 / sqrt(tokens): none needs the largest subtracted.
        """
        q, k = l2_normalise(self.query(x)), l2_normalise(self.key(x))
        similarity = jnp.einsum("bcn,bdn->bcd", q, k).astype(jnp.float32)
        weights = jnp.exp(similarity * x.shape[-1] ** -0.5)
        return weights, jnp.sum(weights, axis=-1, keepdims=True)


class SpatialInteraction(nnx.Module):
    """SIEM: back on the token grid, a 3x3 convolution from 2 d to d = ``width`` channels mixes neighbouring places."""

    def __init__(self, width: int, *, rngs: nnx.Rngs):
        self.conv = nnx.Conv(2 * width, width, (3, 3), padding=((1, 1), (1, 1)), use_bias=False, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """``(batch, tokens, 2 d)`` to ``(batch, tokens, d)``; the token grid is square."""
        batch, tokens, channels = x.shape
        side = math.isqrt(tokens)
        # (batch, side, side, 2 d) -> (batch, side, side, d) -> (batch, tokens, d)
        return self.conv(x.reshape(batch, side, side, channels)).reshape(batch, tokens, -1)


class MultiKernelEmbedding(nnx.Module):
    """Multi-kernel embedding alignment: each CNN map onto the ViT's token grid, attended and projected.

    Args:
      channels: channels of the maps that are used.
      kernels: kernel = stride of each map's embedding: patch / 4, patch / 8, patch / 16.
      width: d, the channels of the result.
      tokens: N, tokens of the grid.
      integration: whether the concatenated embeddings are attended, and how.
    """

    def __init__(
        self,
        *,
        channels: tuple[int, ...],
        kernels: tuple[int, ...],
        width: int,
        tokens: int,
        integration: Integration,
        rngs: nnx.Rngs,
    ):
        self.embeddings = nnx.List(
            [PatchEmbedding(c, width, kernel=k, rngs=rngs) for c, k in zip(channels, kernels, strict=True)]
        )
        self.cwsa = ChannelWiseSelfAttention.where_used(integration, tokens, rngs)
        self.projection = Linear(width * len(channels), width, rngs=rngs)

    def __call__(
        self, maps: list[jax.Array], *, train: bool, rngs: nnx.Rngs | None
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Maps ``(batch, height, width, channels)`` to the local feature ``(batch, tokens, width)`` and its steps."""
        steps = {}
        embedded = [embed(features) for embed, features in zip(self.embeddings, maps, strict=True)]
        for index, tokens in enumerate(embedded, start=1):
            steps[f"embedding{index}"] = tokens
        x = jnp.concatenate(embedded, axis=-1)
        if self.cwsa is not None:
            # channels become rows and come back: (batch, tokens, c) -> (batch, c, tokens) -> (batch, tokens, c)
            attended = self.cwsa(x.transpose(0, 2, 1), train=train, rngs=rngs)
            steps["local_cwsa"] = attended
            x = attended.transpose(0, 2, 1)
        x = self.projection(x)
        steps["local_feature"] = x
        return x, steps


class IntegrationStage(Recomputable):
    """One step of the progressive integration: f_i = SIEM_i(CWSA_i(concat(vit_i, f_(i-1)))).

    Without SIEM (an ablation) a linear layer per token brings 2 d channels to d.
    """

    def __init__(self, width: int, tokens: int, integration: Integration, *, rngs: nnx.Rngs):
        self.cwsa = ChannelWiseSelfAttention.where_used(integration, tokens, rngs)
        self.siem: SpatialInteraction | Linear
        if integration.use_siem:
            self.siem = SpatialInteraction(width, rngs=rngs)
        else:
            self.siem = Linear(2 * width, width, use_bias=False, rngs=rngs)

    def __call__(
        self, vit_feature: jax.Array, previous: jax.Array, *, train: bool, rngs: nnx.Rngs | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """Two ``(batch, tokens, d)`` to the integrated ``(batch, tokens, d)`` and CWSA's ``(batch, 2 d, tokens)``."""
        x = jnp.concatenate([vit_feature, previous], axis=-1).transpose(0, 2, 1)  # (batch, 2 d, tokens)
        attended = x if self.cwsa is None else self.cwsa(x, train=train, rngs=rngs)
        return self.siem(attended.transpose(0, 2, 1)), attended
