"""Distorted while they are read: the same images and scores as those that were written."""

import numpy as np
import pytest
from pristine import make_sources

from glintiqa_jax.data.builder import prepare
from glintiqa_jax.data.images import limit_short_side
from glintiqa_jax.data.records import RecordSource
from glintiqa_jax.errors import InputError
from glintiqa_jax.saqt.generation import Recipe, collection, write_all
from glintiqa_jax.saqt.on_the_fly import DistortedSource, is_on_the_fly, pristine_collection

RECIPE = Recipe(seed=3, max_side=64)


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """(written, on the fly) of the same photographs."""
    folder = tmp_path_factory.mktemp("both")
    sources = make_sources(folder / "pristine", ["a", "b", "deep/c"], side=80)
    write_all(sources, folder / "images", RECIPE, workers=1)
    written = prepare(collection(sources, folder / "images", RECIPE), folder / "written")
    pristine = prepare(pristine_collection(sources, RECIPE), folder / "pristine_records")
    return RecordSource(written), DistortedSource(pristine)


def test_items_are_those_that_were_written(both):
    written, on_the_fly = both
    assert len(written) == len(on_the_fly) == 375
    for position in [0, 40, 124, 125, 300, 374, -1]:
        expected, found = written[position], on_the_fly[position]
        np.testing.assert_array_equal(found.pop("image"), expected.pop("image"))
        np.testing.assert_equal(found, expected)


def test_the_index_is_that_of_the_written(both):
    written, on_the_fly = both
    for field in ("names", "raw_scores", "groups", "references", "distortion_types", "distortion_levels", "heights"):
        np.testing.assert_array_equal(getattr(written.index, field), getattr(on_the_fly.index, field))
    np.testing.assert_array_equal(written.sizes(), on_the_fly.sizes())
    assert len(on_the_fly.looks()) == 375


def test_images_are_distorted_before_they_are_shrunk(both):
    written, on_the_fly = both
    small = on_the_fly.resized(48)
    np.testing.assert_array_equal(small[200]["image"], limit_short_side(written[200]["image"], 48))
    assert tuple(small.sizes()[200]) == (48, 48)


def test_only_what_was_prepared_for_it_is_distorted(both, tmp_path):
    written, on_the_fly = both
    assert is_on_the_fly(on_the_fly)
    assert not is_on_the_fly(written)
    with pytest.raises(InputError, match=r"transferred_scores.npz: expected what build_saqt wrote with `on_the_fly`"):
        DistortedSource(written.folder)
