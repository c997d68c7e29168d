"""Distortions 11 to 15: noise of given variance or density, and what a denoiser leaves of it.

Variances are of the noise before clipping, with the image in [0, 1]; densities are shares of the values.
"""

import math

import cv2
import numpy as np

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


def denoise(image: Image, variance: float, rng: np.random.Generator) -> Image:
    """White noise of `variance`, then a bilateral filter per channel, as wide in value as three deviations.

    The database removes the noise with MATLAB's pretrained DnCNN, channel by channel. The bilateral filter
    stands in for it: edges stay, texture goes, blotches remain where the noise is strong, in a third of the
    time of non-local means.
    """
    noisy = to_uint8(white_noise(image, variance, rng))
    width = 3 * 255 * math.sqrt(variance)
    channels = [cv2.bilateralFilter(channel, 9, width, 2.5) for channel in cv2.split(noisy)]
    return from_uint8(np.asarray(cv2.merge(channels), np.uint8))
