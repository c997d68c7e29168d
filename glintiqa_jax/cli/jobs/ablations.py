"""Train and test GlintIQA with its parts left out or changed, on the same splits: the paper's tables of ablations.

    glintiqa ablations --recipe=scratch --tables=branches --rounds=0 --workdir=runs/ablations

Takes the flags of ``train`` for the experiment that is taken apart. Run again it resumes; with more tables or rounds it
adds them.
"""

from absl import flags

from glintiqa_jax.cli.flags import Flags, define_experiment, define_report, running_of, task_of
from glintiqa_jax.cli.results import result
from glintiqa_jax.data.paths import local_path


def define(values: Flags) -> None:
    """The job's flags."""
    flags.DEFINE_string("workdir", None, "folder for the rows and the report", values, required=True)
    flags.DEFINE_list(
        "tables",
        "branches,kernels,integration,stages,taps,backbones",
        "which tables: branches, kernels, integration (CWSA and SIEM), stages, taps, backbones, selection, saqt",
        values,
    )
    flags.DEFINE_integer(
        "rounds",
        10,
        "rounds of random splits, as in run_rounds; 0: one run on the split of the flags",
        lower_bound=0,
        flag_values=values,
    )
    flags.DEFINE_string(
        "saqt_weights",
        "",
        "weights pretrained on transferred scores, for the table saqt; a file of convert_weights",
        values,
    )
    define_experiment(values)
    define_report(values)


def run(values: Flags, arguments: list[str]) -> None:
    """The job."""
    running = running_of(values)
    task = task_of(values, running)
    from glintiqa_jax.evaluation.metrics import METRICS
    from glintiqa_jax.evaluation.tables import summary
    from glintiqa_jax.protocols.ablations import run_ablations
    from glintiqa_jax.protocols.rounds import rows_of

    workdir = local_path("workdir", values.workdir)
    found = run_ablations(
        task,
        workdir,
        tables=values.tables,
        rounds=values.rounds,
        saqt_weights=values.saqt_weights,
        running=running,
    )
    for table, rows in found.items():
        result(f"{table}, SROCC:")
        for label, runs in rows.items():
            for name in rows_of(runs[0]):
                srocc = [rows_of(run)[name].figures["srocc"] for run in runs]
                result(f"  {summary(METRICS['srocc'], srocc)}  {label}{name.removeprefix('the network')}")
    result("")
    result(f"report:  {workdir}/report.html")
