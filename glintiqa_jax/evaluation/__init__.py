"""A model against people: figures with their intervals, comparisons, reports."""

from glintiqa_jax.lazily import lazily

__getattr__, __all__ = lazily(
    __name__, config="ReportOptions", evaluating="evaluate", metrics="METRICS Metric", report="Evaluated"
)
