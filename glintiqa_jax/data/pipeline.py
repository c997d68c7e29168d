"""Sources -> batches, by Grain.

Batches are made before ``to_iter_dataset``, so that their content is the same for any number of workers. Batch n is a
function of the seed and n alone: where training stands in the data is its step, and nothing else has to be saved.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Sequence
from multiprocessing import resource_tracker
from typing import Any

import grain
import numpy as np

from glintiqa_jax.data.augmentation import Ladder, RandomCropsAndFlips
from glintiqa_jax.data.crops import Crops
from glintiqa_jax.data.loading import Loading
from glintiqa_jax.data.source import Source
from glintiqa_jax.data.transforms import Transform
from glintiqa_jax.errors import InputError
from glintiqa_jax.interruptions import deaf_children, end_with_parent
from glintiqa_jax.progress import LOGGER

# Batches are small next to what Grain expects to buffer: two threads and a few batches hide the decoding.
_READ = grain.ReadOptions(num_threads=2, prefetch_buffer_size=8)


@dataclasses.dataclass(frozen=True)
class Batching:
    """The content of training batches: a function of this, the source, its positions and the targets.

    Attributes:
      crop_size: side of a crop, in pixels.
      batch_size: crops per batch over all processes, a multiple of their number times ``crops_per_image``.
      seed: of the order, the crops, the flips and the transforms.
      crops_per_image: crops of an image each time it comes up, side by side in a batch; it is decoded once for them.
      vertical_flips: flip upside down, too, as released.
      transforms: what happens to an image before it is cropped, in this order, each at most once.
      ladder: makes worse versions of a crop, which follow it and count as crops; their target is the image's.
      ladder_every: of how many images, one after another, the first has its crops followed by the ladder's.
    """

    crop_size: int
    batch_size: int
    seed: int = 0
    crops_per_image: int = 1
    vertical_flips: bool = True
    transforms: Sequence[Transform] = ()
    ladder: Ladder | None = None
    ladder_every: int = 1

    @property
    def rows_per_group(self) -> int:
        """Rows of a batch that ``ladder_every`` images give."""
        return self.crops_per_image * (self.ladder_every + (self.ladder.levels if self.ladder else 0))

    @property
    def smallest(self) -> int:
        """The smallest side, in pixels, that an image needs."""
        return max([self.crop_size, *(transform.smallest(self.crop_size) for transform in self.transforms)])


def training_batches(
    source: Source,
    positions: np.ndarray,
    targets: np.ndarray,
    batching: Batching,
    *,
    first_batch: int = 0,
    share: tuple[Sequence[int], int] = ((0,), 1),
    loading: Loading = Loading(),
) -> Iterable[dict[str, np.ndarray]]:
    """Endless batches of random crops, each epoch in its own order; a function of the seed alone.

    A batch is ``{"image": uint8 (batch, crop, crop, 3), "target": float32 (batch,), "position": int64 (batch,)}``, the
    position being the image's that a crop was taken from.

    Args:
      source: where the images are; the parts of a mixture are drawn by its weights, each in epochs of its own.
      positions: which of them.
      targets: what the network should say of each image of the source, ``(len(source),)``.
      batching: what is in a batch.
      first_batch: number of the batch to start with, to resume after as many steps.
      share: the numbers of this process's parts, and how many equal parts there are of the batch that one process
        alone would have.
      loading: how they are made.

    Raises:
      InputError: ``rows_per_group`` times the parts does not divide ``batch_size``, the number of targets is not
        that of the images, or an image is too small.
    """
    mine, count = share
    rows, every = batching.rows_per_group, batching.ladder_every
    check_rows(batching.batch_size, rows, every, count)
    if np.shape(targets) != (len(source),):
        raise InputError(field="targets", expected=f"{len(source)} numbers, one an image", found=np.shape(targets))
    sizes = source.sizes()[positions]
    for number in np.flatnonzero(sizes.min(axis=1) < batching.smallest)[:1]:
        raise InputError(
            field="crop_size",
            value=batching.crop_size,
            expected=f"images of at least {batching.smallest} pixels a side",
            found=f"{source.index.names[positions[number]]} of {sizes[number, 1]}x{sizes[number, 0]}",
        )
    shared = batching.batch_size // rows // count * every  # images of a part
    images = shared * len(mine)  # in each of this process's batches
    each = 3 * int(np.prod(sizes, axis=1).sum())  # bytes that every loading process would keep
    fits = each * max(loading.num_workers, 1) <= loading.cache_megabytes * 2**20
    numbers, starts = source.part_of(positions), source.part_starts()
    parts = [
        grain.MapDataset.source(
            _Part(
                part,
                positions[numbers == number] - starts[number],
                int(starts[number]),
                np.asarray(targets, np.float32)[starts[number] : starts[number + 1]],
                keep=fits,
                skip=loading.on_bad_image == "skip",
            )
        )
        .seed(batching.seed + number)
        .shuffle()
        .repeat()
        for number, part in enumerate(source.parts)
    ]

    def cropped(ladder: Ladder | None) -> grain.MapDataset:
        crop = RandomCropsAndFlips(
            batching.crop_size,
            batching.crops_per_image,
            vertical_flips=batching.vertical_flips,
            transforms=batching.transforms,
            ladder=ladder,
        )
        datasets = [part.random_map(crop) for part in parts]
        return datasets[0] if len(datasets) == 1 else grain.MapDataset.mix(datasets, source.weights)

    dataset = cropped(batching.ladder)
    if every > 1:
        dataset = grain.MapDataset.source(_First(dataset, cropped(None), every))
    if count > 1:
        dataset = grain.MapDataset.source(_Share(dataset, shared, mine, count))
    dataset = dataset.batch(images, drop_remainder=True, batch_fn=_side_by_side)
    return _iterate(dataset[first_batch:], loading.num_workers)


def check_rows(batch_size: int, rows: int, images: int, parts: int = 1) -> None:
    """``InputError`` unless a batch is made of whole groups of images, in equal parts.

    Args:
      batch_size: crops of a batch.
      rows: crops of a group.
      images: of a group.
      parts: processes or devices that share a batch.
    """
    if batch_size % (rows * parts):
        group = "an image gives" if images == 1 else f"{images} images give"
        times = f", times {parts} processes or devices" if parts > 1 else ""
        raise InputError(
            field="batch_size", expected=f"a multiple of the {rows} crops that {group}{times}", found=batch_size
        )


def evaluation_batches(
    source: Source,
    positions: np.ndarray,
    crops: Crops,
    *,
    batch_size: int,
    process: tuple[int, int] = (0, 1),
    loading: Loading = Loading(),
) -> Iterable[dict[str, np.ndarray]]:
    """Each image once, decoded once, as its crops, in batches of one shape.

    A batch is ``{"image": uint8 (batch, crops, crop, crop, 3), "position": int32 (batch,)}``, of which each of
    the processes has its own rows and as many batches as the others. Rows whose position is -1 hold no image: they fill
    the last batch and, with ``on_bad_image="skip"``, stand for images that have become unreadable.

    Args:
      source: where the images are.
      positions: which of them.
      crops: of each image.
      batch_size: images per batch, over all processes.
      process: this process's number and how many there are.
      loading: how they are made.
    """
    index, count = process
    slots = np.full(-(-len(positions) // batch_size) * batch_size, -1, np.int32)
    slots[: len(positions)] = positions
    # (batches * batch,) -> (batches, processes, rows), of which this process's
    slots = slots.reshape(-1, count, batch_size // count)[:, index].reshape(-1)

    def load(position: np.ndarray) -> dict[str, Any]:
        if position >= 0:
            try:
                image = source[int(position)]["image"]
                return {"image": crops.of(image, source.index.names[position]), "position": np.int32(position)}
            except InputError as error:
                if loading.on_bad_image != "skip":
                    raise
                LOGGER.warning("left out: %s", error)
        nothing = np.zeros((crops.count, crops.crop_size, crops.crop_size, 3), np.uint8)
        return {"image": nothing, "position": np.int32(-1)}

    return _iterate(grain.MapDataset.source(slots).map(load).batch(batch_size // count), loading.num_workers)


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
    """A dataset whose worker processes ignore Ctrl-C and end with this process, even after ``kill -9``."""

    def __init__(self, dataset: grain.IterDataset):
        self._dataset = dataset

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        resource_tracker.ensure_running()  # which lets the thread that starts it hear Ctrl-C again
        with deaf_children(), _parsed_flags():
            batches = iter(self._dataset)
            first = list(itertools.islice(batches, 1))  # for which they are started
        return itertools.chain(first, batches)


@contextlib.contextmanager
def _parsed_flags() -> Iterator[None]:
    """Grain reads absl's flags when it starts processes, in programs that have none and never parse any, too."""
    from absl import flags

    if flags.FLAGS.is_parsed():
        yield
        return
    flags.FLAGS.mark_as_parsed()
    try:
        yield
    finally:
        flags.FLAGS.unparse_flags()


def _begin_work(number: int, count: int) -> None:
    end_with_parent()


class _First:
    """The first of every so many items from one dataset, the others from another of the same length."""

    def __init__(self, first: grain.MapDataset, others: grain.MapDataset, every: int):
        self.first, self.others, self.every = first, others, every

    def __len__(self) -> int:
        return len(self.others)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        return (self.others if index % self.every else self.first)[index]


class _Share:
    """Of a dataset, endless and not yet in batches, the parts of each batch that one process has.

    Args:
      dataset: the items of all batches.
      rows: items of a part.
      mine: the process's parts.
      parts: of a batch.
    """

    def __init__(self, dataset: grain.MapDataset, rows: int, mine: Sequence[int], parts: int):
        self.dataset, self.rows, self.mine, self.parts = dataset, rows, mine, parts

    def __len__(self) -> int:
        return len(self.dataset) // self.parts * len(self.mine)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        number, row = divmod(index, self.rows)
        batch, place = divmod(number, len(self.mine))
        return self.dataset[(batch * self.parts + self.mine[place]) * self.rows + row]


class _Part:
    """Some positions of a part of a source, which starts at ``start`` of it, as images, targets and positions.

    With ``keep``, decoded images stay in memory; with ``skip``, the next image stands for one that cannot be read.
    """

    def __init__(self, part: Source, positions: np.ndarray, start: int, targets: np.ndarray, *, keep: bool, skip: bool):
        self.part, self.positions, self._start, self._targets = part, positions, start, targets
        self._keep, self._skip = keep, skip
        self._kept: dict[int, np.ndarray] = {}
        self._bad: set[int] = set()

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, index: int) -> dict[str, Any]:
        for number in (*range(index, len(self)), *range(index)):
            position = self.positions[number]
            try:
                image = self._image(position)
            except InputError as error:
                if not self._skip:
                    raise
                if number not in self._bad:
                    LOGGER.warning("the next image is taken instead: %s", error)
                    self._bad.add(number)
            else:
                return {"image": image, "target": self._targets[position], "position": position + self._start}
        raise InputError(f"none of the {len(self)} images of {self.part.name} to train on can be read")

    def _image(self, position: int) -> np.ndarray:
        image = self._kept.get(position)
        if image is None:
            image = self.part[position]["image"]
            if self._keep:
                self._kept[position] = image
        return image

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_kept": {}}  # worker processes keep their own
