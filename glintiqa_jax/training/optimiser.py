"""Optimiser and learning rate schedule."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from glintiqa_jax.errors import InputError
from glintiqa_jax.training.experiment import Experiment, Optimiser


def learning_rate_schedule(experiment: Experiment) -> optax.Schedule:
    """Learning rate by optimiser step, from 0.

    "warmup_cosine" rises linearly to the peak and falls to 0 over the rest of the run. "released_cosine" is the
    release's: a cosine in the step number from the peak to 0 and back up, over and over (paper section IV-A).
    """
    peak, schedule = experiment.optimiser.learning_rate, experiment.timing
    if schedule.schedule == "released_cosine":

        def released(step: jax.typing.ArrayLike) -> jax.Array:
            phase = jnp.asarray(step, jnp.float32) * (jnp.pi / schedule.cosine_period)
            return peak * 0.5 * (1.0 + jnp.cos(phase))

        return released
    return optax.warmup_cosine_decay_schedule(0.0, peak, schedule.warmup_steps, schedule.steps)


def make_optimiser(experiment: Experiment) -> optax.GradientTransformation:
    """The optimiser over the trained parameters.

    "adamw" decays weights apart from the gradient, and only matrices and convolution kernels. "adam_l2" is what
    PyTorch's Adam calls weight decay and the release used: decay times every parameter, added to its gradient
    before the moments.
    """
    return optax.chain(_adam(experiment), _rates(experiment.optimiser))


def _adam(experiment: Experiment) -> optax.GradientTransformation:
    config, schedule = experiment.optimiser, learning_rate_schedule(experiment)
    clip = optax.clip_by_global_norm(config.clip_norm) if config.clip_norm else optax.identity()
    if config.optimizer == "adam_l2":
        return optax.chain(
            clip,
            optax.add_decayed_weights(config.weight_decay),
            optax.scale_by_adam(b1=0.9, b2=0.999, eps=1e-8),
            optax.scale_by_learning_rate(schedule),
        )

    def is_kernel(params):
        return jax.tree.map(lambda p: p.ndim > 1 and p.shape[0] > 1, params)

    return optax.chain(clip, optax.adamw(schedule, weight_decay=config.weight_decay, mask=is_kernel))


def check_rates(config: Optimiser, params: nnx.State) -> None:
    """``InputError`` for a pattern of ``rates`` that matches no trained parameter's name."""
    names = [name_of(path) for path, _ in jax.tree_util.tree_leaves_with_path(params)]
    for pattern, _ in config.rate_factors:
        if not any(pattern.search(name) for name in names):
            raise InputError(
                field="rates",
                expected=f"a pattern that is found in the name of a trained parameter, such as {names[0]}",
                found=repr(pattern.pattern),
            )


def name_of(path: tuple) -> str:
    """A parameter's dotted name, ``clfe.blocks.3.expand.kernel``, of its path in a tree of parameters."""
    parts = (getattr(key, "key", getattr(key, "name", None)) for key in path)
    return ".".join(str(part) for part in parts if part not in (None, "value"))


def _rates(config: Optimiser) -> optax.GradientTransformation:
    """Scales the updates of parameters by name: pretrained ones may need other rates than new ones."""
    factors = config.rate_factors

    def update(updates, state, params=None):
        def scaled(path, leaf):
            name = name_of(path)
            return leaf * next((factor for pattern, factor in factors if pattern.search(name)), 1.0)

        return jax.tree_util.tree_map_with_path(scaled, updates), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)
