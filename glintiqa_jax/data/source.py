"""Prepared records as a random-access source of decoded, rated images."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from glintiqa_jax.data.builder import INDEX_COLUMNS, RECORD_SPLIT
from glintiqa_jax.data.catalog import ScoreScale
from glintiqa_jax.data.images import decode_image, limit_short_side, limited_size
from glintiqa_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class Index:
    """All that is known of the records but their pixels: one entry per record, in record order."""

    names: list[str]
    raw_scores: np.ndarray
    groups: list[str]
    splits: list[str]
    distortion_types: np.ndarray
    distortion_levels: np.ndarray
    heights: np.ndarray
    widths: np.ndarray


class RatedSource:
    """``len()`` and ``[position]`` over a prepared collection.

    An item is a dict: ``image`` uint8 ``(height, width, 3)``; ``score`` in [0, 1], higher is better; ``raw_score`` in
    the collection's unit and direction; ``name``, ``group``, ``split``, ``distortion_type``, ``distortion_level``.

    Args:
      folder: what ``prepare`` returned.
      max_short_side: images whose shorter side is longer are shrunk to it; 0 leaves them as they are.

    Raises:
      UserError: when the folder holds no prepared collection.
    """

    def __init__(self, folder: str | os.PathLike, *, max_short_side: int = 0):
        self.folder = Path(folder)
        self.max_short_side = max_short_side
        if not (self.folder / "card.json").is_file():
            raise UserError(f"{folder}: expected a prepared dataset (with card.json), found none")
        self.card: dict[str, Any] = json.loads((self.folder / "card.json").read_text())
        self.scale = ScoreScale(**self.card["scale"])
        self.index = _read_index(self.folder / "index.csv")
        self._records: Any = None

    def __len__(self) -> int:
        return len(self.index.names)

    def __getitem__(self, position: int) -> dict[str, Any]:
        position = int(position)
        index = self.index
        raw_score = float(index.raw_scores[position])
        return {
            "image": self._image(position),
            "score": np.float32(self.scale.to_quality(raw_score)),
            "raw_score": raw_score,
            "name": index.names[position],
            "group": index.groups[position],
            "split": index.splits[position],
            "distortion_type": int(index.distortion_types[position]),
            "distortion_level": int(index.distortion_levels[position]),
        }

    def sizes(self) -> np.ndarray:
        """Height and width of every image as ``[position]`` gives it, int64 ``(images, 2)``."""
        sizes = [
            limited_size(height, width, self.max_short_side)
            for height, width in zip(self.index.heights, self.index.widths, strict=True)
        ]
        return np.asarray(sizes, np.int64)

    def __getstate__(self) -> dict[str, Any]:
        """For worker processes: they open the files themselves."""
        return self.__dict__ | {"_records": None}

    def __repr__(self) -> str:
        # Grain puts this into the iterator's checkpoint, which must not depend on memory addresses.
        return f"RatedSource({self.card['name']}, {self.card['fingerprint']}, max_short_side={self.max_short_side})"

    def _image(self, position: int) -> np.ndarray:
        if self._records is None:
            builder = tfds.builder_from_directory(str(self.folder))
            self._records = builder.as_data_source(split=RECORD_SPLIT, decoders={"image": tfds.decode.SkipDecoding()})
        record = self._records[position]
        name = self.index.names[position]
        if record["name"].decode() != name:
            raise UserError(f"{self.folder}: record {position} is {record['name'].decode()!r}, expected {name!r}")
        return limit_short_side(decode_image(record["image"], name), self.max_short_side)


def _read_index(path: Path) -> Index:
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    columns = {column: [row[column] for row in rows] for column in INDEX_COLUMNS}
    return Index(
        names=columns["name"],
        raw_scores=np.asarray(columns["raw_score"], np.float64),
        groups=columns["group"],
        splits=columns["split"],
        distortion_types=np.asarray(columns["distortion_type"], np.int32),
        distortion_levels=np.asarray(columns["distortion_level"], np.int32),
        heights=np.asarray(columns["height"], np.int64),
        widths=np.asarray(columns["width"], np.int64),
    )
