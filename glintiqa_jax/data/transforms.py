"""What may be done to a training image before it is cropped: a row of ``TRANSFORMS`` each."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from glintiqa_jax.data.images import limit_short_side


class Transform(Protocol):
    """A step of augmentation before a training image is cropped.

    Attributes:
      name: in ``TRANSFORMS``, and of its random stream.
    """

    name: str

    def smallest(self, crop_size: int) -> int:
        """The smallest side, in pixels, of an image that still holds a crop afterwards."""

    def __call__(self, image: np.ndarray, crop_size: int, rng: np.random.Generator) -> np.ndarray:
        """uint8 ``(height, width, 3)`` to uint8 ``(new height, new width, 3)``, neither side shorter than the crop."""


class QuarterTurns:
    """Turn an image by 0, 90, 180 or 270 degrees, at random."""

    name = "quarter_turns"

    def smallest(self, crop_size: int) -> int:
        return crop_size

    def __call__(self, image: np.ndarray, crop_size: int, rng: np.random.Generator) -> np.ndarray:
        return np.rot90(image, int(rng.integers(4)))


class RandomSizes:
    """Shrink an image to a random size: its shorter side gets any length from a crop's to its own, in pixels.

    A network that has seen images at many sizes can be shown one at several.
    """

    name = "random_sizes"

    def smallest(self, crop_size: int) -> int:
        return crop_size

    def __call__(self, image: np.ndarray, crop_size: int, rng: np.random.Generator) -> np.ndarray:
        return limit_short_side(image, int(rng.integers(crop_size, min(image.shape[:2]) + 1)))


TRANSFORMS: dict[str, Transform] = {transform.name: transform for transform in (QuarterTurns(), RandomSizes())}
"""By name; the choices of a setting follow from it, and it may be extended."""
