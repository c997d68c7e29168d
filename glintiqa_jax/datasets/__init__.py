"""Sources by name: prepared databases, the user's own images and the demo; and their splits."""

from glintiqa_jax.lazily import lazily

__all__ = ["DataConfig", "Splitting", "open_data", "open_dataset", "split_data"]
__getattr__ = lazily(
    __name__,
    opening=(
        "open_dataset",
        "open_data",
        "split_data",
    ),
    config=(
        "DataConfig",
        "Splitting",
    ),
)
