"""Sources by name: prepared databases, the user's own images and the demo; and their splits."""

from glintiqa_jax.lazily import lazily

__getattr__, __all__ = lazily(__name__, config="DataConfig Splitting", opening="open_data open_dataset split_data")
