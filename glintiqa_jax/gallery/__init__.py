"""A page of what was scored: a folder to open in a browser, without a network or a server."""

from glintiqa_jax.lazily import lazily

__all__ = ["Written", "write_gallery"]
__getattr__ = lazily(__name__, writing=("Written", "write_gallery"))
