"""The train state and the sharded training step over it."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from glintiqa_jax import compilation
from glintiqa_jax.models.computation import compute_in, recompute_blocks
from glintiqa_jax.models.glintiqa import GlintIQA, abstract_model, split_model
from glintiqa_jax.sharding import AXES, batch_sharding, place, replicated, state_sharding
from glintiqa_jax.training.config import TrainConfig
from glintiqa_jax.training.losses import find
from glintiqa_jax.training.optimiser import check_rates, make_optimiser


class TrainState(NamedTuple):
    """Everything a training step changes, and the frozen parameters; a pytree of arrays.

    Attributes:
      step: int32 scalar, optimiser steps taken.
      params: the trained parameters, an ``nnx.State`` of float32 arrays.
      rest: frozen parameters and batch statistics, an ``nnx.State``.
      opt_state: the optimiser's state over ``params``.
      average: the moving average of ``params`` that ``--ema_decay`` asks for, or None.
    """

    step: jax.Array
    params: nnx.State
    rest: nnx.State
    opt_state: Any
    average: nnx.State | None

    @property
    def evaluated(self) -> nnx.State:
        """The trained parameters to predict with: their moving average where there is one."""
        return self.params if self.average is None else self.average


class Trainer:
    """The sharded training step of one configuration.

    Attributes:
      graphdef: the network's definition, which ``nnx.merge`` makes a model of; it computes in float32.
      abstract_state: a ``TrainState`` of shapes and dtypes.
      sharding: a ``TrainState`` of shardings.
      step: ``step(state, batch, key) -> (state, loss)``; the state is donated; ``key`` is the run's dropout key; the
        loss is NaN where it or its gradient is no number.
    """

    def __init__(self, config: TrainConfig, mesh: Mesh):
        optimiser = make_optimiser(config)
        self.graphdef, params, rest = split_model(abstract_model(config.model))
        check_rates(config, params)
        self.abstract_state = TrainState(
            jax.eval_shape(lambda: jnp.zeros((), jnp.int32)),
            params,
            rest,
            jax.eval_shape(optimiser.init, params),
            params if config.ema_decay else None,
        )
        self.sharding = state_sharding(mesh, self.abstract_state)
        self._init_optimiser = compilation.jit(optimiser.init, mesh, out_shardings=self.sharding.opt_state)
        gradients_of = _gradients(config, mesh)

        def step(state: TrainState, batch: dict[str, jax.Array], key: jax.Array) -> tuple[TrainState, jax.Array]:
            step_key = jax.random.fold_in(key, state.step)
            loss, rest, gradients = gradients_of(state.params, state.rest, batch, step_key)
            # where the gradient is no number, the loss says so, before anything of it is saved
            loss = jnp.where(jnp.isfinite(optax.tree.norm(gradients)), loss, jnp.nan)
            updates, opt_state = optimiser.update(gradients, state.opt_state, state.params)
            params = optax.apply_updates(state.params, updates)
            average = None
            if state.average is not None:
                # at first over the few steps there are, so that the random start is soon forgotten
                taken = state.step.astype(jnp.float32)
                decay = jnp.minimum(config.ema_decay, (1.0 + taken) / (10.0 + taken))
                average = jax.tree.map(lambda old, new: decay * old + (1.0 - decay) * new, state.average, params)
            return TrainState(state.step + 1, params, rest, opt_state, average), loss

        self.step = compilation.jit(
            step,
            mesh,
            in_shardings=(self.sharding, batch_sharding(mesh), replicated(mesh)),
            out_shardings=(self.sharding, replicated(mesh)),
            donate_argnums=0,
        )

    def start_from(self, model: GlintIQA) -> TrainState:
        """The state before the first step, of a model's values, in its shards; the model stays as it is.

        Every process gives the same values, and each device is given its shards alone.
        """
        _, params, rest = split_model(model)
        average = params if self.abstract_state.average is not None else None
        state = place((np.int32(0), params, rest, average), (*self.sharding[:3], self.sharding.average))
        step, params, rest, average = state
        return TrainState(step, params, rest, self._init_optimiser(params), average)


def _gradients(config: TrainConfig, mesh: Mesh):
    """``(params, rest, batch, key) -> (loss, rest, gradients)``, with ``--accumulate`` over parts of the batch."""
    loss_function, parts = find(config.loss), config.accumulate
    model = abstract_model(config.model)
    compute_in(model, config.compute_dtype)
    if config.remat:
        recompute_blocks(model)
    graphdef, _, _ = split_model(model)

    def loss_of(
        params: nnx.State, rest: nnx.State, batch: dict[str, jax.Array], key: jax.Array
    ) -> tuple[jax.Array, nnx.State]:
        # copy=True: batch statistics change inside the trace
        model = nnx.merge(graphdef, params, rest, copy=True)
        scores = model(model.preprocess(batch["image"]), train=True, rngs=nnx.Rngs(dropout=key))
        return loss_function(scores, batch["target"]), split_model(model)[2]

    differentiated = jax.value_and_grad(loss_of, has_aux=True)

    def whole(params, rest, batch, key):
        (loss, rest), gradients = differentiated(params, rest, batch, key)
        return loss, rest, gradients

    def in_parts(params, rest, batch, key):
        def split(x: jax.Array) -> jax.Array:
            # (batch, ...) -> (batch / parts, parts, ...) -> (parts, batch / parts, ...): a device keeps its rows
            x = x.reshape(-1, parts, *x.shape[1:]).swapaxes(0, 1)
            return jax.lax.with_sharding_constraint(x, NamedSharding(mesh, PartitionSpec(None, AXES)))

        def add(carry, part):
            total, rest, sums = carry
            number, piece = part
            loss, rest, gradients = whole(params, rest, piece, jax.random.fold_in(key, number))
            return (total + loss, rest, jax.tree.map(jnp.add, sums, gradients)), None

        start = (jnp.zeros(()), rest, jax.tree.map(jnp.zeros_like, params))
        (total, rest, sums), _ = jax.lax.scan(add, start, (jnp.arange(parts), jax.tree.map(split, batch)))
        return total / parts, rest, jax.tree.map(lambda x: x / parts, sums)

    return whole if parts == 1 else in_parts
