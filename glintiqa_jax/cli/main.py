"""``glintiqa JOB ...``: finds the job, and runs it. Importing this costs nothing, and ``glintiqa --help`` little."""

from __future__ import annotations

import ast
import difflib
import functools
import importlib
import os
import pkgutil
import shlex
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from glintiqa_jax.cli import jobs
from glintiqa_jax.cli.memory import restart_with_huge_pages
from glintiqa_jax.version import __version__

_TRAINING = ("ablations", "cross_dataset", "run_rounds", "train")
JOBS = tuple(sorted(module.name for module in pkgutil.iter_modules(jobs.__path__)))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run ``glintiqa`` with arguments.

    Args:
      arguments: the job's name and what follows it; those of the process, which then ends with the job, when None.

    Raises:
      SystemExit: with the exit code, where it is not 0.
    """
    name, *rest = (sys.argv[1:] if arguments is None else arguments) or [""]
    job = name.replace("-", "_")
    if job in JOBS:
        _run(job, rest, ["glintiqa", name, *rest], ends_process=arguments is None)
    elif name in ("--help", "-h", "help"):
        _print(_help())
    elif name == "--version":
        _print(f"glintiqa {__version__}")
    else:
        near = difflib.get_close_matches(job, JOBS, n=1)
        found = f"error: expected a job, found {name!r}" if name else "error: expected a job, found nothing"
        print(
            f"{found}; did you mean {near[0]}?" if near else f"{found}; `glintiqa --help` lists them", file=sys.stderr
        )
        sys.exit(2)


def script(job: str) -> None:
    """Run a job as ``python experiments/JOB.py``, with the arguments of the process."""
    _run(job, sys.argv[1:], ["python", *sys.argv], ends_process=True)


def _run(job: str, arguments: Sequence[str], command: Sequence[str], *, ends_process: bool) -> None:
    if ends_process and job in _TRAINING:
        restart_with_huge_pages()
    from glintiqa_jax.cli.run import run

    load: Any = functools.partial(importlib.import_module, f"{jobs.__name__}.{job}")
    run(load, arguments, shlex.join(command), ends_process=ends_process)


def _print(text: str) -> None:
    try:
        print(text, flush=True)
    except BrokenPipeError:  # as after `| head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + signal.SIGPIPE)


def _help() -> str:
    width = max(map(len, JOBS))
    lines = [f"  {job:{width}}  {_title(job)}" for job in JOBS]
    return "\n".join(
        [
            "How good does an image look, with no reference to compare it to? GlintIQA in JAX.",
            "",
            "glintiqa JOB --flag=value ...",
            "",
            *lines,
            "",
            "glintiqa JOB --help lists a job's flags.",
        ]
    )


def _title(job: str) -> str:
    """The first line of a job's documentation, without importing it."""
    text = Path(jobs.__path__[0], f"{job}.py").read_text(encoding="utf-8")
    return (ast.get_docstring(ast.parse(text)) or "").partition("\n")[0]
