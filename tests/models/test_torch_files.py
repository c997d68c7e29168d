"""Checkpoints of PyTorch come back as it wrote them."""

import codecs
import collections
import struct
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch_checkpoints import (
    LAYOUTS,
    STORAGES,
    Call,
    Name,
    Raw,
    assert_same,
    instructions,
    read,
    refused,
    sequence,
    storage_of,
    with_tensors,
    write,
)


@pytest.fixture(params=LAYOUTS)
def layout(request) -> str:
    return request.param


@pytest.mark.parametrize("kind", STORAGES.values(), ids=STORAGES)
def test_every_type_comes_back(tmp_path, layout, kind):
    array = np.array([[0, 1, 1], [1, 0, 100]]).astype(kind)
    assert_same(read(write(tmp_path / "a.pth", {"weight": array}, layout)), {"weight": array})


def test_views_come_back(tmp_path, layout):
    whole = np.arange(24.0, dtype=np.float32)
    views = [whole[3:7], whole[::5], whole.reshape(4, 6).T, whole.reshape(2, 3, 4)[:, 1:, ::2]]
    views += [whole[5:6].reshape(()), whole[:0].reshape(0, 3), np.broadcast_to(whole[2:3], (7,))]
    assert_same(read(write(tmp_path / "a.pth", views, layout)), views)


def test_tensors_share_memory_as_they_did(tmp_path, layout):
    whole = np.arange(6.0)
    first, second, third = read(write(tmp_path / "a.pth", [whole, whole[2:], np.arange(6.0)], layout))
    first[2] = 17
    assert second[0] == 17
    assert not np.shares_memory(first, third)


def test_plain_values_are_kept(tmp_path, layout):
    content = {
        "epoch": 3,
        "best_srocc": np.float64(0.93),
        "numbers": [0, -1, 255, 2**31, -(2**63), 2**200, 0.1, float("inf")],
        "scalars": (np.int64(-7), np.float32(0.5), np.bool_(True), np.uint8(255)),
        "others": (None, True, False, "naïve", b"\x00\xff", (), [], {}),
        5: {"nested": collections.OrderedDict(a=[({},)])},
    }
    assert_same(read(write(tmp_path / "a.pth", content, layout)), content)


def test_a_state_dict_with_versions_of_modules(tmp_path, layout):
    bias = np.ones(2, np.float32)
    versions = collections.OrderedDict({"": {"version": 1}})
    items = sequence(["bias", with_tensors(bias, [])]) + b"u"
    state = instructions(Call("collections.OrderedDict", ())) + items + instructions({"_metadata": versions}) + b"b"
    assert_same(read(write(tmp_path / "a.pth", Raw(state), layout, [bias])), collections.OrderedDict(bias=bias))


def test_parameters_sizes_and_storages(tmp_path, layout):
    values = np.arange(3, dtype=np.float32)
    content = (
        Call("torch._utils._rebuild_parameter", (with_tensors(values, []), True, collections.OrderedDict())),
        Call("torch.Size", ((1, 2),)),
        storage_of(values),
        storage_of(values.view(np.uint8), "1", type=Name("torch.storage.UntypedStorage")),
    )
    expected = (values, (1, 2), values, values.view(np.uint8))
    assert_same(read(write(tmp_path / "a.pth", content, layout, [values, values.view(np.uint8)])), expected)


def test_numbers_of_numpy_1(tmp_path):
    data = instructions(np.float64(2.5)).replace(b"numpy._core", b"numpy.core")
    assert_same(read(write(tmp_path / "a.pth", Raw(data))), np.float64(2.5))


def test_instructions_of_newer_pickles(tmp_path):
    frame = b"\x95" + struct.pack("<Q", 30)
    ordered = b"\x8c\x0bcollections\x8c\x0bOrderedDict\x93\x94"  # STACK_GLOBAL, MEMOIZE
    data = frame + b"](" + ordered + b")R" + b"h\x00)R" + b"C\x01a" + b"K\x05\x85" + b"e"
    expected = [collections.OrderedDict(), collections.OrderedDict(), b"a", (5,)]
    assert_same(read(write(tmp_path / "a.pth", Raw(data))), expected)


names = st.text(max_size=3)
kinds = st.sampled_from([kind for kind in STORAGES.values() if kind != ml_dtypes.bfloat16])  # which Hypothesis lacks
arrays = hnp.arrays(kinds, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3))
contents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | names | arrays,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3) | st.tuples(inner, inner),
    max_leaves=8,
)


@given(content=contents, layout=st.sampled_from(LAYOUTS))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_whatever_was_saved_comes_back(tmp_path, content, layout):
    assert_same(read(write(tmp_path / "a.pth", content, layout)), content)


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


def as_numpy(value: Any, torch) -> Any:
    if isinstance(value, torch.Tensor):
        if value.dtype == torch.bfloat16:
            return value.detach().view(torch.int16).numpy().view(ml_dtypes.bfloat16)
        return value.detach().numpy()
    if isinstance(value, dict):
        return type(value)((key, as_numpy(item, torch)) for key, item in value.items())
    if isinstance(value, list):
        return [as_numpy(item, torch) for item in value]
    return tuple(as_numpy(item, torch) for item in value) if isinstance(value, tuple) else value


def assert_read_as_by_torch(torch, path: Path, content: Any, layout: str, protocol: int = 2) -> None:
    options = {"_use_new_zipfile_serialization": layout == "zip"}
    torch.save(content, path, **options)
    types = [type(np.dtype(code)) for code in ("f8", "f4", "i8", "?")]
    with torch.serialization.safe_globals([np._core.multiarray.scalar, codecs.encode, np.dtype, *types]):
        expected = torch.load(path, weights_only=True)  # which knows no protocol but 2
    torch.save(content, path, pickle_protocol=protocol, **options)
    assert_same(read(path), as_numpy(expected, torch))


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_torch_types_and_views(torch, tmp_path, layout, protocol):
    kinds = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16]
    content = {
        str(kind): torch.tensor([[0, 1], [1, 100]]).to(kind) for kind in [*kinds, torch.int8, torch.uint8, torch.bool]
    }
    whole = torch.arange(24.0).reshape(4, 6)
    content["views"] = [whole, whole.T, whole[1:3, ::2], whole[0, 0], whole[:0], torch.ones(1).expand(3, 4)]
    content["channels last"] = torch.rand(2, 3, 4, 4).to(memory_format=torch.channels_last)
    content["others"] = (whole.shape, np.float64(0.5), np.int64(3), np.bool_(True), np.float32(2), 1, 2.5, "text", None)
    assert_read_as_by_torch(torch, tmp_path / "a.pth", content, layout, protocol)


@pytest.mark.parametrize("optimiser", ["SGD", "Adam", "AdamW"])
def test_torch_models_and_optimisers(torch, tmp_path, layout, optimiser):
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.PReLU())
    momentum = {"momentum": 0.9} if optimiser == "SGD" else {}
    state = getattr(torch.optim, optimiser)(model.parameters(), lr=0.1, **momentum)
    model(torch.rand(2, 3, 5, 5)).sum().backward()
    state.step()
    content = {"model": model.state_dict(), "optimizer": state.state_dict(), "epoch": 3, "best_srocc": np.float64(0.9)}
    content["parameters"] = list(model.parameters())
    assert_read_as_by_torch(torch, tmp_path / "a.pth", content, layout)


def test_torch_shared_memory(torch, tmp_path, layout):
    whole = torch.arange(6.0)
    torch.save([whole, whole[2:]], tmp_path / "a.pth", _use_new_zipfile_serialization=layout == "zip")
    first, second = read(tmp_path / "a.pth")
    assert np.shares_memory(first, second)


def test_torch_programs_are_refused(torch, tmp_path, layout):
    module = torch.nn.Linear(2, 2)
    torch.save(module, tmp_path / "a.pth", _use_new_zipfile_serialization=layout == "zip")
    refused(tmp_path / "a.pth", "a call of torch.nn.modules.linear.Linear, which is refused")
    torch.save(torch.ones(2, dtype=torch.complex64), tmp_path / "b.pth", _use_new_zipfile_serialization=layout == "zip")
    refused(tmp_path / "b.pth", "a call of torch.ComplexFloatStorage, which is refused")


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_torchscript_is_refused(torch, tmp_path):
    torch.jit.script(torch.nn.Linear(2, 2)).save(tmp_path / "a.pth")
    refused(tmp_path / "a.pth", "a TorchScript archive")
