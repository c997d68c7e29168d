"""ResNet feature maps (He et al. 2016), the CNN branch of GlintIQA (paper section III-B).

GlintIQA reads the stem and the first three stages, at 1/4, 1/8 and 1/16 of the image; whole-image features
(paper section III-D) are pooled from the fourth. Layout, padding and the place of the stride are torchvision's, so that
its weights mean the same here.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from flax import nnx

from glintiqa_jax.models.computation import Recomputable

Conv = functools.partial(nnx.Conv, use_bias=False)


class PointwiseConv(nnx.Linear):
    """A 1x1 convolution, written as a matrix product: XLA's CPU backend trains it 2 to 3 times faster."""

    def __init__(self, in_channels: int, out_channels: int, *, stride: int = 1, rngs: nnx.Rngs):
        super().__init__(in_channels, out_channels, use_bias=False, rngs=rngs)
        self.stride = stride

    def __call__(self, inputs: jax.Array, out_sharding=None) -> jax.Array:
        x = inputs[:, :: self.stride, :: self.stride, :]
        # (batch, height, width, in) -> (batch * height * width, in) -> (batch, height, width, out): of four axes XLA's
        # CPU backend makes transposed copies for the kernel's gradient, which takes it several times as long
        return super().__call__(x.reshape(-1, x.shape[-1]), out_sharding).reshape(*x.shape[:-1], -1)


class BatchNorm(nnx.Module):
    """Batch normalisation with PyTorch's running statistics.

    ``nnx.BatchNorm`` keeps the biased batch variance; PyTorch keeps the unbiased one, n / (n - 1), and a model
    fine-tuned here has to mean the same there. Under a sharded ``jit`` the statistics are the global batch's.
    """

    def __init__(self, features: int, *, momentum: float = 0.1, epsilon: float = 1e-5):
        self.momentum, self.epsilon = momentum, epsilon
        self.scale = nnx.Param(jnp.ones((features,), jnp.float32))
        self.bias = nnx.Param(jnp.zeros((features,), jnp.float32))
        self.mean = nnx.BatchStat(jnp.zeros((features,), jnp.float32))
        self.var = nnx.BatchStat(jnp.ones((features,), jnp.float32))

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Normalise ``(batch, height, width, features)``; in training, also move the running statistics."""
        wide = x.astype(jnp.float32)
        scale, bias = self.scale[...], self.bias[...]
        if not train:
            mean, var = self.mean[...], self.var[...]
        else:
            mean = jnp.mean(jnp.mean(wide, axis=(1, 2)), axis=0)
            var = jnp.mean(jnp.mean(jnp.square(wide - _for_each(wide, mean)), axis=(1, 2)), axis=0)
            count = x.size // x.shape[-1]
            unbiased = var * (count / max(count - 1, 1))
            self.mean[...] = (1 - self.momentum) * self.mean[...] + self.momentum * mean
            self.var[...] = (1 - self.momentum) * self.var[...] + self.momentum * unbiased
            mean, var, scale, bias = (_for_each(wide, value) for value in (mean, var, scale, bias))
        return ((wide - mean) * (jax.lax.rsqrt(var + self.epsilon) * scale) + bias).astype(x.dtype)


def _for_each(images: jax.Array, value: jax.Array) -> jax.Array:
    """``(features,)`` as ``(batch, 1, 1, features)``: its gradient is summed over each image and then over the batch.

    XLA's CPU backend adds up one value after another. Over all pixels of 32 images the norms of gradients were off by
    up to .6 %, in two sums by up to .4 %, as for 2 images; the barrier keeps XLA from making one sum of the two.
    """
    each = jnp.broadcast_to(value, (images.shape[0], 1, 1, value.shape[-1]))
    return jax.lax.optimization_barrier(each)


def max_pool_3x3(x: jax.Array) -> jax.Array:
    """Max pooling, kernel 3, stride 2, padding 1, of ``(batch, height, width, channels)`` with even sides.

    Written as maxima of shifted maps: XLA's CPU backend runs the gradient of a windowed maximum 10 to 20 times slower.
    """
    height, width = x.shape[1:3]
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-jnp.inf)
    rows = [padded[:, shift : shift + height : 2] for shift in range(3)]
    tallest = jnp.maximum(jnp.maximum(rows[0], rows[1]), rows[2])
    columns = [tallest[:, :, shift : shift + width : 2] for shift in range(3)]
    return jnp.maximum(jnp.maximum(columns[0], columns[1]), columns[2])


class BasicBlock(Recomputable):
    """Two 3x3 convolutions with a residual connection (ResNet-18 and -34)."""

    expansion = 1

    def __init__(self, in_channels: int, channels: int, *, stride: int, rngs: nnx.Rngs):
        pad = ((1, 1), (1, 1))
        self.conv1 = Conv(in_channels, channels, (3, 3), strides=stride, padding=pad, rngs=rngs)
        self.bn1 = BatchNorm(channels)
        self.conv2 = Conv(channels, channels, (3, 3), padding=pad, rngs=rngs)
        self.bn2 = BatchNorm(channels)
        self.downsample = Downsample.where_needed(in_channels, channels, stride, rngs)

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        y = nnx.relu(self.bn1(self.conv1(x), train=train))
        y = self.bn2(self.conv2(y), train=train)
        return nnx.relu(y + (x if self.downsample is None else self.downsample(x, train=train)))


class Bottleneck(Recomputable):
    """1x1, 3x3, 1x1 convolutions with a residual connection; the stride sits on the 3x3 (ResNet-50 and -101)."""

    expansion = 4

    def __init__(self, in_channels: int, channels: int, *, stride: int, rngs: nnx.Rngs):
        out_channels = channels * self.expansion
        self.conv1 = PointwiseConv(in_channels, channels, rngs=rngs)
        self.bn1 = BatchNorm(channels)
        self.conv2 = Conv(channels, channels, (3, 3), strides=stride, padding=((1, 1), (1, 1)), rngs=rngs)
        self.bn2 = BatchNorm(channels)
        self.conv3 = PointwiseConv(channels, out_channels, rngs=rngs)
        self.bn3 = BatchNorm(out_channels)
        self.downsample = Downsample.where_needed(in_channels, out_channels, stride, rngs)

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        y = nnx.relu(self.bn1(self.conv1(x), train=train))
        y = nnx.relu(self.bn2(self.conv2(y), train=train))
        y = self.bn3(self.conv3(y), train=train)
        return nnx.relu(y + (x if self.downsample is None else self.downsample(x, train=train)))


class Downsample(nnx.Module):
    """The projection on a residual connection whose shape changes."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, rngs: nnx.Rngs):
        self.conv = PointwiseConv(in_channels, out_channels, stride=stride, rngs=rngs)
        self.bn = BatchNorm(out_channels)

    @classmethod
    def where_needed(cls, in_channels: int, out_channels: int, stride: int, rngs: nnx.Rngs) -> Downsample | None:
        needed = stride != 1 or in_channels != out_channels
        return cls(in_channels, out_channels, stride, rngs) if needed else None

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        return self.bn(self.conv(x), train=train)


class ResNet(nnx.Module):
    """The stem and the stages of a ResNet, without its classifier.

    Args:
      stage_blocks: residual blocks in each stage: (3, 4, 6) for GlintIQA's part of ResNet-50, (3, 4, 6, 3) for all.
      bottleneck: ``Bottleneck`` blocks (ResNet-50, -101) rather than ``BasicBlock`` (ResNet-18, -34).
      width: channels of the stem, 64 as published; stages have width, 2 width, 4 width, ... (times 4 with bottlenecks).
    """

    STRIDES = (4, 8, 16)

    def __init__(self, *, stage_blocks: tuple[int, ...], bottleneck: bool, width: int, rngs: nnx.Rngs):
        block = Bottleneck if bottleneck else BasicBlock
        self.conv1 = Conv(3, width, (7, 7), strides=2, padding=((3, 3), (3, 3)), rngs=rngs)
        self.bn1 = BatchNorm(width)
        channels = width
        stages = []
        for stage, blocks in enumerate(stage_blocks):
            stage_width = width * 2**stage
            layers = []
            for index in range(blocks):
                stride = 2 if stage > 0 and index == 0 else 1
                layers.append(block(channels, stage_width, stride=stride, rngs=rngs))
                channels = stage_width * block.expansion
            stages.append(nnx.List(layers))
        self.stages = nnx.List(stages)

    @staticmethod
    def channels(*, bottleneck: bool, width: int) -> tuple[int, int, int]:
        """Channels of the three maps that GlintIQA reads, at ``STRIDES``."""
        expansion = Bottleneck.expansion if bottleneck else BasicBlock.expansion
        return (width * expansion, 2 * width * expansion, 4 * width * expansion)

    @staticmethod
    def stage(path: tuple) -> int:
        """The stage, from 1, that the variable at an NNX path belongs to; the stem is part of the first."""
        return path[1] + 1 if path[0] == "stages" else 1

    def __call__(self, images: jax.Array, *, train: bool, frozen_stages: int = 0) -> list[jax.Array]:
        """The stages' maps of ``(batch, height, width, 3)``: ``(batch, height/4, width/4, channels)``, half that, ...

        The first ``frozen_stages`` never normalise by the batch.
        """
        x = nnx.relu(self.bn1(self.conv1(images), train=train and frozen_stages == 0))
        x = max_pool_3x3(x)
        maps = []
        for number, stage in enumerate(self.stages, start=1):
            for block in stage:
                x = block.apply(x, train=train and number > frozen_stages)
            maps.append(x)
        return maps

    def pooled(self, images: jax.Array) -> jax.Array:
        """The mean over all places of the last stage's map of ``(batch, height, width, 3)``: ``(batch, channels)``."""
        return jnp.mean(self(images, train=False)[-1], axis=(1, 2))
