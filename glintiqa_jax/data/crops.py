"""The crops of an image that is evaluated or scored."""

from __future__ import annotations

import dataclasses
import zlib

import numpy as np

from glintiqa_jax.data.pixels import BadImageError


@dataclasses.dataclass(frozen=True)
class Crops:
    """The crops of an image that is evaluated: a fixed grid, or as many at random.

    Attributes:
      crop_size: side of a crop, in pixels.
      grid: crops per side of the grid.
      random: this many at random rather than the grid, 25 as released; 0 for the grid.
      seed: of the crops at random, which are a function of it, the image's name and its size.
    """

    crop_size: int
    grid: int = 5
    random: int = 0
    seed: int = 0

    @property
    def count(self) -> int:
        """The number of crops per image."""
        return self.random or self.grid**2

    def of(self, image: np.ndarray, name: str = "") -> np.ndarray:
        """The crops of uint8 ``(height, width, 3)``: uint8 ``(count, crop_size, crop_size, 3)``.

        Raises:
          BadImageError: when the image is smaller than a crop.
        """
        if not self.random:
            return grid_crops(image, self.crop_size, self.grid)
        rng = np.random.default_rng([self.seed, zlib.crc32(name.encode())])
        return random_crops(image, self.crop_size, self.random, rng)


def grid_crops(image: np.ndarray, crop_size: int, grid: int) -> np.ndarray:
    """A fixed grid of crops that covers the image as evenly as possible: the same crops for every image of a size.

    Args:
      image: uint8 ``(height, width, 3)``, neither side shorter than the crop.
      crop_size: side of a crop, in pixels.
      grid: crops per side; with 1, the central crop.

    Returns:
      uint8 ``(grid * grid, crop_size, crop_size, 3)``, row by row.

    Raises:
      BadImageError: when the image is smaller than the crop.
    """
    height, width = checked_size(image, crop_size)
    return np.stack(
        [
            image[top : top + crop_size, left : left + crop_size]
            for top in _offsets(height - crop_size, grid)
            for left in _offsets(width - crop_size, grid)
        ]
    )


def random_crops(image: np.ndarray, crop_size: int, crops: int, rng: np.random.Generator) -> np.ndarray:
    """Crops at random places, not flipped: the released way to test (paper section IV-A), with 25 of them.

    Args:
      image: uint8 ``(height, width, 3)``, neither side shorter than the crop.
      crop_size: side of a crop, in pixels.
      crops: how many.
      rng: draws the places, each as likely as any other.

    Returns:
      uint8 ``(crops, crop_size, crop_size, 3)``.

    Raises:
      BadImageError: when the image is smaller than the crop.
    """
    height, width = checked_size(image, crop_size)
    tops = rng.integers(height - crop_size + 1, size=crops)
    lefts = rng.integers(width - crop_size + 1, size=crops)
    return np.stack(
        [image[top : top + crop_size, left : left + crop_size] for top, left in zip(tops, lefts, strict=True)]
    )


def checked_size(image: np.ndarray, crop_size: int) -> tuple[int, int]:
    """Height and width; ``BadImageError`` for an image that is smaller than a crop."""
    height, width = image.shape[:2]
    if min(height, width) < crop_size:
        raise BadImageError(f"an image of {width}x{height} pixels is smaller than the model's crop of {crop_size}")
    return height, width


def _offsets(room: int, grid: int) -> list[int]:
    if grid == 1:
        return [room // 2]
    return [round(step * room / (grid - 1)) for step in range(grid)]
