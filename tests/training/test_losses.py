"""Losses against their definitions."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from glintiqa_jax.errors import InputError
from glintiqa_jax.training.losses import (
    LOSSES,
    Loss,
    fidelity_loss,
    find,
    l1_loss,
    ladder_loss,
    norm_in_norm_loss,
    plcc_loss,
    smooth_l1_loss,
)

RNG = np.random.default_rng(0)
PREDICTED, TARGET = (jnp.asarray(RNG.random(16, np.float32)) for _ in range(2))
RANKING = {"l1_plcc": plcc_loss, "l1_norm_in_norm": norm_in_norm_loss, "l1_fidelity": fidelity_loss}


def test_l1():
    assert float(l1_loss(jnp.array([0.0, 1.0]), jnp.array([1.0, 4.0]))) == 2.0


def test_smooth_l1():
    """Errors of .05, .1 and 1: .05 ** 2 / .2, .05 from both sides, and .95."""
    found = [float(smooth_l1_loss(jnp.array([error]), jnp.zeros(1))) for error in (0.05, 0.1, -1.0)]
    assert found == pytest.approx([0.0125, 0.05, 0.95], rel=1e-5)


def test_plcc():
    expected = 0.5 * (1 - scipy.stats.pearsonr(PREDICTED, TARGET).statistic)
    assert float(plcc_loss(PREDICTED, TARGET)) == pytest.approx(expected, rel=1e-4)
    assert float(plcc_loss(3 * TARGET - 1, TARGET)) == pytest.approx(0, abs=1e-4)
    assert float(plcc_loss(-TARGET, TARGET)) == pytest.approx(1, abs=1e-4)


def test_norm_in_norm():
    def normalised(x):
        centred = np.asarray(x, np.float64) - np.mean(x)
        return centred / np.linalg.norm(centred)

    distance = np.abs(normalised(PREDICTED) - normalised(TARGET)).sum()
    assert float(norm_in_norm_loss(PREDICTED, TARGET)) == pytest.approx(distance / (2 * 16**0.5), rel=1e-4)
    assert float(norm_in_norm_loss(3 * TARGET - 1, TARGET)) == pytest.approx(0, abs=1e-4)
    # two opposite points of equal weight are as far from their mirror image as there is
    assert float(norm_in_norm_loss(jnp.array([0.0, 1.0]), jnp.array([1.0, 0.0]))) == pytest.approx(1, abs=1e-4)


def test_a_ladder_is_ranked():
    """Steps of .05 down and up again: d is 1, 0 and -1 times LADDER_STEP."""
    found = float(ladder_loss(jnp.array([[0.5, 0.45, 0.5], [0.3, 0.3, 0.3]])))
    pairs = [np.log1p(np.exp(-d)) for d in (1, 0, -1, 0, 0, 0)]
    assert found == pytest.approx(np.mean(pairs), rel=1e-5)
    assert float(ladder_loss(jnp.array([[9.0, 6.0, 3.0]]))) == pytest.approx(0, abs=1e-6)
    gradient = jax.grad(lambda scores: ladder_loss(scores))(jnp.zeros((1, 2)))
    assert gradient[0, 0] < 0 < gradient[0, 1]


def test_fidelity():
    target = TARGET.at[1].set(TARGET[0])  # a tie
    pairs = []
    for i, j in itertools.combinations(range(16), 2):
        p = 0.5 if target[i] == target[j] else float(target[i] > target[j])
        q = scipy.stats.norm.cdf((float(PREDICTED[i]) - float(PREDICTED[j])) / (0.25 * 2**0.5))
        pairs.append(1 - (p * q) ** 0.5 - ((1 - p) * (1 - q)) ** 0.5)
    assert float(fidelity_loss(PREDICTED, target)) == pytest.approx(np.mean(pairs), abs=2e-4)
    assert float(fidelity_loss(100 * TARGET, TARGET)) == pytest.approx(0, abs=2e-4)


@pytest.mark.parametrize("name", RANKING)
def test_those_that_rank_are_taken_beside_l1(name):
    expected = l1_loss(PREDICTED, TARGET) + RANKING[name](PREDICTED, TARGET)
    assert float(LOSSES[name](PREDICTED, TARGET)) == pytest.approx(float(expected), rel=1e-6)


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_constant_batches_have_a_finite_gradient(loss):
    cases = [(jnp.ones(8), TARGET[:8]), (PREDICTED[:8], jnp.ones(8)), (jnp.ones(8), jnp.ones(8))]
    for predicted, target in [*cases, (jnp.ones(1), jnp.zeros(1))]:
        assert np.isfinite(jax.grad(loss)(predicted, target)).all()


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_shapes_are_checked_before_they_broadcast(loss):
    with pytest.raises(ValueError, match=r"\(8,\) and \(8, 1\)"):
        loss(jnp.zeros((8,)), jnp.zeros((8, 1)))


def test_a_function_is_taken_wherever_a_name_is():
    def squared(predicted, target):
        return jnp.mean(jnp.square(predicted - target))

    assert find("l1_plcc") is LOSSES["l1_plcc"]
    assert float(find(squared)(PREDICTED, TARGET)) == pytest.approx(float(squared(PREDICTED, TARGET)))
    beside_l1 = Loss(squared, ranks=True)
    assert find(beside_l1) is beside_l1
    with pytest.raises(InputError, match=r"loss: expected one of l1, .*, or a function, found 'l3'"):
        find("l3")
