"""Augmentation: transforms of an image, then crops, flips and worse versions."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any, Protocol

import cv2
import grain
import numpy as np

from glintiqa_jax.data.crops import checked_size
from glintiqa_jax.data.transforms import Transform


class Ladder(Protocol):
    """Makes worse and worse versions of a training crop, which come after it in a batch; ``Batching.ladder``.

    Attributes:
      levels: how many.
    """

    @property
    def levels(self) -> int: ...

    def __call__(self, crop: np.ndarray, rng: np.random.Generator) -> Sequence[np.ndarray]:
        """uint8 ``(crop_size, crop_size, 3)`` to ``levels`` of the same shape, best first."""


class RandomCropsAndFlips(grain.transforms.RandomMap):
    """The released augmentation (paper section IV-A): random crops, flipped at random both ways, never resized.

    Maps an item, with an image, its target and its position, to that of its crops, with an axis of crops in front.

    Args:
      crop_size: side of a crop, in pixels.
      crops: of an image.
      vertical_flips: False for photographs that are never upside down.
      transforms: applied to the image before. Each has its own random stream, so that adding or removing one changes no
        other draw.
      ladder: makes what comes after each crop, from a random stream of its own, too.
    """

    def __init__(
        self,
        crop_size: int,
        crops: int = 1,
        *,
        vertical_flips: bool = True,
        transforms: Sequence[Transform] = (),
        ladder: Ladder | None = None,
    ):
        self.crop_size, self.crops, self.vertical_flips, self.transforms = crop_size, crops, vertical_flips, transforms
        self.ladder = ladder

    def random_map(self, element: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        image, size = element["image"], self.crop_size
        for transform in self.transforms:
            image = transform(image, size, _stream(rng, transform.name))
        checked_size(image, size)
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
        if self.ladder is not None:
            stream = _stream(rng, "ladder")
            crops = np.stack([version for crop in crops for version in (crop, *self.ladder(crop, stream))])
        return {
            "image": crops,
            "target": np.full(len(crops), element["target"], np.float32),
            "position": np.full(len(crops), element["position"], np.int64),
        }


def _stream(rng: np.random.Generator, name: str) -> np.random.Generator:
    """Another random stream, a function of this one's state, which does not change, and of a name."""
    state = rng.bit_generator.state["state"]
    words = [int(word) for value in state.values() for word in np.ravel(np.asarray(value, object))]
    return np.random.default_rng([*words, zlib.crc32(name.encode())])
