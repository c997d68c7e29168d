"""Rated images: databases as distributed, prepared records, splits without leaks, and batches. Never imports jax."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from glintiqa_jax.data.source import open_dataset

__all__ = ["open_dataset"]


def __getattr__(name: str) -> Any:
    if name == "open_dataset":
        from glintiqa_jax.data.source import open_dataset

        return open_dataset
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
