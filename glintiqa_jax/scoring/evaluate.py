"""A trained checkpoint against people's scores."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence

import numpy as np

from glintiqa_jax.data.near_duplicates import Look, known_contents
from glintiqa_jax.data.source import Source
from glintiqa_jax.data.splits import split_digest
from glintiqa_jax.data.tables import first_five
from glintiqa_jax.datasets.config import DataConfig
from glintiqa_jax.datasets.opening import distortion_names, open_data, split_data, usable_positions
from glintiqa_jax.errors import UserError
from glintiqa_jax.evaluation.prediction import make_predict, predict_source
from glintiqa_jax.evaluation.report import FLATTERED, Evaluated
from glintiqa_jax.progress import warn
from glintiqa_jax.sharding import check_divides, make_mesh
from glintiqa_jax.training.checkpoints import IMPORTED, load_model
from glintiqa_jax.training.workdir import trained_on


def evaluate_checkpoint(
    checkpoint: str | os.PathLike,
    data: DataConfig | None = None,
    *,
    data_dir: str | None = None,
    split: str | None = None,
    random_crops: int | None = None,
    on_bad_image: str | None = None,
) -> tuple[str, Evaluated]:
    """Predict rated images with a checkpoint.

    Args:
      checkpoint: a training run's ``--workdir`` or the folder of one checkpoint.
      data: other data than the checkpoint was trained on; its images are resized as the checkpoint's were.
      data_dir: where its own data are prepared, if they are not where they were.
      split: "train", "validation", "test" or "all"; by default "test" of its own data and "all" of other data.
      random_crops: this many crops at random, 25 as released, or with 0 the fixed grid; by default as in training.
      on_bad_image: "fail" or "skip"; by default as in training.

    Returns:
      The name of what was evaluated and the predictions, in the unit and direction of the data's scores. Of other data
      those contents are left out, and said, that the checkpoint was trained on: by what they show, not by their names.

    Raises:
      UserError: no checkpoint, data that cannot be used, data all of whose contents it was trained on, or its own data
        or split where they have changed since.
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
    elif "csv" in dict(data.datasets) and not data.max_side:  # resized as the checkpoint's were
        data = dataclasses.replace(data, max_side=description.max_side)
    crop_size = config.model.crop_size
    bad = on_bad_image or config.on_bad_image
    source = open_data(data, on_bad_image=bad).resized(config.max_short_side)
    if own and source.identity != description.data_fingerprint:
        raise UserError(
            f"--checkpoint={checkpoint}: the images or scores it was trained on have changed since, "
            "and so may have who is tested; name data with --dataset"
        )
    if split == "all":
        positions = usable_positions(source, crop_size, on_bad_image=bad)
    else:
        parts = split_data(data.split, source, smallest=crop_size, on_bad_image=bad)
        if own and split_digest(parts, source.index.names) != description.split_sha256:
            raise UserError(f"--checkpoint={checkpoint}: who was tested has changed since, in {data.split.split_by}")
        positions = getattr(parts, split)
    if not len(positions):
        raise UserError(f"--split={split}: expected images to evaluate, found none in this split")
    asked = len(positions)
    if not own:
        positions = _not_trained_on(checkpoint, source, positions)
    predict = make_predict(loaded.graphdef, mesh)
    predictions = predict_source(
        lambda crops: predict(loaded.params, loaded.rest, crops),
        source,
        positions,
        scale=description.scale,
        raw=config.target == "raw",
        crop_size=crop_size,
        grid=config.eval_grid,
        crops_at_random=config.eval_random_crops if random_crops is None else random_crops,
        seed=config.seed,
        batch_size=config.eval_batch_size,
        mesh=mesh,
        on_bad_image=bad,
        num_workers=config.num_workers,
        progress="evaluating",
    )
    name = f"{source.name} {split}"
    if own and split == "test" and config.selection == "test_best":
        name += f", {FLATTERED}"
    return name, Evaluated(source, predictions, distortion_names(source), asked - len(positions))


def _not_trained_on(checkpoint: str | os.PathLike, source: Source, positions: np.ndarray) -> np.ndarray:
    """Those of the positions whose content the checkpoint was not trained on."""
    known = trained_on(checkpoint)
    if known is None:
        warn(f"{checkpoint} does not say what it was trained on: whether that is tested here is not checked")
        return positions
    new = new_positions(known, source, positions, f"--checkpoint={checkpoint}: it")
    if left_out := len(positions) - len(new):
        warn(f"{left_out} of {len(positions)} images show what the checkpoint was trained on: left out")
    return new


def new_positions(known: Sequence[Look], source: Source, positions: np.ndarray, who: str) -> np.ndarray:
    """Those of some positions whose content a network was not trained on.

    Args:
      known: what it was trained on.
      source: the images.
      positions: which of them.
      who: names the network in the error.

    Raises:
      UserError: when it was trained on all of them, naming the first five.
    """
    looks, index = source.looks(), source.index
    shown = known_contents(
        known, [looks[position] for position in positions], [index.groups[position] for position in positions]
    )
    if shown.all():
        names = first_five([index.names[position] for position in positions])
        raise UserError(
            f"{who} was trained on the contents of all {len(positions)} images of {source.name} that it would "
            f"be tested on: {names}"
        )
    return positions[~shown]
