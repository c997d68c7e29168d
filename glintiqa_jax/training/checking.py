"""What a training refuses before any long work, and the run that it may continue."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import jax
import numpy as np
from etils import epath
from jax.sharding import Mesh

from glintiqa_jax import settings
from glintiqa_jax.data.crops import Crops
from glintiqa_jax.data.paths import local_path
from glintiqa_jax.data.pipeline import check_rows
from glintiqa_jax.data.source import Source
from glintiqa_jax.data.splits import Split
from glintiqa_jax.errors import InputError
from glintiqa_jax.evaluation.metrics import METRICS
from glintiqa_jax.scoring.storage import FOLDER as CHECKPOINTS
from glintiqa_jax.scoring.storage import place
from glintiqa_jax.sharding import check_divides, share
from glintiqa_jax.training import processes, storage
from glintiqa_jax.training.checkpoints import latest_description
from glintiqa_jax.training.description import (
    begun_with,
    changed_surroundings,
    check_same_experiment,
    library_versions,
)
from glintiqa_jax.training.experiment import Execution, Experiment
from glintiqa_jax.training.start import check_start


def check(workdir: str | os.PathLike, experiment: Experiment, execution: Execution, mesh: Mesh) -> None:
    """``InputError`` for what ``train`` refuses whatever the source; cheap, to be called before data are prepared.

    Every process must call this.
    """
    folder = local_path("workdir", workdir)
    check_fits(experiment, execution, mesh)
    checkpoints = checkpoints_of(folder, execution)

    processes.agree(facts(experiment, execution, mesh))
    storage.check_shared(checkpoints)
    if processes.by_the_first(lambda: begun(experiment, execution, folder, checkpoints)[2]):
        check_start(experiment)


def facts(experiment: Experiment, execution: Execution, mesh: Mesh) -> dict[str, Any]:
    """What all processes of a run must have in common, before there are data."""
    here = {f"loading.{name}" for name in ("num_workers", "cache_megabytes")}
    chosen = settings.flat(settings.to_json(experiment)) | settings.flat(settings.to_json(execution))
    shared = {name: value for name, value in chosen.items() if name not in here}
    return shared | {"devices": dict(mesh.shape)} | library_versions()


def checkpoints_of(folder: Path, execution: Execution) -> epath.Path:
    """Where a run in a folder keeps its checkpoints."""
    elsewhere = execution.saving.checkpoint_dir
    return place(elsewhere, "checkpoint_dir") if elsewhere else place(folder, "workdir") / CHECKPOINTS


def begun(
    experiment: Experiment, execution: Execution, workdir: Path, checkpoints: epath.Path
) -> tuple[list[str], bool, bool]:
    """Messages about the run that is there, whether it is another experiment's, and whether there is none.

    Raises:
      InputError: for another experiment's, unless ``execution`` allows it.
    """
    saved = latest_description(checkpoints)
    lines: list[str] = []
    other = False
    for theirs, where in ((begun_with(workdir), str(workdir)), (saved, str(checkpoints))):
        more, differs = check_same_experiment(experiment, execution, theirs, where)
        lines += [line for line in more if line not in lines]
        other = other or differs
    return lines + (changed_surroundings(saved) if saved else []), other, saved is None


def check_fits(experiment: Experiment, execution: Execution, mesh: Mesh) -> None:
    """``InputError`` for batches that do not divide over devices and processes, or do not fit into memory."""
    images, (_, count) = experiment.images, share(mesh)
    check_divides("batch_size", images.batch_size, mesh, parts=images.accumulate)
    check_divides("eval_batch_size", execution.eval_batch_size, mesh)
    check_rows(images.batch_size, images.rows_per_group, images.ranked_every, count)
    room = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    crop = 3 * experiment.model.crop_size**2  # bytes
    said = experiment.validation
    crops = Crops(experiment.model.crop_size, said.eval_grid, said.eval_random_crops, sizes=said.eval_sizes).count
    for field, size, each in (
        ("batch_size", images.batch_size, 1),
        ("eval_batch_size", execution.eval_batch_size, crops),
    ):
        if (needed := size * each * crop // jax.process_count()) > room:
            raise InputError(
                field=field,
                value=size,
                expected="a batch that fits into memory",
                found=f"images of {needed / 1e9:.1f} GB on a machine of {room / 1e9:.1f} GB",
            )


def check_source(source: Source, split: Split, experiment: Experiment) -> None:
    """``InputError`` for images, or a split of them, that an experiment cannot be trained or selected on."""
    split.check(source.index.names, source.index.groups)
    if not len(split.train):
        raise InputError(field="split", expected="images to train on", found="none")
    if experiment.validation.selection == "test_best" and not len(split.test):
        raise InputError(field="selection", value="test_best", expected="a test split to select on", found="none")
    metric, watched = experiment.validation.selection_metric, getattr(split, experiment.validation.watched)
    if METRICS[metric].needs_std and not np.isfinite(source.index.score_stds[watched]).all():
        raise InputError(
            field="selection_metric",
            value=metric,
            expected="standard deviations of the scores of all images that select",
            found="images without",
        )
    crop_size = experiment.model.crop_size
    used, sizes = np.concatenate([split.train, split.validation, split.test]), source.sizes()
    small = used[sizes[used].min(axis=1) < crop_size]
    if len(small):
        height, width = sizes[small[0]]
        raise InputError(
            field="model.crop_size",
            expected="a crop that fits into every image of the split",
            found=f"{crop_size} pixels and {source.index.names[small[0]]} of {width}x{height}",
            hint="leave such images out of the split, or shrink images less (`max_short_side`)",
        )
