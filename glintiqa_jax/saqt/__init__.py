"""Semantic-aligned quality transfer (paper section III-D): distortions, retrieval, transferred scores, generation."""

from glintiqa_jax.lazily import lazily

__getattr__, __all__ = lazily(__name__, distortions="DistortionSet KADID distort")
