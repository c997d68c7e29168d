"""Our side of ``forward.py`` and ``train_step.py``; imported in its own process alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from against_torch import BFLOAT16, BFLOAT16_PRODUCTS, PRODUCTS, Job, product_side

from glintiqa_jax.cores import spread_threads
from glintiqa_jax.models.config import VARIANTS
from glintiqa_jax.models.glintiqa import GlintIQA, new_model
from glintiqa_jax.models.weights import load_glintiqa


def loaded(job: Job) -> GlintIQA:
    """The job's network with its weights."""
    jax.config.update("jax_enable_compilation_cache", False)
    model = new_model(VARIANTS[job.variant])
    load_glintiqa(model, job.weights)
    return model


def accelerated() -> bool:
    """Whether JAX computes on no CPU."""
    return jax.default_backend() != "cpu"


def products(job: Job) -> dict[str, Callable[[], Any]]:
    """Products of two matrices."""
    side = product_side(accelerated())
    spread_threads()
    found = {}
    for name, dtype in ((PRODUCTS, jnp.float32), (BFLOAT16_PRODUCTS, jnp.bfloat16))[: 1 + (BFLOAT16 in job.ways)]:
        matrix = jax.random.uniform(jax.random.key(0), (side, side), dtype)
        product = jax.jit(jnp.matmul)
        found[name] = lambda product=product, matrix=matrix: jax.block_until_ready(product(matrix, matrix))
    return found


def words() -> str:
    """What computes."""
    return f"JAX {jax.__version__} on {jax.devices()[0].device_kind}"
