"""Prepared records as a random-access source of decoded, rated images."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from glintiqa_jax.data.builder import INDEX_COLUMNS, RECORD_SPLIT, read_card, records_folder
from glintiqa_jax.data.catalog import DATABASES, ScoreScale
from glintiqa_jax.data.images import decode_image, limit_short_side, limited_size
from glintiqa_jax.data.near_duplicates import Fingerprint, load_fingerprints
from glintiqa_jax.errors import UserError

# Of a record only these are read, the rest is in the index: converting all features takes four times as long.
_READ = tfds.features.FeaturesDict({"image": tfds.features.Image(shape=(None, None, 3)), "name": tfds.features.Text()})
_UNDECODED = {"image": tfds.decode.SkipDecoding()}


@dataclasses.dataclass(frozen=True)
class Index:
    """All that is known of the records but their pixels: one entry per record, in record order."""

    names: list[str]
    raw_scores: np.ndarray
    score_stds: np.ndarray
    groups: list[str]
    splits: list[str]
    references: list[str]
    distortion_types: np.ndarray
    distortion_levels: np.ndarray
    heights: np.ndarray
    widths: np.ndarray
    sha256s: list[str]


class RatedSource:
    """``len()`` and ``[position]`` over a prepared collection.

    An item is a dict: ``image`` uint8 ``(height, width, 3)``; ``score`` in [0, 1], higher is better; ``raw_score`` and
    ``score_std`` (NaN where not known) in the collection's unit and direction; ``name``, ``group``, ``split``,
    ``reference``, ``distortion_type``, ``distortion_level``.

    Args:
      folder: what ``prepare`` returned.
      max_short_side: images whose shorter side is longer are shrunk to it; 0 leaves them as they are.
      raw_target: networks are trained on the raw scores (``--target=raw``), not on ``score``.

    Raises:
      UserError: when the folder holds no prepared collection, and by ``[position]`` when a record is damaged.
    """

    def __init__(self, folder: str | os.PathLike, *, max_short_side: int = 0, raw_target: bool = False):
        self.folder = Path(folder)
        self.max_short_side = max_short_side
        self.card = read_card(self.folder)
        self.scale = ScoreScale(**self.card["scale"] | {"raw_target": raw_target})
        self.index = _read_index(self.folder / "index.csv", self.card["index_sha256"])
        self._records: Any = None

    @property
    def parts(self) -> list[RatedSource]:
        """The databases this is made of: itself."""
        return [self]

    def __len__(self) -> int:
        return len(self.index.names)

    def __getitem__(self, position: int) -> dict[str, Any]:
        position = range(len(self))[int(position)]  # from the end where it is negative, IndexError beyond it
        index = self.index
        raw_score = float(index.raw_scores[position])
        return {
            "image": limit_short_side(self._pixels(position), self.max_short_side),
            "score": np.float32(self.scale.to_quality(raw_score)),
            "raw_score": raw_score,
            "score_std": float(index.score_stds[position]),
            "name": index.names[position],
            "group": index.groups[position],
            "split": index.splits[position],
            "reference": index.references[position],
            "distortion_type": int(index.distortion_types[position]),
            "distortion_level": int(index.distortion_levels[position]),
        }

    def fingerprints(self) -> list[Fingerprint]:
        """What the images look like, in record order, to find near-duplicates in other databases."""
        return load_fingerprints(self.folder / "fingerprints.npz")

    def contradictions(self) -> list[str]:
        """A line for each pair of identical files that were rated differently."""
        scores = dict(zip(self.index.names, self.index.raw_scores, strict=True))
        return [
            f"warning: {one} and {other} are the same file, scored {scores[one]:g} and {scores[other]:g}"
            for one, other in self.card["identical"]
            if scores[one] != scores[other]
        ]

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

    def _pixels(self, position: int) -> np.ndarray:
        """The image as it was prepared."""
        return self._record(position, self.index.names[position])

    def _record(self, position: int, name: str) -> np.ndarray:
        """The image of the record at a position, whose name must be this."""
        try:
            if self._records is None:
                builder = tfds.builder_from_directory(str(self.folder))
                raw = tfds.decode.DeserializeMethod.RAW_BYTES
                self._records = builder.as_data_source(split=RECORD_SPLIT, deserialize_method=raw)
            record = _READ.deserialize_example_np(self._records[position], decoders=_UNDECODED)
        except Exception as error:  # ArrayRecord checks what it reads, and says so with whatever is at hand
            raise UserError(
                f"{self.folder}: record {position}, {name!r}, is damaged ({error}); where it stays so, remove the "
                "folder and prepare it anew"
            ) from error
        if record["name"].decode() != name:
            raise UserError(f"{self.folder}: record {position} is {record['name'].decode()!r}, expected {name!r}")
        return decode_image(record["image"], name, max_pixels=0)  # it was looked at when it was prepared


def open_dataset(
    name: str,
    *,
    data_dir: str | os.PathLike = "~/.cache/glintiqa_jax",
    max_short_side: int = 0,
    raw_target: bool = False,
) -> RatedSource:
    """A database that ``experiments/prepare_dataset.py`` has written, as a random-access source.

    Args:
      name: the database's, such as "koniq10k", or the folder's name that preparing one's own images printed.
      data_dir: where it was prepared.
      max_short_side: images whose shorter side is longer are shrunk to it; 0 leaves them as they are.
      raw_target: networks are trained on the raw scores, not on ``score``.

    Raises:
      UserError: when it is not prepared there; the message says what is, and how to prepare it.
    """
    folder = records_folder(name, data_dir)
    if not (folder / "card.json").is_file():
        prepared = sorted(path.parents[1].name for path in folder.parents[1].glob("[!.]*/*/card.json"))
        command = f"prepare_dataset.py --dataset={name} --source=DIR"
        if name == "saqt":
            command = "build_saqt.py --sources=DIR"
        hint = f"; python experiments/{command} --data_dir={data_dir} prepares it"
        raise UserError(
            f"--dataset={name}: expected a database prepared in --data_dir={data_dir}, "
            f"found {', '.join(prepared) or 'none'}{hint if name in DATABASES else ''}"
        )
    return RatedSource(folder, max_short_side=max_short_side, raw_target=raw_target)


def _read_index(path: Path, sha256: str) -> Index:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: expected the index of a prepared dataset, found none ({error.strerror})") from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise UserError(
            f"{path}: has changed since it was prepared; prepare_dataset.py with --overwrite writes it again"
        )
    rows = list(csv.DictReader(io.StringIO(content.decode(), newline="")))
    columns: dict[str, Sequence[str]] = {column: [row[column] for row in rows] for column in INDEX_COLUMNS}
    return Index(
        names=list(columns["name"]),
        raw_scores=np.asarray(columns["raw_score"], np.float64),
        score_stds=np.asarray(columns["score_std"], np.float64),
        groups=list(columns["group"]),
        splits=list(columns["split"]),
        references=list(columns["reference"]),
        distortion_types=np.asarray(columns["distortion_type"], np.int32),
        distortion_levels=np.asarray(columns["distortion_level"], np.int32),
        heights=np.asarray(columns["height"], np.int64),
        widths=np.asarray(columns["width"], np.int64),
        sha256s=list(columns["sha256"]),
    )
