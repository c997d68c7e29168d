"""Experiments, and their training: one sharded step, checkpoints, a run that can be interrupted at any moment."""

from glintiqa_jax.lazily import lazily

__getattr__, __all__ = lazily(__name__, experiment="Execution Experiment", result="Result", training="train")
