"""Evaluate a trained checkpoint.

    glintiqa evaluate --checkpoint=runs/quickstart
    glintiqa evaluate --checkpoint=runs/quickstart --dataset=csv --images=DIR --scores=FILE.csv

Without data flags, on the test split the checkpoint was not trained on. With them, on all images of other data, or on
the split that ``--split`` names. Scores are compared in each database's own unit: SROCC and KROCC do not mind, PLCC and
RMSE assume that both ranges mean the same. Contents that the checkpoint was trained on are left out, and said.
"""

from absl import flags

from glintiqa_jax.cli.flags import Flags, define_data, other_data
from glintiqa_jax.cli.results import print_metrics
from glintiqa_jax.data.files import open_output
from glintiqa_jax.data.rated_images import SPLIT_NAMES


def define(values: Flags) -> None:
    """The job's flags."""
    flags.DEFINE_string("checkpoint", None, "a run's workdir or one checkpoint's folder", values, required=True)
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


def run(values: Flags, arguments: list[str]) -> None:
    """The job."""
    data = other_data(values)
    data_dir = values.data_dir if values["data_dir"].present else None
    inputs = [data.scores, data.split_by] if data else []
    with open_output("output", values.output, inputs=inputs) as output:
        from glintiqa_jax.scoring.evaluate import evaluate_checkpoint

        name, evaluated = evaluate_checkpoint(
            values.checkpoint, data, data_dir=data_dir, split=values.split, random_crops=values.random_crops
        )
        print_metrics({name: evaluated.predictions.metrics()})
        if output is not None:
            evaluated.predictions.write_csv(output)
