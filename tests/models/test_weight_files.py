"""Weights in our own names: what goes out comes back, and what does not fit is one error."""

import numpy as np
import pytest

from glintiqa_jax.models.files import WeightsError, arrays_of, load_weights, save_weights
from glintiqa_jax.models.glintiqa import create_model


def test_what_is_saved_comes_back_bit_for_bit(tmp_path):
    model, other = create_model("glintiqa_tiny"), create_model("glintiqa_tiny", seed=1)
    save_weights(model, tmp_path / "model.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]
    (tmp_path / "other").touch()
    assert (tmp_path / "model.safetensors").stat().st_mode == (tmp_path / "other").stat().st_mode  # others may read it
    load_weights(other, tmp_path / "model.safetensors")
    ours, theirs = arrays_of(model), arrays_of(other)
    assert all(ours[name].tobytes() == theirs[name].tobytes() for name in ours)
    assert ours.keys() == theirs.keys() >= {"vgfe.cls_token", "clfe.stages.2.0.bn2.var", "head.fc2.kernel"}


def test_half_the_size_rounds_to_float16(tmp_path):
    model, other = create_model("glintiqa_tiny"), create_model("glintiqa_tiny", seed=1)
    save_weights(model, tmp_path / "whole.safetensors")
    save_weights(model, tmp_path / "half.safetensors", half=True)
    assert (tmp_path / "half.safetensors").stat().st_size < 0.6 * (tmp_path / "whole.safetensors").stat().st_size
    load_weights(other, tmp_path / "half.safetensors")
    for name, array in arrays_of(model).items():
        np.testing.assert_array_equal(arrays_of(other)[name], array.astype(np.float16).astype(np.float32))
    model.head.fc2.bias[...] = np.full(1, 7e4)
    with pytest.raises(WeightsError, match=r"expected values that float16 holds, found others in head\.fc2\.bias"):
        save_weights(model, tmp_path / "half.safetensors", half=True)


def test_what_does_not_fit_is_one_error_and_changes_nothing():
    model = create_model("glintiqa_tiny")
    arrays = arrays_of(model)
    wrong = {name: array for name, array in arrays.items() if name != "head.fc2.bias"} | {"more": np.zeros(1)}
    wrong["head.fc1.bias"] = np.zeros(3)
    with pytest.raises(
        WeightsError,
        match=r"missing 1: head.fc2.bias; unexpected 1: more; misshaped 1: head.fc1.bias \(3,\) instead of \(16,\)",
    ):
        load_weights(model, wrong)
    assert all(np.array_equal(array, arrays[name]) for name, array in arrays_of(model).items())
