"""Rated images -> records: a TFDS builder that writes ArrayRecord, without TensorFlow.

A prepared collection is a folder with TFDS's own files (anyone can open it with ``tfds.builder_from_directory``),
``index.csv`` (one row per record, all but the pixels) and ``card.json``, written last: without it nothing is there.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds
from absl import logging
from tqdm import tqdm

from glintiqa_jax.data.files import write_csv, write_json
from glintiqa_jax.data.images import BadImageError, decode_image
from glintiqa_jax.data.readers import Collection, RatedImage
from glintiqa_jax.errors import UserError

RECORD_SPLIT = "images"  # the one TFDS split; train, validation and test are drawn later, by content
INDEX_COLUMNS = (
    "name",
    "raw_score",
    "group",
    "split",
    "distortion_type",
    "distortion_level",
    "height",
    "width",
)


class RatedImages(tfds.core.GeneratorBasedBuilder):
    """TFDS builder over any collection; image bytes are stored as they are."""

    name = "rated_images"
    VERSION = tfds.core.Version("1.0.0")

    def __init__(self, *, rated_images: Iterable[RatedImage] = (), **kwargs):
        self._rated_images = rated_images
        super().__init__(**kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(None, None, 3)),
                    "name": tfds.features.Text(),
                    "raw_score": np.float32,
                    "group": tfds.features.Text(),
                    "split": tfds.features.Text(),
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
        for position, rated in enumerate(self._rated_images):
            yield (
                position,
                {
                    "image": io.BytesIO(rated.encoded()),
                    "name": rated.name,
                    "raw_score": rated.raw_score,
                    "group": rated.group,
                    "split": rated.split,
                    "distortion_type": rated.distortion_type,
                    "distortion_level": rated.distortion_level,
                },
            )


def prepare(collection: Collection, data_dir: str | os.PathLike, *, on_bad_image: str = "fail") -> Path:
    """Write a collection's records, or find them written, and return their folder.

    Args:
      collection: what to write.
      data_dir: where all prepared collections live.
      on_bad_image: "fail" stops at the first image that does not decode; "skip" leaves such images out and lists
        them in ``card.json``.

    Raises:
      UserError: a bad image with "fail", no good image at all with "skip", or a folder that cannot be written.
    """
    root = Path(data_dir).expanduser()
    config = f"{collection.name}-{collection.fingerprint[:12]}-{on_bad_image}"
    folder = root / RatedImages.name / config / str(RatedImages.VERSION)
    if (folder / "card.json").is_file():
        return folder
    try:
        root.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(folder, ignore_errors=True)  # what an interrupted preparation left
    except OSError as error:
        raise UserError(f"--data_dir={data_dir}: cannot be written ({error})") from error
    index: list[list] = []
    skipped: list[str] = []
    builder_config = tfds.core.BuilderConfig(name=config, version=str(RatedImages.VERSION))
    with _quiet_tfds():
        builder = RatedImages(
            rated_images=_checked(collection, on_bad_image, index, skipped),
            data_dir=str(root),
            config=builder_config,
            file_format="array_record",
        )
        builder.download_and_prepare(download_dir=str(folder.parent / "downloads"))
    shutil.rmtree(folder.parent / "downloads", ignore_errors=True)
    write_csv(folder / "index.csv", INDEX_COLUMNS, index)
    scores = [row[INDEX_COLUMNS.index("raw_score")] for row in index]
    card = {
        "name": collection.name,
        "images": len(index),
        "groups": len({row[INDEX_COLUMNS.index("group")] for row in index}),
        "score_min": min(scores),
        "score_max": max(scores),
        "scale": dataclasses.asdict(collection.scale),
        "skipped": skipped,
        "fingerprint": collection.fingerprint,
    }
    write_json(folder / "card.json", card)
    return folder


def _checked(collection: Collection, on_bad_image: str, index: list, skipped: list) -> Iterator[RatedImage]:
    """The images that decode; fills ``index`` and ``skipped`` on the way."""
    bar = tqdm(collection.images(), total=collection.size, desc=f"preparing {collection.name}", unit="image")
    for rated in bar:
        try:
            height, width = decode_image(rated.encoded(), rated.name).shape[:2]
        except BadImageError as error:
            if on_bad_image == "fail":
                raise BadImageError(f"{error}; --on_bad_image=skip leaves such images out") from error
            skipped.append(str(error))
            continue
        index.append(
            [
                rated.name,
                rated.raw_score,
                rated.group,
                rated.split,
                rated.distortion_type,
                rated.distortion_level,
                height,
                width,
            ]
        )
        yield rated
    if not index:
        raise UserError(f"none of the {collection.size} images of {collection.name} can be decoded: {skipped[0]}")


@contextlib.contextmanager
def _quiet_tfds() -> Iterator[None]:
    """TFDS announces each preparation on stdout and warns about configs made in code; we have our own bar."""
    verbosity = logging.get_verbosity()
    tfds.disable_progress_bar()
    logging.set_verbosity(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.set_verbosity(verbosity)
