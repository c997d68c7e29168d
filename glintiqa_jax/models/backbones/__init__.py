"""The backbones, each in a file of its own: options, maps, names of weights elsewhere, where these come from."""

from __future__ import annotations

from glintiqa_jax.models.backbones.efficientnet_lite import (
    EfficientNetLite0Config,
    EfficientNetLite1Config,
    EfficientNetLite2Config,
)
from glintiqa_jax.models.backbones.protocol import LocalBackboneConfig, Whole
from glintiqa_jax.models.backbones.resnet import ResNetConfig
from glintiqa_jax.models.backbones.vit import ViTConfig

BACKBONES: dict[str, type[LocalBackboneConfig]] = {
    backbone.kind: backbone
    for backbone in (ResNetConfig, EfficientNetLite0Config, EfficientNetLite1Config, EfficientNetLite2Config)
}
"""The CNNs that the local branch may be, by kind; the table may be extended."""

__all__ = ["BACKBONES", "EfficientNetLite0Config", "ResNetConfig", "ViTConfig", "whole_backbones"]


def whole_backbones() -> dict[str, tuple[LocalBackboneConfig, Whole]]:
    """The backbones that give features of whole images, by name."""
    return {name: (kind(), whole) for kind in BACKBONES.values() for name, whole in kind.whole.items()}
