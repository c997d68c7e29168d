"""DnCNN, the denoiser of KADID-10k's distortion 15, with published weights.

K. Zhang, W. Zuo, Y. Chen, D. Meng and L. Zhang, "Beyond a Gaussian Denoiser: Residual Learning of Deep CNN for Image
Denoising", IEEE TIP 2017. Batch normalisation is folded into the convolution before it, as in the authors' later files.

denoiser = load_dncnn("dncnn_gray_blind.pth")
distort(image, "denoise", 3, denoiser=denoiser)
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from numpy.typing import NDArray

from glintiqa_jax import compilation
from glintiqa_jax.models.files import WeightsError, read_weights
from glintiqa_jax.sharding import make_mesh

_EPSILON = 1e-4  # of batch normalisation, as the authors trained; a file does not say
_STRIP = 1 << 20  # pixels denoised at once, about: of 64 channels some 250 MB
_NUMBERED = re.compile(r"(.*?)(\d+)\.weight$")
_NORMALISATION = ("weight", "bias", "running_mean", "running_var")


class DnCnn(nnx.Module):
    """3x3 convolutions with ReLU between them, which predict the noise of a grey image.

    Args:
      depth: convolutions, 17 or 20 as published, at least 2.
      width: channels between them, 64 as published.
      rngs: the ``params`` stream.
    """

    def __init__(self, *, depth: int, width: int = 64, rngs: nnx.Rngs):
        channels = [1, *[width] * (depth - 1), 1]
        self.convolutions = nnx.List(
            [nnx.Conv(i, o, (3, 3), padding=1, rngs=rngs) for i, o in itertools.pairwise(channels)]
        )

    def __call__(self, noisy: jax.Array) -> jax.Array:
        """The noise in float32 ``(batch, height, width, 1)`` with values in [0, 1], of the same shape."""
        x = noisy
        *hidden, last = self.convolutions
        for convolution in hidden:
            x = nnx.relu(convolution(x))
        return last(x)


class DnCnnDenoiser:
    """A DnCNN as a denoiser of ``distort``; it is blind, so it ignores the variance.

    Attributes:
      name: the number of layers, the file and the start of its SHA-256.
    """

    def __init__(self, network: DnCnn, name: str):
        self.network, self.name = network, name

    def __call__(self, channel: NDArray[np.float32], variance: float) -> NDArray[np.float32]:
        """Float32 ``(height, width)`` without its noise, clipped to [0, 1].

        Large images are denoised in strips of rows that overlap by as far as the network sees: the result is the same.
        """
        height, width = channel.shape
        reach = len(self.network.convolutions)
        rows = min(height, max(_STRIP // width, 1) + 2 * reach)
        denoised = np.empty_like(channel)
        graphdef, state = nnx.split(self.network)
        for top, kept in _strips(height, rows, reach):
            noisy = channel[top : top + rows]
            noise = np.asarray(_noise()(graphdef, state, jnp.asarray(noisy)[None, :, :, None]))[0, :, :, 0]
            denoised[top + kept.start : top + kept.stop] = (noisy - noise)[kept]
        return np.clip(denoised, 0, 1)


def load_dncnn(path: str | os.PathLike) -> DnCnnDenoiser:
    """A grey DnCNN from a ``.pth``, ``.safetensors`` or ``.npz`` file; its keys tell depth and batch normalisation.

    The layouts are those of the authors' PyTorch code: ``model.0.weight``, ``model.2.weight``, ..., where convolutions,
    ReLUs and batch normalisations all count, under any name instead of ``model``; biases may be absent.

    Raises:
      WeightsError: for a file that cannot be read, and listing every missing, unexpected and misshaped key.
    """
    path = Path(path).expanduser()
    weights = read_weights(path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    layers = _folded(weights, path)
    network = DnCnn(depth=len(layers), width=layers[0][1].size, rngs=nnx.Rngs(0))
    for convolution, (kernel, bias) in zip(network.convolutions, layers, strict=True):
        convolution.kernel, convolution.bias = nnx.Param(jnp.asarray(kernel)), nnx.Param(jnp.asarray(bias))
    return DnCnnDenoiser(network, f"DnCNN of {len(layers)} layers, {path.name} {digest}")


@functools.cache
def _noise() -> Callable[[nnx.GraphDef, nnx.State, jax.Array], jax.Array]:
    """The compiled network, for every denoiser of a process: a denoiser itself goes to worker processes."""

    def noise(graphdef: nnx.GraphDef, state: nnx.State, noisy: jax.Array) -> jax.Array:
        return nnx.merge(graphdef, state)(noisy)

    return compilation.jit(noise, make_mesh(devices=jax.devices()[:1]), static_argnums=0)


def _strips(height: int, rows: int, reach: int) -> Iterator[tuple[int, slice]]:
    """Where strips of so many rows start, and which of their rows are out of the reach of a cut."""
    done = 0
    while done < height:
        top = min(max(done - reach, 0), height - rows)
        end = height if top + rows == height else top + rows - reach
        yield top, slice(done - top, end - top)
        done = end


def _folded(weights: Mapping[str, np.ndarray], path: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """Each convolution's kernel ``(3, 3, in, out)`` and bias ``(out,)``, batch normalisation folded in."""
    numbered = [match for match in map(_NUMBERED.match, weights) if match]
    prefix = numbered[0][1] if numbered else "model."
    # a number far beyond the count of keys is no layer's
    last = max([2, *(int(match[2]) for match in numbered if int(match[2]) < 3 * len(numbered))])
    normalised = any(name.endswith(".running_mean") for name in weights)
    # convolution, ReLU; then convolution, batch normalisation where there is any, ReLU, again and again; convolution
    positions = [0, *range(2, last, 3 if normalised else 2), last]
    first = weights.get(f"{prefix}0.weight", np.empty((64, 1, 3, 3)))
    width = first.shape[0] if first.ndim else 0
    required: dict[str, tuple[int, ...]] = {}
    optional: dict[str, tuple[int, ...]] = {}
    for position in positions:
        inner, outer = (1 if position == 0 else width), (1 if position == last else width)
        required[f"{prefix}{position}.weight"] = (outer, inner, 3, 3)
        optional[f"{prefix}{position}.bias"] = (outer,)
        if normalised and position not in (0, last):
            required |= {f"{prefix}{position + 1}.{part}": (width,) for part in _NORMALISATION}
            optional[f"{prefix}{position + 1}.num_batches_tracked"] = ()
    _check(weights, required, optional, path)

    layers = []
    for position in positions:
        kernel = np.asarray(weights[f"{prefix}{position}.weight"], np.float32).transpose(2, 3, 1, 0)
        bias = np.asarray(weights.get(f"{prefix}{position}.bias", np.zeros(kernel.shape[3])), np.float32)
        if normalised and position not in (0, last):
            scale, shift, mean, variance = (
                np.asarray(weights[f"{prefix}{position + 1}.{part}"], np.float32) for part in _NORMALISATION
            )
            gain = scale / np.sqrt(variance + np.float32(_EPSILON))
            kernel, bias = kernel * gain, (bias - mean) * gain + shift
        layers.append((kernel, bias))
    return layers


def _check(
    weights: Mapping[str, np.ndarray],
    required: Mapping[str, tuple[int, ...]],
    optional: Mapping[str, tuple[int, ...]],
    path: Path,
) -> None:
    known = {**required, **optional}
    problems = {
        "missing": [name for name in required if name not in weights],
        "unexpected": [name for name in weights if name not in known],
        "misshaped": [
            f"{name} {weights[name].shape} instead of {shape}"
            for name, shape in known.items()
            if name in weights and weights[name].shape != shape
        ],
    }
    if any(problems.values()):
        found = "; ".join(f"{label} {len(names)}: {', '.join(names)}" for label, names in problems.items() if names)
        raise WeightsError(file=path, expected="the weights of a DnCNN for grey images", found=found)
