"""Output that is complete or absent: regular files, pipes, devices, and the targets of links."""

from __future__ import annotations

import contextlib
import csv
import errno
import fcntl
import hashlib
import io
import itertools
import json
import os
import re
import secrets
import shutil
import stat
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, overload

from glintiqa_jax.data.paths import local_path
from glintiqa_jax.errors import InputError, encoded

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PARTIAL = ".partial-"


class Output:
    """A target for a result, opened at once; a context that puts the result there at its end, or nothing after an
    error.

    A regular file is written under a temporary name beside it, then renamed, with the permissions of the file that it
    replaces. Of a symbolic link the target is replaced. A pipe, a device and a descriptor such as ``/dev/stdout`` are
    written through. Of two outputs of one name, the one that ends last stays, complete; the remains of a killed one are
    removed by the next.

    Args:
      path: a file, which need not exist, in an existing folder.

    Attributes:
      file: what to write to, binary.

    Raises:
      OSError: for a folder, a disk, and what cannot be written.
    """

    def __init__(self, path: str | os.PathLike):
        self._named = os.fspath(path)
        self._target: Path | None = None  # of a regular file alone, beside which the temporary one is
        self._temporary = Path()
        if not self._named:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), "")
        if (number := descriptor(self._named)) is not None:
            if fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
                raise OSError(errno.EBADF, "not open for writing", self._named)
            self.file = os.fdopen(os.dup(number), "wb")
            return
        try:
            found = Path(self._named).stat()
        except FileNotFoundError:
            found = None
        if self._named.endswith(os.sep) or (found and stat.S_ISDIR(found.st_mode)):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), self._named)
        if found and stat.S_ISBLK(found.st_mode):
            raise PermissionError(errno.EPERM, "a disk, which would be overwritten", self._named)
        if found and not stat.S_ISREG(found.st_mode):
            self.file = os.fdopen(os.open(self._named, os.O_WRONLY), "wb")
            return
        target = Path(os.path.realpath(self._named))
        if found:
            os.close(os.open(target, os.O_WRONLY))  # refused where the file is protected, though its folder is not
        self._temporary, number = _temporary_beside(target)
        if found:
            with contextlib.suppress(OSError):
                os.fchown(number, found.st_uid, found.st_gid)
            with contextlib.suppress(OSError):
                os.fchmod(number, stat.S_IMODE(found.st_mode))
        self._target = target
        self.file = os.fdopen(number, "wb")

    def __str__(self) -> str:
        return self._named

    def __enter__(self) -> Output:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if error is None:
            self.keep()
        else:
            self.discard()

    def write(self, data: bytes | memoryview) -> None:
        """Write without buffering; an error names the output."""
        with self.named():
            self.file.write(data)
            self.file.flush()

    @contextlib.contextmanager
    def named(self) -> Iterator[None]:
        """An error of writing names the output."""
        try:
            yield
        except OSError as error:
            raise OSError(error.errno, error.strerror, self._named) from error

    def keep(self) -> None:
        """Put the written file in its place; nothing can be written afterwards."""
        if self.file.closed:
            return
        try:
            with self.named():
                lock = os.dup(self.file.fileno())  # until it is renamed, it is not a killed one's
                try:
                    self.file.close()
                    if self._target is not None:
                        _move(self._temporary, self._target)
                finally:
                    os.close(lock)
        except BaseException:
            self.discard()
            raise

    def discard(self) -> None:
        """Discard what was written, where possible; a file that was there stays as it was."""
        with contextlib.suppress(OSError):
            self.file.close()
        if self._target is not None:
            with contextlib.suppress(OSError):
                self._temporary.unlink()


@overload
def open_output(field: str, value: None, *, inputs: Iterable[str | os.PathLike] = ()) -> contextlib.nullcontext: ...


@overload
def open_output(field: str, value: str | os.PathLike, *, inputs: Iterable[str | os.PathLike] = ()) -> Output: ...


def open_output(
    field: str, value: str | os.PathLike | None, *, inputs: Iterable[str | os.PathLike] = ()
) -> Output | contextlib.nullcontext:
    """The user's ``Output``, opened before the work; without a value, a context of None.

    Args:
      field: the setting's or the argument's name.
      value: a path as a user gives it.
      inputs: files that are read; the output must not be one of them.

    Raises:
      InputError: a target that cannot be written, or is one of the inputs.
    """
    if value is None:
        return contextlib.nullcontext()
    text = os.fspath(value)
    if not text:
        raise InputError(field=field, expected="a file to write", found="nothing")
    path = os.fspath(local_path(field, text)) + (os.sep if text.endswith(os.sep) else "")
    if lost := next((one for one in inputs if _is_same(path, one)), None):
        raise InputError(field=field, value=text, expected="another file than what is read", found=lost)
    try:
        return Output(path)
    except IsADirectoryError as error:
        raise InputError(field=field, value=text, expected="a file", found="a folder") from error
    except (FileNotFoundError, NotADirectoryError) as error:
        found = f"no folder {Path(error.filename or path).parent}"
        raise InputError(field=field, value=text, expected="a file in an existing folder", found=found) from error
    except OSError as error:
        raise InputError(f"cannot be written ({error.strerror})", field=field, value=text) from error


def descriptor(path: str) -> int | None:
    """The descriptor behind ``/dev/stdout``, ``/dev/fd/63`` and links to them; None for any other path."""
    link = Path(path)
    for _ in range(40):  # links at most, as Linux follows
        if re.fullmatch("[0-9]+", link.name) and os.path.realpath(link.parent) == os.path.realpath("/dev/fd"):
            return int(link.name)
        if not link.is_symlink():
            return None
        link = link.parent / link.readlink()
    return None


def write_text(target: Path | Output, text: str) -> None:
    """Write a text file in UTF-8."""
    with _output(target) as output:
        output.write(encoded(text))


def save_figure(figure: Figure, target: Path | Output) -> None:
    """Write a Matplotlib figure as PNG."""
    picture = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # a name in letters that the font lacks
        figure.savefig(picture, format="png", dpi=120)
    with _output(target) as output:
        output.write(picture.getbuffer())


def write_json(target: Path | Output, content: object) -> None:
    """Write indented JSON."""
    write_text(target, json.dumps(content, indent=2) + "\n")


def write_csv(target: Path | Output, columns: Sequence[str], rows: Iterable[Sequence]) -> None:
    """Write a CSV file with a header, in UTF-8, each row as it comes."""
    with _output(target) as output:
        for row in itertools.chain([columns], rows):
            line = io.StringIO(newline="")
            csv.writer(line).writerow(row)
            output.write(encoded(line.getvalue()))


@contextlib.contextmanager
def _output(target: Path | Output) -> Iterator[Output]:
    if isinstance(target, Output):
        yield target
    else:
        with Output(target) as output:
            yield output


def _temporary_beside(target: Path) -> tuple[Path, int]:
    """A new file beside another, open and locked; files that killed processes left are removed."""
    # not with the name itself, which may be as long as a name can be
    start = f"{_PARTIAL}{hashlib.sha256(os.fsencode(target.name)).hexdigest()[:12]}-"
    while True:
        path = target.parent / (start + secrets.token_hex(4))
        number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        with contextlib.suppress(OSError):  # some network disks have no locks: nobody removes anything there
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with contextlib.suppress(FileNotFoundError):  # removed by another, just before it was locked
            if os.path.samestat(path.stat(), os.fstat(number)):
                break
        os.close(number)
    with contextlib.suppress(OSError), os.scandir(target.parent) as entries:
        for left in [Path(entry.path) for entry in entries if entry.name.startswith(start)]:
            _remove_unlocked(left)
    return path, number


def _remove_unlocked(path: Path) -> None:
    with contextlib.suppress(OSError):
        number = os.open(path, os.O_WRONLY)
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
        finally:
            os.close(number)


def _move(temporary: Path, target: Path) -> None:
    try:
        temporary.replace(target)
    except OSError as error:
        # a file that is mounted, as containers have them, or in a folder where only its owner may replace it
        if error.errno not in (errno.EBUSY, errno.EPERM, errno.EACCES, errno.EXDEV):
            raise
        shutil.copyfile(temporary, target)
        temporary.unlink()


def _is_same(path: str, other: str | os.PathLike) -> bool:
    try:
        return Path(path).samefile(other)
    except OSError:
        return False
