"""The provenance of a result: the command, the commit, the libraries, the device."""

from __future__ import annotations

import subprocess
from pathlib import Path

import jax

from glintiqa_jax.evaluation.report import Provenance
from glintiqa_jax.training.description import library_versions

_PACKAGE = Path(__file__).resolve().parents[1]


def provenance(command: str = "") -> Provenance:
    """Of this process; the command is empty where none was run, as in a notebook."""
    device = jax.devices()[0]
    rows = [
        ("commit", commit() or "none: not run from a checkout"),
        ("libraries", ", ".join(f"{name} {version}" for name, version in library_versions().items())),
        ("devices", f"{jax.device_count()} x {device.device_kind} ({device.platform})"),
    ]
    return Provenance(rows, command)


def commit() -> str:
    """The commit that this package was run from, and whether it was changed since; empty where it is no checkout."""
    try:
        _git("ls-files", "--error-unmatch", "version.py")
        changed = " with uncommitted changes" if _git("status", "--porcelain", "--untracked-files=no", ".") else ""
        return _git("rev-parse", "HEAD") + changed
    except (OSError, subprocess.CalledProcessError):
        return ""


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(_PACKAGE), *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()
