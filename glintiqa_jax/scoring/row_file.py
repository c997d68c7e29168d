"""A file of rows that grows row by row, survives whatever ends its writer, and is continued."""

from __future__ import annotations

import array
import contextlib
import fcntl
import hashlib
import os
import shutil
from pathlib import Path
from types import TracebackType

import numpy as np

from glintiqa_jax.data.paths import local_path
from glintiqa_jax.errors import InputError
from glintiqa_jax.scoring.rows import Row, header, scan

PART = ".part"


class RowFile:
    """A context that writes rows to ``FILE.part`` and renames it to ``FILE`` when it ends without an error.

    After an error, a signal or ``kill -9`` the part stays, every row of it whole but the last, and another ``RowFile``
    continues it. What was at ``FILE`` before stays until then.

    Args:
      path: a file in an existing folder.
      kind: "csv" or "jsonl".
      model: the digest of the model that writes.
      resume: keep the rows that the part holds, or the file if there is no part.

    Attributes:
      rows: how many rows it holds.
      part: where they are until it ends.

    Raises:
      InputError: a file that cannot be written, that another writes, that holds other rows than this model's, or a part
        that would be lost.
    """

    def __init__(self, path: str | os.PathLike, kind: str, model: str, *, resume: bool = False):
        self._named, self._kind = os.fspath(path), kind
        self._target = Path(os.path.realpath(local_path("output", path)))
        self.part = self._target.with_name(self._target.name + PART)
        self.rows = 0
        self._held = np.zeros(0, np.uint64)
        try:
            if self._target.is_dir():
                raise self._error("a file", "a folder")
            self._file = os.fdopen(os.open(self.part, os.O_RDWR | os.O_CREAT, 0o666), "r+b", buffering=0)
            self._is_new = False
            try:
                self._begin(model, resume)
            except BaseException:
                if self._is_new:
                    self.part.unlink()
                self._file.close()
                raise
        except FileNotFoundError as error:
            raise self._error("a file in an existing folder", f"no folder {self._target.parent}") from error
        except OSError as error:
            raise InputError(f"cannot be written ({error.strerror})", field="output", value=self._named) from error

    def __contains__(self, path: object) -> bool:
        """Whether the file held a row of this path when it was opened."""
        found = np.searchsorted(self._held, key := _key(str(path)))
        return bool(found < len(self._held) and self._held[found] == key)

    def write(self, row: Row) -> None:
        """Add a row; an ``OSError`` names the file."""
        self._write(row.line(self._kind))
        self.rows += 1

    def __enter__(self) -> RowFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            if kind is None:
                with contextlib.suppress(OSError):
                    os.fchmod(self._file.fileno(), self._target.stat().st_mode & 0o7777)
                self.part.replace(self._target)
            elif not self.rows:
                self.part.unlink()
        finally:
            self._file.close()

    def _begin(self, model: str, resume: bool) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise self._error("a file that nobody else writes", "one that another run is writing") from error
        except OSError:  # some network disks have no locks
            pass
        self._is_new = os.fstat(self._file.fileno()).st_size == 0
        if not self._is_new and not resume:
            raise self._error(
                "no rows of an interrupted run",
                str(self.part),
                hint="`resume` goes on with them; remove them to start anew",
            )
        if self._is_new and resume and self._target.exists():
            with self._target.open("rb") as rows:
                shutil.copyfileobj(rows, self._file)
        if resume:
            self._file.seek(0)
            self._file.truncate(self._read(model))
        if self._file.seek(0, os.SEEK_END) == 0:
            self._write(header(self._kind))

    def _read(self, model: str) -> int:
        """Where the last whole row ends."""
        keys, end, content = array.array("Q"), 0, self.part
        with content.open("rb") as file:
            start = file.read(1)
            if start and (start == b"{") != (self._kind == "jsonl"):
                raise self._error(f"rows in the format {self._kind}", "the other one")
            file.seek(0)
            for number, place, row in scan(file, content):
                if row is None:
                    if next(file, b"").strip():
                        raise InputError(file=f"{content}, line {number}", expected="a row", found="something else")
                    break
                if row.model != model:
                    raise self._error(f"rows of the model {model}", f"rows of {row.model}")
                keys.append(int(_key(row.path)))
                end = place
        self._held, self.rows = np.sort(np.array(keys, np.uint64)), len(keys)
        return end

    def _write(self, data: bytes) -> None:
        try:
            while data:
                data = data[self._file.write(data) or 0 :]
        except OSError as error:
            raise OSError(error.errno, error.strerror, self._named) from error

    def _error(self, expected: str, found: str, hint: str = "") -> InputError:
        return InputError(field="output", value=self._named, expected=expected, found=found, hint=hint)


def _key(path: str) -> np.uint64:
    """A digest of a path. A million of them take 8 MB; two of a million are equal once in tens of millions of files."""
    return np.frombuffer(hashlib.blake2b(os.fsencode(path), digest_size=8).digest(), np.uint64)[0]
