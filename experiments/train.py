"""Train and evaluate GlintIQA.

    python experiments/train.py --flagfile=experiments/flags/quickstart.flags

Every field of the configuration is a flag (``--help`` lists them); files in ``experiments/flags`` hold whole
experiments. Run again with the same flags, it goes on where it stopped.
"""

from absl import flags

from glintiqa_jax import command_line
from glintiqa_jax.training import flags as config_flags

_WORKDIR = flags.DEFINE_string(
    "workdir", None, "folder for checkpoints, metrics, results and the report", required=True
)
_MAX_STEPS = flags.DEFINE_integer("max_steps", None, "end at this step, evaluation and results included", lower_bound=1)
config_flags.define_train_flags()
flags.adopt_module_key_flags(config_flags)  # so that --help lists them


def main() -> None:
    """The command."""
    config = config_flags.train_config()
    from glintiqa_jax.training.loop import (
        train_and_evaluate,
    )  # after the flags: a mistyped one costs no start-up

    results = train_and_evaluate(config, _WORKDIR.value, max_steps=_MAX_STEPS.value)
    if results is None:
        return
    command_line.print_metrics(results)
    print(f"\nreport:          {_WORKDIR.value}/report.md")
    print(f"score an image:  python experiments/score.py --checkpoint={_WORKDIR.value} PATH")


if __name__ == "__main__":
    command_line.run(main)
