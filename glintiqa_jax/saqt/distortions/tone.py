"""Distortions 16 to 18 and 25: brightness and contrast by tone curves, and a shifted mean."""

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from glintiqa_jax.saqt.distortions.colour_spaces import Image, clip, lab_to_rgb, rgb_to_lab


def brighten(image: Image, amount: float) -> Image:
    """A curve through (0.5, 0.5 + amount / 2): two parts on RGB, one part on the L* of Lab."""
    points = [(0.5, 0.5 + amount / 2)]
    lab = rgb_to_lab(image)
    lab[..., 0] = 100 * tone_curve(lab[..., 0] / np.float32(100), points)
    return np.asarray((2 * tone_curve(image, points) + lab_to_rgb(lab)) / 3, np.float32)


def darken(image: Image, amount: float) -> Image:
    """A curve on RGB through (0.5, 0.5 - amount / 2)."""
    return tone_curve(image, [(0.5, 0.5 - amount / 2)])


def mean_shift(image: Image, shift: float) -> Image:
    """`shift` added to every value, clipped to [0, 1]."""
    return clip(image + np.float32(shift))


def contrast(image: Image, amount: float) -> Image:
    """A curve on RGB through (0.3, 0.25 - amount / 4), (0.5, 0.5) and (0.7, 0.75 + amount / 4)."""
    return tone_curve(image, [(0.3, 0.25 - amount / 4), (0.5, 0.5), (0.7, 0.75 + amount / 4)])


def tone_curve(values: NDArray[np.float32], points: list[tuple[float, float]]) -> NDArray[np.float32]:
    """The not-a-knot cubic spline through (0, 0), `points` and (1, 1), clipped to [0, 1].

    Args:
        values: float32 of any shape, in [0, 1].
        points: (x, y) with x increasing inside (0, 1).
    """
    x, y = zip((0.0, 0.0), *points, (1.0, 1.0), strict=True)
    # A table of 2^16 entries is within 1e-4 of the spline, a fortieth of an 8-bit step, and much faster.
    spline = CubicSpline(x, y, bc_type="not-a-knot")
    table = np.clip(spline(np.linspace(0, 1, 1 << 16)), 0, 1).astype(np.float32)
    entries = np.rint(clip(values) * np.float32(65535)).astype(np.uint16)
    return np.asarray(table[entries], np.float32)
