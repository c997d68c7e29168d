"""Train and test GlintIQA with its parts left out or changed, on the same splits: the paper's tables of ablations.

    python experiments/ablations.py --flagfile=experiments/flags/quickstart.flags --tables=branches --rounds=0 \
      --workdir=runs/ablations

Takes every flag of ``train.py``; they say the experiment whose parts are looked at. Run again it goes on where it
stopped, with more tables or rounds it adds them.
"""

from absl import flags

from glintiqa_jax import command_line
from glintiqa_jax.data.paths import local_path
from glintiqa_jax.progress import result

with command_line.loading():
    from glintiqa_jax.training import flags as config_flags

_WORKDIR = flags.DEFINE_string("workdir", None, "folder for the rows and the report", required=True)
_TABLES = flags.DEFINE_list(
    "tables",
    "branches,kernels,integration,stages,taps,backbones",
    "which tables: branches, kernels, integration (CWSA and SIEM), stages, taps, backbones, selection, saqt",
)
_ROUNDS = flags.DEFINE_integer(
    "rounds",
    10,
    "rounds of random splits, as in run_rounds.py; 0: one run on the split that the flags say",
    lower_bound=0,
)
_SAQT_WEIGHTS = flags.DEFINE_string(
    "saqt_weights", "", "weights pretrained on transferred scores, for the table saqt; a file of convert_weights.py"
)
config_flags.define_train_flags()
config_flags.define_report_flags()
flags.adopt_module_key_flags(config_flags)  # so that --help lists them


def main() -> None:
    """The command."""
    config, report = config_flags.train_config(), config_flags.report_options()
    from glintiqa_jax.evaluation.metrics import METRICS  # after the flags, as in train.py
    from glintiqa_jax.evaluation.tables import summary
    from glintiqa_jax.protocols.ablations import run_ablations
    from glintiqa_jax.protocols.rounds import rows_of

    workdir = local_path("workdir", _WORKDIR.value)
    found = run_ablations(
        config,
        workdir,
        tables=_TABLES.value,
        rounds=_ROUNDS.value,
        saqt_weights=_SAQT_WEIGHTS.value,
        report=report,
    )
    if found is None:
        return
    for table, rows in found.items():
        result(f"{table}, SROCC:")
        for label, runs in rows.items():
            for name in rows_of(runs[0]):
                values = [rows_of(run)[name].figures["srocc"] for run in runs]
                result(f"  {summary(METRICS['srocc'], values)}  {label}{name.removeprefix('the network')}")
    result("")
    result(f"report:  {workdir}/report.html")


if __name__ == "__main__":
    command_line.run(main)
