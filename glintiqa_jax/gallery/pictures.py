"""The pictures of a gallery: thumbnails, previews and quality maps, each named by what it was made from."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import os
import stat
import threading
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import PIL.Image
from numpy.typing import NDArray
from PIL.PngImagePlugin import PngInfo

from glintiqa_jax.data.images import decode_image, limit_long_side
from glintiqa_jax.data.pixels import BadImageError

THUMB_SIDE, MAP_SIDE = 320, 512  # longer sides, in pixels
ENDINGS = {"thumbs": ".webp", "previews": ".jpg", "maps": ".png"}
PALETTE = ("#d73027", "#fc8d59", "#fee090", "#91bfdb", "#4575b4")
"""From the worst quality to the best: ColorBrewer's RdYlBu, which people who see no red or green tell apart."""
_REVISION = 1  # of how the pictures are made
_COLOURS = 64  # of a map
_LEAST_SPAN = 10.0  # percent that a map's colours span, so that nothing is made of no difference
_RANGE = "range"  # the entry of a map's file that says what its first and last colours mean


@dataclasses.dataclass(frozen=True)
class Picture:
    """A photograph's pictures: their name, or why there are none."""

    name: str = ""
    missing: str = ""


class Pictures:
    """Writes the pictures of photographs, except those that are there and whose photograph has not changed.

    Args:
      folder: the gallery's.
      work: for files that are not complete yet, on the same disk.
      preview_side: the longer side of previews in pixels; 0: none are made.
      max_pixels: the largest width times height of a photograph; 0: no limit.
    """

    def __init__(self, folder: Path, work: Path, preview_side: int, max_pixels: int):
        self._folder, self._work, self._side, self._max_pixels = folder, work, preview_side, max_pixels

    def of(self, path: str) -> Picture:
        """Thumbnail and preview of a photograph; may be called by several threads at once."""
        try:
            found = Path(path).stat()
            if not stat.S_ISREG(found.st_mode):
                return Picture(missing="not a file")
            name = _digest(os.fsencode(path), found.st_mtime_ns, found.st_size, self._side, _REVISION)
            wanted = ["thumbs", *["previews"] * bool(self._side)]
            if all(self.place(kind, name).exists() for kind in wanted):
                return Picture(name)
            pixels = decode_image(Path(path).read_bytes(), path, max_pixels=self._max_pixels)
        except FileNotFoundError:
            return Picture(missing="the file is gone")
        except OSError as error:
            return Picture(missing=error.strerror or "cannot be read")
        except BadImageError as error:
            return Picture(missing=error.problem or str(error))
        except (MemoryError, ValueError):  # a name that no file may have
            return Picture(missing="cannot be read")
        if self._side:
            pixels = limit_long_side(pixels, self._side)
            self._write("previews", name, _encoded(pixels, "JPEG", quality=90))
        self._write("thumbs", name, _encoded(limit_long_side(pixels, THUMB_SIDE), "WEBP", quality=75, method=0))
        return Picture(name)

    def place(self, kind: str, name: str) -> Path:
        """The file of one kind of ``ENDINGS``; a folder holds some hundredth of them."""
        return self._folder / kind / name[:2] / f"{name}{ENDINGS[kind]}"

    def map_name(self, picture: Picture, model: str | None) -> str:
        """The name of a photograph's map by a model."""
        return _digest(picture.name, model)

    def write_map(self, name: str, percent: NDArray[np.float32]) -> None:
        """Write a map of percent ``(height, width)`` in the palette's colours, its range beside them."""
        percent = np.clip(limit_long_side(percent, MAP_SIDE), 0, 100)
        low, high = float(percent.min()), float(percent.max())
        more = max(_LEAST_SPAN - (high - low), 0) / 2
        low, high = low - more, high + more
        share = np.rint((percent - low) / (high - low) * (_COLOURS - 1)).astype(np.uint8)
        picture = PIL.Image.fromarray(share).convert("P")
        picture.putpalette(_colours())
        info = PngInfo()
        info.add_text(_RANGE, f"{low:.1f},{high:.1f}")
        self._write("maps", name, _encoded(picture, "PNG", pnginfo=info, optimize=True))

    def map_range(self, name: str) -> list[float] | None:
        """What the first and last colours of a map mean, in percent; None where there is no map."""
        try:
            with PIL.Image.open(self.place("maps", name)) as picture:
                return [float(end) for end in picture.info[_RANGE].split(",")]
        except (OSError, KeyError, ValueError):
            return None

    def keep_only(self, kind: str, names: Iterable[int]) -> None:
        """Remove the pictures of photographs that are in the gallery no more.

        Args:
          kind: of ``ENDINGS``.
          names: those that stay, as ``number`` has them.
        """
        kept = np.unique(np.fromiter(names, np.uint64))
        for path in (self._folder / kind).glob(f"[0-9a-f][0-9a-f]/{'[0-9a-f]' * 16}{ENDINGS[kind]}"):
            one = np.uint64(number(path.stem))
            at = np.searchsorted(kept, one)
            if at == len(kept) or kept[at] != one:
                path.unlink(missing_ok=True)

    def _write(self, kind: str, name: str, content: bytes) -> None:
        partial, target = self._work / f"{name}-{threading.get_ident()}", self.place(kind, name)
        partial.write_bytes(content)
        target.parent.mkdir(parents=True, exist_ok=True)
        partial.replace(target)


def number(name: str) -> int:
    """A picture's name in eight bytes."""
    return int(name, 16)


def _digest(*facts: object) -> str:
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]


def _encoded(pixels: NDArray[np.uint8] | PIL.Image.Image, kind: str, **options: object) -> bytes:
    picture = pixels if isinstance(pixels, PIL.Image.Image) else PIL.Image.fromarray(pixels)
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def _colours() -> list[int]:
    """The palette as red, green and blue of each colour of a map."""
    stops = np.array([[int(text[at : at + 2], 16) for at in (1, 3, 5)] for text in PALETTE])
    places = np.linspace(0, 1, _COLOURS)
    channels = [np.interp(places, np.linspace(0, 1, len(stops)), stop) for stop in stops.T]
    return np.rint(np.stack(channels, 1)).astype(int).ravel().tolist()
