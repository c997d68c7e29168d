"""Official checkpoints to ours, and ours to the official layout."""

from __future__ import annotations

import os
from pathlib import Path

import jax
import numpy as np
import safetensors.numpy
from flax import nnx

from glintiqa_jax.data.catalog import ScoreScale
from glintiqa_jax.data.files import open_output
from glintiqa_jax.data.paths import local_path
from glintiqa_jax.errors import UserError, about
from glintiqa_jax.models.files import WeightsError
from glintiqa_jax.models.glintiqa import new_model
from glintiqa_jax.models.weights import export_glintiqa, load_glintiqa
from glintiqa_jax.sharding import make_mesh
from glintiqa_jax.training.checkpoints import IMPORTED, Description, load_model, save_model
from glintiqa_jax.training.config import TrainConfig
from glintiqa_jax.training.workdir import TRAINED_ON

_ENDINGS = (".safetensors", ".npz")


def import_official(source: str | os.PathLike, folder: str | os.PathLike, config: TrainConfig) -> None:
    """Make a checkpoint of official weights, which gives the scores that they give.

    An official network's output is a score in its database's unit, which ``config.data.score_range`` and
    ``lower_is_better`` describe; it comes out as it is.

    Args:
      source: a file that ``load_glintiqa`` takes.
      folder: a new folder.
      config: the network, and what its scores mean.

    Raises:
      UserError: weights that do not fit, a range that is none, or a folder that is there already or cannot be made.
    """
    folder = local_path("output", folder)
    if folder.suffix in _ENDINGS:
        raise UserError(f"--output={folder}: expected a new folder, as --input is a file, found a file's name")
    if os.path.lexists(folder):
        raise UserError(f"--output={folder}: expected a new folder, found one that exists")
    if not os.access(next(parent for parent in folder.absolute().parents if parent.exists()), os.W_OK):
        raise UserError(f"--output={folder}: expected a new folder in one that can be written, found one that cannot")
    if not config.data.score_range:
        raise UserError("--score_range: needed to say what the scores of --input mean, found nothing")
    low, high = config.data.score_range
    lower = config.data.lower_is_better
    try:
        scale = ScoreScale(low, high, lower_is_better=lower, unit="DMOS" if lower else "MOS", raw_target=True)
    except ValueError as error:
        raise UserError(f"--score_range: {error}") from error
    model = new_model(config.model)
    try:
        load_glintiqa(model, source)
    except WeightsError as error:
        raise UserError(about("input", source, error)) from error
    save_model(folder, model, Description(config, scale, data_fingerprint=IMPORTED))


def export_checkpoint(checkpoint: str | os.PathLike, path: str | os.PathLike) -> None:
    """Write a checkpoint's network in the official layout, as .safetensors or .npz by the path's ending.

    Its output is what it was trained on: quality in [0, 1], higher is better, or with ``--target=raw`` the raw score.

    Raises:
      UserError: when there is no checkpoint, the ending is another, or the file cannot be written.
    """
    ending = Path(path).suffix
    if ending not in _ENDINGS:
        raise UserError(f"--output={path}: expected a .safetensors or .npz file, as --input is a checkpoint's folder")
    with open_output("output", path, inputs=[Path(checkpoint) / TRAINED_ON]) as output:
        try:
            loaded = load_model(checkpoint, make_mesh(devices=jax.devices()[:1]))
        except UserError as error:
            raise UserError(str(error).replace("--checkpoint=", "--input=")) from error
        weights = export_glintiqa(nnx.merge(loaded.graphdef, loaded.params, loaded.rest))
        if ending == ".npz":
            with output.named():
                np.savez(output.file, **weights)  # type: ignore[arg-type]
        else:
            output.write(safetensors.numpy.save(weights))
