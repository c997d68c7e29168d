"""A model against people: figures with their intervals, comparisons, reports."""

from glintiqa_jax.lazily import lazily

__all__ = ["METRICS", "Evaluated", "Metric", "ReportOptions", "evaluate"]
__getattr__ = lazily(
    __name__,
    config=("ReportOptions",),
    evaluating=("evaluate",),
    metrics=(
        "METRICS",
        "Metric",
    ),
    report=("Evaluated",),
)
