"""Distortions 1 to 3 and 24: linear filters and unsharp masking, kernels as in fspecial and imgaussfilt."""

import math

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from glintiqa_jax.saqt.distortions.colour_spaces import Image, lab_to_rgb, rgb_to_lab


def gaussian(array: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    """Gaussian filter of side 2 * ceil(2 * sigma) + 1 with replicated border (MATLAB's imgaussfilt).

    Args:
        array: float32, (height, width) or (height, width, channels).
        sigma: standard deviation in pixels, above 0.
    """
    side = 2 * math.ceil(2 * sigma) + 1
    blurred = cv2.GaussianBlur(array, (side, side), sigma, sigmaY=sigma, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(blurred, np.float32)


def gaussian_blur(image: Image, sigma: float) -> Image:
    """Isotropic Gaussian blur; `sigma` in pixels."""
    return gaussian(image, sigma)


def lens_blur(image: Image, radius: float) -> Image:
    """Mean over a disk of `radius` pixels, replicated border."""
    return _filter(image, disk_kernel(radius))


def motion_blur(image: Image, length: float, rng: np.random.Generator, *, angle: float | None = None) -> Image:
    """Mean along a line of `length` pixels, replicated border.

    Args:
        angle: degrees, counter-clockwise from the horizontal; drawn from [0, 180) when None.
    """
    return _filter(image, motion_kernel(round(length), rng.uniform(0, 180) if angle is None else angle))


def sharpen(image: Image, amount: float) -> Image:
    """Unsharp mask on the L* of Lab (MATLAB's imsharpen): L + amount * (L - L blurred with sigma 3)."""
    lab = rgb_to_lab(image)
    lightness = lab[..., 0]
    lab[..., 0] += np.float32(amount) * (lightness - gaussian(np.ascontiguousarray(lightness), 3.0))
    return lab_to_rgb(lab)


def disk_kernel(radius: float) -> NDArray[np.float64]:
    """The share of each pixel that a disk covers, normalised to sum 1 (MATLAB's fspecial('disk'))."""
    reach = math.ceil(radius - 0.5)
    steps = 1000
    # Exact along y, midpoint rule along x: the kernel is right to some 1e-5, far below an 8-bit step.
    x = (np.arange((2 * reach + 1) * steps) + 0.5) / steps - reach - 0.5
    half_chord = np.sqrt(np.clip(radius**2 - x**2, 0, None))
    y = np.arange(-reach, reach + 1)[:, None]
    covered = np.clip(np.minimum(half_chord, y + 0.5) - np.maximum(-half_chord, y - 0.5), 0, None)
    # (2 reach + 1, (2 reach + 1) steps) -> (2 reach + 1, 2 reach + 1, steps) -> (2 reach + 1, 2 reach + 1)
    kernel = covered.reshape(2 * reach + 1, 2 * reach + 1, steps).mean(axis=2)
    return np.asarray(kernel / kernel.sum(), np.float64)


def motion_kernel(length: int, angle: float) -> NDArray[np.float64]:
    """A row of `length` pixels rotated by `angle` degrees with bilinear interpolation, normalised to sum 1.

    This is fspecial('motion') of GNU Octave. MATLAB draws an anti-aliased line instead, which is symmetric;
    the two are the same line but for a shift of up to half a pixel where `length` is even.
    """
    side = length + 1 - length % 2
    line = np.zeros((side, side))
    line[side // 2, :length] = 1
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    rotated_side = math.floor(side * (abs(cos) + abs(sin)) + 1e-9)
    # Rows point down, so that a positive angle turns counter-clockwise as seen.
    rotation = np.array([[cos, sin], [-sin, cos]])
    offset = (side - 1) / 2 - rotation @ np.full(2, (rotated_side - 1) / 2)
    kernel = ndimage.affine_transform(line, rotation, offset, (rotated_side, rotated_side), order=1)
    return np.asarray(kernel / kernel.sum(), np.float64)


def _filter(image: Image, kernel: NDArray[np.float64]) -> Image:
    # The origin of a kernel of even side lies left of and above its centre, as in imfilter, unlike OpenCV's.
    rows, columns = kernel.shape
    anchor = ((columns - 1) // 2, (rows - 1) // 2)
    filtered = cv2.filter2D(image, -1, kernel, anchor=anchor, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(filtered, np.float32)
