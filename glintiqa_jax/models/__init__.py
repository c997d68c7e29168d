"""What the network is, in Flax NNX: ``create_model("glintiqa_mini")`` makes one, ``load_weights`` fills it."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from glintiqa_jax.models.backbones import BACKBONES
    from glintiqa_jax.models.config import VARIANTS, ModelConfig, describe, variant_config
    from glintiqa_jax.models.files import WeightsError, load_weights, save_weights
    from glintiqa_jax.models.freezing import freeze, split_model
    from glintiqa_jax.models.glintiqa import GlintIQA, create_model, parameter_counts
    from glintiqa_jax.models.weights import export_glintiqa, load_backbone, load_glintiqa

_HOMES = {
    "backbones": ("BACKBONES",),
    "config": ("VARIANTS", "ModelConfig", "describe", "variant_config"),
    "files": ("WeightsError", "load_weights", "save_weights"),
    "freezing": ("freeze", "split_model"),
    "glintiqa": ("GlintIQA", "create_model", "parameter_counts"),
    "weights": ("export_glintiqa", "load_backbone", "load_glintiqa"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "BACKBONES",
    "VARIANTS",
    "GlintIQA",
    "ModelConfig",
    "WeightsError",
    "create_model",
    "describe",
    "export_glintiqa",
    "freeze",
    "load_backbone",
    "load_glintiqa",
    "load_weights",
    "parameter_counts",
    "save_weights",
    "split_model",
    "variant_config",
]


def __getattr__(name: str) -> Any:
    """Imported when it is asked for: the names alone cost nothing."""
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME_OF[name]}"), name)
