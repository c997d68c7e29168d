"""GlintIQA (arXiv 2408.03885) in JAX: how good does an image look, with no reference to compare it to?

    import glintiqa_jax

    scorer = glintiqa_jax.Scorer("runs/quickstart")
    scorer.score_file("photo.jpg")     # in the unit of scorer.scale

Names are imported when they are first used, so that importing the package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from glintiqa_jax.version import __version__

if TYPE_CHECKING:
    from glintiqa_jax.models.config import VARIANTS, ModelConfig
    from glintiqa_jax.models.glintiqa import GlintIQA, create_model
    from glintiqa_jax.scoring.scorer import Scorer

_HOMES = {
    "VARIANTS": "glintiqa_jax.models.glintiqa",
    "GlintIQA": "glintiqa_jax.models.glintiqa",
    "ModelConfig": "glintiqa_jax.models.config",
    "Scorer": "glintiqa_jax.scoring.scorer",
    "create_model": "glintiqa_jax.models.glintiqa",
}
__all__ = ["VARIANTS", "GlintIQA", "ModelConfig", "Scorer", "__version__", "create_model"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
