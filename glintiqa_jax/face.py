"""Training in one call, for notebooks: from a source to a result."""

from __future__ import annotations

import dataclasses
import os

from jax.sharding import Mesh

from glintiqa_jax.data.source import Source
from glintiqa_jax.data.splits import Split
from glintiqa_jax.datasets.config import Splitting
from glintiqa_jax.datasets.opening import split_data
from glintiqa_jax.evaluation.config import ReportOptions
from glintiqa_jax.interruptions import Stopped
from glintiqa_jax.progress import TERMINAL, Log, quiet
from glintiqa_jax.settings import group
from glintiqa_jax.training import training
from glintiqa_jax.training.experiment import Execution, Experiment
from glintiqa_jax.training.result import Result


@dataclasses.dataclass(frozen=True)
class Recipe:
    """An experiment and how images are split for it; ``settings.replace`` changes either, by the names of settings.

    Attributes:
      experiment: what is trained.
      splitting: which images train, validate and test.
    """

    experiment: Experiment = group(Experiment())
    splitting: Splitting = group(Splitting())


def train(
    source: Source,
    experiment: Experiment | Recipe = Recipe(),
    split: Split | Splitting | None = None,
    *,
    execution: Execution = Execution(),
    workdir: str | os.PathLike | None = None,
    mesh: Mesh | None = None,
    report: ReportOptions | None = ReportOptions(),
    log: Log = TERMINAL,
) -> Result | None:
    """Train on a source, keep the best on validation, test it once, and report.

    Args:
      source: the images and their scores, from ``from_arrays``, ``from_folder`` or ``open_dataset``.
      experiment: what is trained; ``glintiqa_jax.recipes`` has examples.
      split: which images train, validate and test, or how that is decided; None for the recipe's way, which is
        otherwise: as the source declares, else drawn by content.
      execution: where and how; no figure depends on it beyond its last digits.
      workdir: keeps checkpoints, the model and the report, and resumes; None keeps nothing beyond the result and its
        report: ``.model.save`` keeps the model, ``.report.html`` is the page.
      mesh: the devices; None for all of them.
      report: what the report contains; None for no report.
      log: where messages go.

    Returns:
      The result, with ``.model`` to score with, ``.figures`` and ``.report``; None when a signal ended it, after saving
      in ``workdir``.

    Raises:
      InputError: what cannot be trained on, before any long work.
    """
    recipe = experiment if isinstance(experiment, Recipe) else Recipe(experiment)
    experiment, split = recipe.experiment, recipe.splitting if split is None else split
    if isinstance(split, Splitting):
        shown = source.resized(experiment.images.max_short_side)
        smallest = experiment.model.crop_size
        policy = execution.loading.on_bad_image
        split = split_data(split, shown, smallest=smallest, on_bad_image=policy, say=log.tell)
    with quiet("absl"):  # Orbax's remarks on how it saves
        try:
            return training.train(
                source, split, experiment, execution=execution, workdir=workdir, mesh=mesh, report=report, log=log
            )
        except Stopped as stopped:
            for note in stopped.__notes__:
                log.warn(note)
            return None
