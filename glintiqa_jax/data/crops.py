"""The crops of an image that is evaluated or scored."""

from __future__ import annotations

import dataclasses
import zlib

import numpy as np

from glintiqa_jax.data.images import limited_size, resized
from glintiqa_jax.data.pixels import BadImageError


@dataclasses.dataclass(frozen=True)
class Crops:
    """The crops of an image that is evaluated: a fixed grid, or as many at random, at one size of it or several.

    Attributes:
      crop_size: side of a crop, in pixels.
      grid: crops per side of the grid.
      random: this many at random rather than the grid, 25 as released; 0 for the grid.
      seed: of the crops at random, which are a function of it, the image's name and its size.
      sizes: shorter sides, no shorter than a crop: as many crops each of the image shrunk to them.
    """

    crop_size: int
    grid: int = 5
    random: int = 0
    seed: int = 0
    sizes: tuple[int, ...] = ()

    @property
    def count(self) -> int:
        """The number of crops per image."""
        return (self.random or self.grid**2) * (1 + len(self.sizes))

    def shown(self, height: int, width: int) -> list[tuple[int, int]]:
        """Height and width of the image each time that crops are taken of it: its own, then shrunk."""
        return [(height, width), *(limited_size(height, width, size) for size in self.sizes)]

    def places(self, height: int, width: int, name: str = "") -> list[tuple[int, int]]:
        """Top and left of each crop of an image, at one size, whose sides are no shorter than a crop.

        The grid covers the image as evenly as possible, row by row; of one crop it is the central one. Places at random
        are the released way to test (paper section IV-A), with 25 of them, each place as likely as any other.
        """
        down, across = height - self.crop_size, width - self.crop_size
        if not self.random:
            return [(top, left) for top in _offsets(down, self.grid) for left in _offsets(across, self.grid)]
        rng = np.random.default_rng([self.seed, zlib.crc32(name.encode())])
        tops, lefts = (rng.integers(room + 1, size=self.random).tolist() for room in (down, across))
        return list(zip(tops, lefts, strict=True))

    def of(self, image: np.ndarray, name: str = "") -> np.ndarray:
        """The crops of uint8 ``(height, width, 3)``: uint8 ``(count, crop_size, crop_size, 3)``, not flipped.

        Raises:
          BadImageError: when the image is smaller than a crop.
        """
        side = self.crop_size
        images = [resized(image, size) for size in self.shown(*checked_size(image, side))]
        return np.stack(
            [
                shown[top : top + side, left : left + side]
                for shown in images
                for top, left in self.places(shown.shape[0], shown.shape[1], name)
            ]
        )


def mirrored(image: np.ndarray, side: int) -> np.ndarray:
    """``(height, width, 3)`` continued by its mirror image, on all four sides alike, up to ``side`` pixels a side.

    A longer side stays as it is. What is added shows nothing that was not there, and has no edge.
    """
    missing = [max(side - length, 0) for length in image.shape[:2]]
    if not any(missing):
        return image
    return np.pad(image, [(lack // 2, lack - lack // 2) for lack in missing] + [(0, 0)], mode="symmetric")


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
