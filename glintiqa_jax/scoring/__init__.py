"""A model in use: its card, its weights, its scores. Nothing of training is needed."""

from glintiqa_jax.lazily import lazily

__getattr__, __all__ = lazily(
    __name__,
    card="Calibration ModelCard View",
    export="export_model",
    files="load_model save_model",
    maps="QualityMap Window",
    model="Model",
    rows="Row read_rows",
    score="Comparison Score",
)
