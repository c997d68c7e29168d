"""The definitions of the spatial distortions."""

import math

import numpy as np
import pytest
from pictures import at_levels, flat

from glintiqa_jax.saqt.distortions import distort


def test_jitter_moves_pixels_by_its_deviation() -> None:
    # On a ramp of two values a pixel, interpolation is exact and the change tells the distance. The five
    # warps add, but each averages what those before it made: the variance is below five times that of one.
    ramp = np.tile((2 * np.arange(120, dtype=np.uint8))[None, :, None], (120, 1, 3))
    for level, amount in ((4, 0.5), (5, 1.0)):
        moved = (distort(ramp, "jitter", level, rescale=False).astype(float) - ramp)[8:-8, 8:-8, 0] / 2
        assert abs(moved.mean()) < 0.1
        assert 1.5 * amount**2 < moved.var() < 5 * amount**2
    warped = distort(ramp, "jitter", 5)
    np.testing.assert_array_equal(warped[..., 0], warped[..., 1])  # one field for all three channels


@pytest.mark.parametrize(("level", "patches"), at_levels(20, 40, 60, 80, 100))
def test_non_eccentricity_copies_from_nearby(level: int, patches: int) -> None:
    # Each pixel carries its own row and column, so that the result says where it came from.
    rows, columns = np.mgrid[:256, :256].astype(np.uint8)
    image = np.stack([rows, columns, np.zeros_like(rows)], axis=-1)
    moved = distort(image, "non_eccentricity", level, rescale=False)
    step = moved[..., :2].astype(int) - image[..., :2]
    changed = step.any(axis=2)
    # Patches that lie on one another count once, and some stay where they were.
    assert 0.3 * patches * 256 < changed.sum() <= patches * 256
    first = np.abs(distort(image, "non_eccentricity", 1, rescale=False)[..., :2].astype(int) - image[..., :2])
    # Twenty patches on 256x256 rarely lie on one another: a pixel moved once went up to 8 pixels.
    assert np.median(first[first.any(axis=2)].max(axis=1)) <= 8
    assert first.max() <= 8 * 4
    border = np.ones((256, 256), bool)
    border[8:-8, 8:-8] = False
    assert not changed[border].any()


@pytest.mark.parametrize(("level", "amount"), at_levels(0.01, 0.05, 0.1, 0.2, 0.5))
def test_pixelate_repeats_as_many_pixels_as_the_small_image_has(level: int, amount: float) -> None:
    rows, columns = np.mgrid[:200, :160].astype(np.uint8)
    image = np.stack([rows, columns, rows], axis=-1)
    result = distort(image, "pixelate", level, rescale=False)
    scale = 0.95 - amount**0.6
    # The way down keeps to the scale and the way back to the size: at the far end a pixel may come twice.
    assert math.ceil(200 * scale) - len(np.unique(result[..., 0])) in (0, 1)
    assert math.ceil(160 * scale) - len(np.unique(result[..., 1])) in (0, 1)
    assert np.abs(result.astype(int) - image).max() <= 1.5 / scale + 1


@pytest.mark.parametrize(("level", "blocks"), at_levels(2, 4, 6, 8, 10))
def test_colour_block_fills_squares(level: int, blocks: int) -> None:
    image = flat(0, 512)
    result = distort(image, "colour_block", level, rescale=False, seed=5)
    colours, counts = np.unique(result.reshape(-1, 3), axis=0, return_counts=True)
    filled = {tuple(c): n for c, n in zip(colours.tolist(), counts.tolist(), strict=True) if any(c)}
    assert len(filled) == blocks
    for colour, count in filled.items():
        assert count <= 32 * 32
        rows, columns = np.nonzero((result == colour).all(axis=2))
        assert np.ptp(rows) < 32
        assert np.ptp(columns) < 32
    assert max(filled.values()) == 32 * 32
    assert sum(filled.values()) > 0.6 * blocks * 32 * 32
