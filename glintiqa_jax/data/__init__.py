"""Rated images: databases as distributed, prepared records, splits without leaks, and batches. Never imports jax."""

from glintiqa_jax.lazily import lazily

__getattr__, __all__ = lazily(
    __name__,
    arrays="from_arrays from_folder",
    mixture="MixedSource",
    scale="ScoreScale",
    source="Source",
    splits="Split",
)
