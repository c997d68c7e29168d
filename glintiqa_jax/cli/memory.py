"""Memory in huge pages, for jobs that train on CPUs."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

_ON_DEMAND = Path("/sys/kernel/mm/transparent_hugepage/enabled")
_GLIBC = (2, 35)  # the first that knows the setting
SETTING = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}


def restart_with_huge_pages() -> None:
    """Start this process over with memory in huge pages, where Linux gives them to those who ask.

    XLA's CPU backend takes the memory of a training step from the system at each step, page by page: half a million
    small ones for the paper's network. In huge ones a step takes 8 % less time, of a light network 20 %. The C library
    reads its settings when a process starts. Nothing happens where it has settings already.
    """
    if "GLIBC_TUNABLES" in os.environ or not _helps() or sys.argv[0] in ("", "-", "-c"):
        return
    os.environ.update(SETTING)
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _helps() -> bool:
    with contextlib.suppress(ValueError, OSError):
        name, _, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
        knows = name == "glibc" and tuple(map(int, version.split(".")[:2])) >= _GLIBC
        return knows and "[madvise]" in _ON_DEMAND.read_text(encoding="ascii")
    return False
