"""Show what was scored: a page with every photograph, to sort, filter and look at.

    glintiqa gallery rows.jsonl -o gallery

Open gallery/index.html in a browser; it needs no network. Photographs whose pictures are there already are not read
again, so that an interrupted run is resumed by the same command.
"""

from absl import flags

from glintiqa_jax.cli.flags import Flags
from glintiqa_jax.cli.models import define_model, open_model
from glintiqa_jax.cli.results import result
from glintiqa_jax.data.paths import local_path
from glintiqa_jax.errors import InputError, visible

ARGUMENTS = "ROWS"


def define(values: Flags) -> None:
    """The job's flags."""
    flags.DEFINE_string("output", None, "the folder to write", values, required=True, short_name="o")
    flags.DEFINE_integer("maps", 0, "draw quality maps of this many, the worst", lower_bound=0, flag_values=values)
    define_model(values)
    flags.DEFINE_integer(
        "preview_side",
        1280,
        "longer side, in pixels, of the photographs that a click opens; 0: thumbnails only",
        lower_bound=0,
        upper_bound=1280,
        flag_values=values,
    )


def run(values: Flags, arguments: list[str]) -> None:
    """The job; ``arguments`` is the file of rows."""
    if len(arguments) != 1:
        raise InputError(expected="one file of rows", found=len(arguments), hint="gallery ROWS -o FOLDER")
    rows, folder = local_path("rows", arguments[0]), local_path("output", values.output)
    if not rows.is_file():
        raise InputError(file=visible(rows), expected="a file that `glintiqa score` wrote", found="none")
    from glintiqa_jax.gallery.writing import write_gallery

    written = write_gallery(
        rows,
        folder,
        model=open_model(values) if values.maps or values.model is not None else None,
        maps=values.maps,
        preview_side=values.preview_side,
        max_pixels=values.max_pixels,
        log=values.log,
    )
    counts = [f"{written.photographs:,} photographs"]
    counts += [f"{written.failed:,} that could not be scored"] * bool(written.failed)
    counts += [f"{written.maps:,} quality maps"] * bool(written.maps)
    result(f"gallery:  {written.page}  ({', '.join(counts)})")
