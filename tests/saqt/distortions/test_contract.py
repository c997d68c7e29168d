"""What every distortion promises: its place in the table, shapes, seeds and errors."""

import itertools
import math
import pathlib
import subprocess
import sys

import cv2
import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
from pictures import ASTRONAUT, LEVELS, flat, noise_picture

from glintiqa_jax.saqt.distortions import DISTORTIONS, Distortion, distort

RANDOM = [row for row in DISTORTIONS if row.random]
FIXED = [row for row in DISTORTIONS if not row.random]


def named(row: Distortion) -> str:
    return row.name


def test_table_has_the_database_numbering() -> None:
    assert [row.number for row in DISTORTIONS] == list(range(1, 26))
    assert len({row.name for row in DISTORTIONS}) == 25
    assert all(row.name.isidentifier() and len(row.levels) == 5 for row in DISTORTIONS)
    assert all("\n" not in row.definition and row.definition for row in DISTORTIONS)


def test_table_names_what_can_be_given() -> None:
    given = {row.name: row.parameters for row in DISTORTIONS if row.parameters}
    assert given == {"motion_blur": ("angle",), "colour_shift": ("direction",)}
    assert {row.number for row in RANDOM} == {3, 5, 11, 12, 13, 14, 15, 19, 20, 23}


def test_import_pulls_in_neither_jax_nor_torch() -> None:
    code = "import sys, glintiqa_jax.saqt.distortions as d; print(sorted({'jax', 'torch'} & set(sys.modules)))"
    root = str(pathlib.Path(__file__).resolve().parents[3])
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@hypothesis.settings(max_examples=4, deadline=None, derandomize=True)
@hypothesis.given(
    height=st.integers(32, 80), width=st.integers(32, 80), seed=st.integers(0, 2**32), rescale=st.booleans()
)
def test_every_type_and_level_keeps_shape_and_dtype(height: int, width: int, seed: int, rescale: bool) -> None:
    image = noise_picture(seed, height, width)
    before = image.copy()
    for row, level in itertools.product(DISTORTIONS, LEVELS):
        result = distort(image, row.number, level, seed=seed, rescale=rescale)
        assert result.shape == image.shape, row.name
        assert result.dtype == np.uint8, row.name
        assert result.flags.c_contiguous, row.name
        assert not np.shares_memory(result, image), row.name
    np.testing.assert_array_equal(image, before)


def test_smallest_image_and_views() -> None:
    view = noise_picture(0, 64, 64)[::2, ::-2]
    view.flags.writeable = False
    for row in DISTORTIONS:
        np.testing.assert_array_equal(distort(view, row.name, 5), distort(view.copy(), row.name, 5), row.name)


@pytest.mark.parametrize("row", DISTORTIONS, ids=named)
def test_name_and_number_are_the_same_distortion(row: Distortion) -> None:
    image = noise_picture(1, 40, 48)
    np.testing.assert_array_equal(distort(image, row.number, 4, seed=3), distort(image, row.name, 4, seed=3))


@pytest.mark.parametrize("row", RANDOM, ids=named)
def test_random_ones_are_functions_of_the_seed(row: Distortion) -> None:
    first = distort(ASTRONAUT, row.number, 5, seed=7)
    np.testing.assert_array_equal(first, distort(ASTRONAUT, row.number, 5, seed=7))
    assert (first != distort(ASTRONAUT, row.number, 5, seed=8)).any()


@pytest.mark.parametrize("row", FIXED, ids=named)
def test_the_others_ignore_the_seed(row: Distortion) -> None:
    np.testing.assert_array_equal(distort(ASTRONAUT, row.number, 5, seed=1), distort(ASTRONAUT, row.number, 5, seed=2))


def test_levels_and_types_draw_apart() -> None:
    image = flat(128)
    fields = [
        distort(image, number, level, rescale=False)[..., 0] > 128
        for number, level in itertools.product((11, 14), (1, 5))
    ]
    for one, other in itertools.combinations(fields, 2):
        assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.05


def test_result_does_not_depend_on_threads() -> None:
    threads = cv2.getNumThreads()
    try:
        cv2.setNumThreads(1)
        alone = [distort(ASTRONAUT, row.number, 4) for row in DISTORTIONS]
        cv2.setNumThreads(4)
        together = [distort(ASTRONAUT, row.number, 4) for row in DISTORTIONS]
    finally:
        cv2.setNumThreads(threads)
    for row, one, other in zip(DISTORTIONS, alone, together, strict=True):
        np.testing.assert_array_equal(one, other, row.name)


def test_rescale_stretches_before_and_after() -> None:
    dull = ASTRONAUT // 4 + 60
    stretched = distort(dull, "gaussian_blur", 5)
    plain = distort(dull, "gaussian_blur", 5, rescale=False)
    assert (stretched.min(), stretched.max()) == (0, 255)
    assert plain.min() >= 60
    assert plain.max() <= 60 + 63


@pytest.mark.parametrize("value", [0, 90, 255])
def test_constant_image_is_not_stretched(value: int) -> None:
    image = flat(value, 48)
    for name in ("gaussian_blur", "lens_blur", "motion_blur", "colour_shift", "saturation_lab", "sharpen"):
        np.testing.assert_allclose(distort(image, name, 3).astype(int), image, atol=1, err_msg=name)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.zeros((64, 64, 3), np.float32), 1, 1), r"uint8 RGB.*float32"),
        ((np.zeros((64, 64), np.uint8), 1, 1), r"\(height, width, 3\).*\(64, 64\)"),
        ((np.zeros((64, 64, 4), np.uint8), 1, 1), r"\(64, 64, 4\)"),
        ((np.zeros((31, 64, 3), np.uint8), 1, 1), r"at least 32.*\(31, 64, 3\)"),
        (([[0]], 1, 1), r"uint8 RGB.*list"),
        ((flat(0, 32), 0, 1), r"distortion: expected a number from 1 to 25 .*found 0"),
        ((flat(0, 32), 26, 1), r"from 1 to 25.*found 26"),
        ((flat(0, 32), 1.5, 1), r"found 1\.5"),
        ((flat(0, 32), True, 1), r"found True"),
        ((flat(0, 32), "blur", 1), r"gaussian_blur.*found 'blur'"),
        ((flat(0, 32), 1, 0), r"level from 1 to 5, found 0"),
        ((flat(0, 32), 1, 6), r"level from 1 to 5, found 6"),
        ((flat(0, 32), 1, 2.0), r"level from 1 to 5, found 2\.0"),
    ],
)
def test_bad_arguments_are_named(arguments: tuple[object, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        distort(*arguments)  # type: ignore[arg-type]


def test_bad_keywords_are_named() -> None:
    with pytest.raises(ValueError, match=r"motion_blur among: angle, found 'direction'"):
        distort(flat(0, 32), "motion_blur", 1, direction=3.0)
    with pytest.raises(ValueError, match=r"gaussian_blur among: none, found 'sigma'"):
        distort(flat(0, 32), "gaussian_blur", 1, sigma=3.0)
    with pytest.raises(ValueError, match=r"angle: expected a finite number, found nan"):
        distort(flat(0, 32), "motion_blur", 1, angle=math.nan)
    with pytest.raises(ValueError, match=r"at least 0, found -1"):
        distort(flat(0, 32), 1, 1, seed=-1)


def test_motion_blur_grows_with_length() -> None:
    # Not the error against the source, to which the half pixel of an even length adds.
    detail = [
        np.diff(distort(ASTRONAUT, "motion_blur", level, angle=45).astype(float), axis=1).std() for level in LEVELS
    ]
    assert detail == sorted(detail, reverse=True)
    assert len(set(detail)) == 5
