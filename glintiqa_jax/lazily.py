"""Names of a package that are imported at first use: importing the package itself costs nothing."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any


def lazily(room: str, **homes: str) -> tuple[Callable[[str], Any], list[str]]:
    """A module's ``__getattr__`` for the public names of a room, and its ``__all__``.

    Args:
      room: the module's ``__name__``.
      homes: the names, separated by blanks, by the module below the room that has them.
    """
    home = {name: f"{room}.{module}" for module, names in homes.items() for name in names.split()}

    def get(name: str) -> Any:
        if name in home:
            return getattr(importlib.import_module(home[name]), name)
        raise AttributeError(f"module {room!r} has no attribute {name!r}")

    return get, sorted(home)
