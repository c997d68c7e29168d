"""Whole experiments as files of flags: ``glintiqa train --recipe=scratch``, or ``recipes.scratch(steps=500)``,
which ``glintiqa_jax.train`` takes.

Each comment at a file's head says its command, what it needs, how long it takes and what to expect.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glintiqa_jax.errors import InputError

if TYPE_CHECKING:
    from glintiqa_jax.face import Recipe

_FOLDER = Path(__file__).resolve().parent
VARIANT = "glintiqa_s16_r50"
"""The paper's network, where no other is named."""


def names() -> list[str]:
    """Of all recipes."""
    return sorted(file.stem for file in _FOLDER.glob("*.flags"))


def path(name: str) -> Path:
    """The file of a recipe; ``InputError`` where there is none of that name."""
    if name not in names():
        raise InputError(field="recipe", value=name, expected=f"one of {', '.join(names())}", found="another name")
    return _FOLDER / f"{name}.flags"


def read(name: str, *, variant: str = "", **replaced: Any) -> Recipe:
    """A recipe; where it is kept, what it is trained on and how that is loaded is not part of it.

    A warm-up that other ``steps`` leave no room for becomes a tenth of them.

    Args:
      name: of the recipe.
      variant: a network of ``VARIANTS`` rather than the recipe's; what the recipe says of the network holds for it.
      replaced: other values of settings, by their names.

    Raises:
      InputError: for an unknown recipe, variant or setting, and what the settings refuse.
    """
    from glintiqa_jax import settings
    from glintiqa_jax.data.loading import Loading
    from glintiqa_jax.datasets.config import DataConfig
    from glintiqa_jax.face import Recipe
    from glintiqa_jax.models.config import VARIANTS
    from glintiqa_jax.options import configured, options
    from glintiqa_jax.recipes.flagfiles import expanded
    from glintiqa_jax.training.experiment import Experiment

    known, given, chosen = options(Recipe), {}, VARIANT
    for line in expanded([f"--recipe={name}"]):
        flag, equals, text = line.removeprefix("--").partition("=")
        if flag == "variant":
            chosen = text
        elif flag in known:
            given[flag] = known[flag].value(text if equals else "true")
        elif flag.removeprefix("no") in known:
            given[flag.removeprefix("no")] = False
        elif flag != "workdir" and flag not in options(DataConfig) | options(Loading):
            raise InputError(file=path(name), expected="settings", found=line)
    if (variant or chosen) not in VARIANTS:
        raise InputError(field="variant", expected=f"one of {', '.join(VARIANTS)}", found=repr(variant or chosen))
    recipe = configured(Recipe(Experiment(model=VARIANTS[variant or chosen])), given)
    steps, warmup = replaced.get("steps"), recipe.experiment.timing.warmup_steps
    if isinstance(steps, int) and 0 < steps <= warmup:
        replaced = {"warmup_steps": steps // 10} | replaced
    return settings.replace(recipe, **replaced)


def __getattr__(name: str) -> Callable[..., Recipe]:
    if name not in names():
        raise AttributeError(f"no recipe {name!r}: there are {', '.join(names())}")
    return functools.partial(read, name)


def __dir__() -> list[str]:
    return [*globals(), *names()]
