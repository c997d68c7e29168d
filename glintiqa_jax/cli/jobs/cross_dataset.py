"""Train on all of one database and test on all of the others, for a matrix of both.

    glintiqa cross_dataset --recipe=own_data_scratch --train_on=demo,csv \\
      --images=DIR --scores=FILE.csv --score_range=0,100 --workdir=runs/across

Takes the flags of ``train`` for the experiment; ``--train_on`` and ``--test_on`` replace ``--dataset``. A network
trains on all images but those that validate; with ``--split_by=auto`` it trains on the training part of a split, and is
also tested on its own database. Run again it resumes.
"""

from absl import flags

from glintiqa_jax.cli.flags import Flags, data_config, define_experiment, define_report, experiment_of, running_of
from glintiqa_jax.cli.results import print_metrics, result
from glintiqa_jax.data.paths import local_path
from glintiqa_jax.errors import InputError


def define(values: Flags) -> None:
    """The job's flags."""
    from glintiqa_jax.datasets.config import dataset_names

    flags.DEFINE_string("workdir", None, "folder for the trainings, predictions and the report", values, required=True)
    flags.DEFINE_list("train_on", None, f"databases to train on: {', '.join(dataset_names())}", values, required=True)
    flags.DEFINE_list("test_on", None, "databases to test on (default: those of --train_on)", values)
    define_experiment(values)
    define_report(values)


def run(values: Flags, arguments: list[str]) -> None:
    """The job."""
    from glintiqa_jax.datasets.config import dataset_names

    if not values["split_by"].present:
        values["split_by"].parse("all")
    trained, tested = values.train_on, values.test_on or values.train_on
    for field, names in (("train_on", trained), ("test_on", tested)):
        if not names:
            raise InputError(field=field, expected=f"some of {', '.join(dataset_names())}", found="none")
        for name in names:
            if name not in dataset_names() or names.count(name) > 1:
                raise InputError(
                    field=field, expected=f"each of {', '.join(dataset_names())} at most once", found=repr(name)
                )
    experiment, running = experiment_of(values), running_of(values)
    data = {name: data_config(values, dataset=name) for name in dict.fromkeys([*trained, *tested])}
    from glintiqa_jax.datasets.opening import find_parts, open_data
    from glintiqa_jax.evaluation.report import FLATTERED
    from glintiqa_jax.protocols.cross_dataset import cross_dataset
    from glintiqa_jax.protocols.runs import Task

    workdir = local_path("workdir", values.workdir)
    policy, tell = running.execution.loading.on_bad_image, values.log.tell
    parts = {name: find_parts(one, on_bad_image=policy, say=tell) for name, one in data.items()}
    sources = {name: open_data(one, on_bad_image=policy, parts=parts[name], say=tell) for name, one in data.items()}
    tasks = {name: Task(sources[name], experiment, data[name].split) for name in trained}
    cells = cross_dataset(tasks, {name: sources[name] for name in tested}, workdir, running=running)
    print_metrics({cell.title: cell.evaluated.predictions.metrics() for cell in cells})
    if experiment.validation.selection == "test_best":
        result(FLATTERED)
    result("")
    result(f"report:  {workdir}/report.html")
