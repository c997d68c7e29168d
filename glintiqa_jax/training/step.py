"""The train state and the sharded training step over it."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.sharding import Mesh

from glintiqa_jax.models.glintiqa import GlintIQA, abstract_model, split_model
from glintiqa_jax.sharding import batch_sharding, replicated, state_sharding
from glintiqa_jax.training.config import TrainConfig
from glintiqa_jax.training.losses import LOSSES
from glintiqa_jax.training.optimiser import check_rates, make_optimiser


class TrainState(NamedTuple):
    """Everything a training step changes, and the frozen parameters; a pytree of arrays.

    Attributes:
      step: int32 scalar, optimiser steps taken.
      params: the trained parameters, an ``nnx.State``.
      rest: frozen parameters and batch statistics, an ``nnx.State``.
      opt_state: the optimiser's state over ``params``.
    """

    step: jax.Array
    params: nnx.State
    rest: nnx.State
    opt_state: Any


class Trainer:
    """The sharded training step of one configuration.

    Attributes:
      graphdef: the network's definition, which ``nnx.merge`` makes a model of.
      sharding: a ``TrainState`` of shardings.
      step: ``step(state, batch, key) -> (state, loss)``; the state is donated; ``key`` is the run's dropout key.
    """

    def __init__(self, config: TrainConfig, mesh: Mesh):
        optimiser = make_optimiser(config)
        loss_function = LOSSES[config.loss]
        self.graphdef, params, rest = split_model(abstract_model(config.model))
        check_rates(config, params)
        self.abstract_state = TrainState(
            jax.eval_shape(lambda: jnp.zeros((), jnp.int32)), params, rest, jax.eval_shape(optimiser.init, params)
        )
        self.sharding = state_sharding(mesh, self.abstract_state)
        self._init_optimiser = jax.jit(optimiser.init, out_shardings=self.sharding.opt_state)

        def step(state: TrainState, batch: dict[str, jax.Array], key: jax.Array) -> tuple[TrainState, jax.Array]:
            step_key = jax.random.fold_in(key, state.step)

            def loss_of(params: nnx.State) -> tuple[jax.Array, nnx.State]:
                # copy=True: batch statistics change inside the trace
                model = nnx.merge(self.graphdef, params, state.rest, copy=True)
                scores = model(model.preprocess(batch["image"]), train=True, rngs=nnx.Rngs(dropout=step_key))
                return loss_function(scores, batch["target"]), split_model(model)[2]

            (loss, rest), gradients = jax.value_and_grad(loss_of, has_aux=True)(state.params)
            updates, opt_state = optimiser.update(gradients, state.opt_state, state.params)
            params = optax.apply_updates(state.params, updates)
            return TrainState(state.step + 1, params, rest, opt_state), loss

        self.step = jax.jit(
            step,
            in_shardings=(self.sharding, batch_sharding(mesh), replicated(mesh)),
            out_shardings=(self.sharding, replicated(mesh)),
            donate_argnums=0,
        )

    def start_from(self, model: GlintIQA) -> TrainState:
        """The state before the first step, of a model's values, in its shards; the model stays as it is."""
        _, *arrays = split_model(model)
        # a copy: the step donates its state
        params, rest = jax.device_put(arrays, [self.sharding.params, self.sharding.rest], may_alias=False)
        step = jax.device_put(np.int32(0), self.sharding.step)
        return TrainState(step, params, rest, self._init_optimiser(params))
