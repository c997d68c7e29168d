"""ResNet feature maps (He et al. 2016), the CNN branch of GlintIQA (paper section III-B).

GlintIQA reads the stem and the first three stages, at 1/4, 1/8 and 1/16 of the image; whole-image features
(paper section III-D) are pooled from the fourth. Layout, padding and the place of the stride are torchvision's, so that
its weights mean the same here.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx

from glintiqa_jax.models.computation import Recomputable
from glintiqa_jax.models.ops import BatchNorm, Conv, PointwiseConv, max_pool_3x3

_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


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

    def __call__(self, images: jax.Array, *, train: bool) -> list[jax.Array]:
        """Maps of images in [0, 1], ``(batch, height, width, 3)``: ``(batch, height/4, width/4, channels)``, half that.

        Mean and standard deviation are 0.5, as the paper's authors trained.
        """
        return self._maps((images - 0.5) / 0.5, train=train)

    def pooled(self, images: jax.Array) -> jax.Array:
        """The mean over all places of the last stage's map: ``(batch, height, width, 3)`` to ``(batch, channels)``.

        By ImageNet's mean and standard deviation, for which torchvision's weights are.
        """
        mean, std = (jnp.asarray(value, jnp.float32) for value in (_IMAGENET_MEAN, _IMAGENET_STD))
        return jnp.mean(self._maps((images - mean) / std, train=False)[-1], axis=(1, 2))

    def _maps(self, x: jax.Array, *, train: bool) -> list[jax.Array]:
        x = max_pool_3x3(nnx.relu(self.bn1(self.conv1(x), train=train)))
        maps = []
        for stage in self.stages:
            for block in stage:
                x = block.apply(x, train=train)
            maps.append(x)
        return maps
