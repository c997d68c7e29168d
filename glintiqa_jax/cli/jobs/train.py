"""Train and evaluate GlintIQA.

    glintiqa train --recipe=scratch

Every setting of an experiment is a flag; recipes hold whole experiments. Run again with the same flags, it resumes.
"""

import functools
import shlex

from absl import flags

from glintiqa_jax.cli.flags import (
    Flags,
    connect,
    data_config,
    define_experiment,
    define_processes,
    define_report,
    execution_of,
    experiment_of,
    report_options,
)
from glintiqa_jax.cli.results import print_metrics, result


def define(values: Flags) -> None:
    """The job's flags."""
    flags.DEFINE_string(
        "workdir", None, "folder for checkpoints, metrics, results and the report", values, required=True
    )
    flags.DEFINE_bool(
        "print_sharding",
        False,
        "only print how each array of the train state is laid out over the devices",
        values,
    )
    define_processes(values)
    define_experiment(values)
    define_report(values)


def run(values: Flags, arguments: list[str]) -> None:
    """The job."""
    data, experiment, execution = data_config(values), experiment_of(values), execution_of(values)
    report = report_options(values)
    from glintiqa_jax.datasets.opening import find_parts, open_data, split_data
    from glintiqa_jax.evaluation.report import FLATTERED
    from glintiqa_jax.sharding import make_mesh
    from glintiqa_jax.training import checking, processes, step, training

    connect(values)
    mesh = make_mesh(execution.devices.mesh_data, execution.devices.mesh_fsdp)
    if values.print_sharding:
        if processes.is_first():
            for line in step.sharding_table(experiment, mesh).splitlines():
                result(line)
        return
    tell = functools.partial(processes.tell, log=values.log)
    on_bad_image = execution.loading.on_bad_image
    with training.noticing(values.workdir, execution):
        checking.check(values.workdir, experiment, execution, mesh)
        parts = find_parts(data, on_bad_image=on_bad_image, say=tell)
        source = processes.first_before_the_others(
            lambda: open_data(data, on_bad_image=on_bad_image, parts=parts, say=tell)
        )
        shown, smallest = source.resized(experiment.images.max_short_side), experiment.model.crop_size
        split = split_data(data.split, shown, smallest=smallest, on_bad_image=on_bad_image, say=tell)
    found = training.train(
        source,
        split,
        experiment,
        execution=execution,
        workdir=values.workdir,
        mesh=mesh,
        report=report,
        log=values.log,
    )
    if not processes.is_first():
        return
    print_metrics(found.figures)
    if experiment.validation.selection == "test_best":
        result(f"      test:  {FLATTERED}")
    result("")
    result(f"report:          {values.workdir}/report.html")
    result(f"score an image:  glintiqa score --model={shlex.quote(values.workdir)} PATH")
