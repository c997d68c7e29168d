"""Runs killed at random moments, run again to their end: do they end as the one that nothing interrupted?

    python benchmarks/kill_and_resume.py

Trains the tiny variant for 60 steps on 20 images of noise that it makes itself, once uninterrupted. Then each of
``--kills`` runs is killed by SIGKILL at a moment drawn by ``--seed``, from its first evaluation, as compiling the first
step takes longer than all the rest, to when it should be over, and the same command is run again. Prints one Markdown
table: when it was killed; what it was doing, as its files tell afterwards; the step it went on from; and whether
results.json, metrics.jsonl (but for how fast it was) and both predictions_*.csv are, byte for byte, those of the
uninterrupted run. Exit code 1 where one is not.

Takes about five minutes on two cores. JAX_PLATFORMS chooses the device; it is the CPU unless that is set.
"""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from absl import flags
from PIL import Image
from script import run_script
from tqdm import tqdm

from glintiqa_jax.training.metrics_log import read_metrics

_KILLS = flags.DEFINE_integer("kills", 12, "how many runs are killed", lower_bound=1)
_SEED = flags.DEFINE_integer("seed", 0, "seed of the moments")

_TRAIN = Path(__file__).resolve().parents[1] / "experiments" / "train.py"
_IMAGES = 20
_STEPS, _EVAL_EVERY = 60, 10
_COMPARED = ("results.json", "predictions_validation.csv", "predictions_test.csv")


def main() -> None:
    """The command."""
    rng = random.Random(_SEED.value)
    with tempfile.TemporaryDirectory(prefix="glintiqa_jax_killed_") as name:
        folder = Path(name)
        command = _command(folder)
        _finish(command, folder / "first")  # prepares the records and compiles
        whole = folder / "whole"
        training = _seconds_of_training(command, whole)
        rows, same = [], True
        for number in tqdm(range(_KILLS.value), desc="killing", unit="run"):
            workdir = folder / f"killed{number}"
            seconds = _kill(command, workdir, rng.uniform(0, training))
            doing = _doing(workdir)
            said = _finish(command, workdir)
            resumed = re.search(r"continuing from step (\d+)$", said, re.MULTILINE)
            other = [file for file in _COMPARED if (workdir / file).read_bytes() != (whole / file).read_bytes()]
            if read_metrics(workdir, speed=False) != read_metrics(whole, speed=False):
                other.append("metrics.jsonl")
            same = same and not other
            rows.append((seconds, doing, resumed[1] if resumed else "0", f"no: {', '.join(other)}" if other else "yes"))
    print("| killed after, s | while | went on from step | byte for byte the same |\n|---|---|---|---|")
    for seconds, *cells in sorted(rows):
        print(f"| {seconds:.2f} | {' | '.join(cells)} |")
    sys.exit(0 if same else 1)


def _command(folder: Path) -> list[str]:
    """The training command but for ``--workdir``, and the images that it trains on."""
    images = folder / "images"
    images.mkdir()
    rng = np.random.default_rng(0)
    lines = ["image,mos,scene"]
    for number in range(_IMAGES):
        pixels = 128 + rng.normal(0, 1 + 3 * number, (48, 40, 3))
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(images / f"{number:02d}.png")
        lines.append(f"{number:02d}.png,{100 - 5 * number},{number // 2}")
    (folder / "scores.csv").write_text("\n".join(lines) + "\n")
    return [
        sys.executable,
        str(_TRAIN),
        "--dataset=csv",
        f"--data_dir={folder}/data",
        f"--images={images}",
        f"--scores={folder}/scores.csv",
        "--group_column=scene",
        "--score_range=0,100",
        "--validation_fraction=0.2",
        "--variant=glintiqa_tiny",
        f"--steps={_STEPS}",
        f"--eval_every={_EVAL_EVERY}",
        "--batch_size=8",
        "--eval_grid=2",
        "--warmup_steps=5",
        "--learning_rate=0.001",
        "--verbosity=0",  # which says where it continues
    ]


def _start(command: list[str], workdir: Path) -> subprocess.Popen[str]:
    environment = {"JAX_PLATFORMS": "cpu", "JAX_COMPILATION_CACHE_DIR": str(workdir.parent / "compiled")} | os.environ
    environment["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    return subprocess.Popen(
        [*command, f"--workdir={workdir}"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )


def _finish(command: list[str], workdir: Path) -> str:
    """What a run says that goes on to its end."""
    process = _start(command, workdir)
    said, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(f"training ended with exit code {process.returncode}:\n{said}")
    return said


def _wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    """Until a file has content, or the run has ended."""
    while not (path.exists() and path.stat().st_size) and process.poll() is None:
        time.sleep(0.001)


def _seconds_of_training(command: list[str], workdir: Path) -> float:
    """Of an uninterrupted run, from its log's first row to its results."""
    process = _start(command, workdir)
    _wait_for(workdir / "metrics.jsonl", process)
    begun = time.perf_counter()
    _wait_for(workdir / "results.json", process)
    seconds = time.perf_counter() - begun
    said, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(f"training ended with exit code {process.returncode}:\n{said}")
    return seconds


def _kill(command: list[str], workdir: Path, delay: float) -> float:
    """Kill a run ``delay`` seconds after its log's first row; the seconds since it was started."""
    start = time.perf_counter()
    process = _start(command, workdir)
    _wait_for(workdir / "metrics.jsonl", process)
    time.sleep(delay)
    process.kill()
    process.communicate()
    return time.perf_counter() - start


def _doing(workdir: Path) -> str:
    """What a killed run was at, by what it left."""
    if (workdir / "results.json").exists():
        return "nothing any more: it was complete"
    log = workdir / "metrics.jsonl"
    rows = [json.loads(line) for line in log.read_text().splitlines(keepends=True) if line.endswith("\n")]
    saving = sorted(path.name.split(".")[0] for path in (workdir / "checkpoints").glob("*.orbax-checkpoint-tmp*"))
    if saving:
        return f"saving step {saving[-1]}"
    last = rows[-1]["step"] if rows else 0
    if last and "validation" not in rows[-1]:
        return f"evaluating step {last}"
    return "testing and reporting" if last == _STEPS else f"taking steps {last + 1} to {last + _EVAL_EVERY}"


if __name__ == "__main__":
    run_script(main)
