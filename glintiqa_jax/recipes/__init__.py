"""Whole experiments as files of flags: ``glintiqa train --recipe=quickstart``, or ``recipes.quickstart(steps=500)``.

Each comment at a file's head says its command, what it needs, how long it takes and what to expect.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glintiqa_jax.errors import InputError

if TYPE_CHECKING:
    from glintiqa_jax.training.config import TrainConfig

_FOLDER = Path(__file__).resolve().parent


def names() -> list[str]:
    """Of all recipes."""
    return sorted(file.stem for file in _FOLDER.glob("*.flags"))


def path(name: str) -> Path:
    """The file of a recipe; ``InputError`` where there is none of that name."""
    if name not in names():
        raise InputError(field="recipe", value=name, expected=f"one of {', '.join(names())}", found="another name")
    return _FOLDER / f"{name}.flags"


def read(name: str, **replaced: Any) -> TrainConfig:
    """A recipe as an experiment; where it is kept and what it is trained on is not part of it.

    Args:
      name: of the recipe.
      replaced: other values of settings, by their names.

    Raises:
      InputError: for an unknown recipe or setting, and what the experiment refuses.
    """
    from glintiqa_jax import settings
    from glintiqa_jax.models.config import VARIANTS
    from glintiqa_jax.options import configured, options
    from glintiqa_jax.recipes.flagfiles import expanded
    from glintiqa_jax.training.config import TrainConfig

    known, given = options(TrainConfig), {}
    for line in expanded([f"--recipe={name}"]):
        flag, _, text = line.removeprefix("--").partition("=")
        if flag in known:
            given[flag] = known[flag].value(text or "true")
        elif flag.removeprefix("no") in known:
            given[flag.removeprefix("no")] = False
    for outside in ("dataset",):
        given.pop(outside, None)
    variant = given.get("variant", TrainConfig.variant)
    return settings.replace(configured(TrainConfig(model=VARIANTS[variant]), given), **replaced)


def __getattr__(name: str) -> Callable[..., TrainConfig]:
    if name not in names():
        raise AttributeError(f"no recipe {name!r}: there are {', '.join(names())}")
    return functools.partial(read, name)


def __dir__() -> list[str]:
    return [*globals(), *names()]
