"""Any kind of image to uint8 RGB: one treatment for files, Pillow's images and arrays.

| kind | becomes |
|---|---|
| 8-bit RGB | itself |
| grey, 1 bit | three equal channels |
| palette | its colours |
| alpha, a transparent colour | laid on white |
| 16-bit samples | their high byte |
| TIFF in which white is 0 | inverted, whatever its samples |
| integers of 32 bits and more | as they are up to 255, the high byte up to 65535, else an error |
| floats | times 255 where they lie in 0..1, as they are in 0..255, else an error; NaN and infinity are errors |
| CMYK, YCCK, Adobe's inverted ones, too | RGB by the embedded profile, else by Pillow's formula |
| YCbCr, HSV, LAB | RGB |
| an embedded ICC profile | the colours it means, in sRGB; a broken one is ignored |
| PNG's gamma without a profile | applied, unless it is sRGB's 1/2.2 |
| EXIF orientation | applied; broken EXIF is ignored |
| several frames | the first |

16-bit samples of which none is above 255, and floats between 1 and 16, are errors: they may be black, or never have
been scaled.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from PIL import Image

from glintiqa_jax.data.colour import to_srgb
from glintiqa_jax.errors import InputError

_ORIENTATION = 0x0112  # EXIF's tag, and how its values are undone
_PHOTOMETRIC = 0x0106  # TIFF's tag
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_BEYOND = 0.05  # of the range, by which floats may leave it, as resizing does
_BRIGHT = 16.0  # floats up to 255 whose highest is not above this are not told from others
_SIXTEEN_BIT_FORMATS = ("PNG", "PPM")  # whose mode "I" is 16-bit samples
_SHAPES = "expected (height, width), or (height, width, channels) with 1 to 4 channels"


class BadImageError(InputError):
    """An image that cannot be used; the message names it and says why."""


def to_pixels(image: Any, name: str = "image", notes: list[str] | None = None) -> np.ndarray:
    """An image in memory as ``decode_image`` gives a file's: uint8 RGB ``(height, width, 3)``.

    Args:
      image: a Pillow image, or an array or nested lists ``(height, width)`` or ``(height, width, channels)`` of grey,
        grey and alpha, RGB, or RGB and alpha; bool, integers or floats.
      name: what errors call it.
      notes: gets what of the image the pixels do not show.

    Raises:
      BadImageError: for other shapes and types, values out of range and those that are not finite.
    """
    if isinstance(image, Image.Image):
        try:
            image.load()
            return from_pillow(image, notes)
        except ValueError as error:
            raise BadImageError(str(error), file=name) from error
        except (OSError, SyntaxError) as error:
            raise BadImageError(f"not an image that can be decoded ({error})", file=name) from error
    try:
        return _from_array(_as_array(image), notes)
    except ValueError as error:
        raise BadImageError(str(error), file=name) from error


def from_pillow(image: Image.Image, notes: list[str] | None = None) -> np.ndarray:
    """A loaded image as uint8 RGB ``(height, width, 3)``; ``ValueError`` for samples that are not brightness."""
    if 0 in image.size:
        raise ValueError(f"expected an image of some pixels, found {image.width}x{image.height}")
    white_is_zero = getattr(image, "tag_v2", {}).get(_PHOTOMETRIC) == 0
    image, info = _upright(image), image.info
    if image.mode == "La":  # alpha that is already multiplied in, of which Pillow converts nothing else
        image = image.convert("LA")
    if image.mode.startswith(("I", "F")):
        samples = np.asarray(image)
        pixels = _eight_bits(samples, sixteen_bit=_is_sixteen_bit(image))
        image = Image.fromarray(255 - pixels if white_is_zero else pixels)  # Pillow inverts fewer bits only
        if isinstance(info.get("transparency"), int):
            image.putalpha(Image.fromarray(np.where(samples == info["transparency"], 0, 255).astype(np.uint8)))
    if image.mode in ("RGB", "L", "CMYK", "LAB") and "transparency" not in info:
        flat = to_srgb(image, info)
        return np.asarray(flat if flat.mode == "RGB" else flat.convert("RGB"))  # convert always copies
    if not image.has_transparency_data:
        return np.asarray(to_srgb(image.convert("L" if image.mode == "1" else "RGB"), info).convert("RGB"))
    layers = image if image.mode == "LA" else image.convert("RGBA")
    if notes is not None and np.asarray(layers.getchannel("A")).min() < 255:
        notes.append("alpha over white")
    colours = to_srgb(layers.convert(layers.mode[:-1]), info)
    colours.putalpha(layers.getchannel("A"))
    colours = colours.convert("RGBA")
    return np.asarray(Image.alpha_composite(Image.new("RGBA", colours.size, "white"), colours).convert("RGB"))


def _upright(image: Image.Image) -> Image.Image:
    try:
        turn = _TURNS.get(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # of broken EXIF, Pillow's parsers raise whatever they trip over
        return image
    return image if turn is None else _with_format(image.transpose(turn), image)


def _with_format(image: Image.Image, original: Image.Image) -> Image.Image:
    image.format = original.format
    return image


def _is_sixteen_bit(image: Image.Image) -> bool:
    return image.mode.startswith("I;16") or (image.mode == "I" and image.format in _SIXTEEN_BIT_FORMATS)


def _as_array(image: Any) -> np.ndarray:
    if isinstance(image, list | tuple) and image and isinstance(image[0], str | bytes | os.PathLike | Image.Image):
        raise ValueError(
            f"expected an image of numbers, found a {type(image).__name__} of {type(image[0]).__name__}; "
            "give one image at a time"
        )
    try:
        array = np.asarray(image)
    except (ValueError, TypeError) as error:
        raise ValueError(f"expected an image, found what makes no array ({error})") from error
    if array.dtype.kind == "V" and array.dtype.names is None:  # bfloat16 and its like, of ml_dtypes
        array = array.astype(np.float32)
    if array.dtype.kind not in "biuf":
        raise ValueError(f"expected an image of numbers, found {type(image).__name__} of {array.dtype}")
    return array


def _from_array(array: np.ndarray, notes: list[str] | None) -> np.ndarray:
    shape = array.shape
    if array.ndim == 4:
        raise ValueError(f"{_SHAPES}, found {shape}, a batch; give one image at a time")
    if array.ndim not in (2, 3):
        raise ValueError(f"{_SHAPES}, found {shape}")
    if not array.size:
        raise ValueError(f"{_SHAPES}, found {shape}, which is empty")
    channels = shape[2] if array.ndim == 3 else 1
    if not 1 <= channels <= 4:
        first = f"; channels come last: transpose (1, 2, 0) of {shape}" if shape[0] in (1, 3, 4) else ""
        raise ValueError(f"{_SHAPES}, found {shape}{first}")
    pixels = _eight_bits(array, sixteen_bit=array.dtype in (np.uint16, np.int16))
    if channels == 3:
        return np.ascontiguousarray(pixels)
    if channels == 1:
        return np.repeat(pixels.reshape(*shape[:2], 1), 3, axis=2)  # (height, width) -> (height, width, 3)
    return from_pillow(Image.fromarray(np.ascontiguousarray(pixels)), notes)


def _eight_bits(samples: np.ndarray, *, sixteen_bit: bool) -> np.ndarray:
    """Samples of any type as uint8 of the same shape."""
    if samples.dtype == np.uint8:
        return samples
    if samples.dtype == bool:
        return samples.astype(np.uint8) * 255
    low, high = samples.min(), samples.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        bad = samples.size - np.count_nonzero(np.isfinite(samples))
        raise ValueError(f"{bad} of its {samples.size} samples are not finite (NaN or infinity)")
    found = f"found {low:g} to {high:g}"
    if samples.dtype.kind == "f":
        if low >= -_BEYOND and high <= 1 + _BEYOND:
            return np.rint(np.clip(samples, 0, 1) * samples.dtype.type(255)).astype(np.uint8)
        if low < -_BEYOND * 255 or high > (1 + _BEYOND) * 255 or high <= _BRIGHT:
            raise ValueError(f"expected floats in 0..1 or in 0..255, {found}")
        return np.rint(np.clip(samples, 0, 255)).astype(np.uint8)
    if low < 0 or high > 65535:
        raise ValueError(f"expected samples of 8 bits (0..255) or 16 bits (0..65535), {found}")
    if sixteen_bit and 0 < high <= 255:
        raise ValueError(f"expected 16-bit samples, {found}, which are black or were meant as 8 bits")
    return (samples >> 8 if sixteen_bit or high > 255 else samples).astype(np.uint8)
