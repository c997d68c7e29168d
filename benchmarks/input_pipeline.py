"""What share of bare JPEG decoding the input pipeline reaches, and that its memory does not grow with the database.

    python benchmarks/input_pipeline.py
    python benchmarks/input_pipeline.py --source=FOLDER
    python benchmarks/input_pipeline.py --memory

Prints one Markdown table. By default, 1,000 photographs of 512x512 pixels are made and prepared in a temporary folder;
``--source`` takes the JPEG files of a folder instead. Every measurement is a process of its own, pinned to one core, or
to two where two processes load; the rows take turns, and what is printed are medians over ``--repeats`` turns, the
share being that of the bare Pillow of the same turn. Bare decoding reads a file, decodes it to an RGB array and looks
at one random crop of it, flipped at random, without a copy; all other rows make uint8 batches of 32 crops. Where
PyTorch is installed, its DataLoader does that from the same files, with Pillow, in the usual way: it crops and flips
before it makes an array. ``--memory`` measures peak memory over 1,000 and 20,000 small images instead.

Needs Linux and an otherwise idle machine: two cores, and for PyTorch's rows ``pip install torch``. Takes about five
minutes, with ``--memory`` about two.
"""

from __future__ import annotations

import csv
import dataclasses
import itertools
import os
import resource
import statistics
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from absl import flags
from processes import in_a_process
from script import run_script

from glintiqa_jax.errors import InputError

_IMAGES = flags.DEFINE_integer("images", 1000, "how many images, at least 128", lower_bound=128)
_SOURCE = flags.DEFINE_string("source", "", "a folder of JPEG files to take instead of making some")
_REPEATS = flags.DEFINE_integer("repeats", 5, "how often each row is measured", lower_bound=1)
_MEMORY = flags.DEFINE_bool("memory", False, "measure peak memory instead of speed")

_CROP, _BATCH = 224, 32
_SIDE, _QUALITY, _MOST_NOISE = 512, 90, 3.0  # files of 35 to 85 KB
_PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "immunohistochemistry", "retina", "rocket")
# Once a process has freed as much, glibc keeps freed memory for the next image. Those that make batches come to that by
# themselves; bare decoding would give its memory back after each image, and take twice as long.
_FREED_BYTES = 30 * 2**20
_TINY_SIDE, _FEW, _MANY = 64, 1_000, 20_000
_Result = TypeVar("_Result")


@dataclasses.dataclass(frozen=True)
class _Row:
    """One way to load images.

    Attributes:
      what: its name in the table.
      steps: of the files, the prepared folder and the row, endless steps: single crops or batches.
      images_per_step: images decoded for each step.
      crops_per_image: crops of each image.
      workers: processes that load; 0 is the measured process itself.
    """

    what: str
    steps: Callable[[list[Path], Path, _Row], Iterator[Any]]
    images_per_step: int = _BATCH
    crops_per_image: int = 1
    workers: int = 0

    @property
    def cores(self) -> int:
        return max(self.workers, 1)


def main() -> None:
    """The command."""
    if not hasattr(os, "sched_setaffinity"):
        raise InputError(expected="Linux, where a process can be pinned to a core", found=sys.platform)
    with tempfile.TemporaryDirectory() as folder:
        lines = _memory_table(Path(folder)) if _MEMORY.value else _speed_table(Path(folder))
    print("\n".join(lines))


def _speed_table(folder: Path) -> list[str]:
    rows = [
        _Row("bare Pillow", _pillow, images_per_step=1),
        _Row("bare OpenCV", _opencv, images_per_step=1),
        _Row("training_batches", _ours),
        _Row("training_batches, 4 crops per image", _ours, images_per_step=_BATCH // 4, crops_per_image=4),
        _Row("training_batches, 2 workers", _ours, workers=2),
    ]
    if find_spec("torch"):
        rows += [_Row("PyTorch DataLoader", _torch), _Row("PyTorch DataLoader, 2 workers", _torch, workers=2)]
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        rows = [row for row in rows if row.cores == 1]
    if _SOURCE.value:
        files = _jpeg_files(Path(_SOURCE.value))[: _IMAGES.value]
    else:
        files = in_a_process(_make_photographs, folder / "images", _IMAGES.value)
    records, smallest = in_a_process(_prepare, files, folder)
    if smallest < _CROP:
        expected = f"sides of at least {_CROP} pixels"
        raise InputError(field="source", value=_SOURCE.value, expected=expected, found=f"one of {smallest}")
    turns = [
        [in_a_process(_images_per_second, row, files, records, cores[: row.cores]) for row in rows]
        for _ in range(_REPEATS.value)
    ]
    size = statistics.mean(path.stat().st_size for path in files)
    lines = [
        f"{len(files)} JPEG files of {size / 1e3:.0f} kB on average; medians of {_REPEATS.value} turns.",
        "",
        "| what | cores | images/s | crops/s | share of bare Pillow, per core |",
        "|---|---|---|---|---|",
    ]
    for row, rates in zip(rows, zip(*turns, strict=True), strict=True):
        rate = statistics.median(rates)
        shares = [one / row.cores / turn[0] for one, turn in zip(rates, turns, strict=True)]
        lines.append(
            f"| {row.what} | {row.cores} | {rate:.0f} | {rate * row.crops_per_image:.0f} "
            f"| {statistics.median(shares):.1%} ({min(shares):.1%} to {max(shares):.1%}) |"
        )
    if not find_spec("torch"):
        lines.append("| PyTorch DataLoader | not installed | | | |")
    return lines


def _memory_table(folder: Path) -> list[str]:
    lines = ["Peak resident memory of a process, in MB.", "", "| images | preparing | one epoch |", "|---|---|---|"]
    for count in (_FEW, _MANY):
        files = in_a_process(_make_tiny_images, folder / f"tiny-{count}", count)
        data_dir = folder / f"data-{count}"
        (records, _), preparing = in_a_process(_with_peak_memory, _prepare, files, data_dir)
        _, epoch = in_a_process(_with_peak_memory, _iterate_one_epoch, records)
        lines.append(f"| {count:,} | {preparing:.0f} | {epoch:.0f} |")
    return lines


# What runs in processes of its own. Imports are inside, so that the threads that they start are pinned as well.


def _images_per_second(row: _Row, files: list[Path], records: Path, cores: list[int]) -> float:
    os.sched_setaffinity(0, cores)
    np.empty(_FREED_BYTES, np.uint8)  # freed at once
    steps = row.steps(files, records, row)
    # Workers do not start at once: what the first ones have loaded ahead by then must be gone. Two threads each finish
    # their batches in turns: whole turns are measured.
    _exhaust(itertools.islice(steps, (768 if row.workers else 128) // row.images_per_step))
    count = len(files) // row.images_per_step // 4 * 4
    start = time.perf_counter()
    _exhaust(itertools.islice(steps, count))
    seconds = time.perf_counter() - start
    if hasattr(steps, "close"):
        steps.close()
    return count * row.images_per_step / seconds


def _pillow(files: list[Path], records: Path, row: _Row) -> Iterator[Any]:
    from PIL import Image

    rng = np.random.default_rng(0)
    for path in itertools.cycle(files):
        with path.open("rb") as file, Image.open(file) as image:
            yield _random_crop(np.asarray(image.convert("RGB")), rng)


def _opencv(files: list[Path], records: Path, row: _Row) -> Iterator[Any]:
    import cv2

    rng = np.random.default_rng(0)
    for path in itertools.cycle(files):
        image = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
        assert image is not None
        yield _random_crop(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), rng)


def _ours(files: list[Path], records: Path, row: _Row) -> Iterator[Any]:
    from glintiqa_jax.data.loading import Loading
    from glintiqa_jax.data.pipeline import Batching, training_batches
    from glintiqa_jax.data.records import RecordSource

    source = RecordSource(records)
    batches = training_batches(
        source,
        np.arange(len(source)),
        source.scale.to_quality(source.index.raw_scores),
        Batching(_CROP, _BATCH, crops_per_image=row.crops_per_image),
        loading=Loading(row.workers, cache_megabytes=0),
    )
    return iter(batches)


def _torch(files: list[Path], records: Path, row: _Row) -> Iterator[Any]:
    import torch.utils.data

    dataset: Any = _CropsOfFiles(files)  # no subclass of torch's, which need not be there
    loader = torch.utils.data.DataLoader(
        dataset,
        batch_size=_BATCH,
        sampler=_Endless(len(files)),
        num_workers=row.workers,
        multiprocessing_context="spawn" if row.workers else None,
    )
    return iter(loader)


class _CropsOfFiles:
    """For PyTorch's DataLoader: one crop of each file."""

    def __init__(self, files: list[Path]):
        self._files, self._rng = files, np.random.default_rng(0)

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, position: int) -> np.ndarray:
        from PIL import Image

        rng = self._rng
        with self._files[position].open("rb") as file, Image.open(file) as opened:
            image = opened.convert("RGB")
        left, top = (int(rng.integers(side - _CROP + 1)) for side in image.size)
        image = image.crop((left, top, left + _CROP, top + _CROP))
        for flip in (Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.FLIP_TOP_BOTTOM):
            if rng.integers(2):
                image = image.transpose(flip)
        return np.array(image)


class _Endless:
    """For PyTorch's DataLoader: all positions in random order, again and again."""

    def __init__(self, count: int):
        self._count = count

    def __iter__(self) -> Iterator[int]:
        rng = np.random.default_rng(0)
        while True:
            yield from rng.permutation(self._count).tolist()


def _random_crop(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    top = int(rng.integers(image.shape[0] - _CROP + 1))
    left = int(rng.integers(image.shape[1] - _CROP + 1))
    crop = image[top : top + _CROP, left : left + _CROP]
    if rng.integers(2):
        crop = crop[:, ::-1]
    if rng.integers(2):
        crop = crop[::-1]
    return crop


def _exhaust(steps: Iterable[Any]) -> None:
    deque(steps, maxlen=0)


def _with_peak_memory(function: Callable[..., _Result], *arguments: Any) -> tuple[_Result, float]:
    result = function(*arguments)
    return result, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def _iterate_one_epoch(records: Path) -> None:
    from glintiqa_jax.data.loading import Loading
    from glintiqa_jax.data.pipeline import Batching, training_batches
    from glintiqa_jax.data.records import RecordSource

    source = RecordSource(records)
    positions = np.arange(len(source))
    targets, loading = source.scale.to_quality(source.index.raw_scores), Loading(cache_megabytes=0)
    batches = iter(training_batches(source, positions, targets, Batching(_TINY_SIDE // 2, _BATCH), loading=loading))
    _exhaust(itertools.islice(batches, len(source) // _BATCH))
    batches.close()


def _prepare(files: list[Path], folder: Path) -> tuple[Path, int]:
    """The folder of the prepared records, and the shortest side of an image."""
    from glintiqa_jax.data.builder import prepare
    from glintiqa_jax.data.own import read_csv
    from glintiqa_jax.data.records import RecordSource

    folder.mkdir(exist_ok=True)
    scores = folder / "scores.csv"
    with scores.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "mos"])
        writer.writerows([path.name, position % 100] for position, path in enumerate(files))
    records = prepare(read_csv(files[0].parent, scores), folder / "prepared")
    return records, int(RecordSource(records).sizes().min())


def _jpeg_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise InputError(field="source", value=folder, expected="a folder of JPEG files", found="no folder")
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in (".jpg", ".jpeg"))
    if len(files) < 128:
        raise InputError(field="source", value=folder, expected="at least 128 JPEG files", found=len(files))
    return files


def _make_photographs(folder: Path, count: int) -> list[Path]:
    """Squares cut out of scikit-image's photographs, with noise as of a camera."""
    import skimage.data
    from PIL import Image

    rng = np.random.default_rng(0)
    photographs = [Image.fromarray(getattr(skimage.data, name)()) for name in _PHOTOGRAPHS]

    def photograph(position: int) -> np.ndarray:
        whole = photographs[position % len(photographs)]
        side = int(rng.integers(min(whole.size) // 2, min(whole.size) + 1))
        left, top = (int(rng.integers(room - side + 1)) for room in whole.size)
        box = (left, top, left + side, top + side)
        pixels = np.asarray(whole.resize((_SIDE, _SIDE), Image.Resampling.BICUBIC, box=box), np.float32)
        return pixels + rng.normal(0, rng.uniform(0, _MOST_NOISE), (_SIDE, _SIDE, 1))

    return _write_jpegs(folder, count, photograph)


def _make_tiny_images(folder: Path, count: int) -> list[Path]:
    """Smooth patches of colour: cheap, and none like another."""
    import cv2

    rng = np.random.default_rng(0)

    def patches(position: int) -> np.ndarray:
        return cv2.resize(rng.uniform(0, 255, (8, 8, 3)), (_TINY_SIDE, _TINY_SIDE), interpolation=cv2.INTER_LINEAR)

    return _write_jpegs(folder, count, patches)


def _write_jpegs(folder: Path, count: int, make: Callable[[int], np.ndarray]) -> list[Path]:
    from PIL import Image

    folder.mkdir()
    files = [folder / f"{position:05d}.jpg" for position in range(count)]
    for position, path in enumerate(files):
        pixels = np.clip(make(position), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(path, quality=_QUALITY)
    return files


if __name__ == "__main__":
    run_script(main)
