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
import json
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from absl import logging
from tensorflow_datasets.core.utils import tqdm_utils

from glintiqa_jax.data.catalog import DATABASES
from glintiqa_jax.data.digests import digests
from glintiqa_jax.data.files import write_csv, write_json
from glintiqa_jax.data.images import MAX_PIXELS, BadImageError, decode_image, encode_png, limit_long_side
from glintiqa_jax.data.near_duplicates import Fingerprint, merge_groups, near_duplicates, save_fingerprints
from glintiqa_jax.data.paths import local_path
from glintiqa_jax.data.rated_images import Collection, RatedImage, fingerprint
from glintiqa_jax.data.tables import first_five
from glintiqa_jax.data.workplace import workplace
from glintiqa_jax.errors import UserError, visible
from glintiqa_jax.progress import progress_bar, warn

RECORD_SPLIT = "images"  # the one TFDS split; train, validation and test are drawn later, by content
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
_LISTED = 1000  # pairs of near-duplicates that the card names; all of them are merged where they are
_TOLD_BY = "content"  # what the fingerprint of records made of files knows them by
_UNCOMPRESSED = (b"BM", b"P6", b"P5")  # how BMP and PPM files begin: stored as PNG, which holds the same pixels


@dataclasses.dataclass(frozen=True)
class OnBeam:
    """How Apache Beam writes the records of a collection, on many machines.

    Attributes:
      images: a PTransform from a pipeline to (position in the collection, ``RatedImage``); every machine must see the
        files.
      options: Beam's own flags: ``["--runner=DataflowRunner", "--project=..."]``; none is the local runner.
    """

    images: Any
    options: Sequence[str] = ()


class _LocalInfo(tfds.core.DatasetInfo):
    """What TFDS knows of a dataset, from nowhere else."""

    def initialize_from_bucket(self) -> None:
        """Not from the bucket of TFDS's own datasets, which also would leave a temporary folder behind."""


class RatedImages(tfds.core.GeneratorBasedBuilder):
    """TFDS builder over any collection, or over what Beam makes; image bytes are stored as they are."""

    name = "rated_images"
    VERSION = tfds.core.Version("1.1.0")

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


def records_folder(name: str, data_dir: str | os.PathLike) -> Path:
    """Where the records of a prepared collection are, by its folder's name: a database's, or one of ``csv-...``.

    Raises:
      UserError: a ``data_dir`` whose name ArrayRecord cannot open.
    """
    try:
        os.fspath(data_dir).encode()
    except UnicodeEncodeError as error:
        raise UserError(f"--data_dir={visible(data_dir)}: expected a name in UTF-8, found other bytes") from error
    return local_path("data_dir", data_dir) / records_path(name)


def records_path(name: str) -> str:
    """The same from the folder of all prepared collections on."""
    return f"{RatedImages.name}/{name}/{RatedImages.VERSION}"


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
      merge_near_duplicates: near-duplicates share a group; None leaves that to the catalog. They are listed anyway.
      overwrite: replace records of the same database that were prepared from other files or with other options.
      on_beam: writes the same images in the same order; they must be such that ``max_side`` leaves them as they are.

    Raises:
      UserError: a bad image with "fail", no good image at all with "skip", a folder that cannot be written, or a
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
            written = _write(
                _Checked(collection, on_bad_image, max_side, max_pixels), work, config, identity, merge, on_beam
            )
            _put_in_place(written, folder, identity)
    except OSError as error:
        raise UserError(f"--data_dir={data_dir}: cannot be written ({error})") from error
    return folder


def is_prepared(collection: Collection, data_dir: str | os.PathLike, *, overwrite: bool = False) -> bool:
    """Whether ``prepare`` with its defaults would find a database's records written, and so need no images.

    Raises:
      UserError: for records that were prepared in another way, unless they may be overwritten.
    """
    identity = _identity(collection, data_dir, "fail", 0, _merges(collection, None))
    return _is_prepared(records_folder(collection.name, data_dir), identity, overwrite)


def _identity(
    collection: Collection, data_dir: str | os.PathLike, on_bad_image: str, max_side: int, merge: bool
) -> str:
    """What records show: neither where the images are, nor when they were written."""
    contents = [digests(collection.sources, data_dir)] if collection.sources else []
    return fingerprint(collection.fingerprint, *contents, on_bad_image, max_side, merge)


def _merges(collection: Collection, asked: bool | None) -> bool:
    database = DATABASES.get(collection.name)
    return bool(database and database.merge_near_duplicates) if asked is None else asked


def _is_prepared(folder: Path, identity: str, overwrite: bool) -> bool:
    if not (folder / "card.json").is_file():
        return False
    card = read_card(folder)
    if card["fingerprint"] == identity:
        return _is_whole(folder, card)
    if not overwrite:
        why = "from other files or with other options"
        if card.get("told_by") != _TOLD_BY:
            why += ", or by an earlier version, whose records can be used as they are"
        raise UserError(f"{folder}: already prepared, {why}; --overwrite replaces it")
    return False


def _warn_of_former(folder: Path) -> None:
    """Name the records of one's own images that are not found any more: their folders' names told place and time."""
    former = [path.parent.parent.name for path in folder.parents[1].glob("csv-*/*/card.json") if _is_former(path)]
    if former:
        warn(
            f"{folder.parents[1]}: {', '.join(sorted(former))} were prepared by an earlier version and are not used "
            "any more; they can be deleted"
        )


def _is_former(card: Path) -> bool:
    try:
        return read_card(card.parent).get("told_by") != _TOLD_BY
    except UserError:
        return False


def _is_whole(folder: Path, card: dict[str, Any]) -> bool:
    """Whether the files that the card lists are there, by their sizes."""
    sizes = card.get("files", {})
    return all((folder / name).is_file() and (folder / name).stat().st_size == size for name, size in sizes.items())


def _put_in_place(written: Path, folder: Path, identity: str) -> None:
    """Rename what was written to where it belongs; what was there before goes only now."""
    if _is_prepared(folder, identity, overwrite=True):
        return  # the same was prepared beside us
    if folder.exists():
        folder.rename(written.parent / "replaced")
    written.rename(folder)


def _write(checked: _Checked, work: Path, config: str, identity: str, merge: bool, on_beam: OnBeam | None) -> Path:
    collection, max_side = checked.collection, checked.max_side
    if on_beam:
        for _ in checked:  # what Beam's machines know of the images does not come back: they are looked at here
            pass
    with _quiet_tfds():
        builder = RatedImages(
            rated_images=on_beam or checked,
            data_dir=str(work),
            config=tfds.core.BuilderConfig(name=config, version=str(RatedImages.VERSION)),
            file_format="array_record",
        )
        download = tfds.download.DownloadConfig(beam_options=_beam_options(on_beam.options) if on_beam else None)
        builder.download_and_prepare(download_dir=str(work / "downloads"), download_config=download)
    folder = records_folder(config, work)
    rows = checked.index
    groups = [row["group"] for row in rows]
    pairs = [] if collection.compared else near_duplicates(checked.fingerprints, groups)
    identical = [pair for pair in pairs if len({checked.fingerprints[position].digest for position in pair}) == 1]
    # the same bytes are the same content, whatever the user wants of near-duplicates
    merged = merge_groups(groups, pairs if merge else identical)
    for row, group in zip(rows, merged, strict=True):
        row["group"] = group
    save_fingerprints(folder / "fingerprints.npz", checked.fingerprints)
    write_csv(folder / "index.csv", INDEX_COLUMNS, ([row[column] for column in INDEX_COLUMNS] for row in rows))
    for name, content in collection.files.items():
        (folder / name).write_bytes(content)
    scores = [row["raw_score"] for row in rows]
    card = {
        "name": collection.name,
        "images": len(rows),
        "groups": len(set(merged)),
        "score_min": min(scores),
        "score_max": max(scores),
        "direction": "lower is better" if collection.scale.lower_is_better else "higher is better",
        "scale": dataclasses.asdict(collection.scale),
        "notes": list(collection.notes),
        "skipped": [*collection.missing, *checked.skipped],
        "max_side": max_side,
        "resize": "Pillow, bicubic, antialiased" if max_side else None,
        "near_duplicate_pairs": len(pairs),
        "near_duplicates": [[rows[position]["name"] for position in pair] for pair in pairs[:_LISTED]],
        "identical": [[rows[position]["name"] for position in pair] for pair in identical[:_LISTED]],
        "near_duplicates_merged": merge,
        "index_sha256": hashlib.sha256((folder / "index.csv").read_bytes()).hexdigest(),
        "fingerprint": identity,
        "told_by": _TOLD_BY,
        "files": {path.name: path.stat().st_size for path in sorted(folder.iterdir())},
    }
    write_json(folder / "card.json", card)
    return folder


class _Checked:
    """The images of a collection that decode, as they are stored; what is known of them is kept on the way.

    Several are read and decoded at once, in order, and few wait to be written.
    """

    def __init__(self, collection: Collection, on_bad_image: str, max_side: int, max_pixels: int):
        self.collection, self.on_bad_image = collection, on_bad_image
        self.max_side, self.max_pixels = max_side, max_pixels
        self.index: list[dict[str, Any]] = []
        self.fingerprints: list[Fingerprint] = []
        self.skipped: list[str] = []

    def __iter__(self) -> Iterator[RatedImage]:
        name, size = self.collection.name, self.collection.size
        with progress_bar(total=size, desc=f"preparing {name}", unit="image") as bar:
            for result in _in_order(self._stored, self.collection.images()):
                bar.update()
                try:
                    rated, row, fingerprint_ = result.result()
                except BadImageError as error:
                    if self.on_bad_image == "fail":
                        raise BadImageError(f"{error}; --on_bad_image=skip leaves such images out") from error
                    self.skipped.append(str(error))
                    continue
                self.index.append(row)
                self.fingerprints.append(fingerprint_)
                yield rated
        if not self.index:
            raise UserError(f"none of the {size} images of {name} can be decoded: {first_five(self.skipped[:1])}")

    def _stored(self, rated: RatedImage) -> tuple[RatedImage, dict[str, Any], Fingerprint]:
        try:
            encoded = rated.encoded()
        except OSError as error:
            raise BadImageError(f"{rated.name}: cannot be read ({error})") from error
        pixels = decode_image(encoded, rated.name, max_pixels=self.max_pixels)
        found = Fingerprint.of(encoded, pixels)
        limited = limit_long_side(pixels, self.max_side)
        if limited is not pixels or encoded.startswith(_UNCOMPRESSED):
            encoded = encode_png(limited)
        row = {field.name: getattr(rated, field.name) for field in dataclasses.fields(rated) if field.name != "image"}
        height, width = limited.shape[:2]
        row |= {"height": height, "width": width, "sha256": found.digest}
        return dataclasses.replace(rated, image=encoded), row, found


def _in_order(
    function: Callable[[RatedImage], Any], images: Iterable[RatedImage]
) -> Iterator[Future[tuple[RatedImage, dict[str, Any], Fingerprint]]]:
    """``function`` of each image as a finished future, by several threads that are never far ahead."""
    workers = min(8, os.cpu_count() or 1)
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future] = deque()
        try:
            for image in images:
                waiting.append(pool.submit(function, image))
                if len(waiting) > 2 * workers:
                    yield waiting.popleft()
            while waiting:
                yield waiting.popleft()
        finally:
            for future in waiting:
                future.cancel()


def _beam_options(flags: Sequence[str]) -> Any:
    from apache_beam.options.pipeline_options import PipelineOptions

    return PipelineOptions(list(flags))


def read_card(folder: Path) -> dict[str, Any]:
    """The content of a prepared collection's ``card.json``; ``UserError`` where there is none, or a broken one."""
    path = folder / "card.json"
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{folder}: expected a prepared dataset (with card.json), found none") from error
    except ValueError as error:
        raise UserError(f"{path}: expected what a preparation wrote, found no JSON ({error})") from error
    if not isinstance(card, dict) or "index_sha256" not in card:
        raise UserError(
            f"{path}: expected what a preparation of version {RatedImages.VERSION} wrote, found something else"
        )
    return card


@contextlib.contextmanager
def _quiet_tfds() -> Iterator[None]:
    """TFDS announces each preparation on stdout and warns about configs made in code; we have our own bar."""
    verbosity, bars = logging.get_verbosity(), tqdm_utils._active
    tfds.display_progress_bar(enable=False)
    logging.set_verbosity(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.set_verbosity(verbosity)
        tfds.display_progress_bar(enable=bars)
