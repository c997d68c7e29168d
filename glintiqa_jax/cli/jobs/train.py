"""Train and evaluate GlintIQA.

    glintiqa train --recipe=quickstart

Every field of the configuration is a flag; recipes hold whole experiments. Run again with the same flags, it goes on
where it stopped.
"""

import shlex

from absl import flags

from glintiqa_jax.cli.flags import Flags, define_experiment, define_report, report_options, train_config
from glintiqa_jax.cli.results import print_metrics, result


def define(values: Flags) -> None:
    """The job's flags."""
    flags.DEFINE_string(
        "workdir", None, "folder for checkpoints, metrics, results and the report", values, required=True
    )
    flags.DEFINE_string(
        "checkpoint_dir",
        None,
        "folder for checkpoints that all processes see, or gs://...; none: in --workdir",
        values,
    )
    flags.DEFINE_bool("allow_config_change", False, "go on with a run that was begun with other flags", values)
    flags.DEFINE_bool(
        "print_sharding",
        False,
        "only print how each array of the train state is laid out over the devices",
        values,
    )
    flags.DEFINE_enum(
        "distributed",
        "off",
        ["off", "auto"],
        "'auto': find the other processes as TPU pods, Slurm or Open MPI name them",
        values,
    )
    flags.DEFINE_string("coordinator_address", "", "HOST:PORT of the first of several processes", values)
    flags.DEFINE_integer(
        "num_processes", 0, "how many processes there are, with --coordinator_address", flag_values=values
    )
    flags.DEFINE_integer(
        "process_id", -1, "this process's number from 0, with --coordinator_address", flag_values=values
    )
    flags.DEFINE_integer(
        "max_steps", None, "end at this step, evaluation and results included", lower_bound=1, flag_values=values
    )
    define_experiment(values)
    define_report(values)


def run(values: Flags, arguments: list[str]) -> None:
    """The job."""
    config, report = train_config(values), report_options(values)
    from glintiqa_jax.evaluation.report import FLATTERED
    from glintiqa_jax.training import loop, processes

    processes.connect(values.distributed, values.coordinator_address, values.num_processes, values.process_id)
    if values.print_sharding:
        if processes.is_first():
            for line in loop.sharding_table(config).splitlines():
                result(line)
        return
    results = loop.train_and_evaluate(
        config,
        values.workdir,
        max_steps=values.max_steps,
        checkpoint_dir=values.checkpoint_dir,
        allow_config_change=values.allow_config_change,
        report=report,
    )
    if results is None or not processes.is_first():
        return
    print_metrics(results)
    if config.selection == "test_best":
        result(f"      test:  {FLATTERED}")
    result("")
    result(f"report:          {values.workdir}/report.html")
    checkpoint = shlex.quote(values.checkpoint_dir or values.workdir)
    result(f"score an image:  glintiqa score --checkpoint={checkpoint} PATH")
