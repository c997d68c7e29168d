"""Vision transformer feature maps (Dosovitskiy et al. 2021), the ViT branch of GlintIQA (paper section III-A).

Only what GlintIQA reads is built: patch embedding, class token, position embedding and the blocks up to the
last tapped one. Layout and epsilons are timm's, so that its weights mean the same here.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx

from glintiqa_jax.models.backbones.protocol import Network
from glintiqa_jax.models.backbones.vit import ViTConfig
from glintiqa_jax.models.computation import LayerNorm, Recomputable
from glintiqa_jax.models.ops import Linear, PatchEmbedding, attend


class Attention(nnx.Module):
    """Multi-head self-attention over tokens; one matrix makes queries, keys and values."""

    def __init__(self, width: int, *, heads: int, rngs: nnx.Rngs):
        self.heads = heads
        self.qkv = Linear(width, 3 * width, rngs=rngs)
        self.proj = Linear(width, width, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        batch, tokens, width = x.shape
        # (batch, tokens, 3 * width) -> three of (batch, heads, tokens, width / heads)
        q, k, v = self.qkv(x).reshape(batch, tokens, 3, self.heads, width // self.heads).transpose(2, 0, 3, 1, 4)
        y = attend(q, k, v).transpose(0, 2, 1, 3)  # (batch, tokens, heads, width / heads)
        return self.proj(y.reshape(batch, tokens, width))


class Block(Recomputable):
    """Pre-norm transformer block with an exact-GELU MLP."""

    def __init__(self, width: int, *, heads: int, mlp_width: int, rngs: nnx.Rngs):
        self.norm1 = LayerNorm(width, epsilon=1e-6, rngs=rngs)
        self.attn = Attention(width, heads=heads, rngs=rngs)
        self.norm2 = LayerNorm(width, epsilon=1e-6, rngs=rngs)
        self.fc1 = Linear(width, mlp_width, rngs=rngs)
        self.fc2 = Linear(mlp_width, width, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = x + self.attn(self.norm1(x))
        return x + self.fc2(nnx.gelu(self.fc1(self.norm2(x)), approximate=False))


class VisionTransformer(nnx.Module):
    """The first blocks of a ViT, each tapped block giving one map of patch tokens.

    Args:
      network: sizes of patches and tokens, and of the crop, which sets the position embedding's length; its CNN, whose
        map a hybrid takes.
      config: what is cut into patches, and which blocks are tapped; later ones are not built.
    """

    def __init__(self, network: Network, config: ViTConfig, *, rngs: nnx.Rngs):
        width, heads, mlp_width = network.width, config.vit_heads, config.vit_mlp_width
        self.tapped_blocks, self.stem = config.tapped_blocks, config.vit_stem
        channels, stride = 3, 1
        if config.vit_stem and network.cnn:
            channels, stride = network.cnn.channels[config.vit_stem - 1], network.cnn.strides[config.vit_stem - 1]
        self.patch_embed = PatchEmbedding(channels, width, kernel=network.patch_size // stride, rngs=rngs)
        self.cls_token = nnx.Param(jnp.zeros((1, 1, width), jnp.float32))
        self.pos_embed = nnx.Param(jnp.zeros((1, 1 + network.tokens, width), jnp.float32))
        depth = config.tapped_blocks[-1] + 1
        self.blocks = nnx.List([Block(width, heads=heads, mlp_width=mlp_width, rngs=rngs) for _ in range(depth)])

    def __call__(self, images: jax.Array, maps: Sequence[jax.Array] = ()) -> list[jax.Array]:
        """Images in [0, 1], ``(batch, crop, crop, 3)``, to one ``(batch, tokens, width)`` per tapped block.

        The class token is dropped. Mean and standard deviation are 0.5, as timm trained and the paper's authors did. A
        hybrid (section 3.1 of the ViT paper) takes its patches from one of the CNN's ``maps`` of the images instead.
        """
        x = self.patch_embed(maps[self.stem - 1] if self.stem else (images - 0.5) / 0.5)
        cls_token = jnp.broadcast_to(self.cls_token[...], (x.shape[0], 1, x.shape[2])).astype(x.dtype)
        x = jnp.concatenate([cls_token, x], axis=1) + self.pos_embed[...].astype(x.dtype)
        taps = []
        for index, block in enumerate(self.blocks):
            x = block.apply(x)
            if index in self.tapped_blocks:
                taps.append(x[:, 1:])
        return taps
