"""Generated scenes with the statistics of photographs, for when there are too few photographs.

The dead-leaves model (Lee, Mumford and Huang 2001): shapes of all sizes, their number falling with the cube of the
radius, each hiding what lies behind it, as objects do in the world. Here the leaves have colour, texture and shading.
"""

from __future__ import annotations

import cv2
import numpy as np

_OVERSAMPLING = 2  # rendered larger and averaged down, so that edges are as soft as a lens makes them
_MOST_LEAVES = 400


def dead_leaves(side: int, *, seed: int) -> np.ndarray:
    """A square scene.

    Args:
      side: height and width in pixels.
      seed: the scene is a function of ``side`` and ``seed`` alone.

    Returns:
      uint8 RGB ``(side, side, 3)``.
    """
    rng = np.random.default_rng([seed, 20190605])
    large = side * _OVERSAMPLING
    count = int(rng.integers(20, _MOST_LEAVES))  # crowded scenes and empty ones
    behind = int(rng.uniform(0.0, 0.9) * count) if rng.random() < 0.6 else 0  # leaves out of focus
    background, leaf = _leaf_of_each_pixel(rng, large, count, behind)
    textures = np.stack([_fractal_noise(rng, large, slope) for slope in (0.6, 0.9, 1.2, 1.6)])
    colours = _colours(rng, count + 1)
    contrast = rng.gamma(1.2, rng.uniform(0.02, 0.3), count + 1)
    texture = rng.integers(len(textures), size=count + 1)
    slope = rng.normal(0.0, 0.25, (count + 1, 2))
    rows, columns = np.indices((large, large), sparse=True)

    def paint(leaf: np.ndarray) -> np.ndarray:
        grain = textures[texture[leaf], rows, columns] * contrast[leaf]
        # each leaf is shaded along a direction of its own
        shading = (slope[leaf, 0] * rows + slope[leaf, 1] * columns) / large
        return colours[leaf] * np.clip(1.0 + grain + shading, 0.0, None)[..., None]

    image = paint(leaf)
    if behind:
        blurred = cv2.GaussianBlur(paint(background), (0, 0), _OVERSAMPLING * rng.uniform(0.7, 4.0))
        image = np.where((leaf > behind)[..., None], image, blurred)
    image *= (1.0 + rng.uniform(0.0, 0.3) * _fractal_noise(rng, large, 2.5))[..., None]  # uneven light
    image = cv2.GaussianBlur(image, (0, 0), _OVERSAMPLING * rng.uniform(0.1, 0.5))  # the lens
    # (side, 2, side, 2, 3) -> (side, side, 3)
    image = image.reshape(side, _OVERSAMPLING, side, _OVERSAMPLING, 3).mean(axis=(1, 3))
    image += rng.uniform(0.0, 1.5 / 255.0) * rng.standard_normal(image.shape)  # the sensor
    return np.rint(255.0 * np.clip(image, 0.0, 1.0)).astype(np.uint8)


def _leaf_of_each_pixel(rng: np.random.Generator, side: int, count: int, behind: int) -> tuple[np.ndarray, np.ndarray]:
    """Two int32 ``(side, side)``: the leaf in front after the first ``behind`` leaves, and after all; 0 is none."""
    leaf = np.zeros((side, side), np.int32)
    background = leaf
    smallest, largest = 0.02 * side, 0.5 * side
    # radii with density r^-3 between the two, by inverting its distribution
    radii = (smallest**-2 - rng.random(count) * (smallest**-2 - largest**-2)) ** -0.5
    for number, radius in enumerate(radii, start=1):
        x, y = rng.uniform(-0.1, 1.1, 2) * side
        kind, stretch, angle = rng.integers(3), rng.uniform(0.4, 1.0), rng.uniform(0.0, 360.0)
        if kind == 0:
            axes = (int(radius) + 1, int(radius * stretch) + 1)
            cv2.ellipse(leaf, (int(x), int(y)), axes, angle, 0, 360, number, cv2.FILLED)
        else:
            corners = 4 if kind == 1 else int(rng.integers(3, 8))
            turns = np.sort(rng.uniform(0.0, 2 * np.pi, corners)) if kind == 2 else np.arange(4) * np.pi / 2
            points = radius * np.stack([np.cos(turns), stretch * np.sin(turns)], axis=1)
            turn = np.deg2rad(angle)
            rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
            cv2.fillPoly(leaf, [np.rint(points @ rotation + (x, y)).astype(np.int32)], number)
        if number == behind:
            background = leaf.copy()
    return background, leaf


def _fractal_noise(rng: np.random.Generator, side: int, slope: float) -> np.ndarray:
    """float64 ``(side, side)`` of mean 0 and deviation 1 whose amplitude falls as frequency to the ``slope``."""
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None])
    frequency[0, 0] = np.inf
    spectrum = np.fft.rfft2(rng.standard_normal((side, side))) * frequency**-slope
    noise = np.fft.irfft2(spectrum, s=(side, side))
    return noise / noise.std()


def _colours(rng: np.random.Generator, count: int) -> np.ndarray:
    """float64 ``(count, 3)`` in [0, 1]: a scene has a few hues, mostly dull, in all lightnesses."""
    hues = rng.uniform(0.0, 360.0, 4)
    hue = (rng.choice(hues, count) + rng.normal(0.0, 18.0, count)) % 360.0
    saturation = rng.beta(1.4, 2.2, count)
    value = rng.beta(1.6, 1.4, count)
    hsv = np.stack([hue, saturation, value], axis=-1).astype(np.float32)[None]
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0].astype(np.float64)
