"""What reports contain."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from glintiqa_jax.errors import InputError
from glintiqa_jax.evaluation.baselines import BASELINES
from glintiqa_jax.settings import setting

RESAMPLES = 1000
"""The default number of resamples of a bootstrap."""


@dataclasses.dataclass(frozen=True)
class ReportOptions:
    """What a report contains; none of it changes a run's figures.

    Attributes:
      baselines: names of ``BASELINES``.
      pictures: show the best and the worst predicted images, rather than only name them.
      latex: write the tables for LaTeX, too.
      resamples: of the bootstrap intervals.
      baselines_folder: the cache of baselines, for other reports on the same images; the run's folder when None.
      command: that the report was made by; empty in a notebook.
    """

    baselines: tuple[str, ...] = setting(
        ("laplacian_variance",),
        f"baselines that stand beside the network in reports: {', '.join(BASELINES)}; empty: none",
        effect="nothing",
    )
    pictures: bool = setting(True, "show the best and the worst predicted images in reports", effect="nothing")
    latex: bool = setting(False, "write the tables of reports for LaTeX, too, to tables.tex", effect="nothing")
    resamples: int = setting(RESAMPLES, "resamples of the bootstrap intervals in reports", effect="nothing")
    baselines_folder: Path | None = None
    command: str = ""

    def __post_init__(self) -> None:
        if self.resamples < 1:
            raise InputError(field="resamples", expected="at least 1", found=self.resamples)
