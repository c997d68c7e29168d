"""Losses against their definitions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from glintiqa_jax.training.losses import LOSSES, l1_loss, l1_plcc_loss

RNG = np.random.default_rng(0)
PREDICTED, TARGET = (jnp.asarray(RNG.random(16, np.float32)) for _ in range(2))


def test_l1():
    assert float(l1_loss(jnp.array([0.0, 1.0]), jnp.array([1.0, 4.0]))) == 2.0


def test_l1_plcc():
    plcc = np.corrcoef(PREDICTED, TARGET)[0, 1]
    expected = np.abs(PREDICTED - TARGET).mean() + 0.5 * (1 - plcc)
    assert float(l1_plcc_loss(PREDICTED, TARGET)) == pytest.approx(expected, rel=1e-4)
    assert float(l1_plcc_loss(TARGET, TARGET)) == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_constant_batches_have_a_finite_gradient(loss):
    for predicted, target in ((jnp.ones(8), TARGET[:8]), (PREDICTED[:8], jnp.ones(8)), (jnp.ones(8), jnp.ones(8))):
        assert np.isfinite(jax.grad(loss)(predicted, target)).all()


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_shapes_are_checked_before_they_broadcast(loss):
    with pytest.raises(ValueError, match=r"\(8,\) and \(8, 1\)"):
        loss(jnp.zeros((8,)), jnp.zeros((8, 1)))
