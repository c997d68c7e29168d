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
from glintiqa_jax.models.freezing import freeze, split_model
from glintiqa_jax.models.glintiqa import GlintIQA, abstract_model
from glintiqa_jax.sharding import (
    AXES,
    batch_sharding,
    describe_sharding,
    describe_step,
    place,
    replicated,
    state_sharding,
)
from glintiqa_jax.training.experiment import Experiment
from glintiqa_jax.training.losses import ladder_loss
from glintiqa_jax.training.optimiser import check_rates, make_optimiser


class TrainState(NamedTuple):
    """Everything a training step changes, and the frozen parameters; a pytree of arrays.

    Attributes:
      step: int32 scalar, optimiser steps taken.
      params: the trained parameters, an ``nnx.State`` of float32 arrays.
      rest: frozen parameters and batch statistics, an ``nnx.State``.
      opt_state: the optimiser's state over ``params``.
      average: the moving average of ``params`` that ``ema_decay`` asks for, or None.
    """

    step: jax.Array
    params: nnx.State
    rest: nnx.State
    opt_state: Any
    average: nnx.State | None

    @property
    def evaluated_field(self) -> str:
        """Which parameters to predict with: the moving average where there is one."""
        return "params" if self.average is None else "average"

    @property
    def evaluated(self) -> nnx.State:
        """The parameters to predict with."""
        return getattr(self, self.evaluated_field)


class Trainer:
    """The sharded training step of one experiment.

    Args:
      experiment: what is trained.
      mesh: the devices.
      remat: compute what lies inside blocks again for the gradient.

    Attributes:
      graphdef: the network's definition, which ``nnx.merge`` makes a model of; it computes in float32.
      abstract_state: a ``TrainState`` of shapes and dtypes.
      sharding: a ``TrainState`` of shardings.
      step: ``step(state, batch, key) -> (state, loss)``; the state is donated; ``key`` is the run's dropout key; the
        loss is NaN where it or its gradient is not finite.
    """

    def __init__(self, experiment: Experiment, mesh: Mesh, *, remat: bool = False):
        self._frozen, ema_decay = experiment.start.frozen, experiment.optimiser.ema_decay
        optimiser = make_optimiser(experiment)
        self.graphdef, params, rest = self._split(abstract_model(experiment.model))
        check_rates(experiment.optimiser, params)
        self.abstract_state = TrainState(
            jax.eval_shape(lambda: jnp.zeros((), jnp.int32)),
            params,
            rest,
            jax.eval_shape(optimiser.init, params),
            params if ema_decay else None,
        )
        self.sharding = state_sharding(mesh, self.abstract_state)
        self._init_optimiser = compilation.jit(optimiser.init, mesh, out_shardings=self.sharding.opt_state)
        gradients_of = self._gradients(experiment, mesh, remat)

        def step(state: TrainState, batch: dict[str, jax.Array], key: jax.Array) -> tuple[TrainState, jax.Array]:
            step_key = jax.random.fold_in(key, state.step)
            loss, rest, gradients = gradients_of(state.params, state.rest, batch, step_key)
            # a gradient that is not finite makes the loss NaN, before anything of it is saved
            loss = jnp.where(jnp.isfinite(optax.tree.norm(gradients)), loss, jnp.nan)
            updates, opt_state = optimiser.update(gradients, state.opt_state, state.params)
            params = optax.apply_updates(state.params, updates)
            average = None
            if state.average is not None:
                # the first averages are over few steps, so that the random start is soon forgotten
                taken = state.step.astype(jnp.float32)
                decay = jnp.minimum(ema_decay, (1.0 + taken) / (10.0 + taken))
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
        _, params, rest = self._split(model)
        average = params if self.abstract_state.average is not None else None
        state = place((np.int32(0), params, rest, average), (*self.sharding[:3], self.sharding.average))
        step, params, rest, average = state
        return TrainState(step, params, rest, self._init_optimiser(params), average)

    def _split(self, model: GlintIQA) -> tuple[nnx.GraphDef, nnx.State, nnx.State]:
        freeze(model, self._frozen)
        return split_model(model)

    def _gradients(self, experiment: Experiment, mesh: Mesh, remat: bool):
        """``(params, rest, batch, key) -> (loss, rest, gradients)``, with ``accumulate`` over parts of the batch."""
        images, weight = experiment.images, experiment.objective.ranking_weight
        loss_function, parts = experiment.objective.row, images.accumulate
        versions, ranked = 1 + images.ranked_levels, images.crops_per_image * (1 + images.ranked_levels)
        model = abstract_model(experiment.model)
        compute_in(model, experiment.objective.compute_dtype)
        if remat:
            recompute_blocks(model)
        graphdef, _, _ = self._split(model)

        def objective(scores: jax.Array, target: jax.Array) -> jax.Array:
            if versions == 1:
                return loss_function(scores, target)
            # (batch,) -> (groups, rows of a group), whose first rows are ladders: (groups * crops, versions)
            scores, target = scores.reshape(-1, images.rows_per_group), target.reshape(-1, images.rows_per_group)
            ladders = scores[:, :ranked].reshape(-1, versions)
            scored = np.r_[0:ranked:versions, ranked : images.rows_per_group]
            return loss_function(scores[:, scored].ravel(), target[:, scored].ravel()) + weight * ladder_loss(ladders)

        def loss_of(
            params: nnx.State, rest: nnx.State, batch: dict[str, jax.Array], key: jax.Array
        ) -> tuple[jax.Array, nnx.State]:
            # copy=True: batch statistics change inside the trace
            model = nnx.merge(graphdef, params, rest, copy=True)
            scores = model(batch["image"], train=True, rngs=nnx.Rngs(dropout=key))
            return objective(scores, batch["target"]), split_model(model)[2]

        differentiated = jax.value_and_grad(loss_of, has_aux=True)

        def whole(params, rest, batch, key):
            (loss, rest), gradients = differentiated(params, rest, batch, key)
            return loss, rest, gradients

        def in_parts(params, rest, batch, key):
            def split(x: jax.Array) -> jax.Array:
                # (batch, ...) -> (batch / parts / together, parts, together, ...) -> (parts, batch / parts, ...): a
                # device keeps its rows, and a crop its versions
                shape = x.shape[1:]
                x = x.reshape(-1, parts, images.rows_together, *shape).swapaxes(0, 1).reshape(parts, -1, *shape)
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


def trained_parameters(experiment: Experiment) -> int:
    """How many parameters an experiment trains, counted without building any."""
    model = abstract_model(experiment.model)
    freeze(model, experiment.start.frozen)
    return sum(leaf.size for leaf in jax.tree.leaves(split_model(model)[1]))


def sharding_table(experiment: Experiment, mesh: Mesh) -> str:
    """A table of how each array of the train state is laid out over all devices, and the bytes of a step.

    Nothing is allocated.
    """
    trainer = Trainer(experiment, mesh)
    state, shardings = trainer.abstract_state, trainer.sharding
    batch = experiment.images.batch_size * 3 * experiment.model.crop_size**2
    step = describe_step(state.params, shardings.params, mesh, batch)
    return f"{describe_sharding(state, shardings)}\n\n{step}"
