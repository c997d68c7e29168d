"""The definitions of the noise distortions."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from pictures import ASTRONAUT, LEVELS, at_levels, flat, psnr

from glintiqa_jax.saqt.distortions import distort


def residual(name: str, level: int, value: int = 128) -> NDArray[np.float64]:
    image = flat(value)
    return (distort(image, name, level, rescale=False).astype(float) - image) / 255


@pytest.mark.parametrize(("level", "variance"), at_levels(0.001, 0.002, 0.003, 0.005, 0.01))
def test_white_noise_variance(level: int, variance: float) -> None:
    noise = residual("white_noise", level)
    np.testing.assert_allclose(noise.var(axis=(0, 1)), variance, rtol=0.03)
    assert abs(noise.mean()) < 4 * math.sqrt(variance / noise.size)
    assert np.abs(np.corrcoef(noise.reshape(-1, 3).T) - np.eye(3)).max() < 0.02


@pytest.mark.parametrize(("level", "variance"), at_levels(0.0001, 0.0005, 0.001, 0.002, 0.003))
def test_white_noise_variance_in_ycbcr(level: int, variance: float) -> None:
    # ITU-R BT.601: R, G and B from Y', Cb and Cr in studio range, written out from the recommendation.
    kr, kb = 0.299, 0.114
    kg = 1 - kr - kb
    y, c = 255 / 219, 255 / 224
    gains = np.array(
        [
            [y, 0, 2 * (1 - kr) * c],
            [y, -2 * (1 - kb) * kb / kg * c, -2 * (1 - kr) * kr / kg * c],
            [y, 2 * (1 - kb) * c, 0],
        ]
    )
    noise = residual("white_noise_ycbcr", level)
    np.testing.assert_allclose(noise.var(axis=(0, 1)), variance * (gains**2).sum(axis=1), rtol=0.03)


@pytest.mark.parametrize(("level", "density"), at_levels(0.001, 0.005, 0.01, 0.02, 0.03))
def test_impulse_noise_density(level: int, density: float) -> None:
    result = distort(flat(128, 512), "impulse_noise", level, rescale=False)
    deviation = math.sqrt(density / 2 / result.size)
    assert abs((result == 0).mean() - density / 2) < 4 * deviation
    assert abs((result == 255).mean() - density / 2) < 4 * deviation
    assert ((result == 0) | (result == 128) | (result == 255)).all()


@pytest.mark.parametrize(("level", "variance"), at_levels(0.001, 0.005, 0.01, 0.02, 0.05))
def test_speckle_noise_variance_and_range(level: int, variance: float) -> None:
    noise = residual("speckle_noise", level) / (128 / 255)
    np.testing.assert_allclose(noise.var(axis=(0, 1)), variance, rtol=0.03)
    assert np.abs(noise).max() <= math.sqrt(3 * variance) + 1 / 128  # uniform: bounded, unlike a Gaussian
    assert not residual("speckle_noise", level, 0).any()


def test_denoise_removes_noise_but_not_all() -> None:
    for level, variance in zip(LEVELS, (0.01, 0.03, 0.05, 0.1, 0.15), strict=True):
        left = residual("denoise", level).var()
        assert 0 < left < 0.25 * variance
    assert psnr(distort(ASTRONAUT, "denoise", 1, rescale=False), ASTRONAUT) > 25  # the noise alone: 20 dB
