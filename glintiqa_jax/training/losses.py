"""Losses between predicted and opinion scores, both on the [0, 1] scale; one number per batch, lower is better."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp


def l1_loss(predicted: jax.Array, target: jax.Array) -> jax.Array:
    """Mean absolute error of two ``(batch,)`` arrays; the loss of the paper (section IV-A)."""
    _check(predicted, target)
    return jnp.mean(jnp.abs(predicted - target))


def l1_plcc_loss(predicted: jax.Array, target: jax.Array) -> jax.Array:
    """L1 plus half of 1 - PLCC over the batch: the order is learnt from the first steps on, the scale beside it.

    A batch whose predictions or targets are all equal has a PLCC of 0, and a finite gradient.
    """
    _check(predicted, target)
    p, t = predicted - jnp.mean(predicted), target - jnp.mean(target)
    plcc = jnp.sum(p * t) * jax.lax.rsqrt(jnp.sum(p * p) * jnp.sum(t * t) + 1e-8)
    return l1_loss(predicted, target) + 0.5 * (1.0 - plcc)


def _check(predicted: jax.Array, target: jax.Array) -> None:
    # (8,) against (8, 1) would broadcast without a word
    if predicted.shape != target.shape or predicted.ndim != 1:
        raise ValueError(f"expected two arrays of one shape (batch,), found {predicted.shape} and {target.shape}")


LOSSES: dict[str, Callable[[jax.Array, jax.Array], jax.Array]] = {"l1": l1_loss, "l1_plcc": l1_plcc_loss}
