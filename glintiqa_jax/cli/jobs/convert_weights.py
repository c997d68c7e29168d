"""Bring weights in and out: official checkpoints to ours, ours to PyTorch's layout.

    glintiqa convert_weights --input=official.pth --score_range=0,100 --output=runs/official
    glintiqa convert_weights --input=runs/scratch --output=scratch.safetensors

The first makes a model's folder for ``score`` and ``evaluate``; an official file does not say what its scores mean, so
the flags do. The second writes a model in the official layout, as .safetensors or .npz.
"""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags

from glintiqa_jax.cli.flags import Flags, define_experiment, experiment_of
from glintiqa_jax.cli.results import result
from glintiqa_jax.data.paths import local_path
from glintiqa_jax.errors import InputError

if TYPE_CHECKING:
    from glintiqa_jax.training.experiment import Experiment


def define(values: Flags) -> None:
    """The job's flags."""
    flags.DEFINE_string("input", None, "a file of official weights, or a checkpoint of ours", values, required=True)
    flags.DEFINE_string("output", None, "a new folder, or a .safetensors or .npz file", values, required=True)
    define_experiment(values)
    values.names["model"] = "input"


def run(values: Flags, arguments: list[str]) -> None:
    """The job."""
    experiment = experiment_of(values)
    for field in ("input", "output"):
        if not values[field].value:
            raise InputError(field=field, expected="a path", found="nothing")
    source = local_path("input", values.input)
    if not source.exists():
        raise InputError(
            field="input", value=source, expected="a file of weights or a checkpoint's folder", found="nothing there"
        )
    if source.is_dir():
        from glintiqa_jax.scoring.files import load_model
        from glintiqa_jax.scoring.official import export_official

        export_official(load_model(source), values.output)
    else:
        _import(values, experiment, source)
        result(f"score an image:  glintiqa score --model={shlex.quote(values.output)} PATH")
    result(f"wrote {values.output}")


def _import(values: Flags, experiment: Experiment, source: Path) -> None:
    """Save official weights as a model's folder."""
    from glintiqa_jax.data.scale import opinion_scale
    from glintiqa_jax.scoring.card import View
    from glintiqa_jax.scoring.files import save_model
    from glintiqa_jax.scoring.official import ENDINGS, import_official

    output = local_path("output", values.output)
    expected = "a new folder, as `input` is a file"
    if output.suffix in ENDINGS:
        raise InputError(field="output", value=output, expected=expected, found="a file's name")
    if os.path.lexists(output):
        raise InputError(field="output", value=output, expected=expected, found="one that exists")
    if not os.access(next(parent for parent in output.absolute().parents if parent.exists()), os.W_OK):
        raise InputError(field="output", value=output, expected=expected, found="one that cannot be written")
    if not values.score_range:
        raise InputError("needed to say what the scores of `input` mean, found nothing", field="score_range")
    scale = opinion_scale(values.score_range, values.lower_is_better)
    validation = experiment.validation
    view = View(
        max_short_side=experiment.images.max_short_side,
        grid=validation.eval_grid,
        random_crops=validation.eval_random_crops,
        seed=experiment.start.seed,
        sizes=validation.eval_sizes,
    )
    save_model(import_official(source, experiment.model, scale, view), output)
