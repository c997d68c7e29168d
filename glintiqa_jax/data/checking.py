"""Every image of a collection decoded once: whether it decodes, its size, and its look."""

from __future__ import annotations

import dataclasses
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Generic, TypeVar

import numpy as np

from glintiqa_jax.data.images import MAX_PIXELS, decode_image
from glintiqa_jax.data.near_duplicates import Look
from glintiqa_jax.data.pixels import BadImageError
from glintiqa_jax.data.rated_images import LEAVES_OUT, Collection, RatedImage
from glintiqa_jax.errors import InputError
from glintiqa_jax.progress import progress_bar

T = TypeVar("T")
Keep = Callable[[RatedImage, bytes, np.ndarray], tuple[T, np.ndarray]]
"""From an image, its file's bytes and its pixels: what to keep of it, and the pixels as they are kept."""


class Checked(Generic[T]):
    """The images of a collection that decode, as they are kept; their metadata is collected during iteration.

    Several are read and decoded at once, in order, and only a few are buffered.

    Args:
      collection: the images.
      keep: gives what to keep of an image; called by several threads.
      on_bad_image: "fail" stops at the first image that does not decode; "skip" leaves such images out.
      max_pixels: larger images are bad ones; 0 is no limit.
      doing: what the progress bar says.

    Attributes:
      rows: the metadata of each kept image, by column.
      looks: what each looks like.
      skipped: those that are left out, and why.
    """

    def __init__(
        self,
        collection: Collection,
        keep: Keep[T],
        *,
        on_bad_image: str = "fail",
        max_pixels: int = MAX_PIXELS,
        doing: str = "looking at",
    ):
        self.collection, self.keep, self.doing = collection, keep, doing
        self.on_bad_image, self.max_pixels = on_bad_image, max_pixels
        self.rows: list[dict[str, Any]] = []
        self.looks: list[Look] = []
        self.skipped: list[str] = []

    def __iter__(self) -> Iterator[T]:
        name, size = self.collection.name, self.collection.size
        with progress_bar(total=size, desc=f"{self.doing} {name}", unit="image") as bar:
            for result in _in_order(self._looked_at, self.collection.images()):
                bar.update()
                try:
                    kept, row, look = result.result()
                except BadImageError as error:
                    if self.on_bad_image == "fail":
                        raise BadImageError(str(error), hint=LEAVES_OUT) from error
                    self.skipped.append(str(error))
                    continue
                self.rows.append(row)
                self.looks.append(look)
                yield kept
        if not self.rows:
            found = ", ".join(self.skipped[:1])
            raise InputError(f"none of the {size} images of {name} can be decoded: {found}")

    def _looked_at(self, rated: RatedImage) -> tuple[T, dict[str, Any], Look]:
        try:
            content = rated.encoded()
        except (OSError, ValueError) as error:
            raise BadImageError(f"cannot be read ({error})", file=rated.name) from error
        if isinstance(rated.image, np.ndarray):
            pixels = rated.image
        else:
            pixels = decode_image(content, rated.name, max_pixels=self.max_pixels)
        look = Look.of(content, pixels)
        kept, pixels = self.keep(rated, content, pixels)
        row = {field.name: getattr(rated, field.name) for field in dataclasses.fields(rated) if field.name != "image"}
        height, width = pixels.shape[:2]
        return kept, row | {"height": height, "width": width, "sha256": look.digest}, look


def _in_order(function: Callable[[RatedImage], Any], images: Iterable[RatedImage]) -> Iterator[Future]:
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
