"""Train and test GlintIQA on rounds of random splits, and report the median over them, as the field's tables do.

    glintiqa run_rounds --recipe=scratch --workdir=runs/rounds

Takes the flags of ``train`` for the experiment, except those that choose the split. Run again it resumes; with a higher
``--rounds`` it adds rounds.
"""

from absl import flags

from glintiqa_jax.cli.flags import Flags, define_experiment, define_report, running_of, task_of
from glintiqa_jax.cli.results import print_metrics, result
from glintiqa_jax.data.paths import local_path


def define(values: Flags) -> None:
    """The job's flags."""
    flags.DEFINE_string("workdir", None, "folder for the rounds and the report", values, required=True)
    flags.DEFINE_integer("rounds", 10, "how many rounds", lower_bound=1, flag_values=values)
    define_experiment(values)
    define_report(values)


def run(values: Flags, arguments: list[str]) -> None:
    """The job."""
    running = running_of(values)
    task = task_of(values, running)
    from glintiqa_jax.evaluation.metrics import METRICS
    from glintiqa_jax.evaluation.report import FLATTERED
    from glintiqa_jax.evaluation.tables import summary
    from glintiqa_jax.protocols.rounds import rows_of, run_rounds

    workdir = local_path("workdir", values.workdir)
    runs = run_rounds(task, workdir, rounds=values.rounds, running=running)
    print_metrics({run.name: run.figures["test"] for run in runs})
    for name in rows_of(runs[0]):
        srocc = summary(METRICS["srocc"], [rows_of(run)[name].figures["srocc"] for run in runs])
        result(f"{name}: median SROCC {srocc}, in brackets mean and standard deviation")
    if task.experiment.validation.selection == "test_best":
        result(FLATTERED)
    result("")
    result(f"report:  {workdir}/report.html")
