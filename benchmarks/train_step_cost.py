"""Speed, memory, FLOPs and compilation of the training step, by variant, batch size, dtype, remat and accumulation.

    python benchmarks/train_step_cost.py
    python benchmarks/train_step_cost.py --variants=glintiqa_s16_r50 --batch_sizes=32,64 --steps=20  # accelerators

Prints one Markdown table. Of a variant, each batch size is a row with the first of ``--dtypes``, ``--remat`` and
``--accumulate``, and one more for every other value of these, alone; ``--combine`` takes all combinations. The rows of
a variant take turns on one train state, and what is printed are medians over ``--repeats`` turns; ratios are to the
variant's first row in the same turn. The step is the one of training, over all devices, on batches that the real
``training_batches`` reads from 512x384 JPEG photographs without keeping decoded ones.

- images/s: every step is waited for, which training itself does not do, so that it is a lower bound where a step takes
  a few milliseconds. The wait for data is not in it. The first step of each turn does not count, nor does compilation.
- data wait: the share of the time that ``next(batches)`` blocks, after what was read ahead between turns is used up.
- peak MB: what the compiled step says it needs on each device, temporaries + arguments + outputs - what is donated.
- device peak MB, on accelerators: the allocator's ``peak_bytes_in_use`` over two steps, compilation included. It
  never falls, so that each row has it measured in a process of its own.
- compile s: tracing and compilation, once, without JAX's persistent cache.
- GFLOP/image: of the step without remat or accumulation, before XLA optimises it, so that it is the same for whatever
  computes it. Compiled is what ``cost_analysis`` of the compiled step says, recomputation included; XLA counts the body
  of the accumulation's loop once, hence it is multiplied by the parts. On GPUs it may miss what libraries compute.
- utilisation: the former at the measured speed, of the devices' published peak, where that is known.

On XLA's CPU backend remat saves no memory: about half of the recomputation is merged back into the forward pass as
common subexpressions (compare compiled with GFLOP/image), and what is left of it frees nothing. Nor does bfloat16 save
time or memory there, rather the reverse. Both are for accelerators. Accumulation saves memory there, but takes longer.

Takes about five minutes on two cores, most of it compilation.
"""

from __future__ import annotations

import csv
import dataclasses
import functools
import itertools
import statistics
import tempfile
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import flags
from jax.sharding import Mesh
from processes import in_a_process
from script import run_script
from tqdm import tqdm

from glintiqa_jax import settings
from glintiqa_jax.data.builder import prepare
from glintiqa_jax.data.loading import Loading
from glintiqa_jax.data.own import read_csv
from glintiqa_jax.data.pipeline import Batching, training_batches
from glintiqa_jax.data.records import RecordSource
from glintiqa_jax.errors import InputError
from glintiqa_jax.models.config import VARIANTS
from glintiqa_jax.models.glintiqa import new_model
from glintiqa_jax.sharding import check_divides, global_batch, make_mesh, replicated
from glintiqa_jax.training.experiment import Experiment
from glintiqa_jax.training.step import Trainer, TrainState

_VARIANTS = flags.DEFINE_list("variants", ["glintiqa_tiny", "glintiqa_mini", "glintiqa_lite"], "which networks")
_DTYPES = flags.DEFINE_list("dtypes", ["float32", "bfloat16"], "what training multiplies matrices in")
_BATCH_SIZES = flags.DEFINE_list("batch_sizes", ["8"], "crops per step, over all devices")
_REMAT = flags.DEFINE_list("remat", ["false", "true"], "compute what lies inside blocks again for the gradient")
_ACCUMULATE = flags.DEFINE_list("accumulate", ["1", "2"], "parts that a batch is taken in")
_COMBINE = flags.DEFINE_bool("combine", False, "all combinations of dtypes, remat and accumulate")
_STEPS = flags.DEFINE_integer("steps", 3, "measured steps of a row in each turn", lower_bound=1)
_REPEATS = flags.DEFINE_integer("repeats", 3, "how often each row is measured", lower_bound=1)

# Published dense peaks of a device in FLOP/s: bfloat16, and what JAX multiplies float32 in by default, which is TF32 on
# these GPUs and one pass of bfloat16 on TPUs. NVIDIA's data sheets of the A100, H100 and H200 (their figures "with
# sparsity" halved), Google Cloud's "TPU v4", "TPU v5e" and "TPU v5p" pages.
_A100, _H100, _TPU_V5E, _TPU_V5P = (312e12, 156e12), (989.4e12, 494.7e12), (197e12, 197e12), (459e12, 459e12)
_PEAKS = {
    "NVIDIA A100-SXM4-40GB": _A100,
    "NVIDIA A100-SXM4-80GB": _A100,
    "NVIDIA A100-PCIE-40GB": _A100,
    "NVIDIA A100 80GB PCIe": _A100,
    "NVIDIA H100 80GB HBM3": _H100,
    "NVIDIA H100 PCIe": (756e12, 378e12),
    "NVIDIA H200": _H100,
    "TPU v4": (275e12, 275e12),
    "TPU v5 lite": _TPU_V5E,
    "TPU v5e": _TPU_V5E,
    "TPU v5": _TPU_V5P,
    "TPU v5p": _TPU_V5P,
}
_IMAGES, _SIZE, _NOISE = 128, (512, 384), 3.0
_PHOTOGRAPHS = ("astronaut", "chelsea", "coffee")
_READ_AHEAD = 8  # batches that training_batches holds at most


@dataclasses.dataclass(frozen=True)
class _Row:
    """One way to take a training step."""

    variant: str
    batch_size: int
    dtype: str = "float32"
    remat: bool = False
    accumulate: int = 1

    @property
    def experiment(self) -> Experiment:
        return settings.replace(
            Experiment(),
            model=VARIANTS[self.variant],
            batch_size=self.batch_size,
            compute_dtype=self.dtype,
            accumulate=self.accumulate,
        )

    def trainer(self, mesh: Mesh) -> Trainer:
        return Trainer(self.experiment, mesh, remat=self.remat)


@dataclasses.dataclass
class _Measured:
    """A row's compiled step and what was found of it.

    Attributes:
      step: takes a state, a batch and a key.
      compile_seconds: that tracing and compilation took.
      peak_bytes: that the compiled step needs on a device.
      compiled_flops: of one step over all devices, as compiled.
      model_flops: of one step over all devices, as written.
      device_peak: bytes at the allocator's peak; None where there is none.
      rates: images per second, of each turn.
      waits: share of the time that data were waited for, of each turn.
    """

    step: Callable[..., tuple[TrainState, jax.Array]]
    compile_seconds: float
    peak_bytes: int
    compiled_flops: float
    model_flops: float
    device_peak: int | None = None
    rates: list[float] = dataclasses.field(default_factory=list)
    waits: list[float] = dataclasses.field(default_factory=list)


def main() -> None:
    """The command."""
    rows = _rows()
    jax.config.update("jax_enable_compilation_cache", False)
    peaks: list[int | None] = [None] * len(rows)
    # asked in another process: while this one holds an accelerator, no other could have all of it
    backend, size = in_a_process(_backend)
    for row in rows:
        if row.batch_size % (size * row.accumulate):
            check_divides("batch_sizes", row.batch_size, make_mesh(), parts=row.accumulate)
    if backend != "cpu":
        peaks = [in_a_process(_device_peak, row) for row in tqdm(rows, desc="peak memory", unit="row")]
    measured = []
    with tempfile.TemporaryDirectory() as folder:
        source = _source(Path(folder))
        for _, group in itertools.groupby(rows, key=lambda row: row.variant):
            measured += _measure(list(group), source)
    for one, peak in zip(measured, peaks, strict=True):
        one.device_peak = peak
    print("\n".join(_table(rows, measured)))


def _rows() -> list[_Row]:
    for flag in (_VARIANTS, _DTYPES, _BATCH_SIZES, _REMAT, _ACCUMULATE):
        if not flag.value or len(set(flag.value)) < len(flag.value):
            raise InputError(field=flag.name, expected="each value once", found=",".join(flag.value) or "none")
    for variant in _VARIANTS.value:
        if variant not in VARIANTS:
            raise InputError(field="variants", expected=f"some of {', '.join(VARIANTS)}", found=repr(variant))
    for remat in _REMAT.value:
        if remat not in ("false", "true"):
            raise InputError(field="remat", expected="false, true or both", found=repr(remat))
    options = [_DTYPES.value, [remat == "true" for remat in _REMAT.value], _whole(_ACCUMULATE)]
    first = tuple(values[0] for values in options)
    ways = [
        way
        for way in itertools.product(*options)
        if _COMBINE.value or sum(one != other for one, other in zip(way, first, strict=True)) <= 1
    ]
    # what is given first changes last, so that a single change of dtype is the second row
    ways.sort(key=lambda way: [values.index(value) for values, value in zip(options, way, strict=True)][::-1])
    rows = [
        _Row(variant, batch_size, *way)
        for variant in _VARIANTS.value
        for batch_size in _whole(_BATCH_SIZES)
        for way in ways
    ]
    for row in rows:
        _ = row.experiment  # refuses what cannot be trained
    return rows


def _whole(flag: flags.FlagHolder) -> list[int]:
    try:
        return [int(text) for text in flag.value]
    except ValueError as error:
        raise InputError(field=flag.name, expected="whole numbers", found=",".join(flag.value)) from error


def _measure(rows: list[_Row], source: RecordSource) -> list[_Measured]:
    """The rows of one variant, in turns."""
    mesh, variant = make_mesh(), rows[0].variant
    measured = [_compiled(row, mesh) for row in tqdm(rows, desc=f"{variant}: compiling", unit="row")]
    # no row changes what a state is, so that one is enough for all
    state = rows[0].trainer(mesh).start_from(new_model(VARIANTS[variant]))
    key = jax.device_put(jax.random.key(0), replicated(mesh))
    batches = {size: _batches(source, variant, size) for size in {row.batch_size for row in rows}}
    for _ in tqdm(range(_REPEATS.value), desc=f"{variant}: measuring", unit="turn"):
        for row, one in zip(rows, measured, strict=True):
            seconds, waited = 0.0, 0.0
            deque(itertools.islice(batches[row.batch_size], _READ_AHEAD), maxlen=0)
            for step in range(_STEPS.value + 1):
                start = time.perf_counter()
                batch = next(batches[row.batch_size])
                has_batch = time.perf_counter()
                del batch["position"]
                state = jax.block_until_ready(one.step(state, global_batch(batch, mesh), key))[0]
                if step:
                    waited += has_batch - start
                    seconds += time.perf_counter() - has_batch
            one.rates.append(row.batch_size * _STEPS.value / seconds)
            one.waits.append(waited / (waited + seconds))
    for iterator in batches.values():
        iterator.close()
    return measured


def _compiled(row: _Row, mesh: Mesh) -> _Measured:
    model_flops = _model_flops(row.variant, row.batch_size)
    start = time.perf_counter()
    compiled = _lowered(row, mesh).compile()
    seconds = time.perf_counter() - start
    memory = compiled.memory_analysis()
    return _Measured(
        compiled,
        seconds,
        memory.temp_size_in_bytes
        + memory.argument_size_in_bytes
        + memory.output_size_in_bytes
        - memory.alias_size_in_bytes,
        compiled.cost_analysis()["flops"] * row.accumulate * mesh.size,  # one device's, and of one part
        model_flops,
    )


@functools.cache
def _model_flops(variant: str, batch_size: int) -> float:
    """Of one step without remat or accumulation, over all devices."""
    return _lowered(_Row(variant, batch_size), make_mesh()).cost_analysis()["flops"]


def _lowered(row: _Row, mesh: Mesh) -> jax.stages.Lowered:
    trainer, side = row.trainer(mesh), VARIANTS[row.variant].crop_size
    batch = {
        "image": jax.ShapeDtypeStruct((row.batch_size, side, side, 3), np.uint8),
        "target": jax.ShapeDtypeStruct((row.batch_size,), np.float32),
    }
    return trainer.step.lower(trainer.abstract_state, batch, jax.eval_shape(lambda: jax.random.key(0)))


def _batches(source: RecordSource, variant: str, batch_size: int) -> Any:
    crop_size = VARIANTS[variant].crop_size
    positions = np.arange(len(source))
    targets = source.scale.to_quality(source.index.raw_scores)
    batching, loading = Batching(crop_size, batch_size), Loading(cache_megabytes=0)
    return iter(training_batches(source, positions, targets, batching, loading=loading))


def _source(folder: Path) -> RecordSource:
    """Parts of three photographs that ship inside scikit-image, with noise as of a camera."""
    import skimage.data
    from PIL import Image

    rng = np.random.default_rng(0)
    photographs = [Image.fromarray(getattr(skimage.data, name)()) for name in _PHOTOGRAPHS]
    (folder / "images").mkdir()
    with (folder / "scores.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "mos"])
        for number in range(_IMAGES):
            whole = photographs[number % len(photographs)]
            width, height = (int(rng.integers(side // 2, side + 1)) for side in whole.size)
            left, top = int(rng.integers(whole.width - width + 1)), int(rng.integers(whole.height - height + 1))
            box = (left, top, left + width, top + height)
            pixels = np.asarray(whole.resize(_SIZE, Image.Resampling.BICUBIC, box=box), np.float32)
            pixels = np.clip(pixels + rng.normal(0, _NOISE, pixels.shape), 0, 255).astype(np.uint8)
            name = f"{number:03d}.jpg"
            Image.fromarray(pixels).save(folder / "images" / name, quality=90)
            writer.writerow([name, number % 100])
    return RecordSource(prepare(read_csv(folder / "images", folder / "scores.csv"), folder / "prepared"))


def _table(rows: list[_Row], measured: list[_Measured]) -> list[str]:
    devices = jax.devices()
    peak = _PEAKS.get(devices[0].device_kind)
    titles = ["variant", "batch", "dtype", "remat", "accumulate", "images/s", "ratio", "peak MB", "ratio"]
    titles += ["device peak MB"] if measured[0].device_peak else []
    titles += ["compile s", "GFLOP/image", "compiled"] + (["utilisation"] if peak else []) + ["data wait"]
    lines = [
        f"{len(devices)} x {devices[0].device_kind}, JAX {jax.__version__}; medians, --repeats={_REPEATS.value} "
        f"--steps={_STEPS.value}; ratios to a variant's first row.",
        "",
        f"| {' | '.join(titles)} |",
        "|---" * len(titles) + "|",
    ]
    first: dict[str, _Measured] = {}
    for row, one in zip(rows, measured, strict=True):
        base = first.setdefault(row.variant, one)
        rate = statistics.median(one.rates)
        cells = [row.variant, f"{row.batch_size}", row.dtype, "yes" if row.remat else "no", f"{row.accumulate}"]
        ratios = [mine / other for mine, other in zip(one.rates, base.rates, strict=True)]
        cells += [f"{rate:.4g}", f"{statistics.median(ratios):.2f}"]
        cells += [f"{one.peak_bytes / 1e6:.4g}", f"{one.peak_bytes / base.peak_bytes:.2f}"]
        cells += [f"{one.device_peak / 1e6:.4g}"] if one.device_peak else []
        cells += [f"{one.compile_seconds:.1f}"]
        cells += [f"{flops / row.batch_size / 1e9:.3g}" for flops in (one.model_flops, one.compiled_flops)]
        if peak:
            available = peak[0 if row.dtype == "bfloat16" else 1] * len(devices)
            cells.append(f"{one.model_flops / row.batch_size * rate / available:.1%}")
        cells.append(f"{statistics.median(one.waits):.1%}")
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _backend() -> tuple[str, int]:
    return jax.default_backend(), jax.device_count()


def _device_peak(row: _Row) -> int | None:
    """Bytes at the peak of the fullest device, over compilation and two steps; None where no one counts."""
    mesh, network = make_mesh(), VARIANTS[row.variant]
    side = network.crop_size
    trainer = row.trainer(mesh)
    state = trainer.start_from(new_model(network))
    batch = {
        "image": np.zeros((row.batch_size, side, side, 3), np.uint8),
        "target": np.zeros(row.batch_size, np.float32),
    }
    for _ in range(2):
        state, _ = jax.block_until_ready(trainer.step(state, global_batch(batch, mesh), jax.random.key(0)))
    found = [device.memory_stats() for device in jax.local_devices()]
    return max((stats["peak_bytes_in_use"] for stats in found if stats), default=None)


if __name__ == "__main__":
    run_script(main)
