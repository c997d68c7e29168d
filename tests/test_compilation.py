"""What the package compiles is right where a compiler's defaults are wrong."""

import jax
import jax.numpy as jnp
import jaxlib
import numpy as np
import pytest
from flax import nnx

from glintiqa_jax import compilation
from glintiqa_jax.models.integration import ChannelWiseSelfAttention, l2_normalise
from glintiqa_jax.sharding import make_mesh

pytestmark = pytest.mark.compiled_for_users
ROWS = 32_769  # from this many rows on, jaxlib 0.10.2 computes the last ones wrong (jax issue 39103)


@pytest.fixture
def mesh():
    return make_mesh(devices=jax.devices()[:1])


def test_sums_of_squared_products_are_right_beyond_32768_rows(mesh):
    def squared_lengths(rows):
        return jax.vmap(lambda row: jnp.sum((jnp.eye(3) @ row) ** 2))(rows)

    numbers = np.arange(ROWS, dtype=np.float32)
    rows = np.stack([numbers, 0 * numbers, 0 * numbers], axis=1)
    found = compilation.jit(squared_lengths, mesh)(rows)
    np.testing.assert_allclose(found, numbers.astype(np.float64) ** 2, rtol=1e-6)


def test_normalised_queries_are_right_beyond_32768_rows(mesh):
    query = nnx.Linear(3, 3, rngs=nnx.Rngs(0))
    rows = np.random.default_rng(0).normal(size=(ROWS, 3)).astype(np.float32)
    found = compilation.jit(lambda rows: jax.vmap(lambda row: l2_normalise(query(row)))(rows), mesh)(rows)
    queries = rows.astype(np.float64) @ np.asarray(query.kernel[...], np.float64)
    np.testing.assert_allclose(found, queries / np.linalg.norm(queries, axis=1, keepdims=True), atol=1e-5)


def test_channel_wise_self_attention_is_right_beyond_32768_rows(mesh):
    # (batch, channels, tokens): 65,536 rows for the query, the key and the value
    x = np.random.default_rng(0).normal(size=(1024, 64, 4)).astype(np.float32)
    attention = ChannelWiseSelfAttention(4, dropout=0.0, layout="released", rngs=nnx.Rngs(0))
    found = compilation.jit(lambda x: attention(x, train=False, rngs=None), mesh)(x)
    for rows in (slice(0, 8), slice(-8, None)):  # the ends of it alone, where the fault does not reach
        np.testing.assert_allclose(found[rows], attention(jnp.asarray(x[rows]), train=False, rngs=None), atol=1e-5)


def test_options_go_only_to_the_compiler_that_needs_and_knows_them():
    without_fusion = {"xla_cpu_experimental_ynn_fusion_type": ""}
    assert compilation.compiler_options("cpu", "0.10.2") == without_fusion
    assert compilation.compiler_options("cpu", "0.10.1", forward_only=True) == without_fusion
    for platform, version in (("cpu", "0.8.0"), ("cpu", "0.10.1"), ("cpu", "0.11.0"), ("gpu", "0.10.2")):
        assert compilation.compiler_options(platform, version) == {}
    for platform, version in (("cpu", "0.8.0"), ("cpu", "0.12.0"), ("gpu", "0.10.1")):
        assert compilation.compiler_options(platform, version, forward_only=True) == {}
    assert compilation.compiler_options("cpu") == compilation.compiler_options("cpu", jaxlib.__version__)
