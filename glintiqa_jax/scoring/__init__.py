"""A model in use: its card, its weights, its scores. Nothing of training is needed."""

from glintiqa_jax.lazily import lazily

__all__ = [
    "Calibration",
    "Comparison",
    "Model",
    "ModelCard",
    "QualityMap",
    "Row",
    "Score",
    "View",
    "Window",
    "load_model",
    "read_rows",
    "save_model",
]
__getattr__ = lazily(
    __name__,
    card=("Calibration", "ModelCard", "View"),
    files=("load_model", "save_model"),
    maps=("QualityMap", "Window"),
    model=("Model",),
    rows=("Row", "read_rows"),
    score=("Comparison", "Score"),
)
