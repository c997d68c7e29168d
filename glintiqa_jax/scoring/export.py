"""A model for programs without this package: ONNX, StableHLO, or weights in the official layout."""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx

from glintiqa_jax.data.files import Output, open_output, write_json
from glintiqa_jax.errors import InputError
from glintiqa_jax.scoring.card import View
from glintiqa_jax.scoring.model import Model
from glintiqa_jax.scoring.official import write_official
from glintiqa_jax.version import __version__

_NEEDED = {"onnx": "onnx", "stablehlo": "flatbuffers"}  # libraries of the extra


def export_model(model: Model, path: str | os.PathLike, format: str | None = None) -> None:
    """Write a model for programs without this package.

    Args:
      model: what is written.
      path: a file in an existing folder. A program in StableHLO has a second one beside it, ``PATH.json``.
      format: "onnx"; "stablehlo" for JAX and flatbuffers, on a CPU, GPU or TPU, until JAX no longer promises to read
        it; or "safetensors", the weights in the official layout, whose output is quality in [0, 1] unless the model was
        trained on raw scores; None for the one that the path ends with. The first two need the extra ``export``.

    Raises:
      InputError: another format, one whose library is not installed, or a file that cannot be written.
    """
    kind = format_of(path, format)
    with open_output("output", path) as output:
        FORMATS[kind](model, output)


def format_of(path: str | os.PathLike, format: str | None) -> str:
    """The format, or the one that the path ends with; ``InputError`` for one that is none, or is not installed."""
    kind = format or Path(path).suffix[1:]
    known = ", ".join(FORMATS)
    if kind not in FORMATS and format is None:
        endings = ", ".join(f".{name}" for name in FORMATS)
        raise InputError(field="output", value=path, expected=f"a file ending with {endings}", hint="or `format`")
    if kind not in FORMATS:
        raise InputError(field="format", value=kind, expected=f"one of {known}")
    if (library := _NEEDED.get(kind)) and importlib.util.find_spec(library) is None:
        raise InputError(f"needs {library}: pip install 'glintiqa-jax[export]'", field="format", value=kind)
    return kind


def _onnx(model: Model, output: Output) -> None:
    from glintiqa_jax.exporting.onnx_file import onnx_bytes

    output.write(onnx_bytes(*function_of(model), metadata(model)))


def _stablehlo(model: Model, output: Output) -> None:
    from glintiqa_jax.exporting.stablehlo import BESIDE, stablehlo_bytes

    scores, state, crops = function_of(model)
    program, said = stablehlo_bytes(lambda crops: scores(state, crops), crops)
    output.write(program)
    write_json(Path(f"{output}{BESIDE}"), metadata(model) | said)


FORMATS: dict[str, Callable[[Model, Output], None]] = {
    "onnx": _onnx,
    "stablehlo": _stablehlo,
    "safetensors": write_official,
}
"""By name: a function that writes a model."""


def function_of(model: Model) -> tuple[Callable[[nnx.State, jax.Array], jax.Array], nnx.State, jax.ShapeDtypeStruct]:
    """``scores(state, crops)``, the model's state, and what the crops are like.

    Of any batch of uint8 ``(batch, crop, crop, 3)`` it gives float32 ``(batch,)`` in the unit and direction of the
    model's scale.
    """
    graphdef, state = nnx.split(model.network)

    def scores(state: nnx.State, crops: jax.Array) -> jax.Array:
        return model.card.to_scale(nnx.merge(graphdef, state)(crops))

    side, (batch,) = model.card.network.crop_size, jax.export.symbolic_shape("batch")
    return scores, state, jax.ShapeDtypeStruct((batch, side, side, 3), np.uint8)


def metadata(model: Model) -> dict[str, str]:
    """What an exported file says of itself, by name; ``card`` is JSON."""
    card, side = model.card, model.card.network.crop_size
    return {
        "title": "GlintIQA (arXiv 2408.03885), blind image quality assessment",
        "digest": model.digest,
        "version": f"glintiqa-jax {__version__}",
        "input": f"crops: uint8 RGB (batch, {side}, {side}, 3), pixels 0 to 255 as they are; any batch",
        "output": f"scores: float32 (batch,), {card.scale.describe()}; of an image the mean over its crops",
        "preprocessing": _preprocessing(card.view, side),
        "card": json.dumps(card.to_json()),
    }


def _preprocessing(view: View, side: int) -> str:
    limits: list[tuple[Any, str]] = [(view.max_side, "longer"), (view.max_short_side, "shorter")]
    steps = [
        f"shrink it by Pillow's antialiased bicubic so that its {which} side is at most {limit} pixels"
        for limit, which in limits
        if limit
    ]
    steps.append(f"continue a side shorter than {side} by its mirror image, half before and half after")
    if view.random_crops:
        steps.append(f"cut {view.random_crops} crops at random; the card has the seed")
    elif view.grid == 1:
        steps.append("cut the central crop")
    else:
        n = view.grid
        steps.append(f"cut {n} x {n} crops whose tops are round(i * (height - {side}) / {n - 1}), lefts alike")
    if view.sizes:
        sides = ", ".join(map(str, view.sizes))
        steps.append(f"cut as many crops each of that image shrunk so that its shorter side is at most {sides}")
    return "decode the image upright as sRGB, alpha over white; " + "; ".join(steps)
