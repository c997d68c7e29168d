"""Records -> batches, by Grain.

Batches are made before ``to_iter_dataset``, so that their content is the same for any number of workers.
"""

from __future__ import annotations

from typing import Any

import grain
import numpy as np

from glintiqa_jax.data.mixture import MixedSource, database_of, part_starts
from glintiqa_jax.data.source import RatedSource
from glintiqa_jax.data.transforms import RandomCropsAndFlips, grid_crops

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
    process: tuple[int, int] = (0, 1),
    cache_bytes: int = 0,
    num_workers: int = 0,
) -> grain.IterDataset:
    """Endless batches of random crops, each epoch in its own order; a function of the seed alone.

    A batch is ``{"image": uint8 (batch, crop, crop, 3), "target": float32 (batch,)}``. The dataset's iterator has
    Grain's ``get_state`` and ``set_state``, so that training can go on where it stopped.

    Args:
      source: where the images are; the parts of a mixture are drawn by its weights, each in epochs of its own.
      positions: which of them.
      crop_size: side of a crop, in pixels.
      batch_size: crops per batch of this process, a multiple of ``crops_per_image``.
      seed: of the order, the crops and the flips.
      crops_per_image: crops of an image each time it comes, side by side in a batch; it is decoded once for them.
      vertical_flips: flip upside down, too, as released.
      process: this process's number and how many there are. Together, the batches of all of them hold the images that
        one process would have in a batch of all their crops.
      cache_bytes: decoded images are kept in memory if all of them fit into this.
      num_workers: processes that load images; 0 is threads.

    Raises:
      ValueError: when ``crops_per_image`` does not divide ``batch_size``.
    """
    if batch_size % crops_per_image:
        raise ValueError(f"crops_per_image must divide the batch of {batch_size} crops, found {crops_per_image}")
    each = 3 * int(np.prod(source.sizes()[positions], axis=1).sum())  # bytes that every process that loads would keep
    fits = each * max(num_workers, 1) <= cache_bytes
    numbers = database_of(source, positions)
    starts = part_starts(source)
    datasets = [
        grain.MapDataset.source(_Part(part, positions[numbers == number] - starts[number], keep=fits))
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
    index, count = process
    if count > 1:
        dataset = dataset[index::count]
    dataset = dataset.batch(batch_size // crops_per_image, drop_remainder=True, batch_fn=_side_by_side)
    return _iterate(dataset, num_workers)


def evaluation_batches(
    source: RatedSource | MixedSource,
    positions: np.ndarray,
    *,
    crop_size: int,
    grid: int,
    batch_size: int,
    num_workers: int = 0,
) -> grain.IterDataset:
    """Each image once, decoded once, as a fixed grid of crops, in batches of one shape.

    A batch is ``{"image": uint8 (batch, grid * grid, crop, crop, 3), "position": int64 (batch,)}``; the last batch is
    filled up with repeats whose position is -1.
    """
    slots = np.full(-(-len(positions) // batch_size) * batch_size, -1, np.int64)
    slots[: len(positions)] = positions

    def load(position: np.ndarray) -> dict[str, Any]:
        item = source[int(position) if position >= 0 else int(positions[-1])]
        return {"image": grid_crops(item["image"], crop_size, grid), "position": np.int64(position)}

    return _iterate(grain.MapDataset.source(slots).map(load).batch(batch_size), num_workers)


def _side_by_side(items: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The crops of several images, ``(crops, ...)`` each, as one batch ``(images * crops, ...)``."""
    return {key: np.concatenate([item[key] for item in items]) for key in items[0]}


def _iterate(dataset: grain.MapDataset, num_workers: int) -> grain.IterDataset:
    iterable = dataset.to_iter_dataset(_READ)
    return iterable.mp_prefetch(grain.MultiprocessingOptions(num_workers=num_workers)) if num_workers else iterable


class _Part:
    """Some positions of a source, as a source of image and target; with ``keep``, decoded images stay in memory."""

    def __init__(self, source: RatedSource, positions: np.ndarray, *, keep: bool):
        self.source, self.positions, self._keep = source, positions, keep
        self._targets = source.scale.to_target(source.index.raw_scores[positions]).astype(np.float32)
        self._kept: dict[int, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, index: int) -> dict[str, Any]:
        image = self._kept.get(index)
        if image is None:
            image = self.source[self.positions[index]]["image"]
            if self._keep:
                self._kept[index] = image
        return {"image": image, "target": self._targets[index]}

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_kept": {}}  # worker processes keep their own

    def __repr__(self) -> str:
        # Grain puts this into the iterator's checkpoint, which must not depend on memory addresses.
        return f"{self.source!r}[{len(self.positions)}]"
