"""Scores as a pure function of pixels, in JAX: for ``jit``, ``grad``, ``vmap`` and sharded code of the user's."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np

from glintiqa_jax.data.crops import Crops
from glintiqa_jax.scoring.card import View


def crops_of(images: jax.Array, view: View, crops: Crops) -> jax.Array:
    """What a network sees of some images: as they are scored from files, but as a function that has a gradient.

    Args:
      images: ``(batch, height, width, 3)``: uint8, or floats in [0, 1].
      view: how large they are shown.
      crops: which crops.

    Returns:
      ``(batch, crops, crop, crop, 3)`` float32 in [0, 1]. Of uint8 the pixels are rounded as Pillow rounds them; of
      floats they are not, so that a gradient is exact.
    """
    rounds = images.dtype == jnp.uint8
    pixels = images.astype(jnp.float32) * (1.0 if rounds else 255.0)
    for size in _sizes(view, *images.shape[1:3]):
        pixels = _resized(pixels, size, rounds=rounds)
    missing = [max(crops.crop_size - length, 0) for length in pixels.shape[1:3]]
    if any(missing):
        around = [(lack // 2, lack - lack // 2) for lack in missing]
        pixels = jnp.pad(pixels, [(0, 0), *around, (0, 0)], mode="symmetric")
    side = crops.crop_size
    cut = []
    for size in crops.shown(*pixels.shape[1:3]):
        shown = _resized(pixels, size, rounds=rounds)
        cut += [shown[:, top : top + side, left : left + side] for top, left in crops.places(*size)]
    return jnp.stack(cut, axis=1) / 255.0


def _sizes(view: View, height: int, width: int) -> list[tuple[int, int]]:
    """The (height, width) after each step of ``View.shown``."""
    longest = View(max_side=view.max_side).shown_size(height, width)
    return [longest, view.shown_size(height, width)]


def _resized(pixels: jax.Array, size: tuple[int, int], *, rounds: bool) -> jax.Array:
    """``(batch, height, width, 3)`` in 0..255, shrunk as Pillow does: along rows first, then along columns."""
    for axis, length in ((2, size[1]), (1, size[0])):
        if pixels.shape[axis] == length:
            continue
        weights = bicubic(pixels.shape[axis], length)
        pixels = jnp.moveaxis(
            jnp.tensordot(pixels, weights, axes=(axis, 1), precision=jax.lax.Precision.HIGHEST), -1, axis
        )
        pixels = jnp.clip(jnp.floor(pixels + 0.5) if rounds else pixels, 0.0, 255.0)
    return pixels


@functools.lru_cache(maxsize=64)
def bicubic(length: int, wanted: int) -> np.ndarray:
    """The weights of Pillow's antialiased bicubic that shrinks ``length`` samples: float32 ``(wanted, length)``."""
    scale = length / wanted
    centres = (np.arange(wanted)[:, None] + 0.5) * scale
    x = np.abs((np.arange(length)[None] + 0.5 - centres) / max(scale, 1.0))
    # Keys' cubic with a = -1/2
    near, far = (1.5 * x - 2.5) * x**2 + 1, -0.5 * (((x - 5) * x + 8) * x - 4)
    weights = np.where(x < 1, near, np.where(x < 2, far, 0.0))
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
