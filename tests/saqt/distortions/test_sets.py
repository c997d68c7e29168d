"""A set of one's own: one row in one file, with its levels, and an identity that changes with what it does."""

import dataclasses

import numpy as np
import pytest
from pictures import ASTRONAUT, flat

from glintiqa_jax.errors import InputError
from glintiqa_jax.saqt.distortions import KADID, Distortion, DistortionSet
from glintiqa_jax.saqt.gallery import draw_gallery


def haze(image, amount):
    """What is far is white; here all is as far."""
    return image * (1 - np.float32(amount)) + np.float32(amount)


def dust(image, share, rng):
    return np.where(rng.random(image.shape[:2])[..., None] < share, np.float32(0.5), image)


HAZE = Distortion(1, "haze", (0.1, 0.3, 0.8), "share of white", haze)
MINE = DistortionSet("mine", (HAZE, Distortion(2, "dust", (0.01, 0.1, 0.5), "share of grey", dust, random=True)))


def test_a_distortion_of_ones_own_is_one_row():
    means = [MINE.distort(ASTRONAUT, "haze", level, rescale=False).mean() for level in MINE.levels]
    assert means == sorted(means)
    np.testing.assert_allclose(means[2], 0.2 * ASTRONAUT.mean() + 0.8 * 255, atol=0.5)
    np.testing.assert_array_equal(MINE.distort(ASTRONAUT, 2, 3, seed=4), MINE.distort(ASTRONAUT, "dust", 3, seed=4))
    assert (MINE.distort(ASTRONAUT, 2, 3, seed=4) != MINE.distort(ASTRONAUT, 2, 3, seed=5)).any()
    texts = [text.get_text() for text in draw_gallery(ASTRONAUT, distortions=MINE).texts]
    assert "2 dust" in texts
    assert texts.count("level 3: 0.8") == 1


def test_levels_and_names_are_those_of_the_set():
    with pytest.raises(InputError, match="level: expected a level from 1 to 3, found 4"):
        MINE.distort(flat(0, 32), "haze", 4)
    with pytest.raises(InputError, match="distortion: expected a number from 1 to 2 or one of: haze, dust, found 3"):
        MINE.distort(flat(0, 32), 3, 1)
    with pytest.raises(InputError, match="rows: expected a number of its own for each distortion"):
        DistortionSet("twice", (HAZE, dataclasses.replace(HAZE, name="fog")))
    with pytest.raises(InputError, match="rows: expected distortions with as many levels each"):
        DistortionSet("uneven", (HAZE, dataclasses.replace(HAZE, number=2, name="fog", levels=(1,))))


def test_identity_changes_with_levels_and_code(monkeypatch, tmp_path):
    identities = {KADID.identity(), MINE.identity(), dataclasses.replace(MINE, rows=(HAZE,)).identity()}
    identities.add(DistortionSet("mine", (dataclasses.replace(HAZE, levels=(0.1, 0.3, 0.9)),)).identity())
    assert len(identities) == 4
    monkeypatch.syspath_prepend(tmp_path)

    def made_of(name, code):
        (tmp_path / f"{name}.py").write_text(f"def fog(image, amount):\n    {code}\n")
        return DistortionSet("own", (dataclasses.replace(HAZE, function=__import__(name).fog),)).identity()

    first = made_of("first_fog", "return image * amount")
    assert made_of("second_fog", "'As before.'; return image * amount  # the same code") == first
    assert made_of("third_fog", "return image + amount") != first
