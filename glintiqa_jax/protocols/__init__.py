"""Many runs, one table: rounds of splits, one database against another, ablations, comparisons of predictions."""

from glintiqa_jax.lazily import lazily

__all__ = ["Running", "Task", "compare", "cross_dataset", "run_ablations", "run_rounds"]
__getattr__ = lazily(
    __name__,
    rounds=("run_rounds",),
    cross_dataset=("cross_dataset",),
    ablations=("run_ablations",),
    runs=(
        "Running",
        "Task",
    ),
    comparison=("compare",),
)
