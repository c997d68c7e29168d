"""Losses between predicted and opinion scores, on the [0, 1] scale of quality; one number per batch, lower is better.

Those that rank (PLCC, norm-in-norm, fidelity) ignore the scale, so L1 is added to each.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

from glintiqa_jax.errors import InputError

if TYPE_CHECKING:
    import jax

# Where smooth L1 turns from square to straight: a tenth of the scale is about the deviation of a mean opinion score.
SMOOTH_L1_BETA = 0.1
# Of one score in the fidelity loss: UNIQUE's and LIQE's 1 on scales of 1 to 5.
FIDELITY_DEVIATION = 0.25
# The difference in quality at which a pair of a ladder is as good as in order.
LADDER_STEP = 0.05
_TINY = 1e-8


def l1_loss(predicted: jax.Array, target: jax.Array) -> jax.Array:
    """Mean absolute error of two ``(batch,)`` arrays; the loss of the paper (section IV-A)."""
    import jax.numpy as jnp

    _check(predicted, target)
    return jnp.mean(jnp.abs(predicted - target))


def smooth_l1_loss(predicted: jax.Array, target: jax.Array) -> jax.Array:
    """L1 whose point is rounded (Girshick 2015): ``error ** 2 / (2 beta)`` below beta, ``error - beta / 2`` above."""
    import jax.numpy as jnp

    _check(predicted, target)
    error = jnp.abs(predicted - target)
    square, straight = jnp.square(error) / (2 * SMOOTH_L1_BETA), error - SMOOTH_L1_BETA / 2
    return jnp.mean(jnp.where(error < SMOOTH_L1_BETA, square, straight))


def plcc_loss(predicted: jax.Array, target: jax.Array) -> jax.Array:
    """(1 - PLCC) / 2 over the batch, in [0, 1].

    A batch whose predictions or targets are all equal has a PLCC of 0, and a finite gradient.
    """
    import jax
    import jax.numpy as jnp

    _check(predicted, target)
    p, t = predicted - jnp.mean(predicted), target - jnp.mean(target)
    plcc = jnp.sum(p * t) * jax.lax.rsqrt(jnp.sum(p * p) * jnp.sum(t * t) + _TINY)
    return 0.5 * (1.0 - plcc)


def norm_in_norm_loss(predicted: jax.Array, target: jax.Array) -> jax.Array:
    """Norm-in-norm (Li, Jiang and Jiang 2020) with p = 1 and q = 2, in [0, 1].

    Both sides are centred and divided by their Euclidean norm; the loss is the L1 distance of the two, over
    ``2 sqrt(batch)``, the largest that it can be.
    """
    import jax
    import jax.numpy as jnp

    _check(predicted, target)

    def normalised(x: jax.Array) -> jax.Array:
        centred = x - jnp.mean(x)
        return centred * jax.lax.rsqrt(jnp.sum(jnp.square(centred)) + _TINY)

    return jnp.sum(jnp.abs(normalised(predicted) - normalised(target))) / (2.0 * jnp.sqrt(float(predicted.size)))


def fidelity_loss(predicted: jax.Array, target: jax.Array) -> jax.Array:
    """Fidelity over all pairs of the batch (Tsai et al. 2007; for quality, UNIQUE, Zhang et al. 2021), in [0, 1].

    With p the truth of "the first is better" (1/2 for ties) and q its probability by Thurstone's model, the normal
    distribution function of the predictions' difference over its deviation: ``1 - sqrt(p q) - sqrt((1 - p) (1 - q))``.
    """
    import jax.numpy as jnp
    from jax.scipy.special import ndtr

    _check(predicted, target)
    first, second = jnp.triu_indices(predicted.size, 1)
    better = 0.5 * (1.0 + jnp.sign(target[first] - target[second]))
    deviation = FIDELITY_DEVIATION * jnp.sqrt(2.0)
    z = (predicted[first] - predicted[second]) / deviation
    # sqrt has no gradient at 0
    agreed = jnp.sqrt(better * ndtr(z) + _TINY) + jnp.sqrt((1.0 - better) * ndtr(-z) + _TINY)
    return jnp.mean(1.0 - agreed) if predicted.size > 1 else jnp.zeros(())


def ladder_loss(scores: jax.Array) -> jax.Array:
    """How far scores are from falling along each ladder ``(ladders, versions)``, whose versions are best first.

    Over all pairs of a ladder, the mean of ``log(1 + exp(-d / LADDER_STEP))`` (RankNet, Burges et al. 2005), d being by
    how much the better one's score is higher. It does not say how high the scores are.
    """
    import jax
    import jax.numpy as jnp

    better, worse = jnp.triu_indices(scores.shape[1], 1)
    return jnp.mean(jax.nn.softplus((scores[:, worse] - scores[:, better]) / LADDER_STEP))


def _check(predicted: jax.Array, target: jax.Array) -> None:
    # (8,) against (8, 1) would broadcast without a word
    if predicted.shape != target.shape or predicted.ndim != 1:
        raise ValueError(f"expected two arrays of one shape (batch,), found {predicted.shape} and {target.shape}")


@dataclasses.dataclass(frozen=True)
class Loss:
    """A row of ``LOSSES``, itself a function of ``(predicted, target)``.

    Attributes:
      function: two ``(batch,)`` arrays to one number.
      whole_batch: it is computed over the whole batch rather than as a mean over images, and needs several images.
      ranks: it ignores the scale, so L1 is added.
      on_quality: it has a constant in the unit of quality, and needs scores in [0, 1].
    """

    function: Callable[[jax.Array, jax.Array], jax.Array]
    whole_batch: bool = False
    ranks: bool = False
    on_quality: bool = False

    def __call__(self, predicted: jax.Array, target: jax.Array) -> jax.Array:
        """The loss of two ``(batch,)`` arrays."""
        loss = self.function(predicted, target)
        return l1_loss(predicted, target) + loss if self.ranks else loss


LOSSES: dict[str, Loss] = {
    "l1": Loss(l1_loss),
    "smooth_l1": Loss(smooth_l1_loss, on_quality=True),
    "l1_plcc": Loss(plcc_loss, whole_batch=True, ranks=True),
    "l1_norm_in_norm": Loss(norm_in_norm_loss, whole_batch=True, ranks=True),
    "l1_fidelity": Loss(fidelity_loss, whole_batch=True, ranks=True, on_quality=True),
}
"""By name; it may be extended."""


def find(loss: str | Callable[[jax.Array, jax.Array], jax.Array]) -> Loss:
    """A row of ``LOSSES`` by its name; a ``Loss``, or any other function of ``(predicted, target)``, is taken as it is.

    Raises:
      InputError: a name that is not in ``LOSSES``.
    """
    if isinstance(loss, Loss):
        return loss
    if callable(loss):
        return Loss(loss)
    if loss not in LOSSES:
        raise InputError(field="loss", expected=f"one of {', '.join(LOSSES)}, or a function", found=repr(loss))
    return LOSSES[loss]
