"""DnCNN with weights from a file, and distortion 15 with it."""

import itertools
import pickle
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import skimage.data
import torch_checkpoints
from scipy.signal import correlate2d

from glintiqa_jax.errors import InputError
from glintiqa_jax.saqt import dncnn
from glintiqa_jax.saqt.distortions import DEFAULT_DENOISER, DISTORTIONS, distort
from glintiqa_jax.saqt.dncnn import load_dncnn

Weights = dict[str, np.ndarray]
PHOTOGRAPH = skimage.data.astronaut()[:48, 100:140]


def merged_weights(depth: int = 3, width: int = 4, prefix: str = "model.", seed: int = 0) -> Weights:
    """Convolutions with biases and ReLUs counted, as in the authors' files without batch normalisation."""
    rng = np.random.default_rng(seed)
    weights: Weights = {}
    channels = [1, *[width] * (depth - 1), 1]
    for layer, (inner, outer) in enumerate(itertools.pairwise(channels)):
        weights[f"{prefix}{2 * layer}.weight"] = rng.normal(0, 0.3, (outer, inner, 3, 3)).astype(np.float32)
        weights[f"{prefix}{2 * layer}.bias"] = rng.normal(0, 0.1, outer).astype(np.float32)
    return weights


def normalised_weights(depth: int = 4, width: int = 4, *, bias: bool = True) -> Weights:
    """The same with batch normalisation after every convolution but the first and the last."""
    rng = np.random.default_rng(1)
    weights: Weights = {}
    places = [0, *range(2, 3 * depth - 4, 3), 3 * depth - 4]
    for place, (weight, shift) in zip(places, in_layers(merged_weights(depth, width)), strict=True):
        weights[f"module.dncnn.{place}.weight"] = weight
        if bias:
            weights[f"module.dncnn.{place}.bias"] = shift
        if place not in (0, places[-1]):
            start = f"module.dncnn.{place + 1}"
            weights[f"{start}.weight"] = rng.uniform(0.5, 2, width).astype(np.float32)
            weights[f"{start}.bias"] = rng.normal(0, 0.1, width).astype(np.float32)
            weights[f"{start}.running_mean"] = rng.normal(0, 0.1, width).astype(np.float32)
            weights[f"{start}.running_var"] = rng.uniform(0.001, 2, width).astype(np.float32)
            weights[f"{start}.num_batches_tracked"] = np.array(7)
    return weights


def in_layers(weights: Weights) -> list[tuple[np.ndarray, np.ndarray]]:
    values = list(weights.values())
    return list(zip(values[::2], values[1::2], strict=True))


def convolved(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | float = 0.0) -> np.ndarray:
    """A 3x3 convolution with zero padding of ``(channels, height, width)``, by SciPy."""
    sums = [sum(correlate2d(plane, k, "same") for plane, k in zip(x, kernel, strict=True)) for kernel in weight]
    return np.stack(sums) + np.reshape(bias, (-1, 1, 1))


def saved(folder: Path, weights: Weights, ending: str = ".npz") -> Path:
    path = folder / f"dncnn{ending}"
    match ending:
        case ".npz":
            np.savez(path, **weights)
        case ".safetensors":
            safetensors.numpy.save_file(weights, path)
        case ".pth":
            torch_checkpoints.write(path, weights)
    return path


@pytest.fixture
def channel() -> np.ndarray:
    return np.random.default_rng(5).random((37, 33), np.float32)


@pytest.mark.parametrize("ending", [".pth", ".safetensors", ".npz"])
def test_three_layers_are_what_scipy_gives(tmp_path, channel, ending):
    weights = merged_weights()
    noise = channel[None].astype(np.float64)
    *hidden, last = in_layers(weights)
    for weight, bias in hidden:
        noise = np.maximum(convolved(noise, weight, bias), 0)
    expected = np.clip(channel - convolved(noise, *last)[0], 0, 1)
    assert 0.05 < np.abs(expected - channel).mean() < 0.95
    denoised = load_dncnn(saved(tmp_path, weights, ending))(channel, 0.01)
    assert denoised.dtype == np.float32
    np.testing.assert_allclose(denoised, expected, atol=1e-5)


@pytest.mark.parametrize("bias", [True, False])
def test_batch_normalisation_is_what_scipy_gives(tmp_path, channel, bias):
    weights = normalised_weights(bias=bias)
    x = channel[None].astype(np.float64)
    for place in (0, 2, 5, 8):
        x = convolved(x, weights[f"module.dncnn.{place}.weight"], weights.get(f"module.dncnn.{place}.bias", 0.0))
        if place in (2, 5):
            scale, shift, mean, variance = (
                weights[f"module.dncnn.{place + 1}.{part}"][:, None, None]
                for part in ("weight", "bias", "running_mean", "running_var")
            )
            x = (x - mean) / np.sqrt(variance + 1e-4) * scale + shift
        x = x if place == 8 else np.maximum(x, 0)
    denoised = load_dncnn(saved(tmp_path, weights))(channel, 0.01)
    np.testing.assert_allclose(denoised, np.clip(channel - x[0], 0, 1), atol=1e-5)


def test_no_noise_predicted_is_the_noisy_image_itself(tmp_path):
    nothing = {name: np.zeros_like(array) for name, array in merged_weights(depth=5).items()}
    untouched = distort(PHOTOGRAPH, "denoise", 2, seed=3, denoiser=load_dncnn(saved(tmp_path, nothing)))
    noisy = np.random.default_rng([3, 15, 2]).standard_normal(PHOTOGRAPH.shape, np.float32) * np.sqrt(0.03)
    pristine = (PHOTOGRAPH - PHOTOGRAPH.min()) / np.ptp(PHOTOGRAPH)
    expected = np.clip(pristine + noisy, 0, 1) * 255
    np.testing.assert_allclose(untouched, expected, atol=0.51)


def test_channels_are_denoised_each_by_itself(tmp_path):
    denoiser = load_dncnn(saved(tmp_path, merged_weights()))
    grey = np.repeat(PHOTOGRAPH[..., :1], 3, axis=2)
    one = distort(grey, "denoise", 1, rescale=False, denoiser=denoiser)
    coloured = grey.copy()
    coloured[..., 2] = 0
    other = distort(coloured, "denoise", 1, rescale=False, denoiser=denoiser)
    np.testing.assert_array_equal(one[..., :2], other[..., :2])
    assert (one[..., 2] != other[..., 2]).any()


@pytest.mark.parametrize("height", [32, 41, 200])
def test_strips_change_nothing(tmp_path, monkeypatch, height):
    denoiser = load_dncnn(saved(tmp_path, merged_weights(depth=6)))
    channel = np.random.default_rng(2).random((height, 32), np.float32)
    whole = denoiser(channel, 0.01)
    monkeypatch.setattr(dncnn, "_STRIP", 10 * 32)
    np.testing.assert_allclose(denoiser(channel, 0.01), whole, atol=1e-6)


@pytest.mark.parametrize("depth", [17, 20])
def test_depth_is_found_in_the_keys(tmp_path, depth):
    denoiser = load_dncnn(saved(tmp_path, merged_weights(depth, width=2)))
    assert len(denoiser.network.convolutions) == depth
    assert denoiser.name.startswith(f"DnCNN of {depth} layers, dncnn.npz ")


def test_a_name_says_which_weights(tmp_path):
    names = {load_dncnn(saved(tmp_path, merged_weights(seed=seed))).name for seed in (0, 1, 1)}
    assert len(names) == 2
    assert DEFAULT_DENOISER.name == "bilateral filter"


def test_the_others_do_without_a_denoiser(tmp_path):
    denoiser = load_dncnn(saved(tmp_path, merged_weights()))
    for row in DISTORTIONS:
        same = (distort(PHOTOGRAPH, row.name, 3) == distort(PHOTOGRAPH, row.name, 3, denoiser=denoiser)).all()
        assert same == (row.name != "denoise"), row.name


def test_workers_can_be_given_one(tmp_path, channel):
    denoiser = load_dncnn(saved(tmp_path, merged_weights()))
    again = pickle.loads(pickle.dumps(denoiser))
    assert again.name == denoiser.name
    np.testing.assert_array_equal(again(channel, 0.01), denoiser(channel, 0.01))


def without(weights: Weights, name: str) -> Weights:
    return {key: array for key, array in weights.items() if key != name}


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (without(merged_weights(), "model.2.weight"), "missing 1: model.2.weight"),
        (without(merged_weights(), "model.0.weight"), "missing 1: model.0.weight"),
        (
            without(normalised_weights(), "module.dncnn.3.running_var"),
            "missing 1: module.dncnn.3.running_var",
        ),
        (merged_weights() | {"head.bias": np.zeros(3)}, "unexpected 1: head.bias"),
        (merged_weights() | {"model.1000000000.weight": np.zeros(3)}, "unexpected 1: model.1000000000.weight"),
        (
            merged_weights() | {"model.4.weight": np.zeros((3, 4, 3, 3), np.float32)},
            r"misshaped 1: model.4.weight (3, 4, 3, 3) instead of (1, 4, 3, 3)",
        ),
        (
            merged_weights() | {"model.0.weight": np.zeros((4, 3, 3, 3), np.float32)},
            r"grey images, found misshaped 1: model.0.weight (4, 3, 3, 3) instead of (4, 1, 3, 3)",
        ),
        (merged_weights() | {"model.0.weight": np.array(1.0)}, "model.0.weight () instead of"),
        ({"weight": np.zeros(3)}, "missing 2: model.0.weight, model.2.weight; unexpected 1: weight"),
        ({"model.0.weight": np.zeros((1, 1, 3, 3))}, "missing 1: model.2.weight"),
        ({}, "missing 2: model.0.weight, model.2.weight"),
    ],
)
def test_keys_that_do_not_fit_are_named(tmp_path, weights, message):
    path = saved(tmp_path, weights)
    with pytest.raises(InputError) as caught:
        load_dncnn(path)
    assert str(caught.value).startswith(f"{path}: expected the weights of a DnCNN")
    assert message in str(caught.value)


def test_files_that_are_none_are_named(tmp_path):
    with pytest.raises(InputError, match=r"nowhere\.pth: expected a file of weights"):
        load_dncnn(tmp_path / "nowhere.pth")
    (tmp_path / "text.pth").write_text("no weights")
    with pytest.raises(InputError, match=r"text\.pth"):
        load_dncnn(tmp_path / "text.pth")


def test_a_denoiser_of_another_shape_is_refused():
    class Halves:
        name = "halves"

        def __call__(self, channel, variance):
            return channel[::2]

    with pytest.raises(ValueError, match=r"expected halves to return an array of shape \(48, 40\), found \(24, 40\)"):
        distort(PHOTOGRAPH, "denoise", 1, denoiser=Halves())
