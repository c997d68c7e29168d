"""A hostile or damaged checkpoint file gets an error and nothing else."""

import collections
import contextlib
import copyreg
import json
import pickle
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch_checkpoints import (
    LAYOUTS,
    REBUILD,
    Call,
    Name,
    Raw,
    Storage,
    assert_same,
    instructions,
    pickled,
    read,
    refused,
    storage_of,
    with_tensors,
    write,
)

from glintiqa_jax.models.torch_files import TorchFileError


@pytest.fixture(params=LAYOUTS)
def layout(request) -> str:
    return request.param


@pytest.mark.parametrize(
    "name",
    [
        "os.system",
        "posix.system",
        "builtins.eval",
        "__builtin__.eval",
        "builtins.getattr",
        "torch.load",
        "torch.hub.load",
        "torch.ComplexFloatStorage",
        "torch._utils._rebuild_tensor_v3",
        "torch._utils._rebuild_tensor_v2.__globals__",
        "collections.OrderedDict.__init__",
        "collections.abc.sys",
        "numpy.core.multiarray._reconstruct",
        "numpy.ndarray",
    ],
)
def test_other_calls_are_refused(tmp_path, layout, name):
    canary = tmp_path / "canary"
    module, _, attribute = name.rpartition(".")
    found = f"a call of {name}, which is refused"
    refused(write(tmp_path / "a.pth", {"a": Call(name, (f"touch {canary}",))}, layout), found)
    stack_global = instructions(module) + instructions(attribute) + b"\x93" + instructions((f"touch {canary}",)) + b"R"
    refused(write(tmp_path / "b.pth", {"a": Raw(stack_global)}, layout), found)
    refused(write(tmp_path / "c.pth", {"a": Name(name)}, layout), found)
    refused(write(tmp_path / "d.pth", Call("torch.Size", (Call(name, ()),)), layout), found)
    assert not canary.exists()


@pytest.mark.parametrize(
    ("data", "instruction"),
    [
        (b"(X\x04\x00\x00\x00trueios\nsystem\n", "INST"),
        (b"(ccollections\nOrderedDict\no", "OBJ"),
        (b"ccollections\nOrderedDict\n)\x81", "NEWOBJ"),
        (b"ccollections\nOrderedDict\n)}\x92", "NEWOBJ_EX"),
        (b"\x82\xf0X\x04\x00\x00\x00true\x85R", "EXT1"),
        (b"\x83\xf0\x00X\x04\x00\x00\x00true\x85R", "EXT2"),
        (b"\x84\xf0\x00\x00\x00X\x04\x00\x00\x00true\x85R", "EXT4"),
        (b"Pstorage\n", "PERSID"),
        (b"\x96\x00\x00\x00\x00\x00\x00\x00\x00", "BYTEARRAY8"),
        (b"\x97", "NEXT_BUFFER"),
        (b"\x8f", "EMPTY_SET"),
        (b"N2", "DUP"),
        (b"I5\n", "INT"),
    ],
)
def test_other_instructions_are_refused(tmp_path, layout, data, instruction):
    copyreg.add_extension("os", "system", 0xF0)
    try:
        refused(write(tmp_path / "a.pth", Raw(data), layout), f"the pickle instruction {instruction}, which is refused")
    finally:
        copyreg.remove_extension("os", "system", 0xF0)


@pytest.mark.parametrize("code", ["O8", "O", "V8", "U4", "S4", "M8", "f16", "c8", "f8,O", "b1\n", 8, None, ("f8", 1)])
def test_numbers_that_are_no_numbers(tmp_path, code):
    call = Call("numpy.core.multiarray.scalar", (Call("numpy.dtype", (code, False, True)), b"12345678"))
    refused(write(tmp_path / "a.pth", call), "a call of numpy.dtype with arguments that are refused")


EIGHT_BYTES = Call("numpy.dtype", ("f8", False, True))


@pytest.mark.parametrize(
    "call",
    [
        Call("numpy.core.multiarray.scalar", (EIGHT_BYTES, b"1234567")),
        Call("numpy.core.multiarray.scalar", (EIGHT_BYTES, "12345678")),
        Call("numpy.core.multiarray.scalar", ("f8", b"12345678")),
        Call("_codecs.encode", ("abc", "rot13")),
        Call("_codecs.encode", ("abcdefghi", "latin1")),
        Call("collections.OrderedDict", ([["a", 1]],)),
        Call("torch.Size", ([1, 2],)),
        Call("torch.FloatStorage", (10,)),
        Call("torch._utils._rebuild_parameter", ("text", True, {})),
        Call(REBUILD, ()),
        Call(REBUILD, ("text", 0, (2,), (1,), False, {})),
    ],
    ids=lambda call: call.name,
)
def test_arguments_that_do_not_fit(tmp_path, call):
    refused(write(tmp_path / "a.pth", call), f"a call of {call.name} with arguments that are refused")


@pytest.mark.parametrize(
    "target",
    [Name("torch.Size"), Name(REBUILD), {}, [], "text", with_tensors(np.ones(2), []), Call("torch.Size", ((1,),))],
    ids=lambda target: type(target).__name__,
)
@pytest.mark.parametrize("state", [{"__class__": 1}, (None, {"__defaults__": (1,)}), (1, (2,), False, b"")])
def test_states_are_refused(tmp_path, target, state):
    data = Raw(instructions(target) + instructions(state) + b"b")
    refused(write(tmp_path / "a.pth", data, memories=[np.ones(2)]), "a state that is refused")


def test_the_state_of_an_ordered_dict_changes_nothing(tmp_path):
    state = (None, {"items": Name("torch.Size"), "__class__": 1, "__setstate__": Name("torch.Size")})
    data = Raw(instructions(Call("collections.OrderedDict", (), state)) + instructions({"keys": 1}) + b"b")
    content = read(write(tmp_path / "a.pth", data))
    assert_same(content, collections.OrderedDict())
    assert not vars(content)


@pytest.mark.parametrize("key", [(1,), [1], b"a", {}, np.float32(1), with_tensors(np.ones(2), [])], ids=type)
def test_keys_are_text_or_numbers(tmp_path, key):
    data = Raw(b"}" + instructions(key) + b"Ns")
    refused(write(tmp_path / "a.pth", data, memories=[np.ones(2)]), "a dict with keys or items that are refused")


def test_only_containers_are_filled(tmp_path):
    for container in ((), "text", 1.0, with_tensors(np.ones(2), [])):
        for filling in (b"K\x00K\x01s", b"(K\x00K\x01u", b"K\x00a", b"(K\x00e"):
            data = Raw(instructions(container) + filling)
            refused(write(tmp_path / "a.pth", data, memories=[np.ones(2)]), "with keys or items that are refused")


@pytest.mark.parametrize(
    ("offset", "shape", "strides", "found"),
    [
        (0, (7,), (1,), "beyond the 6 numbers"),
        (6, (1,), (1,), "beyond the 6 numbers"),
        (6, (), (), "beyond the 6 numbers"),
        (0, (2, 3), (4, 1), "beyond the 6 numbers"),
        (2, (2, 3), (3, 1), "beyond the 6 numbers"),
        (0, (2,), (2**62,), "beyond the 6 numbers"),
        (0, (2**62, 2**62), (1, 1), "beyond the 6 numbers"),
        (2**64, (1,), (1,), "beyond the 6 numbers"),
        (-1, (1,), (1,), "no counts"),
        (5, (2,), (-1,), "no counts"),
        (0, (-1,), (1,), "no counts"),
        (0, (-1, 0), (1, 1), "no counts"),
        (0, (True,), (1,), "no counts"),
        (0, (2.0,), (1,), "no counts"),
        (0, ((2,),), (1,), "no counts"),
        (True, (1,), (1,), "no counts"),
        (0, (2**40,), (0,), "larger than"),
        (0, (2**62, 2**62), (0, 0), "larger than"),
        (0, (2,), (), "damaged"),
        (0, (1,) * 65, (1,) * 65, "damaged"),
        (0, (2**62, 2**62, 0), (1, 1, 1), "damaged"),
        (0, (1,), (2**62,), "damaged"),
        (0, [2], (1,), "arguments"),
        (0, 2, 1, "arguments"),
        ("0", (2,), (1,), "arguments"),
    ],
)
def test_tensors_stay_in_their_storage(tmp_path, layout, offset, shape, strides, found):
    memory = np.zeros(6)
    call = Call(REBUILD, (storage_of(memory), offset, shape, strides, False, {}))
    refused(write(tmp_path / "a.pth", call, layout, [memory]), found)


def test_a_tensor_is_no_storage(tmp_path):
    memory = np.zeros(6)
    repeated = Call(REBUILD, (storage_of(memory), 0, (20,), (0,), False, {}))
    call = Call(REBUILD, (repeated, 10, (5,), (1,), False, {}))
    refused(write(tmp_path / "a.pth", call, memories=[memory]), "a tensor in place of a storage")


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({"size": 2**40}, "storages that need more than the [0-9]+ bytes of the file"),
        ({"size": -1}, "storages that need more"),
        ({"size": 5}, "announced"),
        ({"size": 6.0}, "a storage of an unknown kind"),
        ({"key": 0}, "a storage of an unknown kind"),
        ({"kind": "module"}, "a storage of an unknown kind"),
        ({"view": ("1", 0, 3)}, "a storage of an unknown kind"),
        ({"type": "torch.Storage"}, "damaged"),
        ({"key": "7"}, "without data/7|not those of its tensors"),
        ({"key": "../byteorder"}, "without data/../byteorder|not those of its tensors"),
    ],
    ids=str,
)
def test_storages_are_what_they_say(tmp_path, layout, changed, found):
    memory = np.zeros(6)
    refused(write(tmp_path / "a.pth", storage_of(memory, **changed), layout, [memory]), found)


@pytest.mark.parametrize("identity", [Raw(b"NQ"), Raw(b"]Q"), Raw(b"X\x07\x00\x00\x00storageQ"), Storage(("storage",))])
def test_storages_have_a_description(tmp_path, identity):
    refused(write(tmp_path / "a.pth", identity), "a storage of an unknown kind")


def test_a_storage_has_one_description(tmp_path, layout):
    memory = np.zeros(6)
    other = storage_of(memory, size=12, type=Name("torch.FloatStorage"))
    refused(write(tmp_path / "a.pth", [storage_of(memory), other], layout, [memory]), "two descriptions of storage 0")


def test_booleans_are_0_or_1(tmp_path, layout):
    memory = np.array([0, 1, 2], np.uint8).view(np.bool_)
    refused(write(tmp_path / "a.pth", storage_of(memory), layout, [memory]), "booleans other than 0 and 1")


def test_small_files_take_little_memory(tmp_path, layout):
    memory = np.zeros(6)
    hostile = [
        Raw(b"N" + b"r\xff\xff\xff\xff"),  # a memo index of 2**32 - 1
        Raw(b"\x8d" + struct.pack("<Q", 2**40)),  # a text of 2**40 bytes
        Raw(b"\x8e" + struct.pack("<Q", 2**40)),
        Raw(b"\x95" + struct.pack("<Q", 2**40) + b"N"),
        storage_of(memory, size=2**50),
        [storage_of(memory, str(key), size=100) for key in range(1000)],
        Call(REBUILD, (storage_of(memory), 0, (2**50,), (0,), False, {})),
        Call("_codecs.encode", ("a" * 1000, "latin1")),
    ]
    tracemalloc.start()
    try:
        for value in hostile:
            path = write(tmp_path / "a.pth", value, layout, [memory])
            tracemalloc.reset_peak()
            with contextlib.suppress(TorchFileError):
                read(path)
            assert tracemalloc.get_traced_memory()[1] < 10e6
    finally:
        tracemalloc.stop()


def test_deep_nesting_is_no_key(tmp_path):
    refused(write(tmp_path / "a.pth", Raw(b"})" + b"\x85" * 200_000 + b"Ns")), "keys or items that are refused")


def test_a_pickle_is_not_endless(tmp_path, layout):
    refused(write(tmp_path / "a.pth", "a" * 2**23, layout), "a pickle of more than 8388608 bytes")


def test_numbers_are_little_endian(tmp_path, layout):
    refused(write(tmp_path / "a.pth", np.ones(2), layout, byteorder="big"), "numbers that are not little-endian")
    dtype = Call("numpy.dtype", ("f8", False, True), (3, ">", None, None, None, -1, -1, 0))
    number = Call("numpy.core.multiarray.scalar", (dtype, bytes(8)))
    refused(write(tmp_path / "b.pth", number, layout), "a state that is refused")


def test_compressed_archives_are_refused(tmp_path):
    path = write(tmp_path / "a.pth", np.zeros(1000), compression=zipfile.ZIP_DEFLATED)
    refused(path, "compressed data in byteorder")


OTHER_FILES = {
    "empty": (b"", "an empty file"),
    "text": (b"image,mos\n", "damaged or not PyTorch's"),
    "json": (json.dumps({"a": [1.0]}).encode(), "damaged or not PyTorch's"),
    "zeros": (bytes(100), "damaged or not PyTorch's"),
    "pickle": (pickle.dumps({"a": 1}), "a pickle that torch.save did not write"),
    "older pickle": (pickle.dumps({"a": 1}, 0), "the pickle instruction"),
    "magic alone": (pickled(0x1950A86A20F9469CFC6C), "damaged"),
    "another protocol": (pickled(0x1950A86A20F9469CFC6C) + pickled(1002), "a pickle that torch.save did not write"),
    "zip header": (b"PK\x03\x04", "BadZipFile"),
    "terminal": (b"c\x1b[2J\nsystem\n.", r"a call of \?\[2J.system, which is refused"),
    "flood": (b"c" + b"a" * 100_000 + b"\nb\n.", "a{200}"),
}


@pytest.mark.parametrize(("data", "found"), OTHER_FILES.values(), ids=OTHER_FILES)
def test_other_files_are_refused(tmp_path, data, found):
    path = tmp_path / "a.pth"
    path.write_bytes(data)
    refused(path, found)
    with pytest.raises(TorchFileError) as caught:
        read(path)
    assert len(str(caught.value)) < 400 + len(str(path))
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("members", "found"),
    [
        (["notes.txt"], "a zip archive with 0 files named data.pkl"),
        (["a/data.pkl", "b/data.pkl"], "a zip archive with 2 files named data.pkl"),
        (["a/data.pkl", "a/constants.pkl"], "a TorchScript archive"),
    ],
)
def test_other_archives_are_refused(tmp_path, members, found):
    with zipfile.ZipFile(tmp_path / "a.pth", "w") as archive:
        for name in members:
            archive.writestr(name, pickled(1))
    refused(tmp_path / "a.pth", found)


def test_a_missing_file_is_an_oserror(tmp_path):
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "a.pth")


SAMPLE = {
    "model": collections.OrderedDict(
        weight=np.arange(6, dtype=np.float32).reshape(2, 3).T, mask=np.array([True, False])
    ),
    "best_srocc": np.float64(0.9),
    "optimiser": {
        "state": {0: {"step": np.array(3.0, np.float32)}},
        "groups": [{"betas": (0.9, 0.999), "foreach": None}],
    },
}


def test_a_file_cut_anywhere_is_refused(tmp_path, layout):
    whole = write(tmp_path / "whole.pth", SAMPLE, layout).read_bytes()
    path = tmp_path / "a.pth"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(TorchFileError):
            read(path)


@given(data=st.data(), layout=st.sampled_from(LAYOUTS))
@settings(max_examples=1000, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_wrong_bytes_are_read_or_refused(tmp_path, data, layout):
    damaged = bytearray(write(tmp_path / "whole.pth", SAMPLE, layout).read_bytes())
    positions = st.integers(0, len(damaged) - 1)
    for position, byte in data.draw(st.lists(st.tuples(positions, st.integers(0, 255)), min_size=1, max_size=4)):
        damaged[position] = byte
    if data.draw(st.booleans()):
        del damaged[data.draw(positions) :]
    path = tmp_path / "a.pth"
    path.write_bytes(damaged)
    with contextlib.suppress(TorchFileError):
        read(path)


OPCODES = [getattr(pickle, name) for name in pickle.__all__ if isinstance(getattr(pickle, name), bytes)]
PIECES = [b"h\x00", b"h\x01", b"K\x00", b"K\x01", instructions("0"), instructions("f8"), instructions("latin1"), b"("]
PIECES += [instructions(Name(name)) for name in (REBUILD, "torch.Size", "torch.FloatStorage", "numpy.dtype")]
PIECES += [instructions(Name(name)) for name in ("_codecs.encode", "collections.OrderedDict", "os.system")]
PIECES += [instructions(storage_of(np.zeros(6))), instructions(with_tensors(np.zeros(6), []))]


@given(pieces=st.lists(st.sampled_from(PIECES + OPCODES), max_size=30))
@settings(max_examples=1000, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_any_instructions_are_read_or_refused(tmp_path, pieces):
    path = write(tmp_path / "a.pth", Raw(b"".join(pieces)), memories=[np.zeros(6)])
    with contextlib.suppress(TorchFileError):
        read(path)
