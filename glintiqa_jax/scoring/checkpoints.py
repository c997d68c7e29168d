"""Checkpoints of a training, read as models: this version's and those of version 0.1.0."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from etils import epath

from glintiqa_jax.data import integrity
from glintiqa_jax.data.near_duplicates import Look, load_looks
from glintiqa_jax.data.scale import ScoreScale
from glintiqa_jax.errors import InputError
from glintiqa_jax.models import legacy
from glintiqa_jax.models.files import load_weights
from glintiqa_jax.models.glintiqa import new_model
from glintiqa_jax.scoring import storage
from glintiqa_jax.scoring.card import ModelCard, Origin, TrainedOn, View
from glintiqa_jax.scoring.files import TRAINED_ON
from glintiqa_jax.scoring.model import Model

_IMPORTED = "imported"  # what version 0.1.0 called the data of weights that were trained elsewhere


def load_checkpoint(path: str | os.PathLike) -> Model:
    """The model of a run that is not finished, by its folder, or of one checkpoint by its own.

    Raises:
      InputError: when there is no checkpoint at the path, or one that is damaged.
    """
    folder = _checkpoint_folder(path)
    if wrong := integrity.damage(folder):
        raise InputError(f"is damaged: {wrong}", file=folder)
    try:
        description = storage.read_json(folder, "description")
        if description is None:
            raise ValueError("what it says of itself cannot be read")
        arrays = _flat(storage.read_arrays(folder, "model"))
        if "card" in description:
            card = ModelCard.from_json(description["card"])
        else:
            card, arrays = _of_version_0_1(description, arrays)
        network = new_model(card.network)
        load_weights(network, arrays)
    except (ValueError, KeyError, OSError) as error:
        raise InputError(storage.unreadable(error), file=folder) from error
    return Model(network, card, looks=looks_of(folder))


def looks_of(checkpoint: epath.Path) -> list[Look] | None:
    """The looks of the images that a checkpoint was trained on, as its run wrote them; None if it did not."""
    for folder in (checkpoint, checkpoint.parent, checkpoint.parent.parent):
        if (folder / TRAINED_ON).exists():
            return load_looks(folder / TRAINED_ON)
    return None


def _of_version_0_1(
    description: Mapping[str, Any], arrays: dict[str, np.ndarray]
) -> tuple[ModelCard, dict[str, np.ndarray]]:
    """The card and the parameters of a checkpoint of version 0.1.0, whose description holds its training's flags."""
    config, scale = description["config"], dict(description["scale"])
    raw = scale.pop("raw_target")
    network = legacy.from_old(config["model"])
    trained_on = None
    if description["data_fingerprint"] != _IMPORTED:
        trained_on = TrainedOn(
            config["data"]["dataset"], 0, description["data_fingerprint"], description["split_sha256"]
        )
    card = ModelCard(
        network=network,
        scale=ScoreScale(**scale),
        view=View(
            max_side=description["max_side"],
            max_short_side=config["data"]["max_short_side"],
            grid=config["eval_grid"],
            random_crops=config["eval_random_crops"],
            seed=config["seed"],
        ),
        output="raw" if raw else "quality",
        trained_on=trained_on,
        origin=Origin(versions=description.get("versions", {})),
    )
    return card, legacy.convert_arrays(config["model"], arrays)


def _flat(arrays: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Parameters and statistics, whichever were trained, by their dotted names."""
    found: dict[str, np.ndarray] = {}

    def walk(tree: Any, name: str) -> None:
        if isinstance(tree, Mapping):
            for key, value in tree.items():
                walk(value, f"{name}.{key}" if name else str(key))
        else:
            found[name] = np.asarray(tree)

    for part in arrays.values():
        walk(part, "")
    return found


def _checkpoint_folder(given: str | os.PathLike) -> epath.Path:
    path = storage.place(given, "model")
    if _is_checkpoint(path):
        return path
    for folder in (path / storage.FOLDER, path):
        if folder.is_dir() and any(_is_checkpoint(folder / str(step)) for step in storage.steps(folder)):
            best = storage.best_step(folder)
            return folder / str(storage.steps(folder)[-1] if best is None else best)
    found = "a folder without one" if path.is_dir() else "a file" if path.exists() else "nothing there"
    raise InputError(field="model", value=given, expected="a run's, a checkpoint's or a model's folder", found=found)


def _is_checkpoint(folder: epath.Path) -> bool:
    return (folder / "model").is_dir() and (folder / "description").is_dir()
