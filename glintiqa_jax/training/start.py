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

    A start that was trained with this very split has trained on none of them: it is gone on with, and selected on the
    same images again.

    Raises:
      InputError: when it was trained on all of them.
    """
    seen = seen_before(experiment)
    if seen and _goes_on(experiment, source, split):
        looks = source.looks()
        own = {looks[position].digest for position in np.concatenate([split.train, split.validation])}
        seen = [look for look in seen if look.digest not in own]

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


def _goes_on(experiment: Experiment, source: Source, split: Split) -> bool:
    """Whether every model that training starts from was trained with this split of this source."""
    digest = split_digest(split, source.index.names)
    folders = [folder for name in experiment.start.init if (folder := _with(name, TRAINED_ON))]
    cards = [read_card(folder / CARD).trained_on for folder in folders]
    return all(card and (card.identity, card.split_sha256) == (source.identity, digest) for card in cards)


def _with(name: str, file: str) -> Path | None:
    """The folder of the model that a name in ``init`` stands for, if it holds a file."""
    folder = model_folder(name)
    return folder if folder and (folder / file).is_file() else None
