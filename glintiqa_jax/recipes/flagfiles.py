"""Files of flags: UTF-8, a flag on a line, ``#`` and ``//`` comments, other such files and recipes in them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from glintiqa_jax import recipes
from glintiqa_jax.errors import InputError


def expanded(arguments: Sequence[str], inside: tuple[Path, ...] = ()) -> list[str]:
    """Arguments, with the content of each ``--flagfile`` and ``--recipe`` in its place.

    Args:
      arguments: of a command.
      inside: the files that they stand in, from the outermost on.

    Raises:
      InputError: for a file that cannot be read or includes itself, and a recipe that is none.
    """
    found: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        flag, equals, value = argument.partition("=")
        name = flag.removeprefix("-").removeprefix("-")
        if name not in ("flagfile", "recipe") or not flag.startswith("-"):
            found.append(argument)
            if argument == "--":
                break
            continue
        value = value if equals else next(rest, "")
        path = recipes.path(value) if name == "recipe" else Path(os.path.expanduser(value.strip()))  # noqa: PTH111
        if path.resolve() in inside:
            raise InputError(field=name, value=value, expected="a file of flags", found="one that includes itself")
        found += expanded(list(_lines(path, name, value)), (*inside, path.resolve()))
    return [*found, *rest]


def _lines(path: Path, name: str, value: str) -> Iterator[str]:
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, ValueError) as error:
        found = (error.strerror if isinstance(error, OSError) else "other bytes") if value else "nothing"
        hint = f"`recipe={path.stem}` is the recipe of that name" if path.stem in recipes.names() else ""
        raise InputError(
            field=name, value=value, expected="a text file of flags, in UTF-8", found=found, hint=hint
        ) from error
    for line in lines:
        if line.strip() and not line.startswith(("#", "//")):
            yield line.strip()
