"""A trained checkpoint against people's scores."""

from __future__ import annotations

import dataclasses
import os

from tqdm import tqdm

from glintiqa_jax.data.splits import split_digest
from glintiqa_jax.errors import UserError
from glintiqa_jax.evaluation.prediction import Predictions, make_predict, predict_source
from glintiqa_jax.sharding import check_divides, make_mesh
from glintiqa_jax.training.checkpoints import IMPORTED, load_model
from glintiqa_jax.training.config import DataConfig
from glintiqa_jax.training.dataset import open_source, split_source, usable_positions


def evaluate_checkpoint(
    checkpoint: str | os.PathLike,
    data: DataConfig | None = None,
    *,
    data_dir: str | None = None,
    split: str | None = None,
) -> tuple[str, Predictions]:
    """Predict rated images with a checkpoint.

    Args:
      checkpoint: a training run's ``--workdir`` or the folder of one checkpoint.
      data: other data than the checkpoint was trained on; its images are resized as the checkpoint's were.
      data_dir: where its own data are prepared, if they are not where they were.
      split: "train", "validation", "test" or "all"; by default "test" of its own data and "all" of other data.

    Returns:
      The name of what was evaluated and the predictions, in the unit and direction of the data's scores.

    Raises:
      UserError: no checkpoint, data that cannot be used, or its own data or split where they have changed since.
    """
    mesh = make_mesh()
    loaded = load_model(checkpoint, mesh)
    description = loaded.description
    config = description.config
    if data is None and description.data_fingerprint == IMPORTED:
        raise UserError("--dataset: needed, as this checkpoint was trained elsewhere and has no data of its own")
    check_divides("eval_batch_size", config.eval_batch_size, mesh)
    split = split or ("test" if data is None else "all")
    own = data is None
    if data is None:
        data = config.data if data_dir is None else dataclasses.replace(config.data, data_dir=data_dir)
    else:  # resized as the checkpoint's were
        data = dataclasses.replace(data, max_short_side=config.data.max_short_side)
        if "csv" in dict(data.datasets) and not data.max_side:
            data = dataclasses.replace(data, max_side=description.max_side)
    crop_size = config.model.crop_size
    source = open_source(data, crop_size=crop_size, say=tqdm.write)
    if own and source.card["fingerprint"] != description.data_fingerprint:
        raise UserError(
            f"--checkpoint={checkpoint}: the images or scores it was trained on have changed since, "
            "and so may have who is tested; name data with --dataset"
        )
    if split == "all":
        positions = usable_positions(source, crop_size)
    else:
        parts = split_source(data, source, crop_size=crop_size, say=tqdm.write)
        if own and split_digest(parts, source.index.names) != description.split_sha256:
            raise UserError(f"--checkpoint={checkpoint}: who was tested has changed since, in {data.split_by}")
        positions = getattr(parts, split)
    if not len(positions):
        raise UserError(f"--split={split}: expected images to evaluate, found none in this split")
    predict = make_predict(loaded.graphdef, mesh)
    predictions = predict_source(
        lambda crops: predict(loaded.params, loaded.rest, crops),
        source,
        positions,
        scale=description.scale,
        crop_size=crop_size,
        grid=config.eval_grid,
        batch_size=config.eval_batch_size,
        mesh=mesh,
        on_bad_image=data.on_bad_image,
        num_workers=config.num_workers,
        progress="evaluating",
    )
    return f"{source.card['name']} {split}", predictions
