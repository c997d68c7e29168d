"""Experiments, and their training: one sharded step, checkpoints, a run that can be interrupted at any moment."""

from glintiqa_jax.lazily import lazily

__all__ = ["Execution", "Experiment", "Result", "train"]
__getattr__ = lazily(__name__, experiment=("Execution", "Experiment"), result=("Result",), training=("train",))
