"""Records -> batches, by Grain.

Batches are made before ``to_iter_dataset``, so that their content is the same for any number of workers. Batch n is a
function of the seed and n alone: where training stands in the data is its step, and nothing else has to be saved.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterable, Iterator
from multiprocessing import resource_tracker
from typing import Any

import grain
import numpy as np
from absl import logging

from glintiqa_jax.data.mixture import MixedSource, database_of, part_starts
from glintiqa_jax.data.source import RatedSource
from glintiqa_jax.data.transforms import RandomCropsAndFlips, grid_crops, random_crops
from glintiqa_jax.errors import UserError
from glintiqa_jax.interruptions import deaf_children, end_with_parent

# Batches are small next to what Grain expects to buffer: two threads and a few batches hide the decoding.
_READ = grain.ReadOptions(num_threads=2, prefetch_buffer_size=8)


def training_batches(
    source: RatedSource | MixedSource,
    positions: np.ndarray,
    *,
    crop_size: int,
    batch_size: int,
    seed: int,
    crops_per_image: int = 1,
    vertical_flips: bool = True,
    first_batch: int = 0,
    process: tuple[int, int] = (0, 1),
    on_bad_image: str = "fail",
    cache_bytes: int = 0,
    num_workers: int = 0,
) -> Iterable[dict[str, np.ndarray]]:
    """Endless batches of random crops, each epoch in its own order; a function of the seed alone.

    A batch is ``{"image": uint8 (batch, crop, crop, 3), "target": float32 (batch,), "position": int64 (batch,)}``, the
    position being the record's that a crop was taken from.

    Args:
      source: where the images are; the parts of a mixture are drawn by its weights, each in epochs of its own.
      positions: which of them.
      crop_size: side of a crop, in pixels.
      batch_size: crops per batch over all processes, a multiple of their number times ``crops_per_image``.
      seed: of the order, the crops and the flips.
      crops_per_image: crops of an image each time it comes, side by side in a batch; it is decoded once for them.
      vertical_flips: flip upside down, too, as released.
      first_batch: number of the batch to start with, to go on after as many steps.
      process: this process's number and how many there are; each has its own rows of the batch that one process alone
        would have, in their order.
      on_bad_image: a record that cannot be read any more is an error ("fail"), or the next one is taken for it, and
        said ("skip").
      cache_bytes: decoded images are kept in memory if all of them fit into this.
      num_workers: processes that load images; 0 is threads.

    Raises:
      ValueError: when ``crops_per_image`` times the processes does not divide ``batch_size``.
    """
    index, count = process
    if batch_size % (crops_per_image * count):
        raise ValueError(
            f"crops_per_image times {count} processes must divide the batch of {batch_size} crops, "
            f"found {crops_per_image}"
        )
    images = batch_size // crops_per_image // count  # in each of this process's batches
    each = 3 * int(np.prod(source.sizes()[positions], axis=1).sum())  # bytes that every process that loads would keep
    fits = each * max(num_workers, 1) <= cache_bytes
    numbers = database_of(source, positions)
    starts = part_starts(source)
    datasets = [
        grain.MapDataset.source(
            _Part(part, positions[numbers == number], starts[number], keep=fits, skip=on_bad_image == "skip")
        )
        .seed(seed + number)
        .shuffle()
        .repeat()
        .random_map(RandomCropsAndFlips(crop_size, crops_per_image, vertical_flips=vertical_flips))
        for number, part in enumerate(source.parts)
    ]
    if isinstance(source, MixedSource):
        dataset = grain.MapDataset.mix(datasets, source.weights)
    else:
        (dataset,) = datasets
    if count > 1:
        dataset = grain.MapDataset.source(_Share(dataset, images, index, count))
    dataset = dataset.batch(images, drop_remainder=True, batch_fn=_side_by_side)
    return _iterate(dataset[first_batch:], num_workers)


def evaluation_batches(
    source: RatedSource | MixedSource,
    positions: np.ndarray,
    *,
    crop_size: int,
    grid: int,
    batch_size: int,
    crops_at_random: int = 0,
    seed: int = 0,
    process: tuple[int, int] = (0, 1),
    on_bad_image: str = "fail",
    num_workers: int = 0,
) -> Iterable[dict[str, np.ndarray]]:
    """Each image once, decoded once, as a fixed grid of crops or as many at random, in batches of one shape.

    A batch is ``{"image": uint8 (batch, crops, crop, crop, 3), "position": int32 (batch,)}``, of which each of
    the processes has its own rows and as many batches as the others. Rows whose position is -1 are no images: they
    fill up the last batch and, with ``on_bad_image="skip"``, stand for records that cannot be read any more.

    Args as for ``training_batches``; ``batch_size`` counts images, over all processes. Crops at random, where there are
    any, take the place of the grid; they are a function of the seed, the image's name and its size.
    """
    index, count = process
    slots = np.full(-(-len(positions) // batch_size) * batch_size, -1, np.int32)
    slots[: len(positions)] = positions
    # (batches * batch,) -> (batches, processes, rows), of which this process's
    slots = slots.reshape(-1, count, batch_size // count)[:, index].reshape(-1)

    def load(position: np.ndarray) -> dict[str, Any]:
        nothing = {
            "image": np.zeros((crops_at_random or grid**2, crop_size, crop_size, 3), np.uint8),
            "position": np.int32(-1),
        }
        if position < 0:
            return nothing
        try:
            image = source[int(position)]["image"]
        except UserError as error:
            if on_bad_image != "skip":
                raise
            logging.warning("left out: %s", error)
            return nothing
        if crops_at_random:
            name = source.index.names[int(position)]
            crops = random_crops(
                image, crop_size, crops_at_random, np.random.default_rng([seed, zlib.crc32(name.encode())])
            )
        else:
            crops = grid_crops(image, crop_size, grid)
        return {"image": crops, "position": np.int32(position)}

    return _iterate(grain.MapDataset.source(slots).map(load).batch(batch_size // count), num_workers)


def _side_by_side(items: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The crops of several images, ``(crops, ...)`` each, as one batch ``(images * crops, ...)``."""
    return {key: np.concatenate([item[key] for item in items]) for key in items[0]}


def _iterate(dataset: grain.MapDataset, num_workers: int) -> Iterable[dict[str, np.ndarray]]:
    iterable = dataset.to_iter_dataset(_READ)
    if not num_workers:
        return iterable
    options = grain.MultiprocessingOptions(num_workers=num_workers)
    return _ByWorkers(iterable.mp_prefetch(options, worker_init_fn=_begin_work))


class _ByWorkers:
    """A dataset whose worker processes leave Ctrl-C to this one and end when it has ended, even by ``kill -9``."""

    def __init__(self, dataset: grain.IterDataset):
        self._dataset = dataset

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        resource_tracker.ensure_running()  # which lets the thread that starts it hear Ctrl-C again
        with deaf_children():
            batches = iter(self._dataset)
            first = list(itertools.islice(batches, 1))  # for which they are started
        return itertools.chain(first, batches)


def _begin_work(number: int, count: int) -> None:
    end_with_parent()


class _Share:
    """Of a dataset, endless and not yet in batches, the rows that one process has of each batch over all of them."""

    def __init__(self, dataset: grain.MapDataset, rows: int, process: int, processes: int):
        self.dataset, self.rows, self.process, self.processes = dataset, rows, process, processes

    def __len__(self) -> int:
        return len(self.dataset) // self.processes

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        batch, row = divmod(index, self.rows)
        return self.dataset[(batch * self.processes + self.process) * self.rows + row]


class _Part:
    """Some positions of a source that starts at ``start``, as a source of image, target and position.

    With ``keep``, decoded images stay in memory; with ``skip``, the next image stands for one that cannot be read.
    """

    def __init__(self, source: RatedSource, positions: np.ndarray, start: int, *, keep: bool, skip: bool):
        self.source, self.positions, self._start, self._keep, self._skip = source, positions, start, keep, skip
        self._targets = source.scale.to_target(source.index.raw_scores[positions - start]).astype(np.float32)
        self._kept: dict[int, np.ndarray] = {}
        self._bad: set[int] = set()

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, index: int) -> dict[str, Any]:
        for number in (*range(index, len(self)), *range(index)):
            try:
                image = self._image(number)
            except UserError as error:
                if not self._skip:
                    raise
                if number not in self._bad:
                    logging.warning("the next image is taken instead: %s", error)
                    self._bad.add(number)
            else:
                return {"image": image, "target": self._targets[number], "position": self.positions[number]}
        raise UserError(f"{self.source.folder}: none of the {len(self)} images to train on can be read")

    def _image(self, number: int) -> np.ndarray:
        image = self._kept.get(number)
        if image is None:
            image = self.source[self.positions[number] - self._start]["image"]
            if self._keep:
                self._kept[number] = image
        return image

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_kept": {}}  # worker processes keep their own
