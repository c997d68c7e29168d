"""The definitions of the blur distortions."""

import math

import numpy as np
import pytest
from pictures import flat

from glintiqa_jax.saqt.distortions import distort
from glintiqa_jax.saqt.distortions.blur import disk_kernel, motion_kernel


def test_disk_kernel_is_a_disk() -> None:
    # A disk of radius 1 has the area pi and covers the centre pixel whole.
    kernel = disk_kernel(1)
    assert kernel.shape == (3, 3)
    assert kernel.sum() == pytest.approx(1)
    assert kernel[1, 1] == pytest.approx(1 / math.pi, abs=1e-5)
    np.testing.assert_allclose(kernel, kernel.T, atol=1e-5)
    assert disk_kernel(8).shape == (17, 17)
    assert disk_kernel(8)[8, 8] == pytest.approx(1 / (math.pi * 64), rel=1e-4)


def test_motion_kernel_lies_along_its_angle() -> None:
    np.testing.assert_allclose(motion_kernel(5, 0), np.outer([0, 0, 1, 0, 0], np.full(5, 0.2)), atol=1e-12)
    np.testing.assert_allclose(motion_kernel(5, 90), motion_kernel(5, 0).T, atol=1e-12)
    for angle in (20, 45, 70, 110, 160):
        kernel = motion_kernel(9, angle)
        y, x = np.indices(kernel.shape) - (np.array(kernel.shape)[:, None, None] - 1) / 2
        main = 0.5 * math.degrees(
            math.atan2(-2 * (kernel * x * y).sum(), (kernel * x * x).sum() - (kernel * y * y).sum())
        )
        assert main % 180 == pytest.approx(angle, abs=3)


def test_sharpen_raises_contrast_at_an_edge_and_leaves_flat_parts() -> None:
    image = flat(100, 64)
    image[:, 32:] = 150
    sharp = distort(image, "sharpen", 1, rescale=False).astype(int)
    assert sharp[32, 31, 0] < 95
    assert sharp[32, 32, 0] > 155
    np.testing.assert_allclose(sharp[:, [0, 63]], image[:, [0, 63]], atol=1)
