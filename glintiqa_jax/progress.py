"""Progress, messages and warnings of long work, on stderr. Results are returned, not printed.

All of them go through a ``Log``, which the caller may choose. In worker processes, warnings go to ``LOGGER`` instead.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

from tqdm import tqdm

from glintiqa_jax.errors import visible

LOGGER = logging.getLogger("glintiqa_jax")
"""At level INFO, messages are shown even where stderr is not a terminal."""


class Log(Protocol):
    """Where messages go."""

    def say(self, line: str) -> None:
        """A message, for a person who is watching."""

    def warn(self, line: str) -> None:
        """A warning, which is always shown."""

    def tell(self, line: str) -> None:
        """A warning if the line begins with "warning:", else a message."""

    def progress(self, iterable: Iterable | None = None, *, hidden: bool = False, **options: Any) -> tqdm:
        """A bar with rate and time left.

        Args:
          iterable: counted as it is consumed; None where the caller calls ``update``.
          hidden: show no bar.
          options: tqdm's own, such as ``total``, ``desc``, ``unit`` and ``leave``.
        """
        ...


class Terminal:
    """A ``Log`` on stderr. When stderr is redirected, it shows warnings only."""

    def tell(self, line: str) -> None:
        (self.warn if line.startswith("warning:") else self.say)(line)

    def say(self, line: str) -> None:
        if _is_watched() or LOGGER.isEnabledFor(logging.INFO):
            tqdm.write(visible(line), file=sys.stderr)

    def warn(self, line: str) -> None:
        tqdm.write(visible(line), file=sys.stderr)

    def progress(self, iterable: Iterable | None = None, *, hidden: bool = False, **options: Any) -> tqdm:
        return tqdm(iterable, disable=hidden or not _is_watched(), file=sys.stderr, **options)


class Silent:
    """A ``Log`` that shows nothing."""

    def tell(self, line: str) -> None:
        pass

    def say(self, line: str) -> None:
        pass

    def warn(self, line: str) -> None:
        pass

    def progress(self, iterable: Iterable | None = None, *, hidden: bool = False, **options: Any) -> tqdm:
        return tqdm(iterable, disable=True, **options)


TERMINAL, SILENT = Terminal(), Silent()
# For functions that are not handed a log.
say, warn, progress_bar = TERMINAL.say, TERMINAL.warn, TERMINAL.progress


@contextlib.contextmanager
def quiet(*loggers: str, level: int = logging.ERROR) -> Iterator[None]:
    """Of other libraries, by the names of their loggers, messages below a level are not heard inside the block."""
    levels = {logger: logger.level for logger in map(logging.getLogger, loggers)}
    for logger in levels:
        logger.setLevel(level)
    try:
        yield
    finally:
        for logger, before in levels.items():
            logger.setLevel(before)


def _is_watched() -> bool:
    """Whether stderr is a terminal or a notebook's cell."""
    return sys.stderr.isatty() or type(sys.stderr).__module__.startswith("ipykernel")
