"""What a user's path means: a place on this machine or, where accepted, an object store's address."""

from __future__ import annotations

import os
import re
from pathlib import Path

from glintiqa_jax.errors import InputError

STORES = ("gs", "s3")  # whose addresses etils, fsspec and TensorStore all open
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/")  # of one slash, too, as pathlib writes gs://bucket


def is_remote(path: str | os.PathLike) -> bool:
    """Whether a path is an object store's address, ``gs://bucket/folder`` or ``s3://...``."""
    return os.fspath(path).startswith(tuple(f"{scheme}://" for scheme in STORES))


def check_path(field: str, path: str | os.PathLike, *, stores: bool = False) -> None:
    """Refuse an address that would become a folder called ``gs:`` or ``file:`` on this machine.

    Args:
      field: the setting's or the argument's name.
      path: its value; empty for none.
      stores: object stores' addresses are accepted, too.

    Raises:
      InputError: says what to write instead.
    """
    text = os.fspath(path)
    if "\0" in text:
        raise InputError(field=field, value=repr(text), expected="a path", found="one that holds a zero byte")
    match = _SCHEME.match(text)
    if match is None or (stores and is_remote(text)):
        return
    expected, hint = "a path of this machine", f"for a folder of this name write ./{text}"
    if stores:
        expected = f"a path or an address of {' or '.join(f'{name}://' for name in STORES)}"
    if match[1].lower() == "file":
        expected, hint = "a path", f"write {_without_scheme(text)}"
    raise InputError(field=field, value=text, expected=expected, found="an address", hint=hint)


def local_path(field: str, path: str | os.PathLike) -> Path:
    """A place on this machine, ``~`` expanded; ``InputError`` for an empty path, an address, an unknown ``~user``."""
    check_path(field, path)
    if not os.fspath(path):  # which pathlib takes for the folder one is in
        raise InputError(field=field, expected="a path", found="nothing")
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise InputError(field=field, value=path, expected="a path", found="no home folder for its ~") from error


def _without_scheme(address: str) -> str:
    rest = address.split(":", 1)[1]
    return "/" + rest.removeprefix("//localhost").lstrip("/")
