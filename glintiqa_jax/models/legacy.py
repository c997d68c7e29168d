"""Networks as version 0.1.0 described and normalised them, brought to today's: for checkpoints of that time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from glintiqa_jax.errors import InputError
from glintiqa_jax.models.backbones import BACKBONES, ViTConfig
from glintiqa_jax.models.config import Integration, ModelConfig

_LITE = "efficientnet_lite0"
_FREEZING = {"frozen_blocks", "frozen_stages", "batch_statistics", "train_embeddings"}


def from_old(old: Mapping[str, Any]) -> ModelConfig:
    """The network that an old ``GlintIQAConfig`` describes; what of it was frozen matters to training alone.

    Args:
      old: its fields, as JSON has them.

    Raises:
      InputError: fields that version 0.1.0 did not have.
    """
    fields = {name: tuple(value) if isinstance(value, list) else value for name, value in old.items()}

    def taken(kind: Any) -> dict[str, Any]:
        return {name: fields.pop(name) for name in kind.__dataclass_fields__ if name in fields}

    vit, integration = ViTConfig(**taken(ViTConfig)), Integration(**taken(Integration))
    kind = fields.pop("cnn", "resnet")
    cnns = {name: BACKBONES[name](**taken(BACKBONES[name])) for name in ("resnet", _LITE)}
    if kind not in cnns:
        raise InputError(field="cnn", expected=f"one of {', '.join(cnns)}", found=repr(kind))
    use_vit, use_cnn = fields.pop("use_vit", True), fields.pop("use_cnn", True)
    sizes = taken(ModelConfig)
    if unknown := sorted(fields.keys() - _FREEZING):
        raise InputError(f"settings that this version does not know: {', '.join(unknown)}")
    return ModelConfig(
        vit=vit if use_vit else None, cnn=cnns[kind] if use_cnn else None, integration=integration, **sizes
    )


def convert_arrays(old: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """An old network's arrays, by dotted name, for the network that ``from_old`` gives; the names are the same.

    Beside an EfficientNet-Lite0 the ViT, too, took pixels as (pixel - 127) / 128, which are 255/256 of what it takes
    now plus 1/256: its patch embedding takes that in.
    """
    converted = dict(arrays)
    if old.get("cnn") == _LITE and old.get("use_vit", True):
        kernel, bias = (np.asarray(arrays[f"vgfe.patch_embed.{part}"]) for part in ("kernel", "bias"))
        converted["vgfe.patch_embed.kernel"] = kernel * np.float32(255 / 256)
        converted["vgfe.patch_embed.bias"] = bias + kernel.sum(axis=0, dtype=np.float64).astype(np.float32) / 256
    return converted
