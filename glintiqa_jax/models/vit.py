"""Vision transformer feature maps (Dosovitskiy et al. 2021), the ViT branch of GlintIQA (paper section III-A).

Only what GlintIQA reads is built: patch embedding, class token, position embedding and the blocks up to the
last tapped one. Layout and epsilons are timm's, so that its weights mean the same here.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx

from glintiqa_jax.models.computation import LayerNorm, Recomputable


class PatchEmbedding(nnx.Linear):
    """A convolution whose kernel equals its stride, with bias, written as a matrix product over patches.

    Used by the ViT's patch embedding and by GlintIQA's multi-kernel embedding. The kernel is stored as
    ``(kernel * kernel * in_channels, out_channels)``, rows in the order (y, x, channel).
    """

    def __init__(self, in_channels: int, out_channels: int, *, kernel: int, rngs: nnx.Rngs):
        super().__init__(kernel * kernel * in_channels, out_channels, rngs=rngs)
        self.kernel_size = kernel

    def __call__(self, inputs: jax.Array, out_sharding=None) -> jax.Array:
        """``(batch, height, width, channels)`` to ``(batch, (height / kernel) * (width / kernel), out_channels)``."""
        k = self.kernel_size
        batch, height, width, channels = inputs.shape
        # (batch, rows, k, columns, k, channels) -> (batch, rows * columns, k * k * channels)
        x = inputs.reshape(batch, height // k, k, width // k, k, channels)
        x = x.transpose(0, 1, 3, 2, 4, 5).reshape(batch, (height // k) * (width // k), k * k * channels)
        return super().__call__(x, out_sharding)


class Attention(nnx.Module):
    """Multi-head self-attention over tokens; one matrix makes queries, keys and values."""

    def __init__(self, width: int, *, heads: int, rngs: nnx.Rngs):
        self.heads = heads
        self.qkv = nnx.Linear(width, 3 * width, rngs=rngs)
        self.proj = nnx.Linear(width, width, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        batch, tokens, width = x.shape
        # (batch, tokens, 3 * width) -> three of (batch, tokens, heads, width / heads)
        q, k, v = jnp.moveaxis(self.qkv(x).reshape(batch, tokens, 3, self.heads, width // self.heads), 2, 0)
        y = jax.nn.dot_product_attention(q, k, v)  # its softmax is in float32
        return self.proj(y.reshape(batch, tokens, width))


class Block(Recomputable):
    """Pre-norm transformer block with an exact-GELU MLP."""

    def __init__(self, width: int, *, heads: int, mlp_width: int, rngs: nnx.Rngs):
        self.norm1 = LayerNorm(width, epsilon=1e-6, rngs=rngs)
        self.attn = Attention(width, heads=heads, rngs=rngs)
        self.norm2 = LayerNorm(width, epsilon=1e-6, rngs=rngs)
        self.fc1 = nnx.Linear(width, mlp_width, rngs=rngs)
        self.fc2 = nnx.Linear(mlp_width, width, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = x + self.attn(self.norm1(x))
        return x + self.fc2(nnx.gelu(self.fc1(self.norm2(x)), approximate=False))


class VisionTransformer(nnx.Module):
    """The first blocks of a ViT, each tapped block giving one map of patch tokens.

    Args:
      crop_size: height and width of the input, in pixels; sets the position embedding's length.
      patch_size: side of a patch, in pixels.
      width: channels of a token.
      heads: attention heads.
      mlp_width: hidden channels of a block's MLP.
      tapped_blocks: increasing block numbers, from 0, whose outputs are returned; later blocks are not built.
    """

    def __init__(
        self,
        *,
        crop_size: int,
        patch_size: int,
        width: int,
        heads: int,
        mlp_width: int,
        tapped_blocks: tuple[int, ...],
        rngs: nnx.Rngs,
    ):
        tokens = (crop_size // patch_size) ** 2
        self.tapped_blocks = tapped_blocks
        self.patch_embed = PatchEmbedding(3, width, kernel=patch_size, rngs=rngs)
        self.cls_token = nnx.Param(jnp.zeros((1, 1, width), jnp.float32))
        self.pos_embed = nnx.Param(jnp.zeros((1, 1 + tokens, width), jnp.float32))
        self.blocks = nnx.List(
            [Block(width, heads=heads, mlp_width=mlp_width, rngs=rngs) for _ in range(tapped_blocks[-1] + 1)]
        )

    def __call__(self, images: jax.Array) -> list[jax.Array]:
        """``(batch, crop, crop, 3)`` to one ``(batch, tokens, width)`` per tapped block, class token dropped."""
        x = self.patch_embed(images)
        cls_token = jnp.broadcast_to(self.cls_token[...], (x.shape[0], 1, x.shape[2])).astype(x.dtype)
        x = jnp.concatenate([cls_token, x], axis=1) + self.pos_embed[...].astype(x.dtype)
        taps = []
        for index, block in enumerate(self.blocks):
            x = block.apply(x)
            if index in self.tapped_blocks:
                taps.append(x[:, 1:])
        return taps
