"""Scoring of tables, for Ray Data and Spark: a pandas data frame of images in, one of rows out."""

from __future__ import annotations

import os
from typing import Any

from glintiqa_jax.data.images import MAX_PIXELS
from glintiqa_jax.engines.batches import once_a_process, rows_of
from glintiqa_jax.scoring.rows import COLUMNS, INTEGERS, TEXTS

_SPARK = {name: "int" if name in INTEGERS else "string" if name in TEXTS else "double" for name in COLUMNS}
SPARK_SCHEMA = ", ".join(f"{name} {kind}" for name, kind in _SPARK.items())
"""The columns of ``glintiqa score``'s rows, as ``mapInPandas`` takes them."""
_PANDAS = {"int": "Int64", "string": "string", "double": "Float64"}


class ScoreFrames:
    """A callable for an engine that hands out tables.

    Ray Data: ``dataset.map_batches(ScoreFrames, fn_constructor_args=["model"], batch_format="pandas", concurrency=2)``.
    Spark: ``table.mapInPandas(ScoreFrames("model"), SPARK_SCHEMA)``.

    A process loads the model once, at its first table. An image that cannot be scored has a row with ``error``.

    Args:
      model: a model's or a run's folder, which all workers see; None for the one that ships.
      path: the column with the images' paths.
      content: the column with the files' contents, where the table has them; None to read the paths.
      max_pixels: the largest width times height of an image; 0 is no limit.

    Raises:
      InputError: in a worker, at its first table, where there is no model at the path.
      KeyError: a table without the columns.
    """

    def __init__(
        self,
        model: str | os.PathLike | None = None,
        *,
        path: str = "path",
        content: str | None = None,
        max_pixels: int = MAX_PIXELS,
    ):
        self._model, self._max_pixels = None if model is None else os.fspath(model), max_pixels
        self._path, self._content = path, content

    def __call__(self, batch: Any) -> Any:
        """A table with a row of ``scoring.rows.COLUMNS`` for each image, in their order; of several tables one each."""
        import pandas

        if not isinstance(batch, pandas.DataFrame):
            return map(self, batch)
        images = batch[self._path].astype(str)
        examples = images if self._content is None else zip(images, batch[self._content], strict=True)
        rows = rows_of(once_a_process(self._model, self._max_pixels), list(examples))
        columns = {name: [getattr(row, name) for row in rows] for name in COLUMNS}
        return pandas.DataFrame({name: pandas.array(columns[name], _PANDAS[kind]) for name, kind in _SPARK.items()})
