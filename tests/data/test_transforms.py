"""Crops stay inside, cover, and are functions of their seed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glintiqa_jax.data.augmentation import RandomCropsAndFlips
from glintiqa_jax.data.crops import Crops, mirrored
from glintiqa_jax.data.images import limit_short_side
from glintiqa_jax.data.transforms import TRANSFORMS


def coordinates(height: int, width: int) -> np.ndarray:
    """An image whose pixels say where they are: (row, column, 0)."""
    rows, columns = np.indices((height, width))
    return np.stack([rows, columns, np.zeros_like(rows)], axis=-1).astype(np.uint8)


@given(st.integers(4, 80), st.integers(4, 80), st.integers(0, 100))
def test_random_crops_are_pieces_of_the_image(height, width, seed):
    image = coordinates(height, width)
    element = {"image": image, "target": 1.0, "position": 0}
    (crop,) = RandomCropsAndFlips(4).random_map(element, np.random.default_rng(seed))["image"]
    assert crop.shape == (4, 4, 3)
    rows, columns = crop[:, 0, 0].astype(int), crop[0, :, 1].astype(int)
    assert abs(rows[1] - rows[0]) == 1
    assert abs(columns[1] - columns[0]) == 1
    np.testing.assert_array_equal(crop[..., 0], np.broadcast_to(rows[:, None], (4, 4)))


def test_every_place_and_flip_comes_up():
    image, transform = coordinates(6, 6), RandomCropsAndFlips(4)
    element = {"image": image, "target": 0.0, "position": 0}
    corners = {tuple(transform.random_map(element, np.random.default_rng(s))["image"][0, 0, 0, :2]) for s in range(600)}
    assert corners == {(r, c) for r in range(6) for c in range(6)}  # 3 offsets, or their flipped ends, each way


def test_nothing_is_turned_upside_down_on_request():
    transform = RandomCropsAndFlips(4, crops=40, vertical_flips=False)
    element = {"image": coordinates(9, 9), "target": 0.0, "position": 0}
    crops = transform.random_map(element, np.random.default_rng(0))["image"]
    rows, columns = crops[:, :, 0, 0].astype(int), crops[:, 0, :, 1].astype(int)
    assert (np.diff(rows) == 1).all()
    assert set(np.diff(columns).ravel()) == {-1, 1}


def test_several_crops_of_an_image_share_its_target():
    element = RandomCropsAndFlips(4, crops=3).random_map(
        {"image": coordinates(40, 40), "target": 0.25, "position": 17}, np.random.default_rng(0)
    )
    assert element["image"].shape == (3, 4, 4, 3)
    assert len({crop.tobytes() for crop in element["image"]}) == 3
    np.testing.assert_array_equal(element["target"], np.full(3, 0.25, np.float32))
    assert element["position"].tolist() == [17, 17, 17]


@given(st.integers(8, 80), st.integers(8, 80), st.integers(1, 6))
def test_grid_crops_reach_every_edge(height, width, grid):
    crops = Crops(8, grid).of(coordinates(height, width))
    assert crops.shape == (grid * grid, 8, 8, 3)
    if grid > 1:
        assert crops[0, 0, 0, :2].tolist() == [0, 0]
        assert crops[-1, -1, -1, :2].tolist() == [height - 1, width - 1]
    np.testing.assert_array_equal(crops, Crops(8, grid).of(coordinates(height, width)))


def test_one_crop_is_the_centre():
    assert Crops(10, 1).of(coordinates(20, 30))[0, 0, 0].tolist() == [5, 10, 0]


@given(st.integers(8, 80), st.integers(8, 80), st.integers(1, 3), st.lists(st.integers(8, 90), max_size=2))
def test_crops_at_several_sizes_are_those_of_the_image_shrunk_to_each(height, width, grid, sizes):
    image, crops = coordinates(height, width), Crops(8, grid, sizes=tuple(sizes))
    each = [Crops(8, grid).of(limit_short_side(image, size)) for size in (0, *sizes)]
    assert crops.count == len(each) * grid**2
    np.testing.assert_array_equal(crops.of(image), np.concatenate(each))


def test_images_smaller_than_the_crop_are_refused():
    with pytest.raises(ValueError, match="30x20 pixels is smaller than the model's crop of 24"):
        Crops(24, 3).of(coordinates(20, 30))


@given(st.integers(4, 60), st.integers(4, 60), st.integers(1, 30), st.integers(0, 100))
def test_crops_at_random_are_pieces_of_the_image_as_it_is(height, width, count, seed):
    crops = Crops(4, random=count, seed=seed).of(coordinates(height, width))
    assert crops.shape == (count, 4, 4, 3)
    tops, lefts = crops[:, :1, :1, 0].astype(int), crops[:, :1, :1, 1].astype(int)
    assert tops.max() <= height - 4
    assert lefts.max() <= width - 4
    np.testing.assert_array_equal(crops[..., 0], np.broadcast_to(tops + np.arange(4)[:, None], (count, 4, 4)))
    np.testing.assert_array_equal(crops[..., 1], np.broadcast_to(lefts + np.arange(4), (count, 4, 4)))


def test_crops_at_random_reach_every_place():
    crops = Crops(4, random=400).of(coordinates(6, 5))
    assert {tuple(crop[0, 0, :2]) for crop in crops} == {(r, c) for r in range(3) for c in range(2)}


@given(st.integers(1, 80), st.integers(1, 80), st.integers(1, 60))
def test_a_small_image_is_continued_by_its_mirror_image(height, width, side):
    image = coordinates(height, width)
    found = mirrored(image, side)
    assert found.shape == (max(height, side), max(width, side), 3)
    top, left = (max(side - length, 0) // 2 for length in (height, width))
    np.testing.assert_array_equal(found[top : top + height, left : left + width], image)
    steps = [np.abs(np.diff(found[..., axis].astype(int), axis=axis)).max(initial=0) for axis in (0, 1)]
    assert max(steps) <= 1  # no edge


@pytest.mark.parametrize("name", TRANSFORMS)
def test_what_every_transform_leaves_holds_a_crop(name):
    """It is uint8, and a function of the image and the stream; its ``smallest`` is large enough."""
    transform = TRANSFORMS[name]
    assert transform.name == name
    height = transform.smallest(16)
    image = np.random.default_rng(0).integers(0, 256, (height, height + 5, 3), np.uint8)
    for seed in range(20):
        found, again = (transform(image, 16, np.random.default_rng(seed)) for _ in range(2))
        assert found.dtype == np.uint8
        assert min(found.shape[:2]) >= 16
        np.testing.assert_array_equal(found, again)


def test_random_sizes_reach_from_a_crop_to_the_image():
    sides = {TRANSFORMS["random_sizes"](coordinates(8, 12), 5, np.random.default_rng(s)).shape[:2] for s in range(60)}
    assert sides == {(5, 8), (6, 9), (7, 10), (8, 12)}


def test_quarter_turns():
    image = coordinates(5, 7)
    turned = {TRANSFORMS["quarter_turns"](image, 4, np.random.default_rng(seed)).tobytes() for seed in range(30)}
    assert turned == {np.rot90(image, turns).tobytes() for turns in range(4)}
