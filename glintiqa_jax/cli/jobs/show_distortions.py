"""Show KADID-10k's 25 distortions at their five levels on a photograph.

    glintiqa show_distortions photo.jpg -o gallery.png

Writes one labelled picture of some 1,200 x 4,500 pixels: a row for each distortion, a tile for each level.
"""

from pathlib import Path

import numpy as np
from absl import flags

from glintiqa_jax.cli.flags import Flags
from glintiqa_jax.data.files import descriptor, open_output, save_figure
from glintiqa_jax.data.images import decode_image
from glintiqa_jax.data.paths import local_path
from glintiqa_jax.errors import InputError, visible

ARGUMENTS = "PHOTO"


def define(values: Flags) -> None:
    """The job's flags."""
    flags.DEFINE_string("output", None, "the PNG file to write", values, required=True, short_name="o")
    flags.DEFINE_integer("seed", 0, "of the random distortions", lower_bound=0, flag_values=values)
    flags.DEFINE_bool("rescale", True, "stretch the range before and after each, as KADID-10k's procedure does", values)


def run(values: Flags, arguments: list[str]) -> None:
    """The job; ``arguments`` is the photograph."""
    if len(arguments) != 1:
        raise InputError(expected="one photograph", found=len(arguments), hint="show_distortions PHOTO -o gallery.png")
    target = Path(values.output)
    is_file = descriptor(values.output) is None and (target.is_file() or not target.exists())
    if is_file and target.suffix.lower() != ".png":
        raise InputError(field="output", value=values.output, expected="a .png file")
    path = local_path("photograph", arguments[0])
    photograph = _read(path)
    with open_output("output", values.output, inputs=[path]) as output:
        from glintiqa_jax.saqt.gallery import draw_gallery

        save_figure(draw_gallery(photograph, seed=values.seed, rescale=values.rescale), output)


def _read(path: Path) -> np.ndarray:
    from glintiqa_jax.saqt.distortions import MINIMUM_SIDE

    try:
        photograph = decode_image(path.read_bytes(), str(path))
    except OSError as error:
        raise InputError(file=visible(path), expected="a photograph", found=error.strerror) from error
    height, width = photograph.shape[:2]
    if min(height, width) < MINIMUM_SIDE:
        raise InputError(
            file=visible(path), expected=f"sides of at least {MINIMUM_SIDE} pixels", found=f"{width}x{height}"
        )
    return photograph
