"""What a network is: one description, made of settings, and the presets that are values of it."""

from __future__ import annotations

import dataclasses
from typing import Any

from glintiqa_jax import settings
from glintiqa_jax.errors import InputError
from glintiqa_jax.models.backbones import BACKBONES, EfficientNetLite0Config, ResNetConfig, ViTConfig
from glintiqa_jax.models.backbones.protocol import LocalBackboneConfig
from glintiqa_jax.settings import check_choices, group, setting

ATTENTION_LAYOUTS = ("released", "transposed")


@dataclasses.dataclass(frozen=True)
class Integration:
    """How the two branches are integrated (paper section III-C), and the dropout on the way to the score."""

    use_cwsa: bool = setting(True, "channel-wise self-attention", effect="shape")
    use_siem: bool = setting(True, "spatial interaction (3x3 convolution)", effect="shape")
    attention_layout: str = setting(
        "released",
        "CWSA's output: 'released' keeps its index shuffle, 'transposed' has none",
        choices=ATTENTION_LAYOUTS,
    )
    identity_start: bool = setting(
        False, "integration starts by passing the local feature on: steadies training from scratch"
    )
    attention_dropout: float = setting(0.5, "dropout rate in CWSA")
    head_dropout: float = setting(0.5, "dropout rate in the quality head")

    def __post_init__(self) -> None:
        check_choices(self)
        for name in ("attention_dropout", "head_dropout"):
            rate = getattr(self, name)
            if not 0.0 <= rate < 1.0:
                raise InputError(field=name, expected="a rate from 0 to below 1", found=rate)


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """A network. The defaults are the paper's ViT-S/16 + ResNet-50 at 224x224; a branch that is None is left out.

    Raises ``InputError`` naming the setting when a value, or a combination of values, is invalid.
    """

    crop_size: int = setting(224, "side of the square input, in pixels", effect="shape")
    patch_size: int = setting(16, "side of a ViT patch, in pixels: 16 or 32", effect="shape")
    width: int = setting(384, "d: channels of a ViT token and of integration", effect="shape")
    vit: ViTConfig | None = group(ViTConfig())
    cnn: LocalBackboneConfig | None = group(ResNetConfig(), kinds=BACKBONES)
    embedded_stages: tuple[int, ...] = setting(
        (1, 2, 3),
        "CNN maps, from 1, that the multi-kernel embedding takes; EfficientNet-Lite has a fourth, at 1/32",
        effect="shape",
    )
    integration: Integration = group(Integration())

    def __post_init__(self) -> None:
        if self.patch_size not in (16, 32):
            raise InputError(field="patch_size", expected="16 or 32", found=self.patch_size)
        if self.crop_size < 1 or self.crop_size % self.patch_size:
            expected = f"a positive multiple of `patch_size={self.patch_size}`"
            raise InputError(field="crop_size", expected=expected, found=self.crop_size)
        if self.width < 1:
            raise InputError(field="width", expected="1 or more", found=self.width)
        if self.vit is None and self.cnn is None:
            raise InputError(field="vit", expected="a branch beside `cnn=none`", found="none")
        if self.vit is not None and self.width % self.vit.vit_heads:
            raise InputError(
                field="width", expected=f"a multiple of `vit_heads={self.vit.vit_heads}`", found=self.width
            )
        maps: list[int] = []
        if self.cnn is not None:
            # a map coarser than the token grid cannot be embedded in it
            maps = [number for number, stride in enumerate(self.cnn.strides, start=1) if stride <= self.patch_size]
            if not self.embedded_stages or sorted(set(self.embedded_stages) & set(maps)) != [*self.embedded_stages]:
                choice = f"an increasing choice of {', '.join(map(str, maps))}"
                beside = f"`cnn={self.cnn.kind}` and `patch_size={self.patch_size}`"
                raise InputError(
                    field="embedded_stages", expected=f"{choice} with {beside}", found=self.embedded_stages
                )
        if self.vit is not None and self.vit.vit_stem and self.vit.vit_stem not in maps:
            expected = f"up to {len(maps)}, the last CNN map that fits the tokens"
            raise InputError(field="vit_stem", expected=expected, found=self.vit.vit_stem)

    @property
    def maps(self) -> int:
        """How many of the CNN's maps are read, from the first."""
        return max(self.embedded_stages[-1], self.vit.vit_stem if self.vit else 0)

    @property
    def tokens(self) -> int:
        """N, the tokens of the square grid; CWSA's weights are N x N."""
        return (self.crop_size // self.patch_size) ** 2


VARIANTS: dict[str, ModelConfig] = {
    # The paper's model and its backbone sizes (table "backbones").
    "glintiqa_s16_r50": ModelConfig(),
    "glintiqa_b16_r50": ModelConfig(width=768, vit=ViTConfig(vit_heads=12, vit_mlp_width=3072)),
    "glintiqa_ti16_r18": ModelConfig(
        width=192,
        vit=ViTConfig(vit_heads=3, vit_mlp_width=768),
        cnn=ResNetConfig(resnet_blocks=(2, 2, 2), resnet_bottleneck=False),
    ),
    # The network that ships: a CNN branch whose ImageNet weights a package carries, and a small ViT on its second map.
    "glintiqa_lite": ModelConfig(
        patch_size=32,
        width=192,
        vit=ViTConfig(vit_heads=3, vit_mlp_width=384, tapped_blocks=(0, 1, 2, 3), vit_stem=2),
        cnn=EfficientNetLite0Config(),
        embedded_stages=(1, 2, 3, 4),
        integration=Integration(identity_start=True, attention_dropout=0.1, head_dropout=0.1),
    ),
    # The same parts, small enough to be trained from scratch on two CPU cores in minutes.
    "glintiqa_mini": ModelConfig(
        crop_size=64,
        width=32,
        vit=ViTConfig(vit_heads=2, vit_mlp_width=64, tapped_blocks=(0, 1, 2, 3)),
        cnn=ResNetConfig(resnet_blocks=(1, 1, 1), resnet_bottleneck=False, resnet_width=16),
        integration=Integration(identity_start=True, attention_dropout=0.0, head_dropout=0.0),
    ),
    # As small as the parts allow, for tests.
    "glintiqa_tiny": ModelConfig(
        crop_size=32,
        width=16,
        vit=ViTConfig(vit_heads=2, vit_mlp_width=32, tapped_blocks=(0, 1, 2, 3)),
        cnn=ResNetConfig(resnet_blocks=(1, 1, 1), resnet_bottleneck=False, resnet_width=8),
        integration=Integration(attention_dropout=0.1, head_dropout=0.1),
    ),
}


def variant_config(variant: str | ModelConfig, **replaced: Any) -> ModelConfig:
    """A preset by its name, or a configuration, with other values of some settings or groups.

    Args:
      variant: a name in ``VARIANTS``, or a configuration.
      replaced: by the settings' names, whatever group they are in, as in ``vit_heads=3, use_cwsa=False, cnn=None``.

    Raises:
      InputError: an unknown name, and invalid values.

    Example:
      >>> config = variant_config("glintiqa_mini", crop_size=96, cnn=None)
      >>> config.tokens, describe(config)
      (36, 'glintiqa_mini, crop_size 96, cnn none')
    """
    if isinstance(variant, str):
        if variant not in VARIANTS:
            raise InputError(field="variant", expected=f"one of {', '.join(VARIANTS)}", found=repr(variant))
        variant = VARIANTS[variant]
    return settings.replace(variant, **replaced)


def describe(config: ModelConfig) -> str:
    """The nearest preset and what differs from it: ``glintiqa_mini, crop_size 96``."""
    told = {name: _differences(config, preset) for name, preset in VARIANTS.items()}
    nearest = min(told, key=lambda name: len(told[name]))
    return ", ".join([nearest, *told[nearest]])


def _differences(config: Any, preset: Any) -> list[str]:
    found = []
    for field in dataclasses.fields(config):
        ours, theirs = getattr(config, field.name), getattr(preset, field.name)
        if ours == theirs:
            continue
        if not settings.is_group(field):
            value = ",".join(map(str, ours)) if isinstance(ours, tuple) else ours
            found.append(f"{field.name} {value}")
        elif type(ours) is type(theirs):
            found += _differences(ours, theirs)
        else:
            found.append(f"{field.name} {'none' if ours is None else ours.kind}")
            found += [] if ours is None else _differences(ours, type(ours)())
    return found
