"""A trained checkpoint against people's scores."""

from __future__ import annotations

import dataclasses
import os

import numpy as np
from tqdm import tqdm

from glintiqa_jax.errors import UserError
from glintiqa_jax.evaluation.prediction import Predictions, make_predict, predict_source
from glintiqa_jax.sharding import check_divides, make_mesh
from glintiqa_jax.training.checkpoints import IMPORTED, load_model
from glintiqa_jax.training.config import DataConfig
from glintiqa_jax.training.dataset import open_dataset, split_source


def evaluate_checkpoint(
    checkpoint: str | os.PathLike, data: DataConfig | None = None, *, split: str | None = None
) -> tuple[str, Predictions]:
    """Predict rated images with a checkpoint.

    Args:
      checkpoint: a training run's ``--workdir`` or the folder of one checkpoint.
      data: other data than the checkpoint was trained on; its images are resized as the checkpoint's were.
      split: "train", "validation", "test" or "all"; by default "test" of its own data and "all" of other data.

    Returns:
      The name of what was evaluated and the predictions, in the unit and direction of the data's scores.

    Raises:
      UserError: no checkpoint, or data that cannot be used.
    """
    mesh = make_mesh()
    loaded = load_model(checkpoint, mesh)
    config = loaded.description.config
    if data is None and loaded.description.data_fingerprint == IMPORTED:
        raise UserError("--dataset: needed, as this checkpoint was trained elsewhere and has no data of its own")
    check_divides("eval_batch_size", config.eval_batch_size, mesh)
    split = split or ("test" if data is None else "all")
    data = dataclasses.replace(data or config.data, max_short_side=config.data.max_short_side)
    source = open_dataset(data, crop_size=config.model.crop_size, say=tqdm.write)
    positions = np.arange(len(source)) if split == "all" else getattr(split_source(data, source), split)
    predict = make_predict(loaded.graphdef, mesh)
    predictions = predict_source(
        lambda crops: predict(loaded.params, loaded.rest, crops),
        source,
        positions,
        crop_size=config.model.crop_size,
        grid=config.eval_grid,
        batch_size=config.eval_batch_size,
        mesh=mesh,
        num_workers=config.num_workers,
        progress="evaluating",
    )
    return f"{source.card['name']} {split}", predictions
