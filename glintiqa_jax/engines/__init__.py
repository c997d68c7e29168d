"""Scoring on engines that people have: Apache Beam, Ray Data, Spark. Each gives the rows of ``glintiqa score``."""

from glintiqa_jax.lazily import lazily

__getattr__, __all__ = lazily(__name__, frames="SPARK_SCHEMA ScoreFrames", on_beam="ScoringHandler")
