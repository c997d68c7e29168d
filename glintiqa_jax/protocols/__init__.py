"""Many runs, one table: rounds of splits, one database against another, ablations, comparisons of predictions."""

from glintiqa_jax.lazily import lazily

__getattr__, __all__ = lazily(
    __name__,
    ablations="run_ablations",
    comparison="compare",
    cross_dataset="cross_dataset",
    rounds="run_rounds",
    runs="Running Task",
)
