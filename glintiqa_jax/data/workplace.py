"""A temporary folder beside the target of a result, so that the result is complete or absent."""

from __future__ import annotations

import contextlib
import fcntl
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

_PREFIX, _LOCK = ".partial-", ".at-work"


@contextlib.contextmanager
def workplace(folder: Path) -> Iterator[Path]:
    """A new folder in ``folder``, removed at the end of the block, with those that killed processes left.

    Raises:
      OSError: when ``folder`` cannot be made or written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob(f"{_PREFIX}*/{_LOCK}"):
        with contextlib.suppress(OSError), left.open("rb") as lock:  # held by who is at work
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(left.parent, ignore_errors=True)
    with contextlib.ExitStack() as stack:
        while True:
            work = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=folder))
            ours = stack.enter_context((work / _LOCK).open("wb"))
            with contextlib.suppress(OSError):  # of file systems without locks
                fcntl.flock(ours, fcntl.LOCK_EX)
            if (work / _LOCK).exists():  # not taken for a killed one's, just before it was locked
                break
        stack.callback(shutil.rmtree, work, ignore_errors=True)
        yield work
