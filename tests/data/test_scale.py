"""Scores keep their meaning on the way in and out."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glintiqa_jax.data.databases import DATABASES
from glintiqa_jax.data.scale import MIXED_SCALE, ScoreScale
from glintiqa_jax.errors import InputError

finite = st.floats(-1e3, 1e3)


@given(finite, st.floats(0.1, 1e3), st.booleans(), st.lists(st.floats(0, 1), min_size=1))
def test_round_trip_and_direction(low, extent, lower_is_better, shares):
    scale = ScoreScale(low, low + extent, lower_is_better)
    raw = np.sort(low + extent * np.asarray(shares))
    quality = scale.to_quality(raw)
    np.testing.assert_allclose(scale.to_raw(quality), raw, atol=1e-6 * max(abs(low), extent))
    assert (np.diff(quality) <= 0).all() if lower_is_better else (np.diff(quality) >= 0).all()
    assert quality.min() >= -1e-9
    assert quality.max() <= 1 + 1e-9


def test_empty_ranges_are_refused():
    with pytest.raises(InputError, match="score_range=1,1: expected a lowest score below the highest"):
        ScoreScale(1, 1)


def test_people_read_range_and_direction():
    assert DATABASES["kadid10k"].scale.describe() == "MOS 1 to 5, higher is better"
    assert DATABASES["live"].scale.describe() == "DMOS -3 to 112, lower is better"
    assert ScoreScale(0, 100, True, "DMOS").describe() == "DMOS 0 to 100, lower is better"
    assert MIXED_SCALE.describe() == "quality 0 to 1, higher is better"
