"""Show where a photograph is bad: the scores of overlapping windows, over the photograph.

    glintiqa map photo.jpg -o map.png

A file that ends with .npy gets the map's values in the unit of the model's scale, float32 (height, width), and one that
ends with .json the windows and their scores.
"""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags

from glintiqa_jax.cli.flags import Flags
from glintiqa_jax.cli.models import define_model, open_model
from glintiqa_jax.cli.results import result
from glintiqa_jax.data.files import Output, open_output, save_figure, write_json
from glintiqa_jax.data.paths import local_path
from glintiqa_jax.errors import InputError, visible

if TYPE_CHECKING:
    from glintiqa_jax.scoring.maps import QualityMap
    from glintiqa_jax.scoring.model import Model
    from glintiqa_jax.scoring.score import Score

ARGUMENTS = "PHOTO"
_ENDINGS = (".png", ".npy", ".json")


def define(values: Flags) -> None:
    """The job's flags."""
    define_model(values)
    flags.DEFINE_string("output", None, "the file to write: .png, .npy or .json", values, required=True, short_name="o")
    flags.DEFINE_float("overlap", 0.5, "of neighbouring windows, as a share of their side, below 1", flag_values=values)


def run(values: Flags, arguments: list[str]) -> None:
    """The job; ``arguments`` is the photograph."""
    if len(arguments) != 1:
        raise InputError(expected="one photograph", found=len(arguments), hint="glintiqa map PHOTO -o map.png")
    path, ending = local_path("photograph", arguments[0]), Path(values.output).suffix.lower()
    if ending not in _ENDINGS:
        raise InputError(field="output", value=values.output, expected=f"a file ending with {', '.join(_ENDINGS)}")
    if not 0 <= values.overlap < 1:
        raise InputError(field="overlap", value=values.overlap, expected="a share from 0 to below 1")
    with open_output("output", values.output, inputs=[path]) as output:
        model = open_model(values)
        quality = model.map(path, overlap=values.overlap)
        score = model.score(quality.image)  # decoded once, as it may be large
        score = dataclasses.replace(score, notes=(*quality.notes, *score.notes))
        _write(output, ending, path, model, score, quality)
    worst = quality.worst
    place = f"{worst.width:.0f}x{worst.height:.0f} pixels at {worst.left:.0f}, {worst.top:.0f}"
    result(f"{score}; worst {worst.score:.4g} in {place}: {values.output}")


def _write(output: Output, ending: str, path: Path, model: Model, score: Score, quality: QualityMap) -> None:
    if ending == ".npy":
        import numpy as np

        content = io.BytesIO()
        np.save(content, quality.values, allow_pickle=False)
        output.write(content.getbuffer())
    elif ending == ".json":
        from glintiqa_jax.scoring.rows import Row

        windows = [dataclasses.asdict(window) for window in quality.windows]
        write_json(output, dataclasses.asdict(Row.of(path, score, model.digest)) | {"windows": windows})
    else:
        from glintiqa_jax.scoring.drawing import draw_map

        save_figure(draw_map(quality, f"{visible(path.name)}: {score}"), output)
