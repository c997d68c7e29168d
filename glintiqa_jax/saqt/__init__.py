"""Semantic-aligned quality transfer (paper section III-D): distortions, retrieval, transferred scores, generation."""

from glintiqa_jax.lazily import lazily

__all__ = ["KADID", "DistortionSet", "distort"]
__getattr__ = lazily(
    __name__,
    distortions=(
        "distort",
        "KADID",
        "DistortionSet",
    ),
)
