"""Records -> batches, by Grain.

Batches are made before ``to_iter_dataset``, so that their content is the same for any number of workers.
"""

from __future__ import annotations

from typing import Any

import grain
import numpy as np

from glintiqa_jax.data.source import RatedSource
from glintiqa_jax.data.transforms import RandomCropAndFlip, grid_crops

# Batches are small next to what Grain expects to buffer: two threads and a few batches hide the decoding.
_READ = grain.ReadOptions(num_threads=2, prefetch_buffer_size=8)


def training_batches(
    source: RatedSource,
    positions: np.ndarray,
    *,
    crop_size: int,
    batch_size: int,
    seed: int,
    cache_bytes: int = 0,
    num_workers: int = 0,
) -> grain.IterDataset:
    """Endless batches of random crops, each epoch in its own order; a function of the seed alone.

    A batch is ``{"image": uint8 (batch, crop, crop, 3), "score": float32 (batch,)}``. The dataset's iterator has
    Grain's ``get_state`` and ``set_state``, so that training can go on where it stopped. Decoded images are kept in
    memory if all of them fit into ``cache_bytes``.
    """
    dataset = (
        grain.MapDataset.source(_Part(source, positions, cache_bytes))
        .seed(seed)
        .shuffle()
        .repeat()
        .random_map(RandomCropAndFlip(crop_size))
        .batch(batch_size, drop_remainder=True)
    )
    return _iterate(dataset, num_workers)


def evaluation_batches(
    source: RatedSource,
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


def _iterate(dataset: grain.MapDataset, num_workers: int) -> grain.IterDataset:
    iterable = dataset.to_iter_dataset(_READ)
    return iterable.mp_prefetch(grain.MultiprocessingOptions(num_workers=num_workers)) if num_workers else iterable


class _Part:
    """Some positions of a source, as a source; its decoded items are kept if all of them fit into ``cache_bytes``."""

    def __init__(self, source: RatedSource, positions: np.ndarray, cache_bytes: int):
        self.source, self.positions = source, positions
        self._fits = 3 * int(np.prod(source.sizes()[positions], axis=1).sum()) <= cache_bytes
        self._kept: dict[int, dict[str, Any]] = {}

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, index: int) -> dict[str, Any]:
        if index in self._kept:
            return self._kept[index]
        item = self.source[self.positions[index]]
        if self._fits:
            self._kept[index] = item
        return item

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_kept": {}}  # worker processes keep their own

    def __repr__(self) -> str:
        # Grain puts this into the iterator's checkpoint, which must not depend on memory addresses.
        return f"{self.source!r}[{len(self.positions)}]"
