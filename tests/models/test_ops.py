"""What is written for a platform is what the library computes, and so is its gradient."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from glintiqa_jax.models.ops import (
    BatchNorm,
    PatchEmbedding,
    PointwiseConv,
    attend,
    depthwise_conv,
    few_at_a_time,
    max_pool_3x3,
)

# (size, stride, height, width): both parities of each side, and sides smaller than the kernel
DEPTHWISE = [
    (3, 1, 8, 7),
    (3, 2, 8, 7),
    (3, 2, 7, 8),
    (5, 1, 6, 9),
    (5, 2, 9, 6),
    (5, 2, 10, 11),
    (5, 1, 2, 1),
    (5, 2, 1, 2),
    (3, 3, 8, 7),
]


def normal(*shape: int, seed: int = 0) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape, np.float32))


def library_conv(x, kernel, stride):
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=x.shape[-1],
    )


def value_and_gradients(convolution, x, kernel, stride):
    """The output, and the gradients of a weighted sum of it, compiled as one."""

    @jax.jit
    def all_three(x, kernel):
        y, pullback = jax.vjp(functools.partial(convolution, stride=stride), x, kernel)
        return (y, *pullback(normal(*y.shape, seed=2)))

    return all_three(x, kernel)


@pytest.mark.parametrize(("size", "stride", "height", "width"), DEPTHWISE)
def test_depthwise_convolution_is_the_librarys(size, stride, height, width):
    x, kernel = normal(2, height, width, 6), normal(size, size, 1, 6, seed=1)
    ours = value_and_gradients(depthwise_conv, x, kernel, stride)
    theirs = value_and_gradients(library_conv, x, kernel, stride)
    for found, expected in zip(ours, theirs, strict=True):
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("platform", "shifted"), [("cpu", True), ("cuda", False), ("tpu", False)])
def test_only_cpu_has_shifted_products(platform, shifted):
    @jax.jit
    def gradients(x, kernel, gradient):
        return jax.vjp(functools.partial(depthwise_conv, stride=2), x, kernel)[1](gradient)

    traced = gradients.trace(normal(2, 8, 8, 6), normal(3, 3, 1, 6), normal(2, 4, 4, 6))
    lowered = traced.lower(lowering_platforms=(platform,)).as_text()
    assert ("stablehlo.convolution" in lowered) != shifted


def test_depthwise_gradients_of_a_sharded_batch():
    mesh = Mesh(np.array(jax.devices()), ("batch",))
    x, kernel = normal(8, 6, 6, 4), normal(3, 3, 1, 4, seed=1)
    shards = jax.device_put(x, NamedSharding(mesh, PartitionSpec("batch")))
    copies = jax.device_put(kernel, NamedSharding(mesh, PartitionSpec()))
    pairs = zip(
        value_and_gradients(depthwise_conv, shards, copies, 2),
        value_and_gradients(depthwise_conv, x, kernel, 2),
        strict=True,
    )
    for found, expected in pairs:
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_batch_norm_keeps_the_unbiased_variance():
    x = np.random.default_rng(0).normal(3, 2, (2, 3, 4, 5)).astype(np.float32)
    norm = BatchNorm(5)
    norm(jnp.asarray(x), train=True)
    flat = x.reshape(-1, 5)
    np.testing.assert_allclose(norm.mean[...], 0.1 * flat.mean(0), rtol=1e-5)
    np.testing.assert_allclose(norm.var[...], 0.9 + 0.1 * flat.var(0, ddof=1), rtol=1e-5)


def test_max_pool_is_the_windowed_one_and_so_is_its_gradient():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 8, 6, 3)), jnp.float32)

    def windowed(x):
        return nnx.max_pool(x, (3, 3), strides=(2, 2), padding=((1, 1), (1, 1)))

    np.testing.assert_array_equal(max_pool_3x3(x), windowed(x))
    weights = jnp.asarray(np.random.default_rng(1).normal(size=(2, 4, 3, 3)), jnp.float32)
    ours, theirs = (jax.grad(lambda x, pool=pool: jnp.sum(weights * pool(x)))(x) for pool in (max_pool_3x3, windowed))
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)


@pytest.mark.parametrize(("kernel", "stride", "layer"), [(1, 2, PointwiseConv), (2, 2, PatchEmbedding)])
def test_matrix_products_are_convolutions(kernel, stride, layer):
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 8, 8, 5)), jnp.float32)
    if layer is PointwiseConv:
        module = PointwiseConv(5, 7, stride=stride, rngs=nnx.Rngs(0))
        bias = jnp.zeros((7,))
    else:
        module = PatchEmbedding(5, 7, kernel=kernel, rngs=nnx.Rngs(0))
        bias = module.bias[...]
    expected = jax.lax.conv_general_dilated(
        x,
        module.kernel[...].reshape(kernel, kernel, 5, 7),
        (stride, stride),
        "VALID",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    np.testing.assert_allclose(module(x).reshape(expected.shape), expected + bias, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_attention_is_the_librarys(dtype):
    q, k, v = (3 * normal(2, 5, 3, 4, seed=seed).astype(dtype) for seed in range(3))  # (batch, tokens, heads, channels)

    def ours(q, k, v):
        return attend(*(x.transpose(0, 2, 1, 3) for x in (q, k, v))).transpose(0, 2, 1, 3)

    @functools.partial(jax.jit, static_argnums=0)
    def all_four(attention, *inputs):
        y, pullback = jax.vjp(attention, *inputs)
        return (y, *pullback(normal(*y.shape, seed=3).astype(dtype)))

    tolerance = 1e-5 if dtype == "float32" else 0.1
    theirs = all_four(jax.nn.dot_product_attention, q, k, v)
    for found, expected in zip(all_four(ours, q, k, v), theirs, strict=True):
        assert found.dtype == expected.dtype
        np.testing.assert_allclose(found.astype("float32"), expected.astype("float32"), atol=tolerance)


def test_attention_to_one_of_many_far_apart_is_no_nan():
    k = 1000 * jnp.eye(3)[None, None]
    np.testing.assert_allclose(attend(k, k, jnp.eye(3)[None, None])[0, 0], jnp.eye(3))


@pytest.mark.parametrize("side", [100, 224])
@pytest.mark.parametrize("count", [1, 2, 3, 5, 9, 25, 32])
def test_a_few_at_a_time_are_all_of_them_in_their_order(count, side):
    seen = []

    def sums(images):
        seen.append(len(images))
        return jnp.sum(images, axis=(1, 2, 3))

    images = normal(count, 1, 1, 1) * jnp.ones((count, side, side, 1))
    found = jax.jit(functools.partial(few_at_a_time, sums))(images)
    np.testing.assert_allclose(found, images[:, 0, 0, 0] * side**2, rtol=1e-4)
    assert max(seen) * side**2 < 4 * 224**2 + 100**2
