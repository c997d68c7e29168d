"""Colours as a viewer shows them: an embedded profile, or the gamma of a PNG, brought to sRGB."""

from __future__ import annotations

import functools
import io

import numpy as np
from PIL import Image, ImageCms

_SPACES = {"RGB": "RGB", "L": "GRAY", "CMYK": "CMYK", "LAB": "Lab"}  # a mode and the profiles that go with it
_SRGB_GAMMA = 1 / 2.2  # what a PNG says that holds sRGB
_SAME_GAMMA = 0.02
_SAME = 2  # of 255: a profile that changes no colour by more is sRGB, rounded by another program


def to_srgb(image: Image.Image, info: dict) -> Image.Image:
    """Bring an image to sRGB, and back to RGB where it has other channels.

    A profile that is broken, or of other channels than the image, is ignored. So are a PNG's chromaticities, which
    seldom come without a profile.

    Args:
      image: mode ``RGB``, ``L``, ``CMYK`` or ``LAB``.
      info: Pillow's of the file: ``icc_profile``, ``gamma``, ``srgb``.

    Returns:
      mode ``RGB`` or ``L``; ``image`` itself if it needs no change.
    """
    profile = info.get("icc_profile")
    transform = _from_profile(profile, image.mode) if isinstance(profile, bytes) else None
    if transform is None and image.mode == "LAB":
        transform = _from_lab()
    if transform is not None:
        return ImageCms.applyTransform(image, transform) or image  # None is of one that is changed in place
    if image.mode == "CMYK":
        return image.convert("RGB")
    gamma = info.get("gamma")
    if profile or "srgb" in info or not isinstance(gamma, float) or not 0 < gamma < 10:
        return image
    if abs(gamma - _SRGB_GAMMA) < _SAME_GAMMA:
        return image
    return image.point(_gamma_table(gamma) * len(image.getbands()))


@functools.lru_cache(maxsize=16)
def _from_profile(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """None if nothing needs to change, or nothing can be changed."""
    try:
        given = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if given.profile.xcolor_space.strip() != _SPACES[mode]:
            return None
        transform = ImageCms.buildTransform(given, ImageCms.createProfile("sRGB"), mode, "RGB")
        changes = mode not in ("RGB", "L") or _moves_colours(transform, mode)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError, AttributeError):
        return None
    return transform if changes else None


@functools.lru_cache(maxsize=1)
def _from_lab() -> ImageCms.ImageCmsTransform:
    return ImageCms.buildTransform(ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB")


def _moves_colours(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    steps = np.arange(0, 256, 17, dtype=np.uint8)
    # (16, 16, 16, 3) -> (64, 64, 3), and all greys (256,) -> (16, 16)
    colours = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(64, 64, 3)
    asked = Image.fromarray(colours if mode == "RGB" else np.arange(256, dtype=np.uint8).reshape(16, 16))
    shown = np.asarray(ImageCms.applyTransform(asked, transform), np.int16)
    return bool(np.abs(shown - np.asarray(asked.convert("RGB"), np.int16)).max() > _SAME)


@functools.lru_cache(maxsize=16)
def _gamma_table(gamma: float) -> list[int]:
    """Samples 0..255, encoded as light to the power of ``gamma``, to sRGB's."""
    light = (np.arange(256) / 255.0) ** (1 / gamma)
    shown = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return [round(255 * value) for value in shown.tolist()]
