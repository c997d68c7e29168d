"""The most similar references: what sorting everything gives, at the memory of one block."""

import re
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glintiqa_jax.errors import InputError
from glintiqa_jax.saqt.retrieval import nearest


def vectors(count: int, seed: int) -> np.ndarray:
    """Rows of length 1 whose products are exact: four places of 1/2 or -1/2 among eight, so that many are alike."""
    rng = np.random.default_rng(seed)
    rows = np.zeros((count, 8), np.float32)
    for row in rows:
        row[rng.permutation(8)[:4]] = rng.choice([-0.5, 0.5], 4)
    return rows


@given(
    images=st.integers(0, 12), references=st.integers(1, 9), seed=st.integers(0, 99), block=st.integers(1, 13),
    data=st.data(),
)  # fmt: skip
def test_the_best_come_first_and_of_equals_the_lower_index(images, references, seed, block, data):
    k = data.draw(st.integers(1, references))
    features, others = vectors(images, seed), vectors(references, seed + 1)
    indices, similarities = nearest(features, others, k, block=block)
    assert (indices.dtype, similarities.dtype) == (np.int64, np.float32)
    assert indices.shape == similarities.shape == (images, k)
    for row, image in enumerate(features):
        cosines = [float(image @ other) for other in others]
        expected = sorted(range(references), key=lambda one: (-cosines[one], one))[:k]
        assert indices[row].tolist() == expected
        assert similarities[row].tolist() == [cosines[one] for one in expected]


def test_nothing_given_is_changed():
    features, references = vectors(5, 0), vectors(4, 1)
    copies = features.copy(), references.copy()
    nearest(features, references, 2)
    np.testing.assert_array_equal(features, copies[0])
    np.testing.assert_array_equal(references, copies[1])


@pytest.mark.parametrize("images", [2_000, 8_000])
def test_memory_is_that_of_a_block(images):
    features, references = vectors(images, 0), vectors(1_000, 1)
    result = images * 3 * (8 + 4)
    tracemalloc.start()
    try:
        nearest(features, references, 3, block=50)
        peak = tracemalloc.get_traced_memory()[1] - result
    finally:
        tracemalloc.stop()
    block = 50 * 1_000 * 4  # float32; the whole would be 8 MB and 32 MB
    assert block < peak < 3 * block


def test_a_memory_map_is_read_a_block_at_a_time(tmp_path):
    features, references = vectors(30, 0), vectors(6, 1)
    np.save(tmp_path / "features.npy", features)
    mapped = np.load(tmp_path / "features.npy", mmap_mode="r")
    for found, expected in zip(nearest(mapped, references, 2, block=7), nearest(features, references, 2), strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("channels", "k", "message"),
    [
        (7, 1, "of one backbone, found shapes (3, 8) and (4, 7)"),
        (8, 0, "k=0: expected from 1 to the 4 references"),
        (8, 5, "k=5: expected from 1 to the 4 references"),
    ],
)
def test_what_cannot_be_is_one_error(channels, k, message):
    with pytest.raises(InputError, match=re.escape(message)):
        nearest(vectors(3, 0), vectors(4, 1)[:, :channels], k)
