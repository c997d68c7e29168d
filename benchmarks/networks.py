"""The networks that ``torch_glintiqa.py`` has, described without PyTorch, and weights that stand for trained ones."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags
from processes import in_a_process

from glintiqa_jax.errors import InputError

_KINDS = ("resnet", "efficientnet_lite")


def fields_of_variants() -> dict[str, dict[str, Any]]:
    """By variant, the settings of the network and of its groups, as plain values."""
    from glintiqa_jax.models.config import VARIANTS
    from glintiqa_jax.settings import flat, to_json

    found = {}
    for name, config in VARIANTS.items():
        fields = {path.rpartition(".")[2]: value for path, value in flat(to_json(config)).items()}
        for what in ("stage_channels", "stage_blocks"):
            if hasattr(config.cnn, what):
                fields[what] = getattr(config.cnn, what)
        if str(fields.get("kind")).startswith(_KINDS):
            found[name] = fields
    return found


def chosen_networks(flag: flags.FlagHolder) -> dict[str, dict[str, Any]]:
    """By variant, the settings of those that a flag names; ``InputError`` for others, and without PyTorch."""
    if not find_spec("torch"):
        raise InputError(expected="PyTorch to compare with", found="none", hint="pip install torch")
    fields = in_a_process(fields_of_variants)
    for variant in flag.value or [""]:
        if variant not in fields:
            raise InputError(field=flag.name, expected=f"some of {', '.join(fields)}", found=repr(variant))
    return {variant: fields[variant] for variant in flag.value}


def random_weights(variant: str) -> dict[str, np.ndarray]:
    """In the official layout; none is without effect."""
    from glintiqa_jax.models.glintiqa import create_model
    from glintiqa_jax.models.weights import export_glintiqa

    rng = np.random.default_rng(0)
    weights = export_glintiqa(create_model(variant, identity_start=False))
    for name, array in weights.items():
        if array.ndim == 1:  # biases, scales and statistics, which begin as 0 or 1
            weights[name] = array + rng.uniform(-0.1, 0.1, array.shape).astype(np.float32)
    return weights


def save_weights(path: Path, weights: dict[str, np.ndarray]) -> None:
    """As an ``.npz`` file, which PyTorch's processes read without JAX."""
    arrays: dict[str, Any] = weights
    np.savez(path, **arrays)
