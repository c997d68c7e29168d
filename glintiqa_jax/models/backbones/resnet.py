"""ResNet feature maps (He et al. 2016), the CNN branch of GlintIQA (paper section III-B).

GlintIQA reads the stem and the first three stages, at 1/4, 1/8 and 1/16 of the image; whole-image features
(paper section III-D) are pooled from the fourth. Layout, padding and the place of the stride are torchvision's, so that
its weights mean the same here.
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

from glintiqa_jax.errors import InputError
from glintiqa_jax.models.backbones.protocol import LEAVES, LocalBackboneConfig, Network, Rules, Whole, renamed
from glintiqa_jax.models.computation import Recomputable
from glintiqa_jax.models.files import Weights, WeightsError
from glintiqa_jax.models.ops import BatchNorm, Conv, PointwiseConv, max_pool_3x3
from glintiqa_jax.models.pretrained import HubFile
from glintiqa_jax.settings import setting

_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_RESNET50 = HubFile(
    "timm/resnet50.tv_in1k", "aa6c2d36d56bc0209040c02b5a7b7d7bf11d57b8", "model.safetensors", "BSD-3-Clause"
)
_TO_TORCHVISION: Rules = [
    (r"^stages\.(\d)\.", lambda m: f"layer{int(m[1]) + 1}."),
    (r"\.downsample\.conv\.", ".downsample.0."),
    (r"\.downsample\.bn\.", ".downsample.1."),
    *LEAVES,
]


def _whole(blocks: tuple[int, ...], **origins: HubFile) -> Whole:
    build = functools.partial(_published, blocks)
    return Whole(build, origins, unused=r"fc\..*")


def _published(blocks: tuple[int, ...], rngs: nnx.Rngs) -> ResNet:
    return ResNet(stage_blocks=blocks, bottleneck=True, width=64, rngs=rngs)


@dataclasses.dataclass(frozen=True)
class ResNetConfig(LocalBackboneConfig):
    """A ResNet; the defaults are ResNet-50's first three stages."""

    kind: ClassVar[str] = "resnet"
    title: ClassVar[str] = "ResNet"
    strides: ClassVar[tuple[int, ...]] = (4, 8, 16)
    unused: ClassVar[str] = r"(layer4|fc)\..*"
    whole: ClassVar[dict[str, Whole]] = {
        "resnet50": _whole((3, 4, 6, 3), timm=_RESNET50),
        "resnet101": _whole((3, 4, 23, 3)),
    }

    resnet_blocks: tuple[int, ...] = setting(
        (3, 4, 6), "residual blocks in each of the ResNet's three stages", effect="shape"
    )
    resnet_bottleneck: bool = setting(
        True, "bottleneck blocks (ResNet-50) rather than basic ones (ResNet-18)", effect="shape"
    )
    resnet_width: int = setting(64, "channels of the ResNet's stem", effect="shape")

    def __post_init__(self) -> None:
        if len(self.resnet_blocks) != 3 or min(self.resnet_blocks) < 1:
            raise InputError(field="resnet_blocks", expected="three positive numbers", found=self.resnet_blocks)
        if self.resnet_width < 1:
            raise InputError(field="resnet_width", expected="1 or more", found=self.resnet_width)

    @property
    def channels(self) -> tuple[int, ...]:
        first = self.resnet_width * (Bottleneck if self.resnet_bottleneck else BasicBlock).expansion
        return (first, 2 * first, 4 * first)

    def build(self, network: Network, *, rngs: nnx.Rngs) -> ResNet:
        """All three stages, whichever are embedded."""
        return ResNet(
            stage_blocks=self.resnet_blocks, bottleneck=self.resnet_bottleneck, width=self.resnet_width, rngs=rngs
        )

    def up_to(self, maps: int) -> str:
        return rf"^clfe\.(conv1|bn1|stages\.[0-{maps - 1}])\."

    @classmethod
    def recognises(cls, names: Collection[str]) -> bool:
        """torchvision's and timm's; those of JAX are known as well, and refused by ``read``."""
        return any(re.match(r"layer1\.|root_block|resnet/|(params/)?conv_init", name) for name in names)

    @classmethod
    def published_name(cls, name: str) -> str:
        """torchvision's, which is also timm's."""
        return renamed(name, _TO_TORCHVISION)

    def read(self, weights: Weights, network: Network | None = None) -> Weights:
        """As they are: JAX's ResNets, whose arithmetic differs from torchvision's, are refused."""
        if any(name.split("/")[0] in ("root_block", "resnet") or "standardized_conv2d" in name for name in weights):
            raise WeightsError("found a BiT ResNet: its group norms and standardised convolutions are another network")
        if any("conv_init" in name for name in weights):
            raise WeightsError(
                "found a ResNet of Flax's examples: its strided convolutions pad one pixel beside torchvision's, so "
                "that the same weights compute something else"
            )
        return weights

    def origin(self, source: str, network: Network) -> HubFile | None:
        """timm's copy of torchvision's ResNet-50."""
        if source != "timm":
            return None
        if (self.resnet_blocks, self.resnet_bottleneck, self.resnet_width) != ((3, 4, 6), True, 64):
            raise WeightsError(file="timm", expected="a ResNet-50", found=f"one of {self.resnet_blocks} blocks")
        return _RESNET50


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
