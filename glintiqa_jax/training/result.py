"""A finished training: its figures, its predictions, its model and its report."""

from __future__ import annotations

import dataclasses
import functools
import html
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from glintiqa_jax.data.source import Source
from glintiqa_jax.errors import InputError
from glintiqa_jax.evaluation.document import MARKDOWN, PAGE
from glintiqa_jax.evaluation.prediction import read_predictions
from glintiqa_jax.evaluation.report import Evaluated
from glintiqa_jax.models.pretrained import FOLDER as MODEL
from glintiqa_jax.scoring.files import load_model
from glintiqa_jax.scoring.model import Model
from glintiqa_jax.training.description import SPLIT
from glintiqa_jax.training.metrics_log import read_metrics

RESULTS = "results.json"


@dataclasses.dataclass(frozen=True)
class Report:
    """A run's report; a notebook shows the page.

    Attributes:
      result: the run, whose folder is there as long as this is.
    """

    result: Result

    @property
    def folder(self) -> Path:
        """Where ``report.md``, ``report.html`` and the plots are."""
        return self.result.workdir

    @property
    def html(self) -> str:
        """The page, which needs no other file."""
        return (self.folder / PAGE).read_text(encoding="utf-8")

    def __str__(self) -> str:
        return (self.folder / MARKDOWN).read_text(encoding="utf-8")

    def _repr_html_(self) -> str:
        # in a frame of its own, as the page's style is for the page alone
        return f'<iframe srcdoc="{html.escape(self.html)}" style="width: 100%; height: 40em; border: 0"></iframe>'


@dataclasses.dataclass(frozen=True)
class Result:
    """A finished run.

    Attributes:
      workdir: its folder.
      figures: the content of its ``results.json``: ``figures["test"]["srocc"]``.
      evaluated: its predictions of the validation and the test split, if there are any.
      name: what tables of several runs call it.
    """

    workdir: Path
    figures: Mapping[str, Any]
    evaluated: Mapping[str, Evaluated]
    name: str = "the run"

    @classmethod
    def load(cls, workdir: Path, source: Source, figures: Mapping[str, Any] | None = None) -> Result:
        """A run that is complete, with its predictions joined to the source that they are of.

        Args:
          workdir: its folder.
          source: the images and scores that it was trained on.
          figures: of its ``results.json``, where another process has that; None to read it.
        """
        evaluated = {
            name: Evaluated(source, read_predictions(path, source))
            for name in ("validation", "test")
            if (path := workdir / f"predictions_{name}.csv").is_file()
        }
        return cls(workdir, read_results(workdir) if figures is None else figures, evaluated)

    @functools.cached_property
    def model(self) -> Model:
        """The network of the best step, and its card."""
        return load_model(self.workdir / MODEL)

    @property
    def report(self) -> Report | None:
        """Figures, plots, best and worst images; None where the run was to leave none."""
        return Report(self) if (self.workdir / PAGE).is_file() else None

    @property
    def tested(self) -> Evaluated | None:
        """Its predictions of the test split; None where it has none."""
        return self.evaluated.get("test")

    def training_positions(self, source: Source) -> np.ndarray:
        """Positions of the images that it was trained on, by its ``split.json``."""
        trained = set(json.loads((self.workdir / SPLIT).read_text(encoding="utf-8"))["train"])
        return np.flatnonzero([name in trained for name in source.index.names])

    @property
    def history(self) -> list[dict[str, Any]]:
        """The rows of its ``metrics.jsonl``."""
        return read_metrics(self.workdir)


def read_results(workdir: Path) -> dict[str, Any]:
    """The content of a complete run's ``results.json``."""
    return json.loads((workdir / RESULTS).read_text(encoding="utf-8"))


def finished(workdir: Path, last_step: int) -> bool:
    """Whether a run is complete; ``InputError`` for a file of this name that is another's."""
    path = workdir / RESULTS
    if not path.is_file():
        return False
    try:
        return json.loads(path.read_text(encoding="utf-8"))["step"] == last_step
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(
            file=path, expected="a run's results", found="something else", hint="give the run a new `workdir`"
        ) from error
