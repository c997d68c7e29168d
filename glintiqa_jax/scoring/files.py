"""A model as a folder: ``card.json``, ``model.safetensors`` and, where it is known, ``trained_on.npz``."""

from __future__ import annotations

import os
from pathlib import Path

from glintiqa_jax.data.files import write_json
from glintiqa_jax.data.near_duplicates import load_looks, save_looks
from glintiqa_jax.data.paths import local_path
from glintiqa_jax.data.workplace import workplace
from glintiqa_jax.errors import InputError
from glintiqa_jax.models.files import load_weights, save_weights
from glintiqa_jax.models.glintiqa import abstract_model
from glintiqa_jax.models.pretrained import FOLDER, SHIPPED, WEIGHTS
from glintiqa_jax.scoring.card import read_card
from glintiqa_jax.scoring.model import Model

CARD, TRAINED_ON = "card.json", "trained_on.npz"


def save_model(model: Model, folder: str | os.PathLike, *, half: bool = False) -> Path:
    """Write a model as a new folder, or in the place of a model's; whole or not at all.

    Args:
      model: what is written.
      folder: where.
      half: weights as float16, half the size; they compute in float32 all the same.

    Raises:
      InputError: a folder that is there and holds no model, or cannot be written; with ``half``, a value that float16
        does not hold.
    """
    target = local_path("folder", folder)
    if target.exists() and not (target / CARD).is_file():
        raise InputError(file=target, expected="a new folder or a model's", found="one that holds something else")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with workplace(target.parent) as work:
            written = work / "written"
            written.mkdir()
            save_weights(model.network, written / WEIGHTS, half=half)
            if model.looks:
                save_looks(written / TRAINED_ON, model.looks)
            write_json(written / CARD, model.card.to_json())
            if target.exists():
                target.rename(work / "replaced")
            written.rename(target)
    except OSError as error:
        raise InputError(file=target, expected="a folder that can be written", found=str(error)) from error
    return target


def load_model(path: str | os.PathLike | None = None) -> Model:
    """A model to score with.

    Args:
      path: a folder that ``Model.save`` wrote, a training run's folder, or that of one of its checkpoints, also of
        version 0.1.0; None for the model that ships with the package.

    Raises:
      InputError: when there is no model at the path, or one that cannot be read.
    """
    if path is None:
        return _load(SHIPPED)
    if not os.fspath(path):
        raise InputError(field="model", expected="a run's or a model's folder", found="nothing")
    for folder in (Path(path).expanduser(), Path(path).expanduser() / FOLDER):
        if (folder / CARD).is_file():
            return _load(folder)
    from glintiqa_jax.scoring.checkpoints import load_checkpoint  # Orbax takes seconds to import

    return load_checkpoint(path)


def _load(folder: Path) -> Model:
    card = read_card(folder / CARD)
    network = abstract_model(card.network)  # whose initial values nobody needs
    load_weights(network, folder / WEIGHTS)
    looks = folder / TRAINED_ON
    return Model(network, card, looks=load_looks(looks) if looks.is_file() else None)
