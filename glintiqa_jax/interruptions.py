"""What ends a run from outside: signals, and a disk that is full."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from glintiqa_jax.errors import UserError


@contextlib.contextmanager
def noticing_a_full_disk(workdir: Path) -> Iterator[None]:
    """A full disk is one clear error, a ``UserError`` that names the file."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if not (full := _full_disk(error)):
            raise
        where, room = f"--workdir={workdir}", ""
        if isinstance(full, OSError) and full.filename:
            where, room = str(full.filename), f" ({full.strerror})"
        raise UserError(
            f"{where}: the disk is full{room}; what was saved before is whole, and with some room the same command "
            "goes on from there"
        ) from error


def _full_disk(error: BaseException | None) -> BaseException | None:
    """What says so, of an error and those that it came from: where a disk is full, closing files fails as well."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return error
        if any(os.strerror(number) in str(error) for number in (errno.ENOSPC, errno.EDQUOT)):
            return error  # TensorStore's errors are text
        error = error.__cause__ or error.__context__
    return None


@contextlib.contextmanager
def stop_on_signals() -> Iterator[threading.Event]:
    """An event that the first SIGINT or SIGTERM sets; the second acts at once."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def on_signal(number: int, frame: Any) -> None:
        stop.set()
        signal.signal(number, before[signal.Signals(number)])

    for number in before:
        signal.signal(number, on_signal)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
