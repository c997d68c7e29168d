"""Computations that are written for a platform, each with its reason; what they compute is the textbook's."""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

from glintiqa_jax.models.freezing import is_frozen

Conv = functools.partial(nnx.Conv, use_bias=False)
_FEW_PIXELS = 2 * 224**2  # of a few images together


class Linear(nnx.Linear):
    """A linear layer that multiplies two matrices, whatever the shape of what comes in.

    Of more axes XLA's CPU backend makes transposed copies for the kernel's gradient, which takes it 1.4 times as long.
    """

    def __call__(self, inputs: jax.Array, out_sharding=None) -> jax.Array:
        """``(..., in_features)`` to ``(..., out_features)``."""
        # (..., in) -> (rows, in) -> (rows, out) -> (..., out)
        y = super().__call__(inputs.reshape(-1, inputs.shape[-1]), out_sharding)
        return y.reshape(*inputs.shape[:-1], y.shape[-1])


class ConvolutionAsProduct(Linear):
    """A convolution written as a matrix product: its kernel is ``(side * side * in_channels, out_channels)``.

    Rows are in the order (y, x, channel).
    """

    side: int


class PatchEmbedding(ConvolutionAsProduct):
    """A convolution whose kernel equals its stride, with bias.

    Used by the ViT's patch embedding and by GlintIQA's multi-kernel embedding. XLA's CPU backend takes 1.6 times as
    long over its convolution as over this product of patches, over the gradient of the ViT's 5 times.
    """

    def __init__(self, in_channels: int, out_channels: int, *, kernel: int, rngs: nnx.Rngs):
        super().__init__(kernel * kernel * in_channels, out_channels, rngs=rngs)
        self.side = kernel

    def __call__(self, inputs: jax.Array, out_sharding=None) -> jax.Array:
        """``(batch, height, width, channels)`` to ``(batch, (height / kernel) * (width / kernel), out_channels)``."""
        k = self.side
        batch, height, width, channels = inputs.shape
        # (batch, rows, k, columns, k, channels) -> (batch, rows * columns, k * k * channels)
        x = inputs.reshape(batch, height // k, k, width // k, k, channels)
        x = x.transpose(0, 1, 3, 2, 4, 5).reshape(batch, (height // k) * (width // k), k * k * channels)
        return super().__call__(x, out_sharding)


class PointwiseConv(ConvolutionAsProduct):
    """A 1x1 convolution without bias: as a product XLA's CPU backend trains it 2 to 3 times faster."""

    side = 1

    def __init__(self, in_channels: int, out_channels: int, *, stride: int = 1, rngs: nnx.Rngs):
        super().__init__(in_channels, out_channels, use_bias=False, rngs=rngs)
        self.stride = stride

    def __call__(self, inputs: jax.Array, out_sharding=None) -> jax.Array:
        """``(batch, height, width, channels)``, with sides divided by the stride and rounded up."""
        return super().__call__(inputs[:, :: self.stride, :: self.stride, :], out_sharding)


def few_at_a_time(function: Callable[[jax.Array], jax.Array], images: jax.Array) -> jax.Array:
    """``function`` of a few images of a batch after another, as one computation; for one CPU.

    XLA's CPU backend asks the system for the memory of a whole batch at each call, which takes as long as a sixth of a
    light network's computation, and what a few images need stays in the caches.

    Args:
      function: of ``(n, height, width, channels)``, for any n, to ``(n,)``.
      images: ``(batch, height, width, channels)``; the last is computed again where they do not come out even.
    """
    batch, height, width, _ = images.shape
    few = -(-_FEW_PIXELS // (height * width))
    size = min(range(few, 2 * few), key=lambda size: -batch % size)
    if batch <= size:
        return function(images)
    padded = jnp.concatenate([images, jnp.repeat(images[-1:], -batch % size, axis=0)])
    # (batch, height, width, channels) -> (groups, size, height, width, channels) -> (groups, size) -> (batch,)
    return lax.map(function, padded.reshape(-1, size, *images.shape[1:])).reshape(-1)[:batch]


def attend(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
    """Scaled dot-product attention (Vaswani et al. 2017), whose softmax is in float32.

    Three times ``(batch, heads, tokens, channels)`` to the same shape, in the values' dtype.

    Heads lie before tokens and the softmax is divided after the product with the values: XLA's CPU backend takes 1.2 to
    1.5 times as long over ``jax.nn.dot_product_attention``.
    """
    scaled = q * jnp.asarray(q.shape[-1] ** -0.5, q.dtype)
    logits = jnp.einsum("bhtd,bhsd->bhts", scaled, k, preferred_element_type=jnp.float32)
    weights = jnp.exp(logits - lax.stop_gradient(jnp.max(logits, axis=-1, keepdims=True)))
    values = jnp.einsum("bhts,bhsd->bhtd", weights.astype(v.dtype), v)
    return (values / jnp.sum(weights, axis=-1, keepdims=True)).astype(v.dtype)


class BatchNorm(nnx.Module):
    """Batch normalisation with PyTorch's running statistics.

    ``nnx.BatchNorm`` keeps the biased batch variance; PyTorch keeps the unbiased one, n / (n - 1), and a model
    fine-tuned here has to mean the same there. Under a sharded ``jit`` the statistics are the global batch's. With a
    frozen mean it normalises by its running statistics in training, too (``freezing.freeze``).
    """

    def __init__(self, features: int, *, momentum: float = 0.1, epsilon: float = 1e-5):
        self.momentum, self.epsilon = momentum, epsilon
        self.scale = nnx.Param(jnp.ones((features,), jnp.float32))
        self.bias = nnx.Param(jnp.zeros((features,), jnp.float32))
        self.mean = nnx.BatchStat(jnp.zeros((features,), jnp.float32))
        self.var = nnx.BatchStat(jnp.ones((features,), jnp.float32))

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Normalise ``(batch, height, width, features)``; in training, also move the running statistics."""
        wide = x.astype(jnp.float32)
        scale, bias = self.scale[...], self.bias[...]
        if not train or is_frozen(self.mean):
            mean, var = self.mean[...], self.var[...]
        else:
            mean = _mean(wide)
            var = _mean(jnp.square(wide - _for_each_row(wide, mean)))
            count = x.size // x.shape[-1]
            unbiased = var * (count / max(count - 1, 1))
            self.mean[...] = (1 - self.momentum) * self.mean[...] + self.momentum * mean
            self.var[...] = (1 - self.momentum) * self.var[...] + self.momentum * unbiased
            mean, var, scale, bias = (_for_each_row(wide, value) for value in (mean, var, scale, bias))
        return ((wide - mean) * (lax.rsqrt(var + self.epsilon) * scale) + bias).astype(x.dtype)


def _mean(images: jax.Array) -> jax.Array:
    """Of each feature, ``(batch, height, width, features)`` to ``(features,)``: over each row first, then over them.

    XLA's CPU backend adds up one value after another. Over all pixels of 32 images the norms of gradients were off by
    up to .6 %, in two sums by up to .4 %, as for 2 images; and one sum takes it up to 30 times as long as two. It makes
    one of the two, unless the second is a product.
    """
    rows = jnp.mean(images, axis=2).reshape(-1, images.shape[-1])  # (batch * height, features)
    shares = jnp.full((2, len(rows)), 1 / len(rows))  # two rows: a product with one is fused, too
    return jnp.matmul(shares, rows, precision=lax.Precision.HIGHEST)[0]


def _for_each_row(images: jax.Array, value: jax.Array) -> jax.Array:
    """``(features,)`` as ``(batch, height, 1, features)``, whose gradient is summed over each row first, too."""
    batch, height, _, features = images.shape
    return lax.optimization_barrier(jnp.broadcast_to(value, (batch, height, 1, features)))


def max_pool_3x3(x: jax.Array) -> jax.Array:
    """Max pooling, kernel 3, stride 2, padding 1, of ``(batch, height, width, channels)`` with even sides.

    Written as maxima of shifted maps: XLA's CPU backend runs the gradient of a windowed maximum 10 to 20 times slower.
    """
    height, width = x.shape[1:3]
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-jnp.inf)
    rows = [padded[:, shift : shift + height : 2] for shift in range(3)]
    tallest = jnp.maximum(jnp.maximum(rows[0], rows[1]), rows[2])
    columns = [tallest[:, :, shift : shift + width : 2] for shift in range(3)]
    return jnp.maximum(jnp.maximum(columns[0], columns[1]), columns[2])


class DepthwiseConv(nnx.Conv):
    """A k x k convolution of each channel by itself, "SAME" padding; the kernel's shape is ``(k, k, 1, channels)``."""

    def __init__(self, channels: int, *, size: int, stride: int, rngs: nnx.Rngs):
        super().__init__(channels, channels, (size, size), feature_group_count=channels, use_bias=False, rngs=rngs)
        self.stride = stride

    def __call__(self, inputs: jax.Array, out_sharding=None) -> jax.Array:
        """``(batch, height, width, channels)``, with sides divided by the stride and rounded up."""
        return depthwise_conv(inputs, self.kernel[...].astype(inputs.dtype), self.stride)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def depthwise_conv(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """The convolution of ``DepthwiseConv``.

    On CPU it is a sum of shifted products: XLA's own takes 4 to 20 times as long there, 7 to 70 with its gradient.
    """
    shifted, library = (functools.partial(kind, stride=stride) for kind in (_shifted_products, _library_conv))
    return lax.platform_dependent(x, kernel, cpu=shifted, default=library)


def _forward(x: jax.Array, kernel: jax.Array, stride: int) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return depthwise_conv(x, kernel, stride), (x, kernel)


def _backward(stride: int, saved: tuple[jax.Array, jax.Array], gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
    def shifted(x, kernel, gradient):
        return _input_gradient(x.shape, kernel, gradient, stride), _kernel_gradient(x, kernel.shape, gradient, stride)

    def library(x, kernel, gradient):
        return jax.vjp(functools.partial(_library_conv, stride=stride), x, kernel)[1](gradient)

    return lax.platform_dependent(*saved, gradient, cpu=shifted, default=library)


depthwise_conv.defvjp(_forward, _backward)


def _library_conv(x: jax.Array, kernel: jax.Array, *, stride: int) -> jax.Array:
    layout, groups = ("NHWC", "HWIO", "NHWC"), x.shape[-1]
    strides = (stride, stride)
    return lax.conv_general_dilated(x, kernel, strides, "SAME", dimension_numbers=layout, feature_group_count=groups)


def _same_padding(x_shape: tuple[int, ...], size: int, stride: int) -> tuple[tuple[int, int], ...]:
    """TensorFlow's: just enough for ceil(side / stride) outputs, an odd pixel after rather than before."""
    totals = [max((-(-side // stride) - 1) * stride + size - side, 0) for side in x_shape[1:3]]
    return tuple((total // 2, total - total // 2) for total in totals)


def _windows(x: jax.Array, size: int, stride: int) -> list[jax.Array]:
    """What each of the ``size * size`` taps sees, row by row: each ``(batch, rows, columns, channels)``."""
    padded = jnp.pad(x, ((0, 0), *_same_padding(x.shape, size, stride), (0, 0)))
    rows, columns = (stride * ((side - size) // stride) + 1 for side in padded.shape[1:3])
    return [padded[:, i : i + rows : stride, j : j + columns : stride] for i in range(size) for j in range(size)]


def _shifted_products(x: jax.Array, kernel: jax.Array, *, stride: int) -> jax.Array:
    size, _, _, channels = kernel.shape
    # (size, size, 1, channels) -> (size * size, channels)
    windows, taps = _windows(x, size, stride), kernel.reshape(size * size, channels)
    return functools.reduce(jnp.add, [window * tap for window, tap in zip(windows, taps, strict=True)])


def _input_gradient(x_shape: tuple[int, ...], kernel: jax.Array, gradient: jax.Array, stride: int) -> jax.Array:
    """The gradient's shifted products, summed for each of the ``stride * stride`` places of a pixel by itself.

    Pixel ``stride * row + place`` met tap i in output ``row + (place + before - i) / stride``, where that is whole.
    """
    batch, height, width, channels = x_shape
    size, rows, columns = kernel.shape[0], *gradient.shape[1:3]
    before = [pads[0] for pads in _same_padding(x_shape, size, stride)]
    margins = [((size - 1 - start) // stride, (stride - 1 + start) // stride) for start in before]
    padded = jnp.pad(gradient, ((0, 0), *margins, (0, 0)))

    def shifts(axis: int, place: int) -> list[tuple[int, int]]:
        """The taps that a place meets, and where in ``padded`` their outputs start."""
        whole = [i for i in range(size) if (place + before[axis] - i) % stride == 0]
        return [(i, margins[axis][0] + (place + before[axis] - i) // stride) for i in whole]

    def products(y: int, x: int) -> jax.Array:
        total = jnp.zeros_like(gradient)
        for i, top in shifts(0, y):
            for j, left in shifts(1, x):
                total += padded[:, top : top + rows, left : left + columns] * kernel[i, j, 0]
        return total

    # (batch, rows, stride, columns, stride, channels) -> (batch, rows * stride, columns * stride, channels)
    places = jnp.stack([jnp.stack([products(y, x) for x in range(stride)], 3) for y in range(stride)], 2)
    return places.reshape(batch, rows * stride, columns * stride, channels)[:, :height, :width]


def _kernel_gradient(x: jax.Array, shape: tuple[int, ...], gradient: jax.Array, stride: int) -> jax.Array:
    """All taps in one reduction per image: XLA's CPU backend takes up to 6 times as long over one for each tap."""
    products = tuple((window * gradient).astype(jnp.float32) for window in _windows(x, shape[0], stride))
    zeros = (jnp.zeros((), jnp.float32),) * len(products)
    sums = lax.reduce(products, zeros, lambda a, b: tuple(p + q for p, q in zip(a, b, strict=True)), (1, 2))
    taps = jnp.stack([jnp.sum(tap, axis=0) for tap in sums])  # size * size of (batch, channels)
    return taps.reshape(shape).astype(x.dtype)  # (size, size, 1, channels)
