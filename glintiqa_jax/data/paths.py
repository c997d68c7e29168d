"""What a path in a flag may mean: a place on this machine or, where that is meant, an object store's address."""

from __future__ import annotations

import os
import re
from pathlib import Path

from glintiqa_jax.errors import UserError

STORES = ("gs", "s3")  # whose addresses etils, fsspec and TensorStore all open
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/")  # of one slash, too, as pathlib writes gs://bucket


def is_remote(path: str | os.PathLike) -> bool:
    """Whether a path is an object store's address, ``gs://bucket/folder`` or ``s3://...``."""
    return os.fspath(path).startswith(tuple(f"{scheme}://" for scheme in STORES))


def check_path(flag: str, path: str | os.PathLike, *, stores: bool = False) -> None:
    """Refuse an address that would become a folder called ``gs:`` or ``file:`` on this machine.

    Args:
      flag: the flag's name, or an argument's, without dashes.
      path: its value; an empty one is none.
      stores: object stores' addresses are meant, too.

    Raises:
      UserError: names the flag, and what to write instead.
    """
    text = os.fspath(path)
    if "\0" in text:
        raise UserError(f"--{flag}={text!r}: expected a path, found one that holds a zero byte")
    found = _SCHEME.match(text)
    if found is None or (stores and is_remote(text)):
        return
    scheme = found[1].lower()
    if scheme == "file":
        raise UserError(f"--{flag}={text}: expected a path, found an address; write {_without_scheme(text)}")
    if stores:
        expected = f"a path or an address of {' or '.join(f'{name}://' for name in STORES)}"
    else:
        expected = "a path of this machine"
    raise UserError(f"--{flag}={text}: expected {expected}, found an address; for a folder of this name write ./{text}")


def local_path(flag: str, path: str | os.PathLike) -> Path:
    """A place on this machine, ``~`` expanded; ``UserError`` for no path, another's address, or a ~ of nobody's."""
    check_path(flag, path)
    if not os.fspath(path):  # which pathlib takes for the folder one is in
        raise UserError(f"--{flag}: expected a path, found nothing")
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise UserError(f"--{flag}={path}: expected a path, found no home folder for its ~") from error


def _without_scheme(address: str) -> str:
    rest = address.split(":", 1)[1]
    return "/" + rest.removeprefix("//localhost").lstrip("/")
