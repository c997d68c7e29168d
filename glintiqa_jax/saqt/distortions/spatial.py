"""Distortions 19 to 21 and 23: pixels and patches moved, repeated or covered."""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from glintiqa_jax.saqt.distortions.colour_spaces import Image, clip

WARPS = 5
"""Warps one after the other in `jitter`."""
PATCH = 16
"""Side in pixels of a patch in `non_eccentricity`."""
REACH = 8
"""The furthest a patch moves along each axis, in pixels."""
BLOCK = 32
"""Side in pixels of a square in `colour_block`."""


def jitter(image: Image, amount: float, rng: np.random.Generator) -> Image:
    """Five bicubic warps, each moving every pixel by N(0, amount) pixels along x and y."""
    height, width = image.shape[:2]
    grid = np.stack(np.meshgrid(np.arange(width), np.arange(height))).astype(np.float32)
    for _ in range(WARPS):
        field = rng.standard_normal(grid.shape, np.float32)
        field *= np.float32(amount)
        field += grid
        image = np.asarray(
            cv2.remap(image, field[0], field[1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE), np.float32
        )
    return clip(image)


def non_eccentricity(image: Image, patches: float, rng: np.random.Generator) -> Image:
    """Patches of 16x16 pixels copied to a place up to 8 pixels away along each axis, one after the other."""
    height, width = image.shape[:2]
    moved = image.copy()
    for _ in range(int(patches)):
        row, to_row = _move(height, rng)
        column, to_column = _move(width, rng)
        patch = moved[row : row + PATCH, column : column + PATCH].copy()
        moved[to_row : to_row + PATCH, to_column : to_column + PATCH] = patch
    return moved


def pixelate(image: Image, amount: float) -> Image:
    """Nearest-neighbour resize by 0.95 - amount^0.6, and back."""
    scale = 0.95 - amount**0.6
    height, width = image.shape[:2]
    return image[_pixelated(height, scale)[:, None], _pixelated(width, scale)]


def colour_block(image: Image, blocks: float, rng: np.random.Generator) -> Image:
    """Squares of 32x32 pixels filled with one random colour each."""
    height, width = image.shape[:2]
    covered = image.copy()
    for _ in range(int(blocks)):
        colour = rng.random(3, np.float32)
        row = rng.integers(height - BLOCK, endpoint=True)
        column = rng.integers(width - BLOCK, endpoint=True)
        covered[row : row + BLOCK, column : column + BLOCK] = colour
    return covered


def _move(size: int, rng: np.random.Generator) -> tuple[int, int]:
    # One patch away from the border as in the database, or what there is room for in a small image.
    margin = min(PATCH, (size - PATCH) // 2)
    start = int(rng.integers(margin, size - PATCH - margin, endpoint=True))
    target = start + int(rng.integers(-REACH, REACH, endpoint=True))
    return start, min(max(target, 0), size - PATCH)


def _pixelated(size: int, scale: float) -> NDArray[np.int64]:
    """The source index of each of `size` pixels after the two resizes (MATLAB's imresize conventions)."""
    small = math.ceil(size * scale)
    down = np.floor((np.arange(small) + 0.5) / scale).astype(np.int64)
    up = np.floor((np.arange(size) + 0.5) * small / size).astype(np.int64)
    return np.asarray(np.clip(down, 0, size - 1)[up], np.int64)
