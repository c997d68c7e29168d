"""Colour conversions with MATLAB's constants, on float32 RGB images of shape (height, width, 3)."""

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]
"""A float32 RGB image of shape (height, width, 3), nominally in [0, 1]."""

# ITU-R BT.601 in studio range, as in MATLAB's rgb2ycbcr; rows Y, Cb, Cr.
_YCBCR = np.array([[65.481, 128.553, 24.966], [-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]], dtype=np.float64)
_YCBCR /= 255
_YCBCR_OFFSET = np.array([16.0, 128.0, 128.0]) / 255


def rgb_to_lab(image: Image) -> Image:
    """sRGB in [0, 1] to CIE L*a*b* under D65: L in [0, 100], a and b around [-128, 127]."""
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2LAB), np.float32)


def lab_to_rgb(lab: Image) -> Image:
    """CIE L*a*b* under D65 to sRGB, colours outside the gamut clipped to [0, 1]."""
    return np.asarray(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB), np.float32)


def rgb_to_ycbcr(image: Image) -> Image:
    """RGB in [0, 1] to Y'CbCr, Y' in [16, 235] / 255 and Cb, Cr in [16, 240] / 255."""
    return _affine(image, _YCBCR, _YCBCR_OFFSET)


def ycbcr_to_rgb(image: Image) -> Image:
    """The inverse of `rgb_to_ycbcr`, clipped to [0, 1]."""
    inverse = np.asarray(np.linalg.inv(_YCBCR), np.float64)
    return clip(_affine(image, inverse, -inverse @ _YCBCR_OFFSET))


def luminance(image: Image) -> NDArray[np.float32]:
    """Rec. 601 luma of shape (height, width), MATLAB's rgb2gray."""
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.float32)


def clip(image: Image) -> Image:
    """Values limited to [0, 1]."""
    return np.asarray(np.clip(image, 0, 1), np.float32)


def to_uint8(image: Image) -> NDArray[np.uint8]:
    """[0, 1] to the nearest of 0..255; values outside are clipped first."""
    scaled = np.clip(image, 0, 1)
    scaled *= 255
    return np.rint(scaled, out=scaled).astype(np.uint8)


def from_uint8(image: NDArray[np.uint8]) -> Image:
    """0..255 to [0, 1]."""
    return image.astype(np.float32) * np.float32(1 / 255)


def _affine(image: Image, matrix: NDArray[np.float64], offset: NDArray[np.float64]) -> Image:
    return np.asarray(cv2.transform(image, np.column_stack([matrix, offset])), np.float32)
