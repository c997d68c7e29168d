"""EfficientNet-Lite0 (Tan and Le 2019, in TensorFlow's variant for small devices), a light CNN branch for GlintIQA.

No squeeze-and-excitation, ReLU6 throughout, and TensorFlow's "SAME" padding. As a branch it is built up to its last map
that is used, of those at 1/4, 1/8, 1/16 and 1/32 of the image; the rest and the classifier are there for whole-image
features and to check weights against ImageNet. Epsilon and momentum are the PyTorch port's, so that its weights mean
the same here.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

from glintiqa_jax.models.computation import Recomputable
from glintiqa_jax.models.resnet import BatchNorm, Conv, PointwiseConv

# kernel, stride, expansion, channels, blocks
STAGES = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)
STEM_CHANNELS, HEAD_CHANNELS = 32, 1280

Norm = functools.partial(BatchNorm, momentum=0.01, epsilon=1e-3)


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
    return taps.reshape(shape).astype(x.dtype)


class InvertedResidual(Recomputable):
    """1x1 to more channels (unless ``expansion`` is 1), depthwise, 1x1 to fewer; skipped past where shapes allow."""

    def __init__(self, channels: int, out: int, *, size: int, stride: int, expansion: int, rngs: nnx.Rngs):
        hidden = channels * expansion
        self.skip = stride == 1 and channels == out
        self.expand = PointwiseConv(channels, hidden, rngs=rngs) if expansion > 1 else None
        self.expand_bn = Norm(hidden) if expansion > 1 else None
        self.depthwise = DepthwiseConv(hidden, size=size, stride=stride, rngs=rngs)
        self.depthwise_bn = Norm(hidden)
        self.project = PointwiseConv(hidden, out, rngs=rngs)
        self.project_bn = Norm(out)

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        y = x
        if self.expand is not None and self.expand_bn is not None:
            y = nnx.relu6(self.expand_bn(self.expand(y), train=train))
        y = nnx.relu6(self.depthwise_bn(self.depthwise(y), train=train))
        y = self.project_bn(self.project(y), train=train)
        return x + y if self.skip else y


class EfficientNetLite0(nnx.Module):
    """The stem and the blocks up to the last map, for ``__call__``; with ``classes``, all of them and a classifier.

    Args:
      maps: how many of the maps at ``STRIDES`` are wanted, from the first.
      classes: 0 for the branch, 1000 for ImageNet's classifier.
      rngs: the ``params`` stream.
    """

    STRIDES = (4, 8, 16, 32)
    CHANNELS = (24, 40, 112, 192)
    # Of the taps with ImageNet's weights, about. They are linear and nothing normalises them, and Adam's steps on what
    # reads them would be as much too large: the maps are divided by it.
    DEVIATION = 7.0
    TAPPED = (2, 4, 10, 14)  # the last block of the second, third, fifth and sixth stage

    def __init__(self, *, maps: int = 3, classes: int = 0, rngs: nnx.Rngs):
        self.maps = maps
        self.stem = Conv(3, STEM_CHANNELS, (3, 3), strides=2, padding="SAME", rngs=rngs)
        self.stem_bn = Norm(STEM_CHANNELS)
        channels = STEM_CHANNELS
        blocks: list[InvertedResidual] = []
        for size, stride, expansion, out, repeats in STAGES:
            for index in range(repeats):
                step = stride if index == 0 else 1
                if classes or len(blocks) <= self.TAPPED[maps - 1]:
                    block = InvertedResidual(channels, out, size=size, stride=step, expansion=expansion, rngs=rngs)
                    blocks.append(block)
                    channels = out
        self.blocks = nnx.List(blocks)
        self.head = PointwiseConv(channels, HEAD_CHANNELS, rngs=rngs) if classes else None
        self.head_bn = Norm(HEAD_CHANNELS) if classes else None
        self.fc = nnx.Linear(HEAD_CHANNELS, classes, rngs=rngs) if classes else None

    @classmethod
    def stage(cls, path: tuple) -> int:
        """The part, from 1, of the variable at an NNX path: each ends with a map, the first begins with the stem."""
        return 1 + sum(path[1] > tapped for tapped in cls.TAPPED) if path[0] == "blocks" else 1

    def __call__(self, images: jax.Array, *, train: bool, frozen_stages: int = 0) -> list[jax.Array]:
        """The maps of ``(batch, height, width, 3)`` at ``STRIDES``: ``(batch, height/4, width/4, 24)``, ...

        The images are normalised by the caller: uint8 pixels as ``(pixel - 127) / 128``. The parts up to the
        ``frozen_stages``-th map never normalise by the batch.
        """
        frozen_blocks = self.TAPPED[frozen_stages - 1] + 1 if frozen_stages else 0
        tapped = self.TAPPED[: self.maps]
        outputs = self._outputs(images, train=train, blocks=tapped[-1] + 1, frozen_blocks=frozen_blocks)
        return [outputs[block] / self.DEVIATION for block in tapped]

    def logits(self, images: jax.Array) -> jax.Array:
        """``(batch, classes)`` of ``(batch, height, width, 3)``; ``ValueError`` for a model without classes."""
        if self.fc is None:
            raise ValueError("a model without classes has no logits")
        return self.fc(self.pooled(images))

    def pooled(self, images: jax.Array) -> jax.Array:
        """What the classifier sees of ``(batch, height, width, 3)``, ``(batch, 1280)``, the mean over all places.

        ``ValueError`` for a model without classes.
        """
        if self.head is None or self.head_bn is None:
            raise ValueError("a model without classes has no head")
        x = self._outputs(images, train=False, blocks=len(self.blocks))[-1]
        return jnp.mean(nnx.relu6(self.head_bn(self.head(x), train=False)), axis=(1, 2))

    def _outputs(self, images: jax.Array, *, train: bool, blocks: int, frozen_blocks: int = 0) -> list[jax.Array]:
        x = nnx.relu6(self.stem_bn(self.stem(images), train=train and frozen_blocks == 0))
        outputs = []
        for index, block in enumerate(self.blocks[:blocks]):
            x = block.apply(x, train=train and index >= frozen_blocks)
            outputs.append(x)
        return outputs


# The PyTorch port's name for each part of ours.
_PORT_NAMES = {
    "stem": "_conv_stem",
    "stem_bn": "_bn0",
    "blocks": "_blocks",
    "expand": "_expand_conv",
    "expand_bn": "_bn0",
    "depthwise": "_depthwise_conv",
    "depthwise_bn": "_bn1",
    "project": "_project_conv",
    "project_bn": "_bn2",
    "head": "_conv_head",
    "head_bn": "_bn1",
    "fc": "_fc",
    "kernel": "weight",
    "scale": "weight",
    "bias": "bias",
    "mean": "running_mean",
    "var": "running_var",
}


def port_name(name: str) -> str:
    """The PyTorch port's key of a variable: ``blocks.3.depthwise.kernel`` is ``_blocks.3._depthwise_conv.weight``."""
    return ".".join(part if part.isdigit() else _PORT_NAMES[part] for part in name.split("."))
