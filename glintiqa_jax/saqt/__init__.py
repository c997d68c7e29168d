"""Semantic-aligned quality transfer (paper section III-D): distortions, retrieval, transferred scores, generation."""

from glintiqa_jax.lazily import lazily

__getattr__, __all__ = lazily(
    __name__,
    distortions="DistortionSet KADID distort",
    features="semantic_features",
    kadid_scores="MEAN_SCORES",
    retrieval="nearest",
    transfer="ReferenceScores read_reference_scores transferred_scores",
)
