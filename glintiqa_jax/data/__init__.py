"""Rated images: databases as distributed, prepared records, splits without leaks, and batches. Never imports jax."""

from glintiqa_jax.lazily import lazily

__all__ = ["MixedSource", "Source", "Split", "from_arrays", "from_folder"]
__getattr__ = lazily(
    __name__,
    arrays=(
        "from_arrays",
        "from_folder",
    ),
    source=("Source",),
    mixture=("MixedSource",),
    splits=("Split",),
)
