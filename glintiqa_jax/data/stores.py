"""Files in an object store, by fsspec: ``gs://`` with the extra ``gcs``, ``s3://`` with ``s3``.

What is wrong with one is an ``OSError``, as of a file on this machine.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from glintiqa_jax.data.paths import is_remote
from glintiqa_jax.errors import InputError

_EXTRAS = {"gs": "gcs", "s3": "s3"}


def read_file(path: str | os.PathLike) -> bytes:
    """The content of a file on this machine or in a store."""
    if not is_remote(path):
        return Path(path).read_bytes()
    import fsspec

    with _told(os.fspath(path)), fsspec.open(os.fspath(path), "rb") as file:
        return file.read()


def files_at(address: str) -> Iterator[str]:
    """The files that an address stands for, in the order of their names: one, those below a folder, or of a pattern."""
    import fsspec

    with _told(address):
        store, path = fsspec.core.url_to_fs(address)
        found = store.glob(path) if any(sign in path for sign in "*?[") else store.find(path)
    if not found:
        raise FileNotFoundError(address)
    for name in sorted(found):
        yield store.unstrip_protocol(name)


@contextlib.contextmanager
def _told(address: str) -> Iterator[None]:
    """Whatever a store's library raises as an ``OSError``, but that it is not installed."""
    try:
        yield
    except ImportError as error:
        extra = _EXTRAS[address.partition(":")[0]]
        raise InputError(f"needs pip install 'glintiqa-jax[{extra}]' ({error})", file=address) from error
    except OSError:
        raise
    except Exception as error:
        raise OSError(str(error)) from error
