"""Pillow opened so that nothing of the process changes: without its own limit and its warnings, which are global."""

from __future__ import annotations

import contextlib
import re
import struct
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path, PurePath
from typing import BinaryIO

from PIL import Image, ImageFile

# Photographs' usual endings: such a file is an image, a damaged one, too. Anything else is looked into.
_USUAL = re.compile(r"\.(avif|bmp|dib|gif|hei[cf]|jfif|jp2|jpe|jpe?g|p[bgnp]m|png|tiff?|webp)", re.IGNORECASE)
# Pillow opens these but cannot load them, or with a program or library that is not its own.
_NOT_LOADED = frozenset({"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"})
_FIRST = ("JPEG", "PNG", "BMP", "DIB", "GIF", "PPM", "TIFF", "WEBP")
_PREFIX = 16  # bytes that tell a format


class UnknownFormatError(Exception):
    """Bytes that begin like no image that Pillow knows."""


def open_image(file: BinaryIO, name: str = "") -> ImageFile.ImageFile:
    """As ``Image.open``: the header is read, pixels are read by ``load()``.

    ``Image.open`` refuses large photographs as an attack, by a limit that holds for the whole process; here the caller
    looks at ``size`` before it loads.

    Args:
      file: at its start.
      name: its ending is a hint for the formats that do not tell by their first bytes.

    Raises:
      UnknownFormatError: when it is no image.
      Exception: whatever Pillow's parsers raise of a damaged header.
    """
    problems: list[str] = []
    for formats in (_formats(has_signature=True), _by_ending(name), _formats(has_signature=False)):
        if (opened := _recognised(file, formats, problems)) is not None:
            return opened
    raise UnknownFormatError(problems[0] if problems else "its first bytes are of no format that Pillow reads")


def is_called_image(name: str) -> bool:
    """Whether a file's name ends as photographs' usually do."""
    return _USUAL.fullmatch(PurePath(name).suffix) is not None


def is_image(path: Path) -> bool:
    """Whether Pillow loads a file, by its usual ending or else by its header; ``OSError`` where it cannot be read."""
    if is_called_image(path.name):
        return True
    with path.open("rb") as file, warnings_ignored():
        file.read(1)
        try:
            return _recognised(file, [*_formats(has_signature=True), *_by_ending(path.name)], []) is not None
        except Exception:  # of what is no image, parsers raise whatever they trip over
            return False


def _recognised(file: BinaryIO, formats: list[str], problems: list[str]) -> ImageFile.ImageFile | None:
    """The file as the first of the formats that takes it; ``problems`` gets what those found that only began to."""
    file.seek(0)
    prefix = file.read(_PREFIX)
    for name in formats:
        factory, accept = Image.OPEN[name]
        accepted = accept is None or accept(prefix)
        if isinstance(accepted, str):  # what Pillow was built without
            problems.append(accepted)
        elif accepted:
            file.seek(0)
            try:
                return factory(file, "")
            except (SyntaxError, IndexError, TypeError, struct.error) as error:
                if accept is not None:
                    problems.append(f"{name}: {error}")
    return None


def _formats(*, has_signature: bool) -> list[str]:
    """Pillow's formats that can be loaded, by whether their first bytes tell them."""
    Image.init()
    names = [*_FIRST, *(name for name in Image.ID if name not in _FIRST)]
    return [n for n in names if n not in _NOT_LOADED and n in Image.OPEN and bool(Image.OPEN[n][1]) == has_signature]


def _by_ending(name: str) -> list[str]:
    Image.init()
    found = Image.EXTENSION.get(PurePath(name).suffix.lower(), "")
    return [found] if found in Image.OPEN and found not in _NOT_LOADED else []


class _WhileUsed:
    """A change of the process that holds while any thread is inside, and no longer."""

    def __init__(self, begin: Callable[[], Callable[[], None]]):
        self._begin, self._lock, self._inside = begin, threading.Lock(), 0
        self._end: Callable[[], None] = lambda: None

    @contextlib.contextmanager
    def __call__(self) -> Iterator[None]:
        with self._lock:
            if not self._inside:
                self._end = self._begin()
            self._inside += 1
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
                if not self._inside:
                    self._end()


def _ignore() -> Callable[[], None]:
    warnings.filterwarnings("ignore", module=r"PIL\.")
    warnings.filterwarnings("ignore", message=".*will be removed in Pillow")  # which names who calls Pillow: us
    ours = warnings.filters[:2]

    def end() -> None:
        for one in ours:
            while one in warnings.filters:  # of another thread's catch_warnings, too, which copies them
                warnings.filters.remove(one)  # type: ignore[attr-defined]

    return end


def _lift() -> Callable[[], None]:
    limit = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = None

    def end() -> None:
        Image.MAX_IMAGE_PIXELS = limit

    return end


# Pillow warns about metadata that it cannot read. ``warnings.catch_warnings`` is not made for several threads.
warnings_ignored = _WhileUsed(_ignore)
# WebP and TIFF ask for Pillow's own limit, however they are opened.
limit_lifted = _WhileUsed(_lift)
