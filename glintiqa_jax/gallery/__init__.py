"""A page of what was scored: a folder to open in a browser, without a network or a server."""

from glintiqa_jax.lazily import lazily

__getattr__, __all__ = lazily(__name__, writing="Written write_gallery")
