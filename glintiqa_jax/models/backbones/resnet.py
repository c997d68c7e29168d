"""The ResNet branch of GlintIQA (paper section III-B): its options, and weights for it.

The network's layout is torchvision's, which is also timm's.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Collection
from typing import TYPE_CHECKING, ClassVar

from glintiqa_jax.errors import InputError
from glintiqa_jax.models.backbones.protocol import LEAVES, LocalBackboneConfig, Network, Rules, Whole, renamed
from glintiqa_jax.models.files import Weights, WeightsError
from glintiqa_jax.models.pretrained import HubFile
from glintiqa_jax.settings import setting

if TYPE_CHECKING:
    from flax import nnx

    from glintiqa_jax.models.resnet import ResNet

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
    from glintiqa_jax.models.resnet import ResNet

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
        from glintiqa_jax.models.resnet import BasicBlock, Bottleneck

        first = self.resnet_width * (Bottleneck if self.resnet_bottleneck else BasicBlock).expansion
        return (first, 2 * first, 4 * first)

    def build(self, network: Network, *, rngs: nnx.Rngs) -> ResNet:
        """All three stages, whichever are embedded."""
        from glintiqa_jax.models.resnet import ResNet

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
