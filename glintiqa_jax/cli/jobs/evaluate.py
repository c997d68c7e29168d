"""Evaluate a trained model.

    glintiqa evaluate --model=runs/scratch
    glintiqa evaluate --model=runs/scratch --dataset=csv --images=DIR --scores=FILE.csv
    glintiqa evaluate --dataset=csv --images=DIR --scores=FILE.csv

Without data flags, it evaluates on the model's own test split. With them, on all images of other data, or on the part
that ``--split`` names; without ``--model``, the model that ships. Scores are compared in each database's own unit:
SROCC and KROCC do not depend on it, PLCC and RMSE assume that both ranges mean the same. Contents that the model was
trained on are left out and counted.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING

from absl import flags

from glintiqa_jax.cli.flags import Flags, connect, define_data, define_processes, loading, other_data
from glintiqa_jax.cli.results import print_metrics
from glintiqa_jax.data.files import open_output
from glintiqa_jax.data.rated_images import SPLIT_NAMES
from glintiqa_jax.data.splits import split_digest
from glintiqa_jax.datasets.config import OWN, DataConfig
from glintiqa_jax.errors import InputError

if TYPE_CHECKING:
    from glintiqa_jax.evaluation.report import Evaluated


def define(values: Flags) -> None:
    """The job's flags."""
    what = "a model's, a run's or a checkpoint's folder; none, with data flags: the one that ships"
    flags.DEFINE_string("model", None, what, values, short_name="m")
    flags.DEFINE_enum(
        "split",
        None,
        [*SPLIT_NAMES, "all"],
        "what to evaluate on (default: test of its own data, all of other data)",
        values,
    )
    flags.DEFINE_string("output", None, "also write every image's prediction to this CSV file", values)
    flags.DEFINE_integer(
        "random_crops",
        None,
        "crops at random per image, always the same: 25 as released; 0: the fixed grid (default: as in training)",
        lower_bound=0,
        flag_values=values,
    )
    define_data(values)
    define_processes(values)


def run(values: Flags, arguments: list[str]) -> None:
    """The job."""
    data = other_data(values)
    connect(values)
    from glintiqa_jax.training import processes

    first = processes.is_first()
    inputs = [data.own.scores, data.split.split_by] if data else []
    written = values.output if first else None
    with processes.ending_together(), open_output("output", written, inputs=inputs) as output:
        name, evaluated = _evaluated(values, data)
        if not first:
            return
        print_metrics({name: evaluated.predictions.metrics()})
        if output is not None:
            evaluated.predictions.write_csv(output)


def _evaluated(values: Flags, data: DataConfig | None) -> tuple[str, Evaluated]:
    """What is evaluated, by its name, and the predictions."""
    from glintiqa_jax.datasets.opening import open_data, split_data
    from glintiqa_jax.evaluation.evaluating import evaluate
    from glintiqa_jax.evaluation.report import FLATTERED
    from glintiqa_jax.progress import SILENT
    from glintiqa_jax.scoring.files import load_model
    from glintiqa_jax.training import processes
    from glintiqa_jax.training.description import kept_split

    how, own, log = loading(values), data is None, values.log if processes.is_first() else SILENT
    if own and values.model is None:
        expected = "a model's or a run's folder, or data flags, which evaluate the model that ships"
        raise InputError(field="model", expected=expected, found="neither")
    model = load_model(values.model)
    if values.random_crops is not None:
        sizes = () if values.random_crops else model.card.view.sizes  # as released: at one size
        view = dataclasses.replace(model.card.view, random_crops=values.random_crops, sizes=sizes)
        model.card = dataclasses.replace(model.card, view=view)
    flattered = False
    if data is None:
        data, flattered = _own_data(values)
    elif OWN in dict(data.datasets) and not data.max_side:
        data = dataclasses.replace(data, max_side=model.card.view.max_side)
    opened = functools.partial(open_data, data, on_bad_image=how.on_bad_image, say=log.tell)
    source = processes.first_before_the_others(opened)
    trained_on = model.card.trained_on
    if own and (trained_on is None or trained_on.identity != source.identity):
        raise InputError(
            "the images or scores it was trained on have changed since, and so may have who is tested",
            field="model",
            value=values.model,
            hint="name data with `dataset`",
        )
    part, positions = values.split or ("test" if own else "all"), None
    if part != "all":
        shown, smallest = source.resized(model.card.view.max_short_side), model.card.network.crop_size
        split = split_data(data.split, shown, smallest=smallest, on_bad_image=how.on_bad_image, say=log.tell)
        if own and trained_on and split_digest(split, source.index.names) != trained_on.split_sha256:
            raise InputError(
                f"the split has changed since it was trained, in {data.split.split_by}",
                field="model",
                value=values.model,
                hint="name data with `dataset`",
            )
        if own:
            split = kept_split(values.model, split, source.index.names) or split
        positions = getattr(split, part)
        if not len(positions):
            raise InputError(field="split", value=part, expected="images to evaluate", found="none in this split")
    evaluated = evaluate(model, source, positions, trained_here=own, loading=how, log=log)
    name = f"{source.name} {part}"
    return (f"{name}, {FLATTERED}" if flattered and part == "test" else name), evaluated


def _own_data(values: Flags) -> tuple[DataConfig, bool]:
    """The data that a run was trained on, and whether its test split says which step was kept."""
    from glintiqa_jax.settings import from_json
    from glintiqa_jax.training.description import description_of

    description = description_of(values.model)
    if description is None or not description.data:
        raise InputError(
            "needed, as it is not known how this model's own data were opened",
            field="dataset",
        )
    data = from_json(DataConfig, description.data)
    if values["data_dir"].present:
        data = dataclasses.replace(data, data_dir=values.data_dir)
    return data, description.experiment.validation.selection == "test_best"
