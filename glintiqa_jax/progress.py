"""What a person hears of long work, on stderr: progress bars, messages and warnings. Results alone go to stdout."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from absl import logging
from tqdm import tqdm

from glintiqa_jax.errors import visible

RESULTS = "standard output"
"""What an error of writing the results names as its file."""


def progress_bar(iterable: Iterable | None = None, *, hidden: bool = False, **options: Any) -> tqdm:
    """A bar with rate and time left, silent where stderr is no terminal: redirected, it would write thousands of lines.

    Args:
      iterable: what is counted as it is taken; none where ``update`` is called.
      hidden: show none at a terminal either.
      options: tqdm's own, such as ``total``, ``desc``, ``unit`` and ``leave``.
    """
    return tqdm(iterable, disable=True if hidden else None, file=sys.stderr, **options)


def say(line: str) -> None:
    """Tell the person at the terminal what happens, above any bar; elsewhere it is told with ``--verbosity=0`` only."""
    if sys.stderr.isatty() or logging.get_verbosity() >= logging.INFO:
        tqdm.write(visible(line), file=sys.stderr)


def warn(line: str) -> None:
    """Tell what has to be heard, wherever stderr goes."""
    tqdm.write(visible(line), file=sys.stderr)


def result(line: str) -> None:
    """Print a line of the results on stdout, above any bar and at once, so that who reads a pipe has it, too."""
    try:
        tqdm.write(visible(line), file=sys.stdout)
        sys.stdout.flush()
    except OSError as error:
        raise OSError(error.errno, error.strerror, RESULTS) from error
