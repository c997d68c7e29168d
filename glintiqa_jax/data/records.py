"""Prepared records as a source: a folder of TFDS's own files, ``index.csv`` and ``card.json``."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from glintiqa_jax.data.images import decode_image
from glintiqa_jax.data.near_duplicates import Look, load_looks
from glintiqa_jax.data.paths import local_path
from glintiqa_jax.data.scale import ScoreScale
from glintiqa_jax.data.source import Index, Source
from glintiqa_jax.errors import InputError, visible

BUILDER, VERSION = "rated_images", "1.1.0"  # TFDS's name of the builder, and the version of the records
RECORD_SPLIT = "images"  # the one TFDS split; train, validation and test are drawn later, by content
CARD, INDEX, LOOKS = "card.json", "index.csv", "fingerprints.npz"  # beside TFDS's files
INDEX_COLUMNS = (
    "name",
    "raw_score",
    "score_std",
    "group",
    "split",
    "reference",
    "distortion_type",
    "distortion_level",
    "height",
    "width",
    "sha256",
)
_PLAIN = ("name", "notes", "skipped", "max_side", "identity")
_NEAR = {
    "pairs": "near_duplicate_pairs",
    "named": "near_duplicates",
    "identical": "identical",
    "merged": "near_duplicates_merged",
}  # by our names, the card's
TOLD_BY = "content"  # by what the identity of records identifies their files
# Of a record only these are read, the rest is in the index: converting all features takes four times as long.
_READ = tfds.features.FeaturesDict({"image": tfds.features.Image(shape=(None, None, 3)), "name": tfds.features.Text()})
_UNDECODED = {"image": tfds.decode.SkipDecoding()}


@dataclasses.dataclass(frozen=True)
class NearDuplicates:
    """The images of different contents that show nearly the same.

    Attributes:
      pairs: how many pairs there are.
      named: the names of the first thousand of them.
      identical: those of them whose files are the same.
      merged: they share a group.
    """

    pairs: int
    named: list[list[str]]
    identical: list[list[str]]
    merged: bool


@dataclasses.dataclass(frozen=True)
class Written:
    """What was written beside the card.

    Attributes:
      index_sha256: of ``index.csv``.
      files: sizes of the records' files by name.
      told_by: by what the card's identity identifies the images' files.
    """

    index_sha256: str
    files: dict[str, int]
    told_by: str = ""


@dataclasses.dataclass(frozen=True)
class Card:
    """What ``card.json`` says of prepared records, beside figures of what is in ``index.csv``.

    Attributes:
      name: the database's, or "csv", "demo" or "demo_photographs".
      scale: what the scores mean.
      notes: what the reader noticed.
      skipped: images that were left out, and why.
      max_side: the longer side to which images were shrunk; 0: files are stored as they are.
      identity: a digest of what the records hold; neither of where the images were, nor of when they were written.
      near_duplicates: images that show nearly the same.
      written: the files.
    """

    name: str
    scale: ScoreScale
    notes: list[str]
    skipped: list[str]
    max_side: int
    identity: str
    near_duplicates: NearDuplicates
    written: Written

    def to_json(self) -> dict[str, Any]:
        """Plain values, as the file has them; ``read`` is the inverse."""
        content = {name: getattr(self, name) for name in _PLAIN}
        near = {key: getattr(self.near_duplicates, name) for name, key in _NEAR.items()}
        return content | {"scale": dataclasses.asdict(self.scale)} | near | dataclasses.asdict(self.written)

    @classmethod
    def read(cls, folder: Path) -> Card:
        """The card of prepared records; ``InputError`` where there is none, or a broken one."""
        path = folder / CARD
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise InputError(file=folder, expected=f"a prepared dataset (with {CARD})", found="none") from error
        except ValueError as error:
            raise InputError(file=path, expected="what a preparation wrote", found=f"no JSON ({error})") from error
        try:
            content["identity"] = content.get("identity", content.get("fingerprint"))
            return cls(
                **{name: content[name] for name in _PLAIN},
                scale=ScoreScale(
                    **{field.name: content["scale"][field.name] for field in dataclasses.fields(ScoreScale)}
                ),
                near_duplicates=NearDuplicates(**{name: content[key] for name, key in _NEAR.items()}),
                written=Written(content["index_sha256"], content["files"], content.get("told_by") or ""),
            )
        except (KeyError, TypeError, AttributeError) as error:
            expected = f"what a preparation of version {VERSION} wrote"
            raise InputError(file=path, expected=expected, found="something else") from error


class RecordSource(Source):
    """A prepared collection.

    Args:
      folder: what ``prepare`` returned.

    Attributes:
      folder: where the records are.
      card: the content of their ``card.json``.

    Raises:
      InputError: when the folder holds no prepared collection, and by ``[position]`` when a record is damaged.
    """

    def __init__(self, folder: str | os.PathLike):
        self.folder = Path(folder)
        self.card = card = Card.read(self.folder)
        self.name, self.scale, self.identity = card.name, card.scale, card.identity
        self.skipped, self.max_side = card.skipped, card.max_side
        self.merges_near_duplicates = card.near_duplicates.merged
        self.index = _read_index(self.folder / INDEX, card.written.index_sha256)
        self._records: Any = None

    def looks(self) -> list[Look]:
        return load_looks(self.folder / LOOKS)

    def contradictions(self) -> list[str]:
        """A line for each pair of identical files that were rated differently."""
        scores = dict(zip(self.index.names, self.index.raw_scores, strict=True))
        return [
            f"warning: {one} and {other} are the same file, scored {scores[one]:g} and {scores[other]:g}"
            for one, other in self.card.near_duplicates.identical
            if scores[one] != scores[other]
        ]

    def __getstate__(self) -> dict[str, Any]:
        """Pickled for worker processes, which open the files themselves."""
        return self.__dict__ | {"_records": None}

    def _pixels(self, position: int) -> np.ndarray:
        return self._record(position, self.index.names[position])

    def _record(self, position: int, name: str) -> np.ndarray:
        """The image of the record at a position, whose name must be this."""
        try:
            if self._records is None:
                builder = tfds.builder_from_directory(str(self.folder))
                raw = tfds.decode.DeserializeMethod.RAW_BYTES
                self._records = builder.as_data_source(split=RECORD_SPLIT, deserialize_method=raw)
            record = _READ.deserialize_example_np(self._records[position], decoders=_UNDECODED)
        except Exception as error:  # ArrayRecord checks what it reads, and raises various exceptions
            raise InputError(
                f"record {position}, {name!r}, is damaged ({error})",
                file=self.folder,
                hint="where it stays so, remove the folder and prepare it anew",
            ) from error
        if (found := record["name"].decode()) != name:
            raise InputError(file=self.folder, expected=f"{name!r} as record {position}", found=repr(found))
        return decode_image(record["image"], name, max_pixels=0)  # it was looked at when it was prepared


def records_folder(name: str, data_dir: str | os.PathLike) -> Path:
    """Where the records of a prepared collection are, by its folder's name: a database's, or one of ``csv-...``.

    Raises:
      InputError: a ``data_dir`` whose name ArrayRecord cannot open.
    """
    try:
        os.fspath(data_dir).encode()
    except UnicodeEncodeError as error:
        raise InputError(
            field="data_dir", value=visible(data_dir), expected="a name in UTF-8", found="other bytes"
        ) from error
    return local_path("data_dir", data_dir) / records_path(name)


def records_path(name: str) -> str:
    """The same from the folder of all prepared collections on."""
    return f"{BUILDER}/{name}/{VERSION}"


def _read_index(path: Path, sha256: str) -> Index:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(
            file=path, expected="the index of a prepared dataset", found=f"none ({error.strerror})"
        ) from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise InputError("has changed since it was prepared", file=path, hint="prepare it again with `overwrite`")
    return Index.of(list(csv.DictReader(io.StringIO(content.decode(), newline=""))))
