"""Official weights as a model, and a model's network in the official layout."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import safetensors.numpy

from glintiqa_jax.data.files import Output, open_output
from glintiqa_jax.data.scale import ScoreScale
from glintiqa_jax.errors import InputError
from glintiqa_jax.models.config import ModelConfig
from glintiqa_jax.models.files import WeightsError
from glintiqa_jax.models.glintiqa import new_model
from glintiqa_jax.models.weights import export_glintiqa, load_glintiqa
from glintiqa_jax.scoring.card import ModelCard, View
from glintiqa_jax.scoring.model import Model

ENDINGS = (".safetensors", ".npz")


def import_official(source: str | os.PathLike, network: ModelConfig, scale: ScoreScale, view: View = View()) -> Model:
    """A model of official weights, which gives the scores that they give.

    An official network's output is a score in its database's unit; it comes out as it is.

    Args:
      source: a file that ``load_glintiqa`` takes.
      network: what it is.
      scale: what its scores mean, which the file does not say.
      view: how it is shown an image.

    Raises:
      InputError: weights that do not fit.
    """
    model = new_model(network)
    try:
        load_glintiqa(model, source)
    except WeightsError as error:
        raise error.of("input", source) from error
    return Model(model, ModelCard(network, scale, view, output="raw"))


def export_official(model: Model, path: str | os.PathLike) -> None:
    """Write a model's network in the official layout, as .safetensors or .npz by the path's ending.

    Its output is what it was trained on: quality in [0, 1], higher is better, or the raw score, as its card says.

    Raises:
      InputError: when the ending is another, or the file cannot be written.
    """
    if Path(path).suffix not in ENDINGS:
        raise InputError(field="output", value=path, expected=f"a {' or '.join(ENDINGS)} file", found="another ending")
    with open_output("output", path) as output:
        if Path(path).suffix == ".npz":
            with output.named():
                np.savez(output.file, **export_glintiqa(model.network))  # type: ignore[arg-type]
        else:
            write_official(model, output)


def write_official(model: Model, output: Output) -> None:
    """Write a model's network in the official layout as safetensors."""
    output.write(safetensors.numpy.save(export_glintiqa(model.network)))
