"""What a person hears of long work, on stderr: progress bars, messages and warnings. Results alone go to stdout."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from absl import logging
from tqdm import tqdm


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
        tqdm.write(line, file=sys.stderr)


def warn(line: str) -> None:
    """Tell what has to be heard, wherever stderr goes."""
    tqdm.write(line, file=sys.stderr)
