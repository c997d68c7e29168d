"""How many distorted images one core makes in a second, for each of the 25 types, next to PyTorch.

    python benchmarks/distortions.py

Prints one Markdown table: images per second for each type over its five levels, and over all 125 distortions. The
process is pinned to one core, and OpenCV and PyTorch to one thread. The images are three photographs that ship inside
scikit-image, resized to KADID-10k's 512x384; a turn makes every type at every level of each, and what is printed are
medians over ``--repeats`` turns. Everything from uint8 RGB to uint8 RGB counts, the stretching of the range included.

Where PyTorch is installed, the types that its operations express (``torch_distortions.py``) take turns with ours in the
same process. First it is checked that those without chance give what ours give, by a PSNR of at least 40 dB.

Takes about two minutes. On a machine that does other work as well, the figures are a lower bound.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from importlib.util import find_spec

import cv2
import numpy as np
import skimage.data
from absl import flags
from PIL import Image
from script import run_script
from skimage.metrics import peak_signal_noise_ratio
from tqdm import tqdm

from glintiqa_jax.saqt.distortions import DISTORTIONS, LEVELS, Distortion, distort

_REPEATS = flags.DEFINE_integer("repeats", 5, "how often each row is measured", lower_bound=1)

_SIZE = (512, 384)
_PHOTOGRAPHS = ("astronaut", "chelsea", "coffee")
_LEAST_PSNR = 40.0

_Distort = Callable[[np.ndarray, str, int], np.ndarray]


def main() -> None:
    """The command."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
    cv2.setNumThreads(1)
    images = [
        np.array(Image.fromarray(getattr(skimage.data, name)()).resize(_SIZE, Image.Resampling.BICUBIC))
        for name in _PHOTOGRAPHS
    ]
    peer, names = _peer()
    _check(peer, names, images[0])
    ours: dict[str, list[float]] = {row.name: [] for row in DISTORTIONS}
    theirs: dict[str, list[float]] = {name: [] for name in names}
    for turn in tqdm(range(_REPEATS.value + 1), desc="measuring", unit="turn"):
        for name in ours:
            for distort_one, seconds in ((distort, ours), (peer, theirs)):
                if name in seconds:
                    taken = _seconds(distort_one, name, images)
                    seconds[name] += [taken] if turn else []  # the first turn warms up
    medians = [{name: statistics.median(times) for name, times in part.items()} for part in (ours, theirs)]
    print("\n".join(_table(*medians)))


def _seconds(distort_one: _Distort, name: str, images: list[np.ndarray]) -> float:
    """Seconds for one image, the mean over levels and images."""
    start = time.perf_counter()
    for image in images:
        for level in LEVELS:
            distort_one(image, name, level)
    return (time.perf_counter() - start) / len(images) / len(LEVELS)


def _table(ours: dict[str, float], theirs: dict[str, float]) -> list[str]:
    lines = [
        f"{_SIZE[0]}x{_SIZE[1]} pixels, one core; medians of {_REPEATS.value} turns.",
        "",
        "| number | name | images/s | PyTorch, images/s |",
        "|---|---|---|---|",
    ]
    for row in DISTORTIONS:
        peer = f"{1 / theirs[row.name]:.0f}" if row.name in theirs else ""
        lines.append(f"| {row.number} | {row.name} | {1 / ours[row.name]:.0f} | {peer} |")
    lines.append(f"| | **all {len(ours) * len(LEVELS)}** | **{1 / statistics.mean(ours.values()):.1f}** | |")
    if theirs:
        both = statistics.mean(ours[name] for name in theirs)
        lines.append(
            f"| | the {len(theirs)} types of both | {1 / both:.1f} | {1 / statistics.mean(theirs.values()):.1f} |"
        )
    else:
        lines.append("| | PyTorch | | not installed |")
    return lines


def _peer() -> tuple[_Distort, list[str]]:
    """PyTorch's distortions and the names of those there are; none where it is not installed."""
    if not find_spec("torch"):
        return distort, []
    import torch
    import torch_distortions

    torch.set_num_threads(1)
    torch.manual_seed(0)
    return torch_distortions.distort, list(torch_distortions.FUNCTIONS)


def _check(peer: _Distort, names: list[str], image: np.ndarray) -> None:
    fixed: list[Distortion] = [row for row in DISTORTIONS if row.name in names and not row.random]
    for row in fixed:
        for level in LEVELS:
            one, other = distort(image, row.name, level), peer(image, row.name, level)
            if (one != other).any() and peak_signal_noise_ratio(one, other) < _LEAST_PSNR:
                psnr = peak_signal_noise_ratio(one, other)
                raise RuntimeError(f"PyTorch's {row.name} at level {level} is another distortion: PSNR {psnr:.1f} dB")


if __name__ == "__main__":
    run_script(main)
