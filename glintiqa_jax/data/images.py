"""Encoded image bytes to RGB pixels: one function for training, evaluation and scoring, so that scores agree."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from glintiqa_jax.errors import UserError

IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".jp2", ".png", ".ppm", ".tif", ".tiff", ".webp"})
BAD_IMAGE_POLICIES = ("fail", "skip")


class BadImageError(UserError):
    """An image that cannot be used; the message names it and says why."""


def decode_image(encoded: bytes, name: str) -> np.ndarray:
    """Decode with Pillow into uint8 RGB ``(height, width, 3)`` as a viewer would show it.

    The EXIF orientation is applied, the first frame of several is taken, greyscale, palette and CMYK are converted,
    16-bit samples keep their high byte, and transparency is laid on white.

    Raises:
      BadImageError: when the bytes are no image that Pillow can decode; ``name`` is in the message.
    """
    try:
        with Image.open(io.BytesIO(encoded)) as opened:
            ImageOps.exif_transpose(opened, in_place=True)  # which copies only where there is an orientation
            image: Image.Image = opened
            if image.mode.startswith(("I", "F")):
                wide = np.asarray(image, np.float64)
                sixteen_bit = image.mode.startswith("I;16") or wide.max(initial=0) > 255
                eight_bit = wide / 256.0 if sixteen_bit else wide
                image = Image.fromarray(np.clip(eight_bit, 0, 255).astype(np.uint8))
            if image.has_transparency_data:
                layers = image.convert("RGBA")
                image = Image.alpha_composite(Image.new("RGBA", layers.size, "white"), layers)
            return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))  # convert always copies
    except MemoryError:
        raise
    except Exception as error:  # of a damaged file, Pillow's parsers raise whatever they trip over
        raise BadImageError(f"{name}: not an image that can be decoded ({error})") from error


def limit_short_side(image: np.ndarray, limit: int) -> np.ndarray:
    """Shrink uint8 ``(height, width, 3)`` so that its shorter side is at most ``limit`` pixels; 0 is no limit.

    Pillow's antialiased bicubic; images are never enlarged, so detail is never invented.
    """
    height, width = image.shape[:2]
    size = limited_size(height, width, limit)
    if size == (height, width):
        return image
    return np.asarray(Image.fromarray(image).resize(size[::-1], Image.Resampling.BICUBIC))


def limit_long_side(image: np.ndarray, limit: int) -> np.ndarray:
    """Shrink uint8 ``(height, width, 3)`` so that its longer side is at most ``limit`` pixels; 0 is no limit.

    Pillow's antialiased bicubic, as everywhere; an image that is small enough comes back as it is.
    """
    height, width = image.shape[:2]
    if limit == 0 or max(height, width) <= limit:
        return image
    scale = limit / max(height, width)
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))


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


def find_images(paths: Iterable[str | os.PathLike]) -> list[Path]:
    """Image files: those named, and those below the folders named, sorted within each folder.

    Raises:
      UserError: for a path that does not exist and a folder without an image.
    """
    return [image for path in paths for image in _images_at(Path(path).expanduser())]


def _images_at(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
        return
    if not path.is_dir():
        raise UserError(f"{path}: expected an image or a folder of images, found nothing there")
    images = sorted(p for p in path.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file())
    if not images:
        raise UserError(f"{path}: expected images in this folder ({', '.join(sorted(IMAGE_SUFFIXES))}), found none")
    yield from images
