"""The definitions of the tone distortions."""

import numpy as np
from pictures import ASTRONAUT, LEVELS, flat
from scipy.interpolate import CubicSpline

from glintiqa_jax.saqt.distortions import distort
from glintiqa_jax.saqt.distortions.tone import tone_curve


def test_tone_curve_passes_through_its_points() -> None:
    points = [(0.3, 0.35), (0.5, 0.5), (0.7, 0.65)]
    x = np.array([0, 0.3, 0.5, 0.7, 1], np.float32)
    np.testing.assert_allclose(tone_curve(x, points), [0, 0.35, 0.5, 0.65, 1], atol=1e-4)
    grid = np.linspace(0, 1, 1001)
    spline = CubicSpline([0, 0.3, 0.5, 0.7, 1], [0, 0.35, 0.5, 0.65, 1])(grid)
    np.testing.assert_allclose(tone_curve(grid.astype(np.float32), points), np.clip(spline, 0, 1), atol=1e-4)


def test_darken_is_the_parabola_through_its_point() -> None:
    ramp = np.tile(np.arange(256, dtype=np.uint8)[None, :, None], (32, 1, 3))
    for level, amount in zip(LEVELS, (0.05, 0.1, 0.2, 0.4, 0.8), strict=True):
        x = np.arange(256) / 255
        expected = 255 * np.clip(x - 2 * amount * x * (1 - x), 0, 1)
        result = distort(ramp, "darken", level, rescale=False)[0, :, 0]
        np.testing.assert_allclose(result, expected, atol=0.51)


def test_brighten_brightens_and_mean_shift_shifts() -> None:
    means = [distort(ASTRONAUT, "brighten", level, rescale=False).mean() for level in LEVELS]
    assert means == sorted(means)
    assert means[0] > ASTRONAUT.mean()
    white = flat(255, 64)
    white[:, :32] = 0
    np.testing.assert_allclose(distort(white, "brighten", 1, rescale=False).astype(int), white, atol=1)
    for level, shift in zip(LEVELS, (0.15, 0.08, 0, -0.08, -0.15), strict=True):
        expected = np.clip(ASTRONAUT / 255 + shift, 0, 1) * 255
        np.testing.assert_allclose(distort(ASTRONAUT, "mean_shift", level, rescale=False), expected, atol=0.51)
