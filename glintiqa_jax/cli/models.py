"""The model that a job uses: its flags, and the model itself."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags

from glintiqa_jax.cli.flags import Flags
from glintiqa_jax.data.images import MAX_PIXELS

if TYPE_CHECKING:
    from glintiqa_jax.scoring.model import Model


def define_model(values: Flags) -> None:
    """Define the flags that name a model and say what images it takes."""
    flags.DEFINE_string(
        "model", None, "a model's, a run's or a checkpoint's folder; none: the one that ships", values, short_name="m"
    )
    flags.DEFINE_integer(
        "max_pixels",
        MAX_PIXELS,
        "largest width times height of an image; 0: no limit",
        lower_bound=0,
        flag_values=values,
    )


def open_model(values: Flags) -> Model:
    """The model that the flags name; what it compiles is kept for the next command."""
    _keep_compiled()
    from glintiqa_jax.cores import spread_threads
    from glintiqa_jax.scoring.files import FOLDER, load_model
    from glintiqa_jax.training.metrics_log import FILE

    model = load_model(values.model)
    spread_threads()
    run = Path(values.model or "")
    if values.model and (run / FILE).is_file() and not (run / FOLDER).is_dir():
        values.log.warn(f"{values.model} is not finished: its latest checkpoint is used, which has no interval")
    model.max_pixels = values.max_pixels
    return model


def _keep_compiled() -> None:
    """Keep compiled programs in the user's own cache folder, unless JAX is told of another or there is no home.

    On a CPU with AVX-512, XLA refuses all that it finds there, and says so at length (jax issue 38445).
    """
    import jax
    import jaxlib

    known = jax.config.jax_compilation_cache_dir is not None  # type: ignore[attr-defined]
    if known or (jax.default_backend() == "cpu" and _has_avx512()):
        return
    with contextlib.suppress(OSError, RuntimeError):
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        folder = home / "glintiqa_jax" / f"compiled-{jaxlib.__version__}"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        jax.config.update("jax_compilation_cache_dir", str(folder))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)


def _has_avx512() -> bool:
    try:
        return " avx512f" in Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
