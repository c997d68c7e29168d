"""Evaluate a trained checkpoint.

    python experiments/evaluate.py --checkpoint=runs/quickstart
    python experiments/evaluate.py --checkpoint=runs/quickstart --dataset=csv --images=DIR --scores=FILE.csv

Without data flags, on the test split the checkpoint was not trained on. With them, on all images of other data, or on
the split that ``--split`` names. Scores are compared in each database's own unit: SROCC and KROCC do not mind, PLCC and
RMSE assume that both ranges mean the same. Contents that the checkpoint was trained on are left out, and said.
"""

from absl import flags

from glintiqa_jax import command_line
from glintiqa_jax.data.files import open_output
from glintiqa_jax.data.rated_images import SPLIT_NAMES

with command_line.loading():
    from glintiqa_jax.training import flags as config_flags

_CHECKPOINT = flags.DEFINE_string("checkpoint", None, "a run's workdir or one checkpoint's folder", required=True)
_SPLIT = flags.DEFINE_enum(
    "split",
    None,
    [*SPLIT_NAMES, "all"],
    "what to evaluate on (default: test of its own data, all of other data)",
)
_OUTPUT = flags.DEFINE_string("output", None, "also write every image's prediction to this CSV file")
_RANDOM_CROPS = flags.DEFINE_integer(
    "random_crops",
    None,
    "crops at random per image, always the same: 25 as released; 0: the fixed grid (default: as in training)",
    lower_bound=0,
)
config_flags.define_data_flags()
flags.adopt_module_key_flags(config_flags)  # so that --help lists them


def main() -> None:
    """The command."""
    data = config_flags.other_data()
    data_dir = flags.FLAGS.data_dir if flags.FLAGS["data_dir"].present else None
    inputs = [data.own.scores, data.split.split_by] if data else []
    with open_output("output", _OUTPUT.value, inputs=inputs) as output:
        from glintiqa_jax.scoring.evaluate import evaluate_checkpoint

        name, evaluated = evaluate_checkpoint(
            _CHECKPOINT.value,
            data,
            data_dir=data_dir,
            split=_SPLIT.value,
            random_crops=_RANDOM_CROPS.value,
            on_bad_image=flags.FLAGS.on_bad_image if flags.FLAGS["on_bad_image"].present else None,
        )
        command_line.print_metrics({name: evaluated.predictions.metrics()})
        if output is not None:
            evaluated.predictions.write_csv(output)


if __name__ == "__main__":
    command_line.run(main)
