"""Rated images -> records: a TFDS builder that writes ArrayRecord, without TensorFlow.

A prepared collection is a folder with TFDS's own files (anyone can open it with ``tfds.builder_from_directory``),
``index.csv`` (one row per record, all but the pixels) and ``card.json``, written last: without it nothing is there.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.core.utils import tqdm_utils

from glintiqa_jax.data.checking import Checked, Keep
from glintiqa_jax.data.databases import DATABASES
from glintiqa_jax.data.digests import digest, digests
from glintiqa_jax.data.files import write_csv, write_json
from glintiqa_jax.data.images import MAX_PIXELS, encode_png, limit_long_side
from glintiqa_jax.data.near_duplicates import near_duplicates, save_looks, shared_groups
from glintiqa_jax.data.rated_images import Collection, RatedImage
from glintiqa_jax.data.records import (
    BUILDER,
    CARD,
    INDEX,
    INDEX_COLUMNS,
    LOOKS,
    RECORD_SPLIT,
    TOLD_BY,
    VERSION,
    Card,
    NearDuplicates,
    Written,
    records_folder,
)
from glintiqa_jax.data.workplace import workplace
from glintiqa_jax.errors import InputError
from glintiqa_jax.progress import quiet, warn

_LISTED = 1000  # pairs of near-duplicates that the card names; all of them are merged where they are
_UNCOMPRESSED = (b"BM", b"P6", b"P5")  # how BMP and PPM files begin: stored as PNG, which holds the same pixels


@dataclasses.dataclass(frozen=True)
class OnBeam:
    """How Apache Beam writes the records of a collection, on many machines.

    Attributes:
      images: a PTransform from a pipeline to (position in the collection, ``RatedImage``); every machine must see the
        files.
      options: flags of Beam itself, such as its runner and project; none is the local runner.
    """

    images: Any
    options: Sequence[str] = ()


class _LocalInfo(tfds.core.DatasetInfo):
    """What TFDS knows of a dataset, from nowhere else."""

    def initialize_from_bucket(self) -> None:
        """Not from the bucket of TFDS's own datasets, which also would leave a temporary folder behind."""


class RatedImages(tfds.core.GeneratorBasedBuilder):
    """TFDS builder over any collection, or over what Beam makes; image bytes are stored as they are."""

    name = BUILDER
    VERSION = tfds.core.Version(VERSION)

    def __init__(self, *, rated_images: Iterable[RatedImage] | OnBeam = (), **kwargs):
        self._rated_images = rated_images
        super().__init__(**kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        return _LocalInfo(
            builder=self,
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(None, None, 3)),
                    "name": tfds.features.Text(),
                    "raw_score": np.float32,
                    "score_std": np.float32,
                    "group": tfds.features.Text(),  # as the database has it, before near-duplicates are merged
                    "split": tfds.features.Text(),
                    "reference": tfds.features.Text(),
                    "distortion_type": np.int32,
                    "distortion_level": np.int32,
                }
            ),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager):
        del dl_manager
        return {RECORD_SPLIT: self._generate_examples()}

    def _generate_examples(self):
        if isinstance(self._rated_images, OnBeam):
            import apache_beam

            return self._rated_images.images | "Example" >> apache_beam.MapTuple(_example)
        return itertools.starmap(_example, enumerate(self._rated_images))


def _example(position: int, rated: RatedImage) -> tuple[int, dict[str, Any]]:
    facts = {field.name: getattr(rated, field.name) for field in dataclasses.fields(rated)}
    return position, facts | {"image": io.BytesIO(rated.encoded())}


def prepare(
    collection: Collection,
    data_dir: str | os.PathLike,
    *,
    on_bad_image: str = "fail",
    max_side: int = 0,
    max_pixels: int = MAX_PIXELS,
    merge_near_duplicates: bool | None = None,
    overwrite: bool = False,
    on_beam: OnBeam | None = None,
) -> Path:
    """Write a collection's records, or find them written, and return their folder.

    Args:
      collection: what to write.
      data_dir: where all prepared collections live.
      on_bad_image: "fail" stops at the first image that does not decode; "skip" leaves such images out and lists
        them in ``card.json``.
      max_side: images whose longer side is longer are shrunk to it and stored as PNG; 0 stores files as they are.
      max_pixels: larger images are bad ones; 0 is no limit.
      merge_near_duplicates: near-duplicates share a group; None leaves that to the database. They are listed anyway.
      overwrite: replace records of the same database that were prepared from other files or with other options.
      on_beam: writes the same images in the same order; they must be such that ``max_side`` leaves them as they are.

    Raises:
      InputError: a bad image with "fail", no good image at all with "skip", a folder that cannot be written, or a
        database that is already prepared in another way.
    """
    merge = _merges(collection, merge_near_duplicates)
    identity = _identity(collection, data_dir, on_bad_image, max_side, merge)
    config = collection.name if collection.name in DATABASES else f"{collection.name}-{identity[:12]}"
    folder = records_folder(config, data_dir)
    if _is_prepared(folder, identity, overwrite):
        return folder
    if collection.name == "csv":
        _warn_of_former(folder)
    try:
        with workplace(folder.parent) as work:
            checked = Checked(
                collection,
                _as_stored(max_side),
                on_bad_image=on_bad_image,
                max_pixels=max_pixels,
                doing="preparing",
            )
            card = {"max_side": max_side, "identity": identity, "near_duplicates_merged": merge}
            written = _write(checked, work, config, card, on_beam)
            _put_in_place(written, folder, identity)
    except OSError as error:
        raise InputError(f"cannot be written ({error})", field="data_dir", value=data_dir) from error
    return folder


def is_prepared(collection: Collection, data_dir: str | os.PathLike, *, overwrite: bool = False) -> bool:
    """Whether ``prepare`` with its defaults would find a database's records written, and so need no images.

    Raises:
      InputError: for records that were prepared in another way, unless they may be overwritten.
    """
    identity = _identity(collection, data_dir, "fail", 0, _merges(collection, None))
    return _is_prepared(records_folder(collection.name, data_dir), identity, overwrite)


def _identity(
    collection: Collection, data_dir: str | os.PathLike, on_bad_image: str, max_side: int, merge: bool
) -> str:
    """What records show: neither where the images are, nor when they were written."""
    contents = [digests(collection.sources, data_dir)] if collection.sources else []
    return digest(collection.identity, *contents, on_bad_image, max_side, merge)


def _merges(collection: Collection, asked: bool | None) -> bool:
    database = DATABASES.get(collection.name)
    return bool(database and database.content.merge_near_duplicates) if asked is None else asked


def _is_prepared(folder: Path, identity: str, overwrite: bool) -> bool:
    if not (folder / CARD).is_file():
        return False
    card = Card.read(folder)
    if card.identity == identity:
        return _is_whole(folder, card)
    if not overwrite:
        why = "from other files or with other options"
        if card.written.told_by != TOLD_BY:
            why += ", or by an earlier version, whose records can be used as they are"
        raise InputError(f"already prepared, {why}", file=folder, hint="`overwrite` replaces it")
    return False


def _warn_of_former(folder: Path) -> None:
    """Name the records of one's own images that are not found any more: their folders' names told place and time."""
    former = [path.parent.parent.name for path in folder.parents[1].glob(f"csv-*/*/{CARD}") if _is_former(path)]
    if former:
        warn(
            f"{folder.parents[1]}: {', '.join(sorted(former))} were prepared by an earlier version and are not used "
            "any more; they can be deleted"
        )


def _is_former(card: Path) -> bool:
    try:
        return Card.read(card.parent).written.told_by != TOLD_BY
    except InputError:
        return False


def _is_whole(folder: Path, card: Card) -> bool:
    """Whether the files that the card lists are there, by their sizes."""
    sizes = card.written.files.items()
    return all((folder / name).is_file() and (folder / name).stat().st_size == size for name, size in sizes)


def _put_in_place(written: Path, folder: Path, identity: str) -> None:
    """Rename what was written to where it belongs; what was there before goes only now."""
    if _is_prepared(folder, identity, overwrite=True):
        return  # the same was prepared beside us
    if folder.exists():
        folder.rename(written.parent / "replaced")
    written.rename(folder)


def _write(checked: Checked[RatedImage], work: Path, config: str, said: dict[str, Any], on_beam: OnBeam | None) -> Path:
    collection = checked.collection
    if on_beam:
        for _ in checked:  # what Beam's machines know of the images does not come back: they are looked at here
            pass
    with _quiet_tfds():
        builder = RatedImages(
            rated_images=on_beam or checked,
            data_dir=str(work),
            config=tfds.core.BuilderConfig(name=config, version=VERSION),
            file_format="array_record",
        )
        download = tfds.download.DownloadConfig(beam_options=_beam_options(on_beam.options) if on_beam else None)
        builder.download_and_prepare(download_dir=str(work / "downloads"), download_config=download)
    folder = records_folder(config, work)
    rows = checked.rows
    groups = [row["group"] for row in rows]
    pairs = [] if collection.compared else near_duplicates(checked.looks, groups)
    for row, group in zip(
        rows, shared_groups(groups, checked.looks, pairs, merge=said["near_duplicates_merged"]), strict=True
    ):
        row["group"] = group
    save_looks(folder / LOOKS, checked.looks)
    write_csv(folder / INDEX, INDEX_COLUMNS, ([row[column] for column in INDEX_COLUMNS] for row in rows))
    for name, content in collection.files.items():
        (folder / name).write_bytes(content)
    scores = [row["raw_score"] for row in rows]
    identical = [(a, b) for a, b in pairs if checked.looks[a].digest == checked.looks[b].digest]
    card = Card(
        name=collection.name,
        scale=collection.scale,
        notes=list(collection.notes),
        skipped=[*collection.missing, *checked.skipped],
        max_side=said["max_side"],
        identity=said["identity"],
        near_duplicates=NearDuplicates(
            pairs=len(pairs),
            named=[[rows[position]["name"] for position in pair] for pair in pairs[:_LISTED]],
            identical=[[rows[position]["name"] for position in pair] for pair in identical[:_LISTED]],
            merged=said["near_duplicates_merged"],
        ),
        written=Written(
            index_sha256=hashlib.sha256((folder / INDEX).read_bytes()).hexdigest(),
            files={path.name: path.stat().st_size for path in sorted(folder.iterdir())},
            told_by=TOLD_BY,
        ),
    )
    figures = {
        "images": len(rows),
        "groups": len({row["group"] for row in rows}),
        "score_min": min(scores),
        "score_max": max(scores),
    }
    write_json(folder / CARD, card.to_json() | figures)
    return folder


def _as_stored(max_side: int) -> Keep[RatedImage]:
    """An image as its record holds it: its file's bytes, or PNG where it is shrunk or was not compressed."""

    def stored(rated: RatedImage, encoded: bytes, pixels: np.ndarray) -> tuple[RatedImage, np.ndarray]:
        limited = limit_long_side(pixels, max_side)
        made = limited is not pixels or isinstance(rated.image, np.ndarray)
        if made or encoded.startswith(_UNCOMPRESSED):
            encoded = encode_png(limited)
        return dataclasses.replace(rated, image=encoded), limited

    return stored


def _beam_options(flags: Sequence[str]) -> Any:
    from apache_beam.options.pipeline_options import PipelineOptions

    return PipelineOptions(list(flags))


@contextlib.contextmanager
def _quiet_tfds() -> Iterator[None]:
    """TFDS announces each preparation on stdout and warns about configs made in code; we have our own bar."""
    bars = tqdm_utils._active
    tfds.display_progress_bar(enable=False)
    try:
        with quiet("absl"), contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        tfds.display_progress_bar(enable=bars)
