"""Train on all of one database and test on all of the others, for a matrix of both.

    python experiments/cross_dataset.py --flagfile=experiments/flags/own_data.flags --train_on=demo,csv \
      --images=DIR --scores=FILE.csv --score_range=0,100 --workdir=runs/across

Takes every flag of ``train.py``; ``--train_on`` and ``--test_on`` stand in the place of ``--dataset``. A network trains
on all images but those that validate; with ``--split_by=auto`` it trains on the training part of a split, and is tested
at home, too. Run again it goes on where it stopped.
"""

from absl import flags

from glintiqa_jax import command_line
from glintiqa_jax.data.paths import local_path
from glintiqa_jax.errors import UserError
from glintiqa_jax.progress import result

with command_line.loading():
    from glintiqa_jax.datasets.config import dataset_names
    from glintiqa_jax.training import flags as config_flags

_WORKDIR = flags.DEFINE_string("workdir", None, "folder for the trainings, predictions and the report", required=True)
_TRAIN_ON = flags.DEFINE_list("train_on", None, f"databases to train on: {', '.join(dataset_names())}", required=True)
_TEST_ON = flags.DEFINE_list("test_on", None, "databases to test on (default: those of --train_on)")
config_flags.define_train_flags()
config_flags.define_report_flags()
flags.adopt_module_key_flags(config_flags)  # so that --help lists them


def main() -> None:
    """The command."""
    if not flags.FLAGS["split_by"].present:
        flags.FLAGS["split_by"].value = "all"
    trained, tested = _TRAIN_ON.value, _TEST_ON.value or _TRAIN_ON.value
    for flag, names in (("train_on", trained), ("test_on", tested)):
        if not names:
            raise UserError(f"--{flag}: expected some of {', '.join(dataset_names())}, found none")
        for name in names:
            if name not in dataset_names() or names.count(name) > 1:
                raise UserError(f"--{flag}: expected each of {', '.join(dataset_names())} at most once, found {name!r}")
    configs = {name: config_flags.train_config(dataset=name) for name in trained}
    tests = {name: config_flags.data_config(dataset=name) for name in tested}
    report = config_flags.report_options()
    from glintiqa_jax.evaluation.report import FLATTERED
    from glintiqa_jax.protocols.cross_dataset import cross_dataset  # after the flags, as in train.py

    workdir = local_path("workdir", _WORKDIR.value)
    cells = cross_dataset(configs, tests, workdir, report=report)
    if cells is None:
        return
    command_line.print_metrics({cell.title: cell.evaluated.predictions.metrics() for cell in cells})
    if configs[trained[0]].selection == "test_best":
        result(FLATTERED)
    result("")
    result(f"report:  {workdir}/report.html")


if __name__ == "__main__":
    command_line.run(main)
