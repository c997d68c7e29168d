"""Label transfer: tables that fit or are refused, methods by their definitions, shrinking that cannot do harm."""

import csv
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glintiqa_jax.data.databases import DATABASES
from glintiqa_jax.data.scale import ScoreScale
from glintiqa_jax.errors import InputError
from glintiqa_jax.saqt.kadid_scores import MEAN_SCORES
from glintiqa_jax.saqt.transfer import (
    TRANSFERS,
    ReferenceScores,
    fit_shrinkage,
    read_reference_scores,
    released_scores,
    transferred_scores,
)

KADID = DATABASES["kadid10k"].scale


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def reference_scores(count: int, seed: int = 0) -> ReferenceScores:
    """Scores from 1 to 5 that differ as KADID-10k's references do: a few causes, by type, and chance."""
    rng = np.random.default_rng(seed)
    causes = np.tensordot(rng.standard_normal((count, 4)), rng.normal(0, 0.14, (4, 25, 1)), axes=1)
    own = causes + rng.normal(0, 0.2, (count, 25, 5))
    names = tuple(f"I{number:02d}.png" for number in range(1, count + 1))
    return ReferenceScores(names, np.clip(MEAN_SCORES + own, 1, 5), KADID)


def features_of(scores: ReferenceScores, share: float, seed: int) -> np.ndarray:
    """Features whose similarity is, but for noise, ``share`` times that of the scores' deviations."""
    true = (scores.scores - scores.scores.mean(axis=0)).reshape(len(scores.names), -1)
    noise = np.random.default_rng(seed).standard_normal((len(true), 64))
    return unit(np.concatenate([np.sqrt(share) * unit(true), np.sqrt(1 - share) * unit(noise)], axis=1))


def rows_of(count: int) -> list[dict]:
    """KADID-10k's table of ``count`` references; each score differs."""
    return [
        {
            "dist_img": f"I{one:02d}_{kind:02d}_{level:02d}.png",
            "ref_img": f"I{one:02d}.png",
            "dmos": f"{1 + (one * 125 + kind * 5 + level) / 1000:.3f}",
        }
        for one in range(1, count + 1)
        for kind in range(1, 26)
        for level in range(1, 6)
    ]


def write(path: Path, rows: list[dict]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["dist_img", "ref_img", "dmos"])
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_a_table_is_read_whatever_its_order(tmp_path):
    rows = rows_of(3)
    shuffled = [rows[place] for place in np.random.default_rng(0).permutation(len(rows))]
    for listed in (rows, shuffled):
        found = read_reference_scores(write(tmp_path / "any name.csv", listed))
        assert found.names == ("I01.png", "I02.png", "I03.png")
        assert found.scores.shape == (3, 25, 5)
        assert found.scores.dtype == np.float64
        assert found.scores[1, 6, 3] == 1 + (2 * 125 + 7 * 5 + 4) / 1000
        assert found.scale == KADID


def changed(place: int, **fields: str) -> list[dict]:
    rows = rows_of(2)
    rows[place] |= fields
    return rows


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (rows_of(2)[:-1], "expected 125 scores of each reference, 1 are missing: I02.png type 25 level 5"),
        (rows_of(2)[3:], "3 are missing: I01.png type 1 level 1, I01.png type 1 level 2, I01.png type 1 level 3"),
        (rows_of(2)[:-7], "7 are missing: I02.png type 24 level 4, I02.png type 24 level 5, I02.png type 25 level 1"),
        (rows_of(1) * 2, "expected one score of I01.png, type 1, level 1, found a second one, that of I01_01_01.png"),
        (changed(9, dmos="5.01"), "expected scores from 1 to 5, found 5.01 for I01_02_05.png"),
        (changed(9, dmos="0.99"), "expected scores from 1 to 5, found 0.99 for I01_02_05.png"),
        (changed(9, dmos="nan"), "line 11, column 'dmos': expected a number, found 'nan'"),
        (changed(9, dist_img="I01_26_05.png"), "types from 1 to 25 and levels from 1 to 5, found I01_26_05.png"),
        (changed(9, dist_img="I01_02_00.png"), "types from 1 to 25 and levels from 1 to 5, found I01_02_00.png"),
        (changed(9, dist_img="I01.png"), "expected names REFERENCE_TYPE_LEVEL, found 'I01.png'"),
        ([], "expected one row per image below the header, found none"),
    ],
)
def test_a_table_that_does_not_fit_is_one_error(tmp_path, rows, message):
    table = write(tmp_path / "dmos.csv", rows)
    with pytest.raises(InputError, match=f"^{re.escape(str(table))}.*{re.escape(message)}"):
        read_reference_scores(table)


def test_another_scale_has_another_range(tmp_path):
    table = write(tmp_path / "dmos.csv", changed(9, dmos="8.5"))
    scale = ScoreScale(0, 9)
    assert read_reference_scores(table, scale=scale).scores.max() == 8.5
    assert read_reference_scores(table, scale=scale).scale == scale
    with pytest.raises(InputError, match=r"nowhere\.csv: cannot be read"):
        read_reference_scores(tmp_path / "nowhere.csv")


def test_each_method_is_what_it_says():
    scores = reference_scores(4)
    references = unit(np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0]]))
    features = unit(np.array([[0.2, 3, 0], [-1, -2, -3]]))
    cosines = features.astype(np.float64) @ references.T

    top1, matched = transferred_scores(features, references, scores, transfer="top1")
    assert matched.dtype == np.int64
    assert matched.tolist() == [1, 0]
    np.testing.assert_array_equal(top1, scores.scores[[1, 0]])

    topk, matched = transferred_scores(features, references, scores, transfer="topk", top_k=2)
    assert matched.tolist() == [1, 0]
    second = scores.scores[[1, 3]]
    expected = np.tensordot(cosines[0, [1, 3]] / cosines[0, [1, 3]].sum(), second, axes=1)
    np.testing.assert_allclose(topk[0], expected, rtol=1e-6)
    np.testing.assert_allclose(topk[1], scores.scores[[0, 1]].mean(axis=0), rtol=1e-6)  # like none: all weigh the same
    once, _ = transferred_scores(features, references, scores, transfer="topk", top_k=1)
    np.testing.assert_allclose(once, top1, rtol=1e-12)

    mean, matched = transferred_scores(features, references, scores, transfer="mean")
    assert matched.tolist() == [1, 0]
    np.testing.assert_allclose(mean, np.stack([scores.scores.mean(axis=0)] * 2))
    again, matched = transferred_scores(None, None, scores, transfer="mean", images=2)
    assert matched.tolist() == [-1, -1]
    np.testing.assert_array_equal(again, mean)


def test_random_is_drawn_by_the_seed():
    scores = reference_scores(5)
    first, matched = transferred_scores(None, None, scores, transfer="random", seed=3, images=200)
    np.testing.assert_array_equal(first, scores.scores[matched])
    assert set(matched) == set(range(5))
    again, _ = transferred_scores(None, None, scores, transfer="random", seed=3, images=200)
    np.testing.assert_array_equal(first, again)
    other, _ = transferred_scores(None, None, scores, transfer="random", seed=4, images=200)
    assert (first != other).any()


@given(
    method=st.sampled_from([*TRANSFERS, "random"]), count=st.integers(5, 12), images=st.integers(1, 4),
    share=st.floats(0, 1), seed=st.integers(0, 50),
)  # fmt: skip
def test_scores_stay_between_the_references(method, count, images, share, seed):
    scores = reference_scores(count + images, seed)
    features = features_of(scores, share, seed)
    known = scores.only(np.arange(count))
    found, matched = transferred_scores(features[count:], features[:count], known, transfer=method)
    assert found.shape == (images, 25, 5)
    assert found.dtype == np.float64
    assert (known.scores.min(axis=0) - 1e-9 <= found).all()
    assert (found <= known.scores.max(axis=0) + 1e-9).all()
    assert ((matched >= 0) & (matched < count)).all()
    released = released_scores(found, known)
    assert released.min() >= -1e-9
    assert released.max() <= 9 + 1e-9


def leave_one_out(scores: ReferenceScores, features: np.ndarray, method: str) -> float:
    """RMSE."""
    everyone = np.arange(len(scores.names))
    squares = []
    for one in everyone:
        others = np.delete(everyone, one)
        found, _ = transferred_scores(features[[one]], features[others], scores.only(others), transfer=method)
        squares.append(np.mean(np.square(found[0] - scores.scores[one])))
    return float(np.sqrt(np.mean(squares)))


@pytest.mark.parametrize("seed", range(3))
def test_shrinking_does_no_harm_and_beats_the_nearest(seed):
    """Nested: the constants are fitted without the reference that is predicted."""
    scores = reference_scores(24, seed)
    mean = leave_one_out(scores, features_of(scores, 0, seed), "mean")
    errors = []
    for share in (0, 0.1, 0.3, 1):
        features = features_of(scores, share, seed)
        errors.append(leave_one_out(scores, features, "shrunk"))
        assert errors[-1] < 1.01 * mean
        assert errors[-1] < leave_one_out(scores, features, "top1")
    assert errors[2] < 0.97 * mean
    assert errors[3] < errors[2]


def test_similarity_that_says_nothing_gets_no_weight():
    strengths = []
    for seed in range(20):
        scores = reference_scores(24, seed)
        strengths.append(fit_shrinkage(features_of(scores, 0, seed), scores).strength)
        assert fit_shrinkage(features_of(scores, 1, seed), scores).strength > 0.7
    assert np.median(strengths) == 0
    scores = reference_scores(4)
    assert fit_shrinkage(np.ones((4, 1), np.float32), scores).strength == 0  # all alike
    assert fit_shrinkage(features_of(scores, 1, 0)[:2], scores.only(np.arange(2))).strength == 0


@pytest.mark.parametrize("share", [0, 0.2, 1])
def test_shrunk_is_between_the_mean_and_a_weighted_one(share):
    scores = reference_scores(25, seed=4)
    features = features_of(scores, share, seed=4)
    known = scores.only(np.arange(24))
    shrinkage = fit_shrinkage(features[:24], known)
    weights = np.exp(features[24].astype(np.float64) @ features[:24].T.astype(np.float64) / shrinkage.temperature)
    mean, weighted = known.scores.mean(axis=0), np.average(known.scores, axis=0, weights=weights)
    found, _ = transferred_scores(features[24:], features[:24], known)
    np.testing.assert_allclose(found[0], mean + shrinkage.strength * (weighted - mean), rtol=1e-5)
    assert (shrinkage.strength == 0) == (share == 0)
    assert shrinkage.strength < 1  # some of every gain is taken for chance


def test_without_similarity_shrunk_is_the_mean():
    scores = reference_scores(6)
    references = np.ones((6, 1), np.float32)
    shrunk, _ = transferred_scores(references[:2], references, scores)
    np.testing.assert_allclose(shrunk, np.stack([scores.scores.mean(axis=0)] * 2), rtol=1e-12)


def test_a_block_of_images_is_like_any_other(monkeypatch):
    scores = reference_scores(10)
    features = features_of(scores, 1, 0)
    whole, _ = transferred_scores(features, features, scores)
    monkeypatch.setattr("glintiqa_jax.saqt.transfer._BLOCK", 3)
    parts, _ = transferred_scores(features, features, scores)
    np.testing.assert_allclose(whole, parts, rtol=1e-6)
    assert np.abs(whole - scores.scores.mean(axis=0)).max() > 0.05


def test_released_scores_have_the_references_range():
    scores = reference_scores(3)
    released = released_scores(scores.scores, scores)
    assert (released.min(), released.max()) == (0, 9)
    low, high = scores.scores.min(), scores.scores.max()
    np.testing.assert_allclose(released_scores(np.array([low, (low + high) / 2]), scores), [0, 4.5])
    worse = ReferenceScores(scores.names, scores.scores, ScoreScale(1, 5, lower_is_better=True))
    np.testing.assert_allclose(released_scores(scores.scores, worse), 9 - released, atol=1e-12)
    flat = ReferenceScores(("I01.png",), np.full((1, 25, 5), 3.0), KADID)
    with pytest.raises(InputError, match="expected reference scores that differ, found 3 alone"):
        released_scores(flat.scores, flat)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"transfer": "nearest"}, "transfer=nearest: expected one of top1, topk, mean, shrunk"),
        ({"features": None, "references": None}, "transfer=shrunk: needs features of images and references"),
        ({"references": None, "transfer": "top1"}, "transfer=top1: needs features of images and references"),
        ({"references": np.eye(3, 4, dtype=np.float32)}, "expected features of the 4 references with scores, found 3"),
        ({"features": np.eye(2, 7, dtype=np.float32)}, "of one backbone, found shapes (2, 7) and (4, 4)"),
        ({"transfer": "topk"}, "k=5: expected from 1 to the 4 references"),
    ],
)
def test_what_does_not_fit_is_one_error(arguments, message):
    given_all = {"features": np.eye(2, 4, dtype=np.float32), "references": np.eye(4, dtype=np.float32)} | arguments
    with pytest.raises(InputError, match=re.escape(message)):
        transferred_scores(reference_scores=reference_scores(4), **given_all)
