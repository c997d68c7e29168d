"""Networks as version 0.1.0 described and normalised them, brought to today's: for checkpoints of that time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from glintiqa_jax.errors import InputError
from glintiqa_jax.models.backbones import BACKBONES, ViTConfig
from glintiqa_jax.models.config import Integration, ModelConfig

_LITE = "efficientnet_lite0"
_FREEZING: dict[str, Any] = {"frozen_blocks": 5, "frozen_stages": 0, "batch_statistics": True, "train_embeddings": True}


def from_old(old: Mapping[str, Any]) -> tuple[ModelConfig, tuple[str, ...]]:
    """The network that an old ``GlintIQAConfig`` describes, and what of it was frozen, as patterns of ``freeze``.

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
    frozen: dict[str, Any] = {name: fields.pop(name, default) for name, default in _FREEZING.items()}
    sizes = taken(ModelConfig)
    if fields:
        raise InputError(f"settings that this version does not know: {', '.join(sorted(fields))}")
    config = ModelConfig(
        vit=vit if use_vit else None, cnn=cnns[kind] if use_cnn else None, integration=integration, **sizes
    )
    patterns = []
    if use_vit and frozen["frozen_blocks"]:
        blocks = "|".join(map(str, range(frozen["frozen_blocks"])))
        patterns.append(rf"^vgfe\.(patch_embed|blocks\.({blocks}))\.")
    if use_vit and not frozen["train_embeddings"]:
        patterns.append(r"^vgfe\.(cls_token|pos_embed)$")
    if use_cnn and frozen["frozen_stages"]:
        patterns.append(cnns[kind].up_to(frozen["frozen_stages"]))
    if use_cnn and not frozen["batch_statistics"]:
        patterns.append(r"^clfe\..*\.(mean|var)$")
    return config, tuple(patterns)


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
