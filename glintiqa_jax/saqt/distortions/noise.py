"""Distortions 11 to 15: noise of given variance or density, and what a denoiser leaves of it.

Variances are of the noise before clipping, with the image in [0, 1]; densities are shares of the values.
"""

import math
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from glintiqa_jax.errors import InputError
from glintiqa_jax.saqt.distortions.colour_spaces import (
    Image,
    clip,
    from_uint8,
    rgb_to_ycbcr,
    to_uint8,
    ycbcr_to_rgb,
)


def white_noise(image: Image, variance: float, rng: np.random.Generator) -> Image:
    """Gaussian noise of `variance` added to R, G and B."""
    noisy = rng.standard_normal(image.shape, np.float32)
    noisy *= np.float32(math.sqrt(variance))
    noisy += image
    return np.clip(noisy, 0, 1, out=noisy)


def white_noise_ycbcr(image: Image, variance: float, rng: np.random.Generator) -> Image:
    """Gaussian noise of `variance` added to Y', Cb and Cr in MATLAB's studio range, which keeps to [0, 1]."""
    return ycbcr_to_rgb(white_noise(rgb_to_ycbcr(image), variance, rng))


def impulse_noise(image: Image, density: float, rng: np.random.Generator) -> Image:
    """A share `density` of the values set to 0 or 1, evenly, each channel on its own."""
    draw = rng.random(image.shape, np.float32)
    noisy = image.copy()
    noisy[draw < density / 2] = 0
    noisy[(draw >= density / 2) & (draw < density)] = 1
    return noisy


def speckle_noise(image: Image, variance: float, rng: np.random.Generator) -> Image:
    """image * (1 + n), n uniform with mean 0 and `variance` (MATLAB's imnoise 'speckle')."""
    noise = rng.random(image.shape, np.float32) - np.float32(0.5)
    return clip(image + np.float32(math.sqrt(12 * variance)) * noise * image)


class Denoiser(Protocol):
    """What removes the noise in `denoise`; `glintiqa_jax.saqt.dncnn.load_dncnn` gives another.

    Attributes:
        name: says what it is, weights included, where a dataset records how it was made.
    """

    name: str

    def __call__(self, channel: NDArray[np.float32], variance: float) -> NDArray[np.float32]:
        """A channel without its noise.

        Args:
            channel: float32 in [0, 1] of shape (height, width).
            variance: of the noise that was added, before clipping.

        Returns:
            float32 of the same shape.
        """


class BilateralFilter:
    """Edges stay, texture goes, blotches remain where the noise is strong; a third of the time of non-local means."""

    name = "bilateral filter"

    def __call__(self, channel: NDArray[np.float32], variance: float) -> NDArray[np.float32]:
        """On 8-bit values, as wide in value as three deviations of the noise."""
        width = 3 * 255 * math.sqrt(variance)
        return from_uint8(np.asarray(cv2.bilateralFilter(to_uint8(channel), 9, width, 2.5), np.uint8))


DEFAULT_DENOISER: Denoiser = BilateralFilter()
"""Stands in for MATLAB's pretrained DnCNN, which the database uses and which needs MATLAB."""


def denoise(image: Image, variance: float, rng: np.random.Generator, denoiser: Denoiser) -> Image:
    """White noise of `variance`, then a denoiser channel by channel.

    Raises:
        InputError: when the denoiser returns another shape than it was given.
    """
    noisy = white_noise(image, variance, rng)
    channels = [denoiser(np.ascontiguousarray(noisy[..., channel]), variance) for channel in range(3)]
    for channel in channels:
        if np.shape(channel) != image.shape[:2]:
            expected = f"{denoiser.name} to return an array of shape {image.shape[:2]}"
            raise InputError(field="denoiser", expected=expected, found=np.shape(channel))
    return np.stack(channels, axis=-1).astype(np.float32, copy=False)
