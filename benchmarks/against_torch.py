"""Passes of our networks beside PyTorch's, in turns: what ``forward.py`` and ``train_step.py`` share.

Each side is a process of its own that has compiled before the clock starts, and that sleeps while the other one
computes. A turn measures every way once, in their order and then in the reverse order (A B B A), and in between how
fast both multiply matrices of 2,048 rows and columns (8,192 on an accelerator). What is printed are medians over turns;
a ratio is ours to theirs in the same turn. The limit is what a network would reach whose convolutions and products all
ran as fast as the faster of these products; PyTorch counts those of the forward pass, of which training takes three
times as many. Both sides have memory in huge pages, where Linux gives them on demand. Ours has a core for each of its
threads, as our jobs have; OpenMP's way to the same (``OMP_PROC_BIND``) leaves PyTorch a single core.
"""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags
from networks import chosen_networks, random_weights, save_weights
from processes import in_a_process
from tqdm import tqdm

from glintiqa_jax.cli.memory import SETTING
from glintiqa_jax.errors import InputError

OURS, EAGER, CHANNELS_LAST, COMPILE, BFLOAT16 = "ours", "eager", "channels_last", "compile", "bfloat16"
OUR_BFLOAT16, PRODUCTS, BFLOAT16_PRODUCTS = "ours, bfloat16", "products", "products, bfloat16"
_WAYS = (EAGER, CHANNELS_LAST, COMPILE, BFLOAT16)
_TOLERANCE = 1e-3  # of the scores of both, over their spread

VARIANTS = flags.DEFINE_list("variants", ["glintiqa_s16_r50", "glintiqa_lite", "glintiqa_mini"], "which networks")
BATCH_SIZES = flags.DEFINE_list("batch_sizes", ["8"], "crops of a pass; 25 are those of one photograph, as released")
WAYS = flags.DEFINE_list(
    "ways", [EAGER, CHANNELS_LAST, COMPILE], "PyTorch's: eager; eager in channels_last; compile; bfloat16, compiled"
)
REPEATS = flags.DEFINE_integer("repeats", 5, "turns", lower_bound=1)
SECONDS = flags.DEFINE_float("seconds", 2.0, "that a way computes for, at least, each time", lower_bound=0.0)
JSON = flags.DEFINE_bool("json", False, "medians over all rows once more, as a last line of JSON")


@dataclasses.dataclass(frozen=True)
class Job:
    """One network and batch size.

    Attributes:
      variant: the network's name.
      fields: its settings, for PyTorch.
      weights: its weights, an ``.npz`` file in the official layout.
      batch_size: crops of a pass.
      ways: PyTorch's.
    """

    variant: str
    fields: dict[str, Any]
    weights: Path
    batch_size: int
    ways: tuple[str, ...]

    def crops(self) -> tuple[np.ndarray, np.ndarray]:
        """Crops ``(batch, crop, crop, 3)`` of values 0 to 255, and as many targets."""
        rng, side = np.random.default_rng(0), self.fields["crop_size"]
        return rng.integers(0, 256, (self.batch_size, side, side, 3), np.uint8), rng.random(self.batch_size, np.float32)


@dataclasses.dataclass
class Passes:
    """What one side can do.

    Attributes:
      ways: by name, a pass that is over when it returns.
      words: what computes.
      accelerated: whether that is no CPU.
      scores: of the job's crops, of which both sides must have the same; None where none are compared.
      flops: of one crop, by PyTorch; 0 from ours.
    """

    ways: dict[str, Callable[[], Any]]
    words: str
    accelerated: bool
    scores: np.ndarray | None = None
    flops: float = 0.0


Side = Callable[[Job], Passes]


def compare(ours: Side, theirs: Side) -> None:
    """Measure by the flags, and print the table."""
    networks = chosen_networks(VARIANTS)
    for way in WAYS.value or [""]:
        if way not in _WAYS:
            raise InputError(field="ways", expected=f"some of {', '.join(_WAYS)}", found=repr(way))
    rows: list[_Row] = []
    sizes = _sizes()
    os.environ.setdefault(*next(iter(SETTING.items())))  # of the processes to come
    with tempfile.TemporaryDirectory() as folder:
        for variant, fields in networks.items():
            weights = Path(folder) / f"{variant}.npz"
            in_a_process(_make_weights, variant, weights)
            for size in sizes:
                job = Job(variant, fields, weights, size, tuple(WAYS.value))
                rows += _measured(job, ours, theirs)
    print("\n".join(_table(rows)))
    if JSON.value:
        ratios = {way: round(statistics.median(row.ratio for row in rows if row.way == way), 4) for way in WAYS.value}
        share = statistics.median(row.share for row in rows if row.way in (OURS, OUR_BFLOAT16))
        print(json.dumps({"ratios": ratios, "share_of_limit": round(share, 4)}))


def _sizes() -> list[int]:
    try:
        sizes = [int(text) for text in BATCH_SIZES.value]
    except ValueError:
        sizes = []
    if not sizes or min(sizes) < 1:
        raise InputError(field="batch_sizes", expected="whole numbers from 1", found=",".join(BATCH_SIZES.value))
    return sizes


def _make_weights(variant: str, path: Path) -> None:
    save_weights(path, random_weights(variant))


@dataclasses.dataclass(frozen=True)
class _Row:
    job: Job
    way: str
    rate: float  # crops per second
    ratio: float  # ours to theirs
    share: float  # of the limit
    words: str


def _measured(job: Job, ours: Side, theirs: Side) -> Iterator[_Row]:
    with _Server(ours, job) as mine, _Server(theirs, job) as other:
        _check_scores(job, mine, other)
        bfloat16 = BFLOAT16 in job.ways
        turn = [(mine, OURS)] * (job.ways != (BFLOAT16,)) + [(mine, OUR_BFLOAT16)] * bfloat16
        turn += [(other, way) for way in job.ways]
        products = [(side, what) for what in [PRODUCTS] + [BFLOAT16_PRODUCTS] * bfloat16 for side in (mine, other)]
        rates: dict[str, list[float]] = {}
        limits: dict[str, list[float]] = {}
        for _ in tqdm(range(REPEATS.value), desc=f"{job.variant}, {job.batch_size} crops", unit="turn"):
            found: dict[str, list[float]] = {}
            for side, way in turn:
                found.setdefault(way, []).append(side.rate(way) * job.batch_size)
            for side, what in products:
                limits.setdefault(what, []).append(side.rate(what) * _product_flops(side.accelerated))
            for side, way in reversed(turn):
                found[way].append(side.rate(way) * job.batch_size)
            for way, two in found.items():
                rates.setdefault(way, []).append(statistics.mean(two))
        for side, way in turn:
            low = way in (BFLOAT16, OUR_BFLOAT16)
            peer = rates[OUR_BFLOAT16 if low else OURS]
            limit = max(statistics.median(limits[BFLOAT16_PRODUCTS if low else PRODUCTS][place::2]) for place in (0, 1))
            rate = statistics.median(rates[way])
            ratio = statistics.median(a / b for a, b in zip(peer, rates[way], strict=True))
            yield _Row(job, way, rate, ratio, rate * other.flops / limit, side.words)


def _check_scores(job: Job, mine: _Server, other: _Server) -> None:
    if mine.scores is None or other.scores is None:
        return
    difference = float(np.abs(mine.scores - other.scores).max() / max(np.abs(other.scores).max(), 1e-3))
    if difference > _TOLERANCE:
        raise InputError(
            expected=f"the same scores of {job.variant} from both, to {_TOLERANCE:g} of the largest",
            found=f"{difference:.2g}",
        )


def _table(rows: list[_Row]) -> list[str]:
    mine, theirs = rows[0].words, rows[-1].words
    lines = [
        f"{mine}; {theirs}; medians of {REPEATS.value} turns",
        "",
        "| network | crops | way | crops/s | ours to it | of the limit |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        cells = (
            row.job.variant,
            row.job.batch_size,
            row.way,
            f"{row.rate:.4g}",
            f"{row.ratio:.2f}",
            f"{row.share:.0%}",
        )
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return lines


class _Server:
    """A side in a process of its own, which computes when it is asked to."""

    def __init__(self, side: Side, job: Job):
        context = multiprocessing.get_context("spawn")
        self._pipe, there = context.Pipe()
        self._process = context.Process(target=_serve, args=(there, side, job, SECONDS.value), daemon=True)
        self._process.start()
        there.close()

    def __enter__(self) -> _Server:
        try:
            self.words, self.scores, self.flops, self.accelerated = self._pipe.recv()
        except EOFError as error:  # its traceback is on stderr
            raise InputError(expected="a network that compiles", found="a process that has ended") from error
        return self

    def __exit__(self, *_: object) -> None:
        self._pipe.close()
        self._process.join(10)
        self._process.kill()

    def rate(self, way: str) -> float:
        """Passes per second."""
        self._pipe.send(way)
        return self._pipe.recv()


def _serve(pipe: Any, side: Side, job: Job, seconds: float) -> None:
    passes = side(job)
    for run in passes.ways.values():
        run()
    pipe.send((passes.words, passes.scores, passes.flops, passes.accelerated))
    while True:
        try:
            run = passes.ways[pipe.recv()]
        except EOFError:
            return
        run()  # after the other side's work, caches are cold and threads asleep
        count, start = 0, time.perf_counter()
        while count < 2 or time.perf_counter() - start < seconds:
            run()
            count += 1
        pipe.send(count / (time.perf_counter() - start))


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def product_side(accelerated: bool) -> int:
    """Rows and columns of the matrices that are multiplied."""
    return 8192 if accelerated else 2048


def _product_flops(accelerated: bool) -> float:
    return 2.0 * product_side(accelerated) ** 3
