"""Ladders: versions of a crop that get worse and worse."""

import numpy as np

from glintiqa_jax.saqt.distortions import DISTORTIONS, LEVELS, distort
from glintiqa_jax.saqt.kadid_scores import MEAN_SCORES
from glintiqa_jax.saqt.ladder import LevelLadder

CROP = np.random.default_rng(0).integers(40, 200, (4, 4, 3), np.uint8).repeat(10, 0).repeat(10, 1)


def rungs(versions):
    """The types and levels that each version may be, of those that draw nothing at random."""
    made = {
        (row.number, level): distort(CROP, row.number, level, rescale=False)
        for row in DISTORTIONS
        if not row.random
        for level in LEVELS
    }
    return [{which for which, image in made.items() if np.array_equal(image, version)} for version in versions]


def test_a_ladder_is_of_one_distortion_and_falls():
    seen = set()
    for seed in range(12):
        found = rungs(LevelLadder(5)(CROP, np.random.default_rng(seed)))
        for number in set.intersection(*({number for number, _ in one} for one in found)):
            levels = [level for one in found for kind, level in sorted(one) if kind == number]
            scores = MEAN_SCORES[number - 1, np.asarray(levels[:5]) - 1]
            if len(levels) == 5:  # not where two levels look alike
                assert sorted(levels) == list(LEVELS)
                assert (np.diff(scores) <= 0).all()
                seen.add(number)
    assert len(seen) > 2


def test_a_ladder_is_a_function_of_its_crop_and_random_numbers():
    first, again, other = (LevelLadder(2)(CROP, np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert [version.shape for version in first] == [CROP.shape] * 2
    assert all(np.array_equal(*pair) for pair in zip(first, again, strict=True))
    assert not np.array_equal(first, other)
