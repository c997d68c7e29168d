"""What training starts from, and what that has seen already."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np

from glintiqa_jax.data.near_duplicates import Look, load_looks
from glintiqa_jax.data.source import Source
from glintiqa_jax.data.splits import Split, split_digest
from glintiqa_jax.errors import InputError
from glintiqa_jax.evaluation.evaluating import new_positions
from glintiqa_jax.models.config import describe
from glintiqa_jax.models.files import WeightsError
from glintiqa_jax.models.glintiqa import GlintIQA, abstract_model, new_model
from glintiqa_jax.models.pretrained import WEIGHTS, check_weights, find_weights, licences, model_folder
from glintiqa_jax.models.weights import load_backbone
from glintiqa_jax.progress import TERMINAL, Log
from glintiqa_jax.scoring.card import read_card
from glintiqa_jax.scoring.files import CARD, TRAINED_ON
from glintiqa_jax.training import processes
from glintiqa_jax.training.description import kept_split
from glintiqa_jax.training.experiment import Experiment


def check_start(experiment: Experiment) -> None:
    """``InputError`` for weights that cannot be found, and models of another network; nothing is fetched."""
    for name in experiment.start.init:
        try:
            check_weights(name, experiment.model)
        except WeightsError as error:
            raise error.of("init", name) from error
        if folder := model_folder(name):
            try:
                load_backbone(abstract_model(experiment.model), folder / WEIGHTS)
            except WeightsError as error:
                raise InputError(
                    field="init",
                    value=name,
                    expected=f"a model of the network to train, {describe(experiment.model)}",
                    found=describe(read_card(folder / CARD).network) if _with(name, CARD) else str(error),
                    hint="`init=` starts from scratch",
                ) from error


def first_model(experiment: Experiment, log: Log = TERMINAL) -> GlintIQA:
    """The model that training starts from: new values, and those of ``init``.

    Raises:
      InputError: weights that cannot be found, or are another network's.
    """
    check_start(experiment)
    model, tell = new_model(experiment.model, seed=experiment.start.seed), functools.partial(processes.tell, log=log)
    for name in experiment.start.init:
        try:
            for path in find_weights(name, experiment.model, say=tell):
                tell(f"{load_backbone(model, path)} starts from {path}")
        except WeightsError as error:
            raise error.of("init", name) from error
    return model


def starts_from_a_model(experiment: Experiment) -> bool:
    """Whether training goes on with a whole model, which can be used as it is, rather than with backbones or none."""
    return any(model_folder(name) for name in experiment.start.init)


def licences_of_start(experiment: Experiment) -> list[str]:
    """Of the weights that training starts from, and of what they were trained on, a line each."""
    cards = [read_card(folder / CARD) for name in experiment.start.init if (folder := _with(name, CARD))]
    of_models = [line for card in cards for line in card.origin.licences]
    return of_models + [line for name in experiment.start.init for line in licences(name, experiment.model)]


def seen_before(experiment: Experiment) -> list[Look]:
    """The looks of what the models that training starts from were trained on, as far as they say."""
    folders = [folder for name in experiment.start.init if (folder := _with(name, TRAINED_ON))]
    return [look for folder in folders for look in load_looks(folder / TRAINED_ON)]


def unseen(split: Split, source: Source, experiment: Experiment, log: Log) -> Split:
    """The split without the images to validate and to test on whose contents the start was trained on.

    A run that was trained with this very split has its parts again: it was selected on its images to validate, and
    trained on none of them.

    Raises:
      InputError: when it was trained on all of them.
    """
    if (parts := _parts_before(experiment, source, split)) is not None:
        return parts
    seen = seen_before(experiment)

    def new(part: str) -> np.ndarray:
        positions = getattr(split, part)
        if not seen or not len(positions):
            return positions
        try:
            kept = new_positions(seen, source, positions)
        except InputError as error:
            raise InputError(
                field="init",
                expected=f"{part} images that the model to start from was not trained on",
                found=f"none among {len(positions)}",
                hint="`init=` starts from scratch",
            ) from error
        if left_out := len(positions) - len(kept):
            what = "what the model that training starts from was trained on"
            processes.tell(f"warning: {left_out} of {len(positions)} {part} images show {what}: left out", log)
        return kept

    return split.with_parts(new("validation"), new("test"))


def _parts_before(experiment: Experiment, source: Source, split: Split) -> Split | None:
    """Who validated and was tested in the one run that training starts from, if it was trained with this split."""
    folders = [folder for name in experiment.start.init if (folder := _with(name, TRAINED_ON))]
    if len(folders) != 1:
        return None
    names, trained_on = source.index.names, read_card(folders[0] / CARD).trained_on
    before = trained_on and (trained_on.identity, trained_on.split_sha256)
    return kept_split(folders[0], split, names) if before == (source.identity, split_digest(split, names)) else None


def _with(name: str, file: str) -> Path | None:
    """The folder of the model that a name in ``init`` stands for, if it holds a file."""
    folder = model_folder(name)
    return folder if folder and (folder / file).is_file() else None
