"""The definitions of the colour distortions."""

import cv2
import numpy as np
import pytest
import skimage.data
import skimage.filters
from pictures import ASTRONAUT, at_levels, flat, noise_picture, psnr
from scipy.spatial import KDTree

from glintiqa_jax.saqt.distortions import distort
from glintiqa_jax.saqt.distortions.colour import otsu_thresholds, structure_mask


@pytest.mark.parametrize(
    ("level", "direction", "step"),
    [(1, 0, (0, 1)), (2, 90, (3, 0)), (3, 180, (0, -6)), (4, 270, (-8, 0)), (5, 30, (6, 10))],
)
def test_colour_shift_moves_green_where_there_is_structure(level: int, direction: float, step: tuple[int, int]) -> None:
    shifted = distort(ASTRONAUT, "colour_shift", level, rescale=False, direction=direction)
    np.testing.assert_array_equal(shifted[..., [0, 2]], ASTRONAUT[..., [0, 2]])
    inner = np.s_[16:-16, 16:-16]
    moved = np.roll(ASTRONAUT[..., 1], step, (0, 1))[inner].astype(float)
    still = ASTRONAUT[..., 1][inner].astype(float)
    mask = structure_mask(ASTRONAUT.astype(np.float32) / np.float32(255))[inner]
    np.testing.assert_allclose(shifted[..., 1][inner], still + mask * (moved - still), atol=0.51)
    assert mask.min() == 0
    assert mask.max() == 1


def test_colour_shift_has_no_mask_without_gradient() -> None:
    assert not structure_mask(np.full((32, 32, 3), 0.5, np.float32)).any()


@pytest.mark.parametrize(("level", "colours"), at_levels(64, 48, 32, 16, 8))
def test_colour_quantisation_counts_colours(level: int, colours: int) -> None:
    result = distort(ASTRONAUT, "colour_quantisation", level, rescale=False)
    count = len(np.unique(result.reshape(-1, 3), axis=0))
    assert 0.9 * colours <= count <= colours
    # Dithering keeps the local mean, better than the nearest colour of the palette does.
    palette = np.unique(result.reshape(-1, 3), axis=0)
    nearest = palette[KDTree(palette).query(ASTRONAUT.reshape(-1, 3))[1]].reshape(ASTRONAUT.shape)
    expected, dithered, plain = (cv2.blur(image.astype(np.float32), (15, 15)) for image in (ASTRONAUT, result, nearest))
    assert np.abs(dithered - expected).mean() < 0.8 * np.abs(plain - expected).mean()


def test_saturation_without_colour_is_the_value() -> None:
    image = noise_picture(2, 40, 40)
    grey = distort(image, "saturation_hsv", 4, rescale=False)
    np.testing.assert_array_equal(grey, np.repeat(image.max(axis=2, keepdims=True), 3, axis=2))


def test_saturation_lab_at_level_1_changes_nothing() -> None:
    assert psnr(distort(ASTRONAUT, "saturation_lab", 1, rescale=False), ASTRONAUT) > 50


def test_colour_diffusion_keeps_lightness() -> None:
    dull = (ASTRONAUT // 8 + 112).astype(np.uint8)  # near grey, so that no colour leaves the gamut
    spread = distort(dull, "colour_diffusion", 1, rescale=False)
    before, after = (cv2.cvtColor(i.astype(np.float32) / 255, cv2.COLOR_RGB2LAB) for i in (dull, spread))
    np.testing.assert_allclose(after[..., 0], before[..., 0], atol=0.5)
    for channel in (1, 2):
        assert np.diff(after[..., channel]).std() < 0.75 * np.diff(before[..., channel]).std()


def test_otsu_agrees_with_exhaustive_search() -> None:
    values = ASTRONAUT[..., 1]
    for count in (1, 2, 3):
        expected = skimage.filters.threshold_multiotsu(values, classes=count + 1)
        np.testing.assert_array_equal(otsu_thresholds(np.bincount(values.ravel(), minlength=256), count), expected)


@pytest.mark.parametrize(("level", "count"), at_levels(20, 16, 13, 10, 7))
def test_quantisation_leaves_one_value_a_class(level: int, count: int) -> None:
    result = distort(ASTRONAUT, "quantisation", level, rescale=False)
    values = np.unique(result)
    assert len(values) == count + 1
    assert (values[0], values[-1]) == (0, 255)
    # A class takes the value of its upper threshold, which lies in it.
    middle = (result > 0) & (result < 255)
    assert (result[middle] >= ASTRONAUT[middle]).all()
    assert set(values[1:-1]) <= set(ASTRONAUT.ravel())
    order = np.argsort(ASTRONAUT, axis=None, kind="stable")
    assert (np.diff(result.ravel()[order].astype(int)) >= 0).all()


def test_quantisation_of_few_values() -> None:
    two = flat(10, 32)
    two[:, 16:] = 200
    assert len(np.unique(distort(two, "quantisation", 1, rescale=False))) <= 2
    assert np.ptp(distort(flat(77, 32), "quantisation", 5)) == 0
