"""Near-duplicates are found, other images are not, and what was found never crosses a split."""

import functools
import io
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

from glintiqa_jax.data.images import decode_image, encode_png
from glintiqa_jax.data.near_duplicates import Look, known_contents, merge_groups, near_duplicates
from glintiqa_jax.data.splits import split_by_group
from glintiqa_jax.saqt.scenes import dead_leaves


def scene(seed: int) -> np.ndarray:
    return dead_leaves(64, seed=seed)


def jpeg(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=30)
    return buffer.getvalue()


def brighter(image: np.ndarray) -> bytes:
    return encode_png(np.asarray(ImageEnhance.Brightness(Image.fromarray(image)).enhance(1.2)))


def smaller(image: np.ndarray) -> bytes:
    return encode_png(np.asarray(Image.fromarray(image).resize((48, 48), Image.Resampling.BICUBIC)))


def cropped(image: np.ndarray) -> bytes:
    return encode_png(np.ascontiguousarray(image[1:, 1:]))


VARIANTS = [encode_png, jpeg, brighter, smaller, cropped]


def fingerprint(encoded: bytes) -> Look:
    return Look.of(encoded, decode_image(encoded, "test"))


@functools.cache
def file_of(number: int, variant: Callable[[np.ndarray], bytes]) -> tuple[bytes, Look]:
    """A variant of a scene as a file, and its fingerprint."""
    file = variant(scene(number))
    return file, fingerprint(file)


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.__name__)
def test_a_photograph_saved_anew_is_near(variant):
    found = [fingerprint(encode_png(scene(1))), fingerprint(encode_png(scene(2))), fingerprint(variant(scene(1)))]
    assert near_duplicates(found, ["a", "b", "c"]) == [(0, 2)]


def test_within_a_group_nothing_is_compared():
    found = [fingerprint(encode_png(scene(1)))] * 2
    assert near_duplicates(found, ["a", "a"]) == []


def test_flat_images_are_near_only_if_they_are_the_same_file():
    flat = [fingerprint(encode_png(np.full((40, 40, 3), value, np.uint8))) for value in (10, 20, 10)]
    assert near_duplicates(flat, ["a", "b", "c"]) == [(0, 2)]


def test_more_images_than_one_block_holds():
    """Blocks of hashes are compared with all that follow: pairs within a block, across blocks, and at their edges."""
    scenes = [fingerprint(encode_png(scene(seed))) for seed in range(3)]
    flat = [fingerprint(encode_png(np.full((8, 8, 3), value, np.uint8))) for value in range(200)]
    for edge in (63, 64, 127, 128):
        found = [scenes[0], *flat[: edge - 1], scenes[1], scenes[1], *flat[edge - 1 :], scenes[0], scenes[2]]
        groups = [str(number) for number in range(len(found))]
        assert near_duplicates(found, groups) == [(0, len(found) - 2), (edge, edge + 1)]


def test_merged_groups_are_the_connected_ones():
    groups = ["d", "c", "b", "a", "e", "e"]
    assert merge_groups(groups, [(0, 1), (1, 2)]) == ["b", "b", "b", "a", "e", "e"]
    assert merge_groups(groups, [(3, 4)]) == ["d", "c", "b", "a", "a", "a"]
    assert merge_groups(groups, []) == groups


databases = st.lists(
    st.tuples(st.integers(0, 5), st.sampled_from(VARIANTS), st.integers(0, 8)), min_size=8, max_size=20
)


@settings(max_examples=25)
@given(databases, st.integers(0, 3))
def test_no_content_crosses_a_split_of_any_database(rows, seed):
    """Neither a group, nor a byte-identical image, nor a near-duplicate."""
    rows = [*rows, (6, encode_png, 9), (7, encode_png, 10), (8, encode_png, 11)]
    files, found = zip(*(file_of(number, variant) for number, variant, _ in rows), strict=True)
    groups = [f"group {group}" for *_, group in rows]
    pairs = near_duplicates(found, groups)
    split = split_by_group(merge_groups(groups, pairs), validation_fraction=0.2, test_fraction=0.2, seed=seed)
    side = dict.fromkeys(split.train, 0) | dict.fromkeys(split.validation, 1) | dict.fromkeys(split.test, 2)
    for i in range(len(rows)):
        for j in range(i):
            near = near_duplicates([found[i], found[j]], ["one", "other"])
            if i in side and (groups[i] == groups[j] or files[i] == files[j] or near):
                assert side[i] == side[j]


def test_a_known_content_is_known_by_what_it_shows():
    """Not by its name or its bytes; with an image goes its whole group."""
    known = [file_of(number, encode_png)[1] for number in (1, 2)]
    asked = [file_of(2, jpeg)[1], file_of(3, encode_png)[1], file_of(4, encode_png)[1]]
    assert known_contents(known, asked, ["a", "a", "b"]).tolist() == [True, True, False]
    assert not known_contents([], asked, ["a", "a", "b"]).any()
