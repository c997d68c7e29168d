"""Rated images: databases as distributed, prepared records, splits without leaks, and batches. Never imports jax."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from glintiqa_jax.data.arrays import from_arrays, from_folder

__all__ = ["from_arrays", "from_folder"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from glintiqa_jax.data import arrays

        return getattr(arrays, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
