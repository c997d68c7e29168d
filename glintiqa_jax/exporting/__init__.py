"""Functions of images where JAX, or this package, is not: as ONNX and as StableHLO. ``Model.export`` writes them."""

from glintiqa_jax.lazily import lazily

__getattr__, __all__ = lazily(__name__, stablehlo="Exported load_exported")
