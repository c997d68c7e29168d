"""A model against people's scores."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import numpy as np
from flax import nnx
from jax.sharding import Mesh

from glintiqa_jax.cores import core_each
from glintiqa_jax.data.loading import Loading
from glintiqa_jax.data.near_duplicates import Look, known_contents
from glintiqa_jax.data.source import Source
from glintiqa_jax.data.splits import Split
from glintiqa_jax.data.tables import first_five
from glintiqa_jax.errors import InputError
from glintiqa_jax.evaluation.prediction import predict_source
from glintiqa_jax.evaluation.report import Evaluated
from glintiqa_jax.progress import TERMINAL, Log
from glintiqa_jax.scoring.model import Model
from glintiqa_jax.scoring.predict import Predict
from glintiqa_jax.sharding import check_divides, make_mesh, place, replicated

_BATCH = 16  # images


def evaluate(
    model: Model,
    source: Source,
    positions: np.ndarray | Split | None = None,
    *,
    trained_here: bool = False,
    mesh: Mesh | None = None,
    batch_size: int = 0,
    loading: Loading = Loading(),
    log: Log = TERMINAL,
) -> Evaluated:
    """Predict rated images with a model.

    Args:
      model: the model.
      source: the images and their scores, in any unit and direction; shown to the model as its card says.
      positions: which images; a split stands for its test part; None for all that hold a crop.
      trained_here: the source is the one that the model was trained on, and the positions exclude the training images.
        Otherwise contents that it was trained on are left out, with a warning; they are found by what they show, not by
        name.
      mesh: the devices; None for all of them.
      batch_size: images per batch at most, a multiple of the devices; 0 for about 16.
      loading: how images are loaded.
      log: where messages go.

    Returns:
      The predictions, in the unit and direction of the source's scores; ``.predictions.metrics()`` gives their figures.

    Raises:
      InputError: no image to evaluate, or none that the model was not trained on.
    """
    mesh = mesh or make_mesh()
    batch_size = batch_size or -(-_BATCH // mesh.size) * mesh.size
    check_divides("eval_batch_size", batch_size, mesh)
    source = source.resized(model.card.view.max_short_side)
    if isinstance(positions, Split):
        positions = positions.test
    usable = np.flatnonzero(source.sizes().min(axis=1) >= model.card.network.crop_size)
    positions = usable if positions is None else np.intersect1d(positions, usable)
    if not len(positions):
        raise InputError(expected="images to evaluate that hold a crop", found="none", file=source.name)
    asked = len(positions)
    if not trained_here:
        positions = _not_trained_on(model, source, positions, log)
    graphdef, state = nnx.split(model.network)
    state = place(state, jax.tree.map(lambda _: replicated(mesh), state))
    predict = Predict(graphdef, mesh)
    hidden = jax.process_index() > 0
    shown = log.progress(total=len(positions), desc="evaluating", unit="image", leave=False, hidden=hidden)
    with shown as bar, core_each():
        predictions = predict_source(
            lambda crops: predict(crops, state),
            source,
            positions,
            model.card,
            mesh=mesh,
            batch_size=batch_size,
            loading=loading,
            bar=bar,
        )
    return Evaluated(source, predictions, left_out=asked - len(positions))


def _not_trained_on(model: Model, source: Source, positions: np.ndarray, log: Log) -> np.ndarray:
    if model.looks is None:
        log.warn("the model does not say what it was trained on: whether that is tested here is not checked")
        return positions
    new = new_positions(model.looks, source, positions)
    if left_out := len(positions) - len(new):
        log.warn(f"{left_out} of {len(positions)} images show what the model was trained on: left out")
    return new


def new_positions(known: Sequence[Look], source: Source, positions: np.ndarray) -> np.ndarray:
    """The positions whose content a network was not trained on.

    Args:
      known: the looks of what it was trained on.
      source: the images.
      positions: which of them.

    Raises:
      InputError: when it was trained on all of them, naming the first five.
    """
    looks, index = source.looks(), source.index
    shown = known_contents(
        known, [looks[position] for position in positions], [index.groups[position] for position in positions]
    )
    if shown.all():
        names = first_five([index.names[position] for position in positions])
        raise InputError(
            expected=f"images of {source.name} whose contents the model was not trained on",
            found=f"none among {len(positions)}: {names}",
        )
    return positions[~shown]
