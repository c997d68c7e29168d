"""Train and test GlintIQA on rounds of random splits, and report the median over them, as the field's tables do.

    python experiments/run_rounds.py --flagfile=experiments/flags/quickstart.flags --workdir=runs/rounds

Takes every flag of ``train.py`` but those that say which split. Run again it goes on where it stopped; with a higher
``--rounds`` it adds rounds.
"""

from absl import flags

from glintiqa_jax import command_line
from glintiqa_jax.data.paths import local_path
from glintiqa_jax.progress import result

with command_line.loading():
    from glintiqa_jax.training import flags as config_flags

_WORKDIR = flags.DEFINE_string("workdir", None, "folder for the rounds and the report", required=True)
_ROUNDS = flags.DEFINE_integer("rounds", 10, "how many rounds", lower_bound=1)
config_flags.define_train_flags()
config_flags.define_report_flags()
flags.adopt_module_key_flags(config_flags)  # so that --help lists them


def main() -> None:
    """The command."""
    config, report = config_flags.train_config(), config_flags.report_options()
    from glintiqa_jax.evaluation.metrics import METRICS  # after the flags, as in train.py
    from glintiqa_jax.evaluation.report import FLATTERED
    from glintiqa_jax.evaluation.tables import summary
    from glintiqa_jax.protocols.rounds import rows_of, run_rounds

    workdir = local_path("workdir", _WORKDIR.value)
    runs = run_rounds(config, workdir, rounds=_ROUNDS.value, report=report)
    if runs is None:
        return
    command_line.print_metrics({run.name: run.results["test"] for run in runs})
    for name in rows_of(runs[0]):
        srocc = summary(METRICS["srocc"], [rows_of(run)[name].figures["srocc"] for run in runs])
        result(f"{name}: median SROCC {srocc}, in brackets mean and standard deviation")
    if config.selection == "test_best":
        result(FLATTERED)
    result("")
    result(f"report:  {workdir}/report.html")


if __name__ == "__main__":
    command_line.run(main)
