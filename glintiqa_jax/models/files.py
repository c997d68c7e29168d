"""Files of weights: read whatever wrote them, and the one strict way in which arrays enter a network."""

from __future__ import annotations

import dataclasses
import os
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import safetensors.numpy

from glintiqa_jax.errors import InputError
from glintiqa_jax.models.torch_files import TorchFileError, read_torch_file

if TYPE_CHECKING:
    from flax import nnx

Weights = Mapping[str, np.ndarray]
Source = str | os.PathLike | Weights


class WeightsError(InputError):
    """Not weights, or not this network's; the message lists every key that does not fit."""


def save_weights(model: nnx.Module, path: str | os.PathLike, *, half: bool = False) -> None:
    """Write every parameter and statistic to a ``.safetensors`` file, by dotted name; complete, or not at all.

    With ``half`` as float16, where a value beyond its range is refused with ``WeightsError``.
    """
    path = Path(path)
    partial = path.with_name(f"{path.name}.partial")
    arrays = arrays_of(model)
    if half:
        for name, array in arrays.items():
            if not (np.abs(array) <= np.finfo(np.float16).max).all():
                raise WeightsError(file=path, expected="values that float16 holds", found=f"others in {name}")
        arrays = {name: array.astype(np.float16) for name, array in arrays.items()}
    partial.write_bytes(safetensors.numpy.save(arrays))  # save_file would keep it from everybody else
    partial.replace(path)


def load_weights(model: nnx.Module, source: Source) -> None:
    """Fill a model with what ``save_weights`` wrote, or with arrays by dotted name.

    Raises:
      WeightsError: listing every missing, unexpected and misshaped name; the model stays as it was.
    """
    from flax import nnx

    slots = {path: Slot(dotted(path), variable.shape) for path, variable in nnx.to_flat_state(nnx.state(model))}
    fill(model, read_weights(source), slots)


def arrays_of(model: nnx.Module | nnx.State) -> dict[str, np.ndarray]:
    """Every parameter and statistic of a model, or of a state, by its dotted name, ``vgfe.blocks.0.fc1.kernel``."""
    from flax import nnx

    state = model if isinstance(model, nnx.State) else nnx.state(model)
    return {dotted(path): np.asarray(variable[...]) for path, variable in nnx.to_flat_state(state)}


def dotted(path: tuple[Any, ...]) -> str:
    """The name of the variable at an NNX path."""
    return ".".join(map(str, path))


def read_weights(source: Source) -> Weights:
    """An ``.npz``, ``.safetensors`` or PyTorch file as NumPy arrays by name; its first bytes say which it is.

    Raises:
      WeightsError: a missing file, or one that holds something else.
    """
    if isinstance(source, Mapping):
        return source
    path = Path(source).expanduser()
    try:
        with path.open("rb") as file:
            start = file.read(16)
            if start.startswith(b"PK") and all(name.endswith(".npy") for name in zipfile.ZipFile(file).namelist()):
                file.seek(0)
                with np.load(file, allow_pickle=False) as content:
                    return {name: content[name] for name in content.files}
        if start[8:9] == b"{":
            return safetensors.numpy.load_file(path)
        return _state_dict(read_torch_file(path), path)
    except OSError as error:
        raise WeightsError(file=path, expected="a file of weights", found=error.strerror or error) from error
    except TorchFileError as error:
        raise WeightsError(str(error)) from error
    except (safetensors.SafetensorError, zipfile.BadZipFile, ValueError) as error:
        if isinstance(error, WeightsError):
            raise
        raise WeightsError(file=path, expected="a file of weights", found=f"a damaged one ({error})") from error


@dataclasses.dataclass(frozen=True)
class Slot:
    """Where a file keeps one of a model's variables: its key and shape, and how its array becomes ours."""

    name: str
    shape: tuple[int, ...]
    ours: Callable[[np.ndarray], np.ndarray] = lambda array: array


def fill(
    model: nnx.Module,
    weights: Weights,
    slots: Mapping[tuple[Any, ...], Slot],
    *,
    may_be_unused: Callable[[str], bool] = lambda name: False,
    note: Callable[[list[str]], str] = lambda misshaped: "",
) -> None:
    """Replace the variables at the paths of ``slots``, or none: all keys are checked first.

    Args:
      model: what is filled; it may be abstract.
      weights: arrays by name.
      slots: by path, where each variable is in ``weights``.
      may_be_unused: of a name in ``weights`` that no slot has.
      note: the end of the error, given what is misshaped.

    Raises:
      WeightsError: listing every missing, unexpected and misshaped name.
    """
    import jax.numpy as jnp
    from flax import nnx

    variables = dict(nnx.to_flat_state(nnx.state(model)))
    known = {slot.name for slot in slots.values()}
    problems = {
        "missing": [name for name in known if name not in weights],
        "unexpected": [name for name in weights if name not in known and not may_be_unused(name)],
        "misshaped": [
            f"{slot.name} {weights[slot.name].shape} instead of {slot.shape}"
            for slot in slots.values()
            if slot.name in weights and weights[slot.name].shape != slot.shape
        ],
    }
    if any(problems.values()):
        lists = [f"{label} {len(found)}: {', '.join(sorted(found))}" for label, found in problems.items() if found]
        raise WeightsError("the weights do not fit this model; " + "; ".join(lists) + note(problems["misshaped"]))
    filled = [
        (path, variables[path].replace(jnp.asarray(slot.ours(weights[slot.name]), jnp.float32)))
        for path, slot in slots.items()
    ]
    nnx.update(model, nnx.from_flat_state(filled))


def _state_dict(content: Any, path: Path) -> Weights:
    """The arrays in a training checkpoint: under ``state_dict`` or ``model``, or the content itself."""
    for key in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not all(isinstance(value, np.ndarray) for value in content.values()):
        found = f"{type(content).__name__} of other things"
        raise WeightsError(file=path, expected="a state dict of tensors", found=found)
    return content
