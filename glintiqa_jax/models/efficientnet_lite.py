"""EfficientNet-Lite (Tan and Le 2019, in TensorFlow's variant for small devices), a light CNN branch for GlintIQA.

No squeeze-and-excitation, ReLU6 throughout, and TensorFlow's "SAME" padding. As a branch it is built up to its last map
that is used, of those at 1/4, 1/8, 1/16 and 1/32 of the image; the rest and the classifier are there for whole-image
features and to check weights against ImageNet. Epsilon and momentum are the PyTorch port's, so that its weights mean
the same here.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from flax import nnx

from glintiqa_jax.models.backbones.efficientnet_lite import EfficientNetLiteConfig
from glintiqa_jax.models.computation import Recomputable
from glintiqa_jax.models.ops import BatchNorm, Conv, DepthwiseConv, PointwiseConv

STAGES = ((3, 1, 1), (3, 2, 6), (5, 2, 6), (3, 2, 6), (5, 1, 6), (5, 2, 6), (3, 1, 6))  # kernel, stride, expansion
STEM_CHANNELS, HEAD_CHANNELS = 32, 1280
# Of the maps with ImageNet's weights, about. They are linear and nothing normalises them, and Adam's steps on what
# reads them would be as much too large: the maps are divided by it.
DEVIATION = 7.0

Norm = functools.partial(BatchNorm, momentum=0.01, epsilon=1e-3)


class InvertedResidual(Recomputable):
    """1x1 to more channels (unless ``expansion`` is 1), depthwise, 1x1 to fewer; skipped past where shapes allow."""

    def __init__(self, channels: int, out: int, *, size: int, stride: int, expansion: int, rngs: nnx.Rngs):
        hidden = channels * expansion
        self.skip = stride == 1 and channels == out
        self.expand = PointwiseConv(channels, hidden, rngs=rngs) if expansion > 1 else None
        self.expand_bn = Norm(hidden) if expansion > 1 else None
        self.depthwise = DepthwiseConv(hidden, size=size, stride=stride, rngs=rngs)
        self.depthwise_bn = Norm(hidden)
        self.project = PointwiseConv(hidden, out, rngs=rngs)
        self.project_bn = Norm(out)

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        y = x
        if self.expand is not None and self.expand_bn is not None:
            y = nnx.relu6(self.expand_bn(self.expand(y), train=train))
        y = nnx.relu6(self.depthwise_bn(self.depthwise(y), train=train))
        y = self.project_bn(self.project(y), train=train)
        return x + y if self.skip else y


class EfficientNetLite(nnx.Module):
    """The stem and the blocks up to the last map, for ``__call__``; with ``classes``, all of them and a classifier.

    Args:
      config: which of them.
      maps: how many of the four maps are wanted, from the first.
      classes: 0 for the branch, 1000 for ImageNet's classifier.
      rngs: the ``params`` stream.
    """

    def __init__(self, config: type[EfficientNetLiteConfig], *, maps: int = 3, classes: int = 0, rngs: nnx.Rngs):
        self.tapped = config.tapped()[:maps]
        self.stem = Conv(3, STEM_CHANNELS, (3, 3), strides=2, padding="SAME", rngs=rngs)
        self.stem_bn = Norm(STEM_CHANNELS)
        channels = STEM_CHANNELS
        blocks: list[InvertedResidual] = []
        sizes = zip(STAGES, config.stage_channels, config.stage_blocks, strict=True)
        for (size, stride, expansion), out, repeats in sizes:
            for index in range(repeats):
                step = stride if index == 0 else 1
                if classes or len(blocks) <= self.tapped[-1]:
                    block = InvertedResidual(channels, out, size=size, stride=step, expansion=expansion, rngs=rngs)
                    blocks.append(block)
                    channels = out
        self.blocks = nnx.List(blocks)
        self.head = PointwiseConv(channels, HEAD_CHANNELS, rngs=rngs) if classes else None
        self.head_bn = Norm(HEAD_CHANNELS) if classes else None
        self.fc = nnx.Linear(HEAD_CHANNELS, classes, rngs=rngs) if classes else None

    def __call__(self, images: jax.Array, *, train: bool) -> list[jax.Array]:
        """Maps of images in [0, 1], ``(batch, height, width, 3)``: ``(batch, height/4, width/4, 24)``, ..."""
        outputs = self._outputs(images, train=train)
        return [outputs[block] / DEVIATION for block in self.tapped]

    def logits(self, images: jax.Array) -> jax.Array:
        """``(batch, classes)`` of ``(batch, height, width, 3)``; ``ValueError`` for a model without classes."""
        if self.fc is None:
            raise ValueError("a model without classes has no logits")
        return self.fc(self.pooled(images))

    def pooled(self, images: jax.Array) -> jax.Array:
        """What the classifier sees of ``(batch, height, width, 3)``, ``(batch, 1280)``, the mean over all places.

        ``ValueError`` for a model without classes.
        """
        if self.head is None or self.head_bn is None:
            raise ValueError("a model without classes has no head")
        x = self._outputs(images, train=False)[-1]
        return jnp.mean(nnx.relu6(self.head_bn(self.head(x), train=False)), axis=(1, 2))

    def _outputs(self, images: jax.Array, *, train: bool) -> list[jax.Array]:
        """Each block's, of images in [0, 1]; ImageNet's weights are for pixels as (pixel - 127) / 128."""
        x = nnx.relu6(self.stem_bn(self.stem((images * 255.0 - 127.0) / 128.0), train=train))
        outputs = []
        for block in self.blocks:
            x = block.apply(x, train=train)
            outputs.append(x)
        return outputs
