"""Scoring on Apache Beam (``pip install 'glintiqa-jax[beam]'``).

Every machine must see the images and the model by the same paths.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam.ml.inference.base import KeyedModelHandler, ModelHandler, RunInference
from apache_beam.options.pipeline_options import PipelineOptions

from glintiqa_jax.data.images import MAX_PIXELS
from glintiqa_jax.data.pixels import BadImageError
from glintiqa_jax.data.workplace import workplace
from glintiqa_jax.engines.batches import Example, model_of, rows_of
from glintiqa_jax.scoring.model import Model
from glintiqa_jax.scoring.rows import Row

_BATCH = 32  # images: a row waits for the others of its batch


class ScoringHandler(ModelHandler[Example, Row, Model]):
    """For ``RunInference``: paths of images, or ``(name, content of the file)``, to ``Row``.

    A worker loads the model once. An image that cannot be scored has a row with ``error``, so that
    ``beam.Partition(lambda row, _: row.error is not None, 2)`` gives the dead letters. For other keys than the paths
    wrap it in Beam's ``KeyedModelHandler``.

    Args:
      model: a model's or a run's folder, which all workers see; None for the one that ships.
      max_pixels: the largest width times height of an image; 0 is no limit.

    Raises:
      InputError: in a worker, at its first batch, where there is no model at the path.
    """

    def __init__(self, model: str | os.PathLike | None = None, *, max_pixels: int = MAX_PIXELS):
        super().__init__()
        self._model, self._max_pixels = None if model is None else os.fspath(model), max_pixels

    def load_model(self) -> Model:
        return model_of(self._model, self._max_pixels)

    def run_inference(
        self, batch: Sequence[Example], model: Model, inference_args: dict[str, Any] | None = None
    ) -> Iterable[Row]:
        return rows_of(model, batch)

    def batch_elements_kwargs(self) -> Mapping[str, Any]:
        return {"max_batch_size": _BATCH}

    def get_num_bytes(self, batch: Sequence[Example]) -> int:
        return sum(len(one) if isinstance(one, str) else len(one[1]) for one in batch)


def rows(
    images: Iterable[tuple[str | Path, str]], handler: ScoringHandler, digest: str, options: Sequence[str], folder: Path
) -> Iterator[Row]:
    """The row of each image, in their order.

    Args:
      images: paths, each with the reason why it cannot be scored, empty for what can be tried.
      handler: has the model.
      digest: the model's.
      options: Beam's flags.
      folder: which all workers see; what is written there on the way is removed.

    Raises:
      RuntimeError: when the engine lost or doubled a row.
    """
    with workplace(folder) as work:
        found, count = [], 0
        with (work / "images").open("w", encoding="utf-8") as file:
            for count, (path, problem) in enumerate(images, start=1):
                if problem:
                    found.append((count, Row.of(path, BadImageError(problem), digest)))
                else:
                    file.write(f"{json.dumps([count, str(path)])}\n")
        with beam.Pipeline(options=PipelineOptions(list(options))) as pipeline:
            _ = (
                pipeline
                | "Images" >> beam.io.ReadFromText(str(work / "images"))
                | "Spread" >> beam.Reshuffle()
                | "Keyed" >> beam.Map(_keyed)
                | "Score" >> RunInference(KeyedModelHandler(handler))
                | "Lines" >> beam.MapTuple(_line)
                | "Rows" >> beam.io.WriteToText(str(work / "rows"))
            )
        for part in work.glob("rows-*"):
            lines = map(json.loads, part.read_text(encoding="utf-8").splitlines())
            found += [(position, Row.read(values)) for position, values in lines]
        found.sort(key=lambda one: one[0])
        if [position for position, _ in found] != list(range(1, count + 1)):
            raise RuntimeError(f"expected a row for each of {count:,} images, found {len(found):,} rows")
    for _, row in found:
        yield row


def _keyed(line: str) -> tuple[int, str]:
    position, path = json.loads(line)
    return position, path


def _line(position: int, row: Row) -> str:
    return f"[{position}, {row.line('jsonl').decode().rstrip()}]"
