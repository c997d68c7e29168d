"""Show KADID-10k's 25 distortions at their five levels on a photograph.

    python experiments/show_distortions.py photo.jpg -o gallery.png

Writes one labelled picture of some 1,200 x 4,500 pixels: a row for each distortion, a tile for each level.
"""

from pathlib import Path

import numpy as np
from absl import flags

from glintiqa_jax import command_line
from glintiqa_jax.data.files import descriptor, open_output, save_figure
from glintiqa_jax.data.images import decode_image
from glintiqa_jax.data.paths import local_path
from glintiqa_jax.errors import UserError, visible

_OUTPUT = flags.DEFINE_string("output", None, "the PNG file to write", required=True, short_name="o")
_SEED = flags.DEFINE_integer("seed", 0, "of the random distortions", lower_bound=0)
_RESCALE = flags.DEFINE_bool("rescale", True, "stretch the range before and after each, as KADID-10k's procedure does")


def main(paths: list[str]) -> None:
    """The command; ``paths`` is the photograph."""
    if len(paths) != 1:
        raise UserError(f"expected one photograph, found {len(paths)}: show_distortions.py PHOTO -o gallery.png")
    target = Path(_OUTPUT.value)
    is_file = descriptor(_OUTPUT.value) is None and (target.is_file() or not target.exists())
    if is_file and target.suffix.lower() != ".png":
        raise UserError(f"--output={_OUTPUT.value}: expected a .png file")
    path = local_path("photograph", paths[0])
    photograph = _read(path)
    with open_output("output", _OUTPUT.value, inputs=[path]) as output:
        from glintiqa_jax.saqt.gallery import draw_gallery

        save_figure(draw_gallery(photograph, seed=_SEED.value, rescale=_RESCALE.value), output)


def _read(path: Path) -> np.ndarray:
    from glintiqa_jax.saqt.distortions import MINIMUM_SIDE

    try:
        photograph = decode_image(path.read_bytes(), str(path))
    except OSError as error:
        raise UserError(f"{visible(path)}: expected a photograph, found {error.strerror}") from error
    height, width = photograph.shape[:2]
    if min(height, width) < MINIMUM_SIDE:
        raise UserError(f"{visible(path)}: expected sides of at least {MINIMUM_SIDE} pixels, found {width}x{height}")
    return photograph


if __name__ == "__main__":
    command_line.run(main)
