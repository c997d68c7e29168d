"""GlintIQA (arXiv 2408.03885) in JAX: how good does an image look, with no reference to compare it to?

    import glintiqa_jax as giq

    source = giq.from_arrays(images, mos, score_range=(0, 100))
    run = giq.train(source, giq.recipes.own_data(steps=500))
    run.model.score(images[0])     # .value in the unit of run.model.card.scale, .percent, .interval

Names are imported when they are first used, so that importing the package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from glintiqa_jax.version import __version__

if TYPE_CHECKING:
    from glintiqa_jax import recipes
    from glintiqa_jax.data import from_arrays, from_folder
    from glintiqa_jax.datasets import open_dataset
    from glintiqa_jax.errors import InputError
    from glintiqa_jax.evaluation import evaluate
    from glintiqa_jax.face import train
    from glintiqa_jax.models import VARIANTS, GlintIQA, ModelConfig, create_model
    from glintiqa_jax.saqt import distort
    from glintiqa_jax.scoring import Model, ModelCard, load_model
    from glintiqa_jax.training import Execution, Experiment

_HOMES = {
    "Execution": "training",
    "Experiment": "training",
    "GlintIQA": "models",
    "InputError": "errors",
    "Model": "scoring",
    "ModelCard": "scoring",
    "ModelConfig": "models",
    "VARIANTS": "models",
    "create_model": "models",
    "distort": "saqt",
    "evaluate": "evaluation",
    "from_arrays": "data",
    "from_folder": "data",
    "load_model": "scoring",
    "open_dataset": "datasets",
    "train": "face",
}
_ROOMS = ("recipes",)
__all__ = [
    "VARIANTS",
    "Execution",
    "Experiment",
    "GlintIQA",
    "InputError",
    "Model",
    "ModelCard",
    "ModelConfig",
    "__version__",
    "create_model",
    "distort",
    "evaluate",
    "from_arrays",
    "from_folder",
    "load_model",
    "open_dataset",
    "recipes",
    "train",
]


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return importlib.import_module(f"glintiqa_jax.{name}")
    if name in _HOMES:
        return getattr(importlib.import_module(f"glintiqa_jax.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
