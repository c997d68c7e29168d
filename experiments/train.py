"""Train and evaluate GlintIQA.

    python experiments/train.py --flagfile=experiments/flags/quickstart.flags

Every field of the configuration is a flag (``--help`` lists them); files in ``experiments/flags`` hold whole
experiments. Run again with the same flags, it goes on where it stopped.
"""

import shlex

from absl import flags

from glintiqa_jax import command_line
from glintiqa_jax.progress import result

with command_line.loading():
    from glintiqa_jax.training import flags as config_flags

_WORKDIR = flags.DEFINE_string(
    "workdir", None, "folder for checkpoints, metrics, results and the report", required=True
)
_CHECKPOINT_DIR = flags.DEFINE_string(
    "checkpoint_dir", None, "folder for checkpoints that all processes see, or gs://...; none: in --workdir"
)
_ALLOW_CONFIG_CHANGE = flags.DEFINE_bool(
    "allow_config_change", False, "go on with a run that was begun with other flags"
)
_PRINT_SHARDING = flags.DEFINE_bool(
    "print_sharding", False, "only print how each array of the train state is laid out over the devices"
)
_DISTRIBUTED = flags.DEFINE_enum(
    "distributed", "off", ["off", "auto"], "'auto': find the other processes as TPU pods, Slurm or Open MPI name them"
)
_COORDINATOR_ADDRESS = flags.DEFINE_string("coordinator_address", "", "HOST:PORT of the first of several processes")
_NUM_PROCESSES = flags.DEFINE_integer("num_processes", 0, "how many processes there are, with --coordinator_address")
_PROCESS_ID = flags.DEFINE_integer("process_id", -1, "this process's number from 0, with --coordinator_address")
_MAX_STEPS = flags.DEFINE_integer("max_steps", None, "end at this step, evaluation and results included", lower_bound=1)
config_flags.define_train_flags()
config_flags.define_report_flags()
flags.adopt_module_key_flags(config_flags)  # so that --help lists them


def main() -> None:
    """The command."""
    config, report = config_flags.train_config(), config_flags.report_options()
    from glintiqa_jax.evaluation.report import FLATTERED
    from glintiqa_jax.training import loop, processes  # after the flags: a mistyped one costs no start-up

    processes.connect(_DISTRIBUTED.value, _COORDINATOR_ADDRESS.value, _NUM_PROCESSES.value, _PROCESS_ID.value)
    if _PRINT_SHARDING.value:
        if processes.is_first():
            for line in loop.sharding_table(config).splitlines():
                result(line)
        return
    results = loop.train_and_evaluate(
        config,
        _WORKDIR.value,
        max_steps=_MAX_STEPS.value,
        checkpoint_dir=_CHECKPOINT_DIR.value,
        allow_config_change=_ALLOW_CONFIG_CHANGE.value,
        report=report,
    )
    if results is None or not processes.is_first():
        return
    command_line.print_metrics(results)
    if config.selection == "test_best":
        result(f"      test:  {FLATTERED}")
    result("")
    result(f"report:          {_WORKDIR.value}/report.html")
    checkpoint = shlex.quote(_CHECKPOINT_DIR.value or _WORKDIR.value)
    result(f"score an image:  python experiments/score.py --checkpoint={checkpoint} PATH")


if __name__ == "__main__":
    command_line.run(main)
