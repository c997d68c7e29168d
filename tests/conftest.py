"""Eight fake devices, how tests are compiled, and a folder of rated images to work with."""

from __future__ import annotations

import atexit
import csv
import functools
import os
import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis
import jax
import numpy as np
import pytest
from PIL import Image

from glintiqa_jax import compilation

jax.config.update("jax_num_cpu_devices", 8)

# No test is judged by its time, and a failure found once is found again.
hypothesis.settings.register_profile(
    "glintiqa_jax", deadline=None, derandomize=True, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("glintiqa_jax")

# The same tiny network is compiled again and again, by every process that tests and by the commands that tests start:
# once is enough. The first process makes the folder, those it starts inherit it.
if "PYTEST_XDIST_WORKER" not in os.environ:
    os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="glintiqa_jax_compiled_")
    atexit.register(shutil.rmtree, os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
jax.config.update("jax_compilation_cache_dir", os.environ["JAX_COMPILATION_CACHE_DIR"])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)


collect_ignore = ["ten_lines.py"]  # a script, which a search for examples would run


LONGEST = ("test_readme.py", "test_processes.py", "test_notebooks.py", "test_killed_runs.py")  # of slow tests


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest, then with what is compiled for users: what is compiled the other way is
    compiled anew."""

    def turn(item: pytest.Item) -> tuple[int, bool]:
        longest = LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST)
        return longest, item.get_closest_marker("compiled_for_users") is None

    items.sort(key=turn)


@pytest.hookimpl(tryfirst=True)  # before fixtures of any scope compile something
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Compile for users what guards numbers, and the rest fast: most networks in tests are compiled to run once."""
    _compile_fast(item.get_closest_marker("compiled_for_users") is None)


_options = compilation.compiler_options


def _fast_options(platform: str, **how: Any) -> dict[str, Any]:
    """Without the emitters of fused loops, which take more than half of the time; JAX 0.12 has no such option."""
    return _options(platform, **how) | (
        {"xla_cpu_use_fusion_emitters": False} if jax.__version_info__ < (0, 12) else {}
    )


def _compile_fast(fast: bool) -> None:
    if jax.config.read("jax_disable_most_optimizations") != fast:
        jax.config.update("jax_disable_most_optimizations", fast)
        compilation.compiler_options = _fast_options if fast else _options
        jax.clear_caches()
    # the commands that tests start compile alike
    os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = str(int(fast))


def heard(said: str) -> str:
    """What a command said, less what XLA says, on some processors, of networks that other tests compiled."""
    return re.sub(r"^E\d+ .*cpu_aot_loader.*\n", "", said, flags=re.MULTILINE)


def write_images(folder: Path, count: int, *, size: tuple[int, int] = (48, 40), seed: int = 0) -> list[str]:
    """Noise images whose strength of noise grows with their number, so that there is something to learn."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    names = []
    for number in range(count):
        pixels = 128 + rng.normal(0, 1 + 60 * number / max(count - 1, 1), (*size, 3))
        names.append(f"image{number:02d}.png")
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(folder / names[-1])
    return names


def write_scores(path: Path, rows: list[dict]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_rated_folder(folder: Path, count: int = 20, **image_options) -> tuple[Path, Path]:
    """``count`` images of 40x48 pixels and a CSV with image, mos (0 to 100), scene and split columns."""
    names = write_images(folder / "images", count, **image_options)
    rows = [
        {
            "image": name,
            "mos": round(100 - 100 * number / (count - 1), 3),
            "scene": f"scene{number // 2}",
            "split": ("train", "train", "train", "validation", "test")[number // 2 % 5],
        }
        for number, name in enumerate(names)
    ]
    return folder / "images", write_scores(folder / "scores.csv", rows)


@pytest.fixture
def rated_folder(tmp_path: Path) -> Callable[..., tuple[Path, Path]]:
    """``write_rated_folder`` into a temporary folder."""
    return functools.partial(write_rated_folder, tmp_path)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The developers' folder of reference data beside the repository; tests that need it skip where it is absent."""
    folder = Path(__file__).resolve().parents[1].parent / "shared"
    if not folder.is_dir():
        pytest.skip(f"no {folder}: the reference data are a developer's and do not ship")
    return folder
