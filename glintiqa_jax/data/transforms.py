"""What may be done to a training image before it is cropped: a row of ``TRANSFORMS`` each."""

from __future__ import annotations

from typing import Protocol

import numpy as np


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


TRANSFORMS: dict[str, Transform] = {transform.name: transform for transform in (QuarterTurns(),)}
"""By name; the choices of a setting follow from it, and it may be extended."""
