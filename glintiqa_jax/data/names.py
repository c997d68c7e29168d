"""What images are called: one spelling of a name, whatever system or program wrote it."""

from __future__ import annotations

import os
import posixpath
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

_DRIVE = re.compile(r"[A-Za-z]:/")
_INVISIBLE = "\ufeff\u200b"  # a byte-order mark, a space of no width


class OutsideError(ValueError):
    """A name that leaves the folder it should be in."""


def without_blanks(text: str) -> str:
    """A text less the blanks around it, those that cannot be seen, too; within it each run of blanks is one space."""
    return " ".join(text.translate(dict.fromkeys(map(ord, _INVISIBLE))).split())


def normal_name(name: str, folder: str | os.PathLike | None = None) -> str:
    r"""The one spelling of an image's name: ``a/b.png`` for ``./a/b.png``, ``a\b.png``, ``a/x/../b.png`` and its like.

    Accents are composed (Unicode's NFC), blanks around the name are dropped.

    Args:
      name: as a table has it.
      folder: where the images are; an absolute path that lies inside becomes a relative one.

    Raises:
      ValueError: for an empty name and one that holds a zero byte.
      OutsideError: where there is a folder, for a name that leaves it.
    """
    text = unicodedata.normalize("NFC", name).strip(" \t\r\n\v\f\xa0" + _INVISIBLE).replace("\\", "/")
    if "\0" in text:
        raise ValueError(f"expected the name of a file, found {name[:80]!r}, which holds a zero byte")
    normal = posixpath.normpath(text) if text else "."
    if normal == ".":
        raise ValueError(f"expected the name of a file, found {name!r}" if text else "expected a name, found nothing")
    if folder is None:
        return normal
    if posixpath.isabs(normal):
        for root in (os.fspath(Path(folder).absolute()), os.path.realpath(folder)):
            inside = unicodedata.normalize("NFC", root).rstrip("/") + "/"
            if normal.startswith(inside):
                return normal.removeprefix(inside)
    if posixpath.isabs(normal) or normal.split("/", 1)[0] == ".." or _DRIVE.match(normal):
        raise OutsideError(f"{name!r} points outside the folder {os.fspath(folder)}")
    return normal


def positions_by_name(names: Sequence[str]) -> dict[str, int]:
    """Where each name is, by its one spelling."""
    return {normal_name(name): position for position, name in enumerate(names)}
