"""Encoded image bytes to RGB pixels: one function for training, evaluation and scoring, so that scores agree."""

from __future__ import annotations

import contextlib
import io
import types
from collections.abc import Mapping

import numpy as np
from PIL import Image

from glintiqa_jax.data.mending import is_padded, mended
from glintiqa_jax.data.pillow import limit_lifted, open_image, warnings_ignored
from glintiqa_jax.data.pixels import BadImageError as BadImageError
from glintiqa_jax.data.pixels import from_pillow
from glintiqa_jax.errors import visible

BAD_IMAGE_POLICIES = ("fail", "skip")
MAX_PIXELS = 2**29  # of one image: 1.5 GB as RGB, more than twice a 200-megapixel photograph
_HEIF_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"})
_NEW_SUBFILE_TYPE, _DNG_VERSION = 254, 50706  # tags of a TIFF
_ANIMATED = frozenset({"AVIF", "FLI", "GIF", "PNG", "TIFF", "WEBP"})  # not MPO, whose others are no other moments
_NOTHING: Mapping[str, bytes] = types.MappingProxyType({})


def decode_image(
    encoded: bytes, name: str, *, max_pixels: int = MAX_PIXELS, notes: list[str] | None = None
) -> np.ndarray:
    """Decode with Pillow into uint8 RGB ``(height, width, 3)`` as a viewer would show it.

    ``pixels.py`` has a table of what becomes of each kind of image. Broken metadata or a missing end marker of a JPEG
    are ignored; a truncated file is refused.

    Args:
      encoded: the file's bytes.
      name: what errors call the image; its ending is a hint for formats without a signature.
      max_pixels: the largest width times height that is decoded; 0 is no limit.
      notes: gets what of the file the pixels do not show, as "alpha over white" and "the first of 12 frames".

    Raises:
      BadImageError: when Pillow cannot decode the bytes, or the image is larger; ``name`` is in the message.
    """

    def decode(content: bytes, info: Mapping[str, bytes] = _NOTHING) -> np.ndarray:
        with _opened(content, name) as image:
            width, height = image.size
            if max_pixels and width * height > max_pixels:
                raise BadImageError(
                    file=visible(name),
                    expected=f"at most {max_pixels:,} pixels (max_pixels)",
                    found=f"{width:,}x{height:,}",
                )
            if image.format == "TIFF" and _is_camera_raw(content, image):
                raise BadImageError("camera raw, of which only a preview could be decoded", file=visible(name))
            image.info.update(info)
            frames = getattr(image, "n_frames", 1) if image.format in _ANIMATED and notes is not None else 1
            image.load()
            pixels = from_pillow(image, notes)
            if notes is not None and frames > 1:
                notes.append(f"the first of {frames} frames")
            return pixels

    with warnings_ignored():
        try:
            try:
                if not is_padded(encoded):
                    return decode(encoded)
                if (pixels := mended(encoded, decode)) is not None:
                    return pixels
                raise ValueError("its end is missing, zeros take its place")
            except Image.DecompressionBombError:
                with limit_lifted():
                    return decode(encoded)
        except (MemoryError, BadImageError):
            raise
        except Exception as error:  # of a damaged file, Pillow's parsers raise whatever they trip over
            with contextlib.suppress(Exception):
                if (pixels := mended(encoded, decode)) is not None:
                    return pixels
            why = visible(error) if encoded else "the file is empty"
            raise BadImageError(f"not an image that can be decoded ({why})", file=visible(name)) from error


def _is_camera_raw(encoded: bytes, image: Image.Image) -> bool:
    """Whether a TIFF's first image is only a thumbnail, as in DNG, NEF, ARW and CR2."""
    tags = image.tag_v2  # type: ignore[attr-defined]
    kind = tags.get(_NEW_SUBFILE_TYPE, 0)
    return _DNG_VERSION in tags or encoded[8:10] == b"CR" or (isinstance(kind, int) and bool(kind & 1))


def _opened(encoded: bytes, name: str) -> Image.Image:
    if encoded[4:8] == b"ftyp" and encoded[8:12] in _HEIF_BRANDS and b"avif" not in encoded[12:64]:
        try:
            import pillow_heif
        except ImportError as error:
            raise ValueError("HEIC, for which Pillow needs a package more: pip install pillow-heif") from error
        return pillow_heif.open_heif(io.BytesIO(encoded)).to_pillow()
    return open_image(io.BytesIO(encoded), name)


def limit_short_side(image: np.ndarray, limit: int) -> np.ndarray:
    """Shrink uint8 ``(height, width, 3)`` so that its shorter side is at most ``limit`` pixels; 0 is no limit.

    Images are never enlarged, so detail is never invented.
    """
    height, width = image.shape[:2]
    return resized(image, limited_size(height, width, limit))


def limit_long_side(image: np.ndarray, limit: int) -> np.ndarray:
    """Shrink uint8 ``(height, width, 3)`` so that its longer side is at most ``limit`` pixels; 0 is no limit."""
    height, width = image.shape[:2]
    return resized(image, limited_long_size(height, width, limit))


def resized(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """An image resized by Pillow's antialiased bicubic, as everywhere; itself if it has the size.

    Args:
      image: uint8 ``(height, width, 3)``, or float32 ``(height, width)``.
      size: height and width.
    """
    if image.shape[:2] == tuple(size):
        return image
    return np.asarray(Image.fromarray(image).resize(size[::-1], Image.Resampling.BICUBIC))


def limited_long_size(height: int, width: int, limit: int) -> tuple[int, int]:
    """The (height, width) that ``limit_long_side`` gives an image of this size."""
    if limit == 0 or max(height, width) <= limit:
        return height, width
    scale = limit / max(height, width)
    return max(round(height * scale), 1), max(round(width * scale), 1)


def limited_size(height: int, width: int, limit: int) -> tuple[int, int]:
    """The (height, width) that ``limit_short_side`` gives an image of this size."""
    if limit == 0 or min(height, width) <= limit:
        return height, width
    scale = limit / min(height, width)
    return max(round(height * scale), limit), max(round(width * scale), limit)


def encode_png(image: np.ndarray) -> bytes:
    """Lossless bytes of a uint8 ``(height, width, 3)`` image."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
