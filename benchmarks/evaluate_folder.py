"""How long it takes to evaluate a folder of photographs, from files on disk to one prediction per image.

    python benchmarks/evaluate_folder.py
    python benchmarks/evaluate_folder.py --photographs=DIR --variants=glintiqa_s16_r50 --images=8

Prints one Markdown table, ours next to PyTorch. A prediction is the mean over the same fixed grid of 5x5 crops in all
of these ways:

- PyTorch, every crop decoded: the loop as it is usually written, the authors' among them. A dataset names each image 25
  times; each crop opens and decodes its file with Pillow, is cut out, made a tensor and normalised, and a DataLoader
  makes batches of them. The network is ``torch_glintiqa.py``, without gradients.
- PyTorch, every image decoded once: the same, but that the 25 crops of an image are cut out of one decoded image.
- ours: ``predict_source`` over prepared records, which is what evaluating a model calls, in a process that has
  compiled nothing yet, without JAX's persistent cache: compiling is part of the time, and of that its own column.
- ours, compiled: the same once more in the same process.

The rows "data only" load and cut the crops out in the same ways, and have no network. Networks have random weights,
the same for all ways, with the head's last layer scaled so that predictions spread in [0, 1] as scores do. Where a
prediction differs by more than 0.001 from PyTorch's, the run fails.

Each measurement is a process of its own on all cores; libraries are imported and weights loaded before the clock
starts, and files are in the page cache. Preparing the records, which a database needs once, is in no row: how long it
took is said above the table. The ways take turns, and what is printed are medians over ``--repeats`` turns; a ratio is
the time of PyTorch's loop to the row's in the same turn.

Needs ``pip install torch`` and an otherwise idle machine: PyTorch's threads wait for one another by spinning, so that
its rows take many times as long where other processes want the same cores. On Linux it is said above the table how
much of the cores' time others had. Takes about two minutes; a large network on a CPU takes seconds per image, hence
few ``--images`` for it.
"""

from __future__ import annotations

import csv
import dataclasses
import math
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch_loop
from absl import flags
from networks import chosen_networks, random_weights, save_weights
from processes import in_a_process
from script import run_script
from torch_loop import GRID, CropsOfFiles, FilesInCrops
from tqdm import tqdm

from glintiqa_jax.data.walk import images_below
from glintiqa_jax.errors import InputError

_VARIANTS = flags.DEFINE_list("variants", ["glintiqa_mini"], "which networks, with a ResNet or an EfficientNet-Lite")
_IMAGES = flags.DEFINE_integer("images", 200, "how many photographs", lower_bound=1)
_REPEATS = flags.DEFINE_integer("repeats", 3, "how often each row is measured", lower_bound=1)
_PHOTOGRAPHS = flags.DEFINE_string("photographs", "", "a folder of photographs to take instead of making some")
_BATCH_SIZE = flags.DEFINE_integer(
    "batch_size", 16, "ours: images per batch at most, as --eval_batch_size", lower_bound=1
)
_TORCH_BATCH_SIZE = flags.DEFINE_integer("torch_batch_size", 32, "PyTorch: crops per batch", lower_bound=1)
_TORCH_WORKERS = flags.DEFINE_integer("torch_workers", 0, "PyTorch: processes that load", lower_bound=0)

_TOLERANCE = 1e-3
_CROPS = GRID * GRID
_SIDE, _QUALITY, _MOST_NOISE = 512, 90, 3.0
_SOURCES = ("astronaut", "chelsea", "coffee", "immunohistochemistry", "retina", "rocket")
_MEAN, _DEVIATION = 0.5, 0.15  # of predictions over images


@dataclasses.dataclass(frozen=True)
class _Job:
    """What is evaluated.

    Attributes:
      variant: the network's name.
      config: the fields of its configuration, for PyTorch, which need not import JAX for them.
      weights: its weights in the official layout, an ``.npz`` file.
      files: the photographs.
      records: the same, prepared.
      batch_size: ours at most.
      torch_batch_size: PyTorch's.
      torch_workers: PyTorch's.
    """

    variant: str
    config: dict[str, Any]
    weights: Path
    files: list[Path]
    records: Path
    batch_size: int
    torch_batch_size: int
    torch_workers: int

    @property
    def crop_size(self) -> int:
        return self.config["crop_size"]


@dataclasses.dataclass(frozen=True)
class _Measured:
    """One evaluation: its seconds, those of them that compiling took, and the images' predictions where there are."""

    seconds: float
    compile_seconds: float = 0.0
    predicted: np.ndarray | None = None


def main() -> None:
    """The command."""
    networks = chosen_networks(_VARIANTS)
    with tempfile.TemporaryDirectory() as folder:
        if _PHOTOGRAPHS.value:
            files = _photographs(Path(_PHOTOGRAPHS.value), _IMAGES.value)
        else:
            files = in_a_process(_make_photographs, Path(folder) / "images", _IMAGES.value)
        records, smallest, preparing = in_a_process(_prepare, files, Path(folder))
        jobs = []
        for variant, fields in networks.items():
            if smallest < (crop_size := fields["crop_size"]):
                raise InputError(
                    field="photographs",
                    value=_PHOTOGRAPHS.value,
                    expected=f"sides of at least {crop_size} pixels, the crop of {variant}",
                    found=f"one of {smallest}",
                )
            weights = Path(folder) / f"{variant}.npz"
            options = {flag.name: flag.value for flag in (_BATCH_SIZE, _TORCH_BATCH_SIZE, _TORCH_WORKERS)}
            jobs.append(_Job(variant, fields, weights, files, records, **options))
        lines = _table(jobs, preparing)
    print("\n".join(lines))


def _table(jobs: list[_Job], preparing: float) -> list[str]:
    size = statistics.mean(path.stat().st_size for path in jobs[0].files)
    count = len(jobs[0].files)
    lines = []
    largest, spread = 0.0, []
    for job in jobs:
        in_a_process(_make_weights, job)
    start, busy = time.perf_counter(), _busy_with_others()
    for job in jobs:
        turns = [_turn(job) for _ in tqdm(range(_REPEATS.value), desc=job.variant, unit="turn")]
        for way in turns[0]:
            base = "PyTorch, every crop decoded" + (", data only" if way.endswith("data only") else "")
            measured = [turn[way] for turn in turns]
            ratios = [turn[base].seconds / turn[way].seconds for turn in turns]
            seconds = statistics.median(one.seconds for one in measured)
            compiling = statistics.median(one.compile_seconds for one in measured)
            lines.append(
                f"| {job.variant} | {way} | {seconds:.3g} | {f'{compiling:.3g}' if compiling else ''} "
                f"| {count / seconds:.3g} | {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}) |"
            )
        predictions = [one.predicted for turn in turns for one in turn.values() if one.predicted is not None]
        largest = max(largest, _largest_difference(job.variant, predictions))
        spread.append(f"{float(predictions[0].std()):.3f}")
    share = (_busy_with_others() - busy) / (time.perf_counter() - start) / (os.cpu_count() or 1)
    others = "" if math.isnan(share) else f" Other processes had {max(share, 0.0):.0%} of the cores' time."
    return [
        f"{count} images of {size / 1e3:.0f} kB on average, {_CROPS} crops each, {_cores()} cores; medians of "
        f"{_REPEATS.value} turns. Batches of at most {_BATCH_SIZE.value} images, PyTorch's of "
        f"{_TORCH_BATCH_SIZE.value} crops by {_TORCH_WORKERS.value} workers. Preparing the records took "
        f"{preparing:.1f} s, once. Predictions differ by {largest:.1g} at most, and have a standard deviation of "
        f"{', '.join(spread)}.{others}",
        "",
        "| variant | way | seconds | of them compiling | images/s | ratio to PyTorch's loop |",
        "|---|---|---|---|---|---|",
        *lines,
    ]


def _turn(job: _Job) -> dict[str, _Measured]:
    """Each way once, by the row's name."""
    ours, again = in_a_process(_ours, job)
    return {
        "PyTorch, every crop decoded": in_a_process(_torch, job, CropsOfFiles),
        "PyTorch, every image decoded once": in_a_process(_torch, job, FilesInCrops),
        "ours": ours,
        "ours, compiled": again,
        "PyTorch, every crop decoded, data only": in_a_process(_torch_data, job, CropsOfFiles),
        "PyTorch, every image decoded once, data only": in_a_process(_torch_data, job, FilesInCrops),
        "ours, data only": in_a_process(_our_data, job),
    }


def _largest_difference(variant: str, predictions: list[np.ndarray]) -> float:
    largest = max(float(np.abs(one - predictions[0]).max()) for one in predictions)
    if not largest <= _TOLERANCE:
        raise RuntimeError(f"{variant}: expected equal predictions, found some that differ by {largest:.2g}")
    return largest


def _photographs(folder: Path, count: int) -> list[Path]:
    if not folder.is_dir():
        raise InputError(field="photographs", value=folder, expected="a folder of photographs", found="no folder")
    files = images_below(folder).images
    if len(files) < count:
        expected = f"at least the {count} of `images`"
        raise InputError(field="photographs", value=folder, expected=expected, found=len(files))
    return files[:count]


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _busy_with_others() -> float:
    """Seconds, over all cores, that processes other than this and its children have run so far; NaN beside Linux."""
    statistics_file = Path("/proc/stat")
    if not statistics_file.is_file():
        return math.nan
    # of all cores: user, nice, system, idle, waiting for a disk, interrupts and their rest, taken by the hypervisor
    ticks = [int(text) for text in statistics_file.read_text().split("\n", 1)[0].split()[1:9]]
    everyone = (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")
    return everyone - sum(os.times()[:4])


# What runs in processes of its own. Imports are inside, so that PyTorch's processes have no JAX and the reverse.


def _ours(job: _Job) -> tuple[_Measured, _Measured]:
    import jax
    from flax import nnx

    from glintiqa_jax.data.records import RecordSource
    from glintiqa_jax.evaluation.prediction import predict_source
    from glintiqa_jax.models.config import VARIANTS
    from glintiqa_jax.models.glintiqa import new_model
    from glintiqa_jax.models.weights import load_glintiqa
    from glintiqa_jax.scoring.card import ModelCard, View
    from glintiqa_jax.scoring.predict import Predict
    from glintiqa_jax.sharding import make_mesh

    jax.config.update("jax_enable_compilation_cache", False)
    model = new_model(VARIANTS[job.variant])
    load_glintiqa(model, job.weights)
    mesh = make_mesh()
    graphdef, state = nnx.split(model)
    network = Predict(graphdef, mesh)
    compiled: list[Callable] = []
    compile_seconds = 0.0

    def predict(crops: jax.Array) -> jax.Array:
        nonlocal compile_seconds
        if not compiled:  # as the first call does, but that it is timed
            start = time.perf_counter()
            compiled.append(network.jitted.lower(crops, (state,)).compile())
            compile_seconds = time.perf_counter() - start
        return compiled[0](crops, (state,))

    measured = []
    for _ in range(2):
        compile_seconds = 0.0
        start = time.perf_counter()
        source = RecordSource(job.records)
        card = ModelCard(VARIANTS[job.variant], source.scale, View(grid=GRID))
        found = predict_source(predict, source, np.arange(len(source)), card, mesh=mesh, batch_size=job.batch_size)
        seconds = time.perf_counter() - start
        quality = dict(zip(found.names, source.scale.to_quality(found.predicted), strict=True))
        predicted = np.asarray([quality[path.name] for path in job.files])
        measured.append(_Measured(seconds, compile_seconds, predicted))
    return measured[0], measured[1]


def _our_data(job: _Job) -> _Measured:
    from glintiqa_jax.data.crops import Crops
    from glintiqa_jax.data.pipeline import evaluation_batches
    from glintiqa_jax.data.records import RecordSource
    from glintiqa_jax.evaluation.prediction import images_at_once
    from glintiqa_jax.sharding import make_mesh

    size = images_at_once(job.batch_size, len(job.files), _CROPS * job.crop_size**2, make_mesh())
    start = time.perf_counter()
    source = RecordSource(job.records)
    positions = np.arange(len(source))
    for _ in evaluation_batches(source, positions, Crops(job.crop_size, GRID), batch_size=size):
        pass
    return _Measured(time.perf_counter() - start)


def _torch(job: _Job, way: type[CropsOfFiles | FilesInCrops]) -> _Measured:
    import torch
    import torch_glintiqa

    torch.set_num_threads(_cores())
    model = torch_glintiqa.GlintIQA(SimpleNamespace(**job.config))
    with np.load(job.weights) as weights:
        model.load_state_dict({name: torch.from_numpy(weights[name]) for name in weights.files}, strict=True)
    start = time.perf_counter()
    predicted = []
    with torch.no_grad():
        for crops in _torch_batches(job, way):
            predicted.append(model(crops))
    # (images * crops,) -> (images, crops) -> (images,)
    means = torch.cat(predicted).view(-1, _CROPS).mean(dim=1).numpy()
    return _Measured(time.perf_counter() - start, predicted=means)


def _torch_batches(job: _Job, way: type[CropsOfFiles | FilesInCrops]) -> Iterator[Any]:
    return torch_loop.batches(
        way, job.files, crop_size=job.crop_size, batch_size=job.torch_batch_size, workers=job.torch_workers
    )


def _torch_data(job: _Job, way: type[CropsOfFiles | FilesInCrops]) -> _Measured:
    import torch

    torch.set_num_threads(_cores())
    start = time.perf_counter()
    for _ in _torch_batches(job, way):
        pass
    return _Measured(time.perf_counter() - start)


def _prepare(files: list[Path], folder: Path) -> tuple[Path, int, float]:
    """The folder of the prepared records, the shortest side of an image, and how many seconds it took."""
    from glintiqa_jax.data.builder import prepare
    from glintiqa_jax.data.own import read_csv
    from glintiqa_jax.data.records import RecordSource

    scores = folder / "scores.csv"
    with scores.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "mos"])
        writer.writerows([path.name, position % 100] for position, path in enumerate(files))
    start = time.perf_counter()
    records = prepare(read_csv(files[0].parent, scores), folder / "prepared")
    seconds = time.perf_counter() - start
    return records, int(RecordSource(records).sizes().min()), seconds


def _make_weights(job: _Job) -> None:
    """Write random weights, none of which is without effect, and whose predictions spread as scores do."""
    from flax import nnx

    from glintiqa_jax.data.crops import Crops
    from glintiqa_jax.data.pipeline import evaluation_batches
    from glintiqa_jax.data.records import RecordSource
    from glintiqa_jax.models.glintiqa import create_model
    from glintiqa_jax.models.weights import load_glintiqa

    model, weights = create_model(job.variant, identity_start=False), random_weights(job.variant)
    load_glintiqa(model, weights)
    source = RecordSource(job.records)
    positions = np.arange(min(len(source), 32))
    score = nnx.jit(lambda model, crops: model(crops))
    batches = evaluation_batches(source, positions, Crops(job.crop_size, 1), batch_size=1)
    scores = np.concatenate([np.asarray(score(model, batch["image"][0])) for batch in batches])
    gain = np.float32(_DEVIATION / max(scores.std(), 1e-3))
    kernel, bias = (f"quality_head.layers.3.{part}" for part in ("weight", "bias"))
    weights[kernel] = weights[kernel] * gain
    weights[bias] = (weights[bias] - scores.mean()) * gain + np.float32(_MEAN)
    save_weights(job.weights, weights)


def _make_photographs(folder: Path, count: int) -> list[Path]:
    """Squares cut out of scikit-image's photographs, with noise as of a camera."""
    import skimage.data
    from PIL import Image

    rng = np.random.default_rng(0)
    photographs = [Image.fromarray(getattr(skimage.data, name)()) for name in _SOURCES]
    folder.mkdir()
    files = [folder / f"{position:05d}.jpg" for position in range(count)]
    for position, path in enumerate(files):
        whole = photographs[position % len(photographs)]
        side = int(rng.integers(min(whole.size) // 2, min(whole.size) + 1))
        left, top = (int(rng.integers(room - side + 1)) for room in whole.size)
        box = (left, top, left + side, top + side)
        pixels = np.asarray(whole.resize((_SIDE, _SIDE), Image.Resampling.BICUBIC, box=box), np.float64)
        pixels = pixels + rng.normal(0, rng.uniform(0, _MOST_NOISE), (_SIDE, _SIDE, 1))
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(path, quality=_QUALITY)
    return files


if __name__ == "__main__":
    run_script(main)
