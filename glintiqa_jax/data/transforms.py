"""What happens to an image on its way into a batch: crops, flips and what is done before."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Sequence
from typing import Any, Protocol

import cv2
import grain
import numpy as np

from glintiqa_jax.data.pixels import BadImageError


class Transform(Protocol):
    """What may happen to a training image before it is cropped; one of ``Batching.transforms``.

    Attributes:
      name: of its random stream, unique among the transforms of a batch.
    """

    name: str

    def smallest(self, crop_size: int) -> int:
        """The smallest side, in pixels, of an image from which it makes one that holds a crop."""

    def __call__(self, image: np.ndarray, crop_size: int, rng: np.random.Generator) -> np.ndarray:
        """uint8 ``(height, width, 3)`` to the same of maybe another size, neither side shorter than the crop."""


class RandomCropsAndFlips(grain.transforms.RandomMap):
    """The released augmentation (paper section IV-A): random crops, flipped at random both ways, never resized.

    An item of an image, its target and its position to those of its crops, each array with an axis of crops in front.

    Args:
      crop_size: side of a crop, in pixels.
      crops: of an image.
      vertical_flips: False leaves the upside down ones out, which photographs are not.
      transforms: what happens to the image before. Each draws from a stream of its own, so that with or without one
        the crops, the flips and the other transforms draw the same.
    """

    def __init__(
        self, crop_size: int, crops: int = 1, *, vertical_flips: bool = True, transforms: Sequence[Transform] = ()
    ):
        self.crop_size, self.crops, self.vertical_flips, self.transforms = crop_size, crops, vertical_flips, transforms

    def random_map(self, element: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        image, size = element["image"], self.crop_size
        for transform in self.transforms:
            image = transform(image, size, _stream(rng, transform.name))
        _checked_size(image, size)
        crops = np.empty((self.crops, size, size, 3), np.uint8)
        for out in crops:
            top = int(rng.integers(image.shape[0] - size + 1))
            left = int(rng.integers(image.shape[1] - size + 1))
            crop = image[top : top + size, left : left + size]
            sideways, upside_down = bool(rng.integers(2)), bool(rng.integers(2)) and self.vertical_flips
            if sideways:  # NumPy's copy of a reversed row takes ten times as long
                cv2.flip(crop, -1 if upside_down else 1, dst=out)
            else:
                out[:] = crop[::-1] if upside_down else crop
        return {
            "image": crops,
            "target": np.full(self.crops, element["target"], np.float32),
            "position": np.full(self.crops, element["position"], np.int64),
        }


def _stream(rng: np.random.Generator, name: str) -> np.random.Generator:
    """Another stream, a function of where this one stands, which stays there, and of a name."""
    state = rng.bit_generator.state["state"]
    words = [int(word) for value in state.values() for word in np.ravel(np.asarray(value, object))]
    return np.random.default_rng([*words, zlib.crc32(name.encode())])


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
        """How many there are of an image."""
        return self.random or self.grid**2

    def of(self, image: np.ndarray, name: str = "") -> np.ndarray:
        """Those of uint8 ``(height, width, 3)``: uint8 ``(count, crop_size, crop_size, 3)``.

        Raises:
          BadImageError: when the image is smaller than a crop.
        """
        if not self.random:
            return grid_crops(image, self.crop_size, self.grid)
        rng = np.random.default_rng([self.seed, zlib.crc32(name.encode())])
        return random_crops(image, self.crop_size, self.random, rng)


def grid_crops(image: np.ndarray, crop_size: int, grid: int) -> np.ndarray:
    """A fixed grid of crops that covers the image as evenly as it can: the same crops for the same size, always.

    Args:
      image: uint8 ``(height, width, 3)``, neither side shorter than the crop.
      crop_size: side of a crop, in pixels.
      grid: crops per side; with 1, the central crop.

    Returns:
      uint8 ``(grid * grid, crop_size, crop_size, 3)``, row by row.

    Raises:
      BadImageError: when the image is smaller than the crop.
    """
    height, width = _checked_size(image, crop_size)
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
    height, width = _checked_size(image, crop_size)
    tops = rng.integers(height - crop_size + 1, size=crops)
    lefts = rng.integers(width - crop_size + 1, size=crops)
    return np.stack(
        [image[top : top + crop_size, left : left + crop_size] for top, left in zip(tops, lefts, strict=True)]
    )


def _checked_size(image: np.ndarray, crop_size: int) -> tuple[int, int]:
    height, width = image.shape[:2]
    if min(height, width) < crop_size:
        raise BadImageError(f"an image of {width}x{height} pixels is smaller than the model's crop of {crop_size}")
    return height, width


def _offsets(room: int, grid: int) -> list[int]:
    if grid == 1:
        return [room // 2]
    return [round(step * room / (grid - 1)) for step in range(grid)]
