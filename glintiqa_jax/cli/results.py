"""Results, on stdout: a line at a time, and clear errors where they cannot be written."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Mapping
from typing import Any

from tqdm import tqdm

from glintiqa_jax.errors import visible

_NAME = "standard output"  # the file that an error of writing the results names


def result(line: str) -> None:
    """Print a line of the results, above any progress bar, and flush it, so that a pipe's reader gets it at once."""
    try:
        tqdm.write(visible(line), file=sys.stdout)
        sys.stdout.flush()
    except OSError as error:
        raise OSError(error.errno, error.strerror, _NAME) from error


def result_bytes(data: bytes) -> None:
    """Write bytes of the results, such as file names that are no text, above any progress bar, and flush them."""
    try:
        with tqdm.external_write_mode(file=sys.stdout):
            sys.stdout.flush()
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
    except OSError as error:
        raise OSError(error.errno, error.strerror, _NAME) from error


def print_metrics(results: Mapping[str, Any]) -> None:
    """One line per split: ``test: SROCC 0.7123  PLCC ...  (500 images)``."""
    from glintiqa_jax.evaluation.metrics import result_line  # SciPy, after the flags

    for name, metrics in results.items():
        if isinstance(metrics, Mapping):
            result(f"{name:>10}:  {result_line(metrics)}")


def flush_results() -> None:
    """Flush stdout; when that fails, nothing more is written."""
    try:
        sys.stdout.flush()
    except OSError as error:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
        raise OSError(error.errno, error.strerror, _NAME) from error


def is_unread(error: Exception) -> bool:
    """Whether an error says that the results go to a pipe whose other end is closed, and not a worker's pipe."""
    if not isinstance(error, BrokenPipeError) or error.filename == _NAME:
        return isinstance(error, BrokenPipeError)
    ready = select.poll()
    try:
        ready.register(sys.stdout.fileno(), 0)
    except (OSError, ValueError):
        return False
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in ready.poll(0))
