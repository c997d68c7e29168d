"""Scores as a table for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from glintiqa_jax.errors import visible

if TYPE_CHECKING:
    from glintiqa_jax.data.scale import ScoreScale
    from glintiqa_jax.scoring.rows import Row


def table_header(scale: ScoreScale) -> str:
    """The line above the rows."""
    return f"percent     score  95 % interval      image ({scale.describe()})\n"


def table_line(row: Row) -> str:
    """One image."""
    path = visible(row.path)
    if row.error is not None:
        return f"{'-':>7} {'-':>9}  {'-':17}  {path}: {visible(row.error)}\n"
    interval = "-" if row.low is None else f"{row.low:.4g} to {row.high:.4g}"
    note = f" ({row.note})" if row.note else ""
    return f"{row.percent:7.1f} {row.score:9.4g}  {interval:17}  {path}{note}\n"
