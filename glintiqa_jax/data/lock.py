"""A folder for one run at a time, whatever ended the one before."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from glintiqa_jax.errors import InputError

_FILE = ".lock"
_BEAT = 15  # seconds between two heartbeats
_SILENT = 90  # seconds after which a run of another machine counts as ended


@contextlib.contextmanager
def sole_user(folder: Path, field: str) -> Iterator[None]:
    """Lock a folder against other runs until the end of the block; it is created if needed.

    The kernel releases the lock of a killed process. Where a file system's locks do not reach other machines, or where
    it has none, the file's content and its time tell whether its owner is alive.

    Args:
      folder: of a local or shared file system.
      field: the setting or argument, such as ``workdir``.

    Raises:
      InputError: another run holds it, which is named, or the folder cannot be created.
    """
    try:
        if folder.exists() and not folder.is_dir():
            raise InputError(field=field, value=folder, expected="a folder", found="a file")
        made = _make(folder)
        file = _locked(folder / _FILE, field)
    except OSError as error:
        raise InputError(f"cannot be written ({error.strerror})", field=field, value=folder) from error
    released = threading.Event()
    beat = threading.Thread(target=_beat, args=(folder / _FILE, released), daemon=True)
    try:
        _write(file, _this_process())
        beat.start()
        yield
    finally:
        released.set()
        with contextlib.suppress(OSError):
            (folder / _FILE).unlink()
        os.close(file)
        with contextlib.suppress(OSError):  # what was made for a run that was refused, and holds nothing
            for path in made:
                path.rmdir()


def _make(folder: Path) -> list[Path]:
    """Create a folder; returns what was created, it and its parents, the deepest first."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    return missing


def _locked(path: Path, field: str) -> int:
    """A descriptor of the lock's file, once this process holds it."""
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            kernel = _lock(file)
            owner = _read(file)
            if kernel is False or _lives(owner, path, trusted=kernel is True):
                raise InputError(
                    field=field,
                    value=path.parent,
                    expected="a folder that no run works in",
                    found=f"{_described(owner)} at work there",
                    hint=f"wait for it, or give another folder (where it is long gone, remove {path})",
                )
            if path.exists() and os.path.samestat(os.fstat(file), path.stat()):
                return file
        except BaseException:
            os.close(file)
            raise
        os.close(file)  # its owner has just removed it


def _lock(file: int) -> bool | None:
    """Whether the kernel grants the lock; None if the file system has no locks."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        if error.errno in (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK, errno.EINVAL):
            return None
        raise
    return True


def _lives(owner: dict[str, Any], path: Path, *, trusted: bool) -> bool:
    """Whether the process that wrote a lock may be alive, though the kernel does not say so."""
    if not owner:
        return False
    if owner["host"] == socket.gethostname():
        return not trusted and owner["pid"] != os.getpid() and _started(owner["pid"]) == owner["started"]
    return _age(path) < _SILENT


def _age(path: Path) -> float:
    """Seconds since a file's time, by the clock of its file system."""
    probe = path.with_name(f"{path.name}.{socket.gethostname()}.{os.getpid()}")
    probe.touch()
    try:
        return probe.stat().st_mtime - path.stat().st_mtime
    finally:
        probe.unlink()


def _beat(path: Path, released: threading.Event) -> None:
    while not released.wait(_BEAT):
        with contextlib.suppress(OSError):
            os.utime(path)


def _this_process() -> dict[str, Any]:
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "started": _started(os.getpid()),
        "since": time.strftime("%Y-%m-%d %H:%M:%S"),
        "command": Path(sys.argv[0]).name,
    }


def _started(pid: int) -> str | None:
    """When a process was started, by the kernel's clock; None where there is none, so that a number is not taken for
    the process that had it before."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return fields[19]
    except (OSError, IndexError):
        pass
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except OSError:
        pass
    return "unknown"  # no /proc, as on macOS


def _read(file: int) -> dict[str, Any]:
    """What the owner wrote about itself; empty if it has not written it, or only in part."""
    try:
        content = json.loads(os.pread(file, 4096, 0))
        return content if isinstance(content, dict) and content.keys() >= {"host", "pid", "started"} else {}
    except ValueError:
        return {}


def _write(file: int, content: dict[str, Any]) -> None:
    os.ftruncate(file, 0)
    os.pwrite(file, json.dumps(content).encode(), 0)


def _described(owner: dict[str, Any]) -> str:
    if not owner:
        return "another run"
    return f"process {owner['pid']} of {owner['host']} ({owner.get('command')}, since {owner.get('since')})"
