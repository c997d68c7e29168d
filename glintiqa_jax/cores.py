"""A core for each of the threads with which XLA computes on CPUs, under Linux."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

_TASKS, _NAME = Path("/proc/self/task"), "tf_XLAEigen"


@contextlib.contextmanager
def core_each() -> Iterator[None]:
    """Each of XLA's threads has a core of its own inside (``spread_threads``), and its freedom back afterwards."""
    before = spread_threads()
    try:
        yield
    finally:
        for thread, cores in before.items():
            with contextlib.suppress(OSError):
                os.sched_setaffinity(thread, cores)


def spread_threads() -> dict[int, set[int]]:
    """Bind each of XLA's threads to a core of its own, and say where those that were not could run before, by thread.

    Left alone, Linux runs both threads of a machine of two cores on one of them, for seconds at a time, and a network
    takes up to twice as long. JAX's backend has to be initialised. Nothing happens on other systems, and where there
    are not as many threads as cores.
    """
    threads, before = _threads(), {}
    cores = sorted(os.sched_getaffinity(0)) if threads else []
    if len(threads) == len(cores) > 1:
        for thread, core in zip(threads, cores, strict=True):
            with contextlib.suppress(OSError):  # one that has ended
                allowed = os.sched_getaffinity(thread)
                os.sched_setaffinity(thread, {core})
                if len(allowed) > 1:
                    before[thread] = allowed
    return before


def _threads() -> list[int]:
    found = []
    with contextlib.suppress(OSError):
        for task in _TASKS.iterdir():
            with contextlib.suppress(OSError):  # one that has ended
                if (task / "comm").read_text(encoding="utf-8").strip() == _NAME:
                    found.append(int(task.name))
    return sorted(found)
