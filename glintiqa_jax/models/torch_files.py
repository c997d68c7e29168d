"""PyTorch checkpoint files, read without PyTorch and without trusting them: tensors come back as NumPy arrays.

A checkpoint is a pickle and the raw storages that its tensors look into, in a zip archive (since PyTorch 1.6) or one
after the other (before). A pickle is a program, and ``pickle.Unpickler`` stays dangerous even where it may find few
names: nine bytes make it allocate gigabytes (a far memo index), nested tuples overrun its stack (a key's hash), and its
BUILD changes whatever a name stands for. So the pickle is interpreted here. Only the instructions that ``torch.save``
writes are known, and only the names that a state dict, plain numbers and an optimiser's state need. A name is a string
and stands for nothing else; its call is a pattern that fits or is refused.
"""

from __future__ import annotations

import collections
import io
import math
import os
import pickletools
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import ml_dtypes
import numpy as np

from glintiqa_jax.errors import InputError

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001
# A tensor takes some 200 bytes of pickle. A byte can cost a hundred of memory, which this bounds as well.
_LONGEST_PICKLE = 2**23

_FLOATS = {"Double": "<f8", "Float": "<f4", "Half": "<f2", "BFloat16": ml_dtypes.bfloat16}
_INTEGERS = {"Long": "<i8", "Int": "<i4", "Short": "<i2", "Char": "i1", "Byte": "u1", "Bool": "?"}
_STORAGES = {f"torch.{name}Storage": np.dtype(kind) for name, kind in (_FLOATS | _INTEGERS).items()}
_STORAGES["torch.storage.UntypedStorage"] = np.dtype("u1")
_CALLS = {"torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_parameter", "torch.Size", "collections.OrderedDict"}
_CALLS |= {"numpy.dtype", "numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar", "_codecs.encode"}
# Pickle's instructions that push something new, and how many items the others take from the stack.
_NEW: dict[str, Callable[[], Any]] = {"EMPTY_TUPLE": tuple, "EMPTY_LIST": list, "EMPTY_DICT": dict}
_NEW |= {"NEWFALSE": bool, "NEWTRUE": lambda: True}
_TAKEN = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3, "STACK_GLOBAL": 2, "REDUCE": 2, "BINPERSID": 1}
_TAKEN |= {"APPEND": 1, "SETITEM": 2, "BUILD": 1}
_TAKEN_TO_MARK = {"TUPLE", "APPENDS", "SETITEMS"}


class TorchFileError(InputError):
    """A file that is not a checkpoint of tensors; the message names it, what was expected and what was found."""


def read_torch_file(path: str | os.PathLike[str]) -> Any:
    """The content of a file that ``torch.save`` wrote, with every tensor and storage as a NumPy array.

    Dicts, lists, tuples, numbers, strings, booleans and None are kept, nested as they are. A parameter is an array like
    any tensor, a size is a tuple, and bfloat16 is that of ml_dtypes. Tensors that shared memory share it again. The
    versions of modules that hang on a state dict (``_metadata``) are left out.

    Raises:
      TorchFileError: when the file is anything else, is damaged, or asks for anything that tensors do not need.
      OSError: when the file cannot be opened.
    """
    with Path(path).open("rb") as file:
        try:
            unpickler = _Unpickler(os.fstat(file.fileno()).st_size)
            read = _read_zip if file.peek(4).startswith(b"PK\x03\x04") else _read_legacy
            return read(file, unpickler)
        except Exception as error:  # what can be wrong with bytes has more names than one could list
            damage = f"a file that is damaged or not PyTorch's ({type(error).__name__}: {error})"
            found = str(error) if isinstance(error, TorchFileError) else damage
            # The words may be the file's own, and shall neither flood a terminal nor steer it.
            found = "".join(character if character.isprintable() else "?" for character in found[:300])
            raise TorchFileError(file=path, expected="a PyTorch checkpoint of tensors", found=found) from error


def _read_zip(file: IO[bytes], unpickler: _Unpickler) -> Any:
    with zipfile.ZipFile(file) as archive:
        members = {member.filename: member for member in archive.infolist()}
        if any("/code/" in name or name.endswith("/constants.pkl") for name in members):
            raise TorchFileError("a TorchScript archive, which holds a program")
        pickles = [name for name in members if name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise TorchFileError(f"a zip archive with {len(pickles)} files named data.pkl")
        folder = pickles[0].removesuffix("data.pkl")

        def read(name: str) -> bytes:
            if folder + name not in members:
                raise TorchFileError(f"a zip archive without {name}")
            if members[folder + name].compress_type != zipfile.ZIP_STORED:  # torch.save does not, but zip bombs do
                raise TorchFileError(f"compressed data in {name}")
            return archive.read(members[folder + name])

        if folder + "byteorder" in members and read("byteorder") != b"little":
            raise TorchFileError("numbers that are not little-endian")
        content = unpickler.load(io.BytesIO(read("data.pkl")))
        for key in unpickler.storages:
            unpickler.fill(key, read(f"data/{key}"))
        return content


def _read_legacy(file: IO[bytes], unpickler: _Unpickler) -> Any:
    if not unpickler.file_size:
        raise TorchFileError("an empty file")
    if unpickler.load(file) != _LEGACY_MAGIC or unpickler.load(file) != _LEGACY_PROTOCOL:
        raise TorchFileError("a pickle that torch.save did not write")
    if unpickler.load(file)["little_endian"] is not True:
        raise TorchFileError("numbers that are not little-endian")
    content, keys = unpickler.load(file), unpickler.load(file)
    if any(type(key) is not str for key in keys) or sorted(keys) != sorted(unpickler.storages):
        raise TorchFileError("storages that are not those of its tensors")
    for key in keys:
        storage = unpickler.storages[key]
        if (size := int.from_bytes(file.read(8), "little")) != storage.size:
            raise TorchFileError(f"{size} numbers in storage {key}, for which {storage.size} were announced")
        unpickler.fill(key, file.read(storage.nbytes))
    return content


class _Unpickler:
    """Interprets the pickles of one file of ``file_size`` bytes.

    A pickle can make millions of calls with the same long argument, so no call may keep a copy of it.
    """

    def __init__(self, file_size: int):
        self.file_size = file_size
        self.unclaimed = file_size
        self.storages: dict[str, np.ndarray] = {}  # without their values until `fill` brings these

    def load(self, file: IO[bytes]) -> Any:
        """The content of the next pickle in ``file``, which is left right behind it."""
        start = file.tell()
        memo: dict[Any, Any] = {}
        below: list[list[Any]] = []  # the stack below each mark
        stack: list[Any] = []
        for opcode, argument, _ in pickletools.genops(file):
            if file.tell() - start > _LONGEST_PICKLE:
                raise TorchFileError(f"a pickle of more than {_LONGEST_PICKLE} bytes")
            if opcode.name in _TAKEN_TO_MARK:
                items, stack = stack, below.pop()
            else:
                items = [stack.pop() for _ in range(_TAKEN.get(opcode.name, 0))][::-1]
            match opcode.name:
                case "PROTO" | "FRAME":
                    pass
                case "STOP":
                    return stack.pop()
                case "MARK":
                    below.append(stack)
                    stack = []
                case "NONE" | "BININT" | "BININT1" | "BININT2" | "LONG1" | "LONG4" | "BINFLOAT":
                    stack.append(argument)
                case "BINUNICODE" | "SHORT_BINUNICODE" | "BINUNICODE8" | "BINBYTES" | "SHORT_BINBYTES" | "BINBYTES8":
                    stack.append(argument)
                case name if name in _NEW:
                    stack.append(_NEW[name]())
                case "TUPLE" | "TUPLE1" | "TUPLE2" | "TUPLE3":
                    stack.append(tuple(items))
                case "APPEND" | "APPENDS" | "SETITEM" | "SETITEMS":
                    _extend(stack[-1], items)
                case "BINPUT" | "LONG_BINPUT" | "MEMOIZE":
                    memo[len(memo) if argument is None else argument] = stack[-1]
                case "BINGET" | "LONG_BINGET":
                    stack.append(memo[argument])
                case "GLOBAL":
                    stack.append(_name(*str(argument).split(" ", 1)))
                case "STACK_GLOBAL":
                    stack.append(_name(*items))
                case "REDUCE":
                    stack.append(self.call(*items))
                case "BINPERSID":
                    stack.append(self.storage(*items))
                case "BUILD":
                    _build(stack[-1], *items)
                case _:
                    raise TorchFileError(f"the pickle instruction {opcode.name}, which is refused")

    def call(self, name: str, arguments: tuple) -> Any:
        match name, arguments:
            case "torch._utils._rebuild_tensor_v2", (np.ndarray(), int(), tuple(), tuple(), *_):
                return self.tensor(*arguments[:4])
            case "torch._utils._rebuild_parameter", (np.ndarray() as data, *_):
                return data
            case "torch.Size", (tuple(shape),):
                return shape
            case "collections.OrderedDict", ():
                return collections.OrderedDict()
            case "numpy.dtype", (str(code), *_) if re.fullmatch("b1|[iu][1248]|f[248]", code):
                return np.dtype("<" + code)
            case "numpy.core.multiarray.scalar" | "numpy._core.multiarray.scalar", (np.dtype() as dtype, bytes(data)):
                if len(data) == dtype.itemsize:
                    return np.frombuffer(data, dtype)[0]
            case "_codecs.encode", (str(text), "latin1") if len(text) <= 8:  # a scalar's value
                return text.encode("latin1")
        called = name if isinstance(name, str) else type(name).__name__
        raise TorchFileError(f"a call of {called} with arguments that are refused")

    def storage(self, identity: tuple) -> np.ndarray:
        match identity:
            case ("storage", str(name), str(key), _, int(size)) | ("storage", str(name), str(key), _, int(size), None):
                dtype = _STORAGES[name]
            case _:
                raise TorchFileError("a storage of an unknown kind")
        if key not in self.storages:
            self.unclaimed -= size * dtype.itemsize
            if size < 0 or self.unclaimed < 0:
                raise TorchFileError(f"storages that need more than the {self.file_size} bytes of the file")
            self.storages[key] = np.empty(size, dtype)
        storage = self.storages[key]
        if (storage.dtype, storage.size) != (dtype, size):
            raise TorchFileError(f"two descriptions of storage {key}")
        return storage

    def tensor(self, storage: np.ndarray, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> np.ndarray:
        if not storage.flags.owndata:
            raise TorchFileError("a tensor in place of a storage")
        if any(type(number) is not int or number < 0 for number in (offset, *shape, *strides)):
            raise TorchFileError("a tensor whose offset, sizes or strides are no counts")
        last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
        if 0 in shape:
            return np.empty(shape, storage.dtype)
        if last >= storage.size:
            raise TorchFileError(f"a tensor that reaches beyond the {storage.size} numbers of its storage")
        step = storage.itemsize
        if math.prod(shape) * step > self.file_size:  # a stride of 0 repeats a number, and a copy would not be free
            raise TorchFileError(f"a tensor larger than the {self.file_size} bytes of the file")
        view = storage.view(np.uint8)  # since bfloat16 has no place in the buffer protocol
        return np.ndarray(shape, storage.dtype, view, offset * step, [stride * step for stride in strides])

    def fill(self, key: str, data: bytes) -> None:
        """Give a storage, and so the tensors that look into it, its values."""
        values = self.storages[key].view(np.uint8)
        if len(data) != values.size:
            raise TorchFileError(f"{len(data)} bytes in storage {key}, for which {values.size} were announced")
        values.data[:] = data
        if self.storages[key].dtype == bool and values.max(initial=0) > 1:  # NumPy relies on 0 and 1
            raise TorchFileError(f"booleans other than 0 and 1 in storage {key}")


def _name(module: str, name: str) -> str:
    full = ".".join((module, name))
    if full not in _CALLS and full not in _STORAGES:
        raise TorchFileError(f"a call of {full}, which is refused")
    return full


def _extend(container: Any, items: list) -> None:
    if isinstance(container, list):
        container.extend(items)
    elif isinstance(container, dict) and all(isinstance(key, str | int | float | None) for key in items[::2]):
        container.update(zip(items[::2], items[1::2], strict=True))
    else:
        raise TorchFileError(f"a {type(container).__name__} with keys or items that are refused")


def _build(target: Any, state: Any) -> None:
    """Check the state that a pickle gives to ``target``, which does without: what it says is known or not needed."""
    match target, state:
        case (collections.OrderedDict(), _) | (np.dtype(), (_, "<" | "|", *_)):
            pass
        case _:
            raise TorchFileError(f"a state that is refused for a {type(target).__name__}")
