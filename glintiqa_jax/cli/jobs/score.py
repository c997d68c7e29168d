"""Score images: how good does each look?

    glintiqa score photo.jpg folder/ 'shots/*.png' --output=scores.csv
    find . -name '*.jpg' -print0 | glintiqa score - --below=40

PATH is a file, a folder, a pattern, the address of one (gs://, s3://), or - for a list on stdin. A row per image, in
their order; an image that cannot be read is a row, too. With --runner the work is Apache Beam's, the rows are the same.
Exit code: 0 done, 1 an image fell on the side of --below or --above, 2 wrong use, 3 done, but some images could not be
read.
"""

from __future__ import annotations

import collections
import contextlib
import heapq
import os
import sys
import tempfile
from collections.abc import Callable, Container, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags

from glintiqa_jax.cli.beam import define_beam, on_beam
from glintiqa_jax.cli.flags import Flags
from glintiqa_jax.cli.models import define_model, open_model
from glintiqa_jax.cli.results import result, result_bytes
from glintiqa_jax.cli.tables import table_header, table_line
from glintiqa_jax.data.files import Output, descriptor, open_output
from glintiqa_jax.data.pillow import is_image
from glintiqa_jax.data.pixels import BadImageError
from glintiqa_jax.data.walk import ImageStream
from glintiqa_jax.errors import InputError, encoded, visible
from glintiqa_jax.scoring.rows import ENDINGS, FORMATS, Row, format_of, header

if TYPE_CHECKING:
    from glintiqa_jax.data.scale import ScoreScale
    from glintiqa_jax.scoring.model import Model

ARGUMENTS = "PATH..."
Rows = Callable[[Iterator[tuple[Path | str, str]]], Iterator[Row]]


def define(values: Flags) -> None:
    """The job's flags."""
    define_model(values)
    flags.DEFINE_enum("format", None, ("table", *FORMATS), "of the rows; a table on a terminal, else CSV", values)
    flags.DEFINE_string("output", None, "file for the rows instead: .csv, or .jsonl", values, short_name="o")
    flags.DEFINE_bool("resume", False, "add to the output what it does not hold yet", values)
    flags.DEFINE_float("below", None, "show only what is below this percentage of quality", flag_values=values)
    flags.DEFINE_float("above", None, "show only what is above it", flag_values=values)
    flags.DEFINE_bool("unit", False, "the limit is in the unit of the model's scale, not in percent", values)
    flags.DEFINE_enum("sort", None, ("best", "worst"), "what comes first; otherwise rows come as they are made", values)
    flags.DEFINE_integer("top", None, "show the K best only", lower_bound=1, flag_values=values)
    flags.DEFINE_integer("bottom", None, "show the K worst only", lower_bound=1, flag_values=values)
    flags.DEFINE_string("runner", None, "Apache Beam's, which scores then: DirectRunner for one", values)
    define_beam(values)


def run(values: Flags, arguments: list[str]) -> int:
    """The job; ``arguments`` are images, folders and patterns."""
    if not arguments:
        raise InputError(expected="images or folders to score", found="none", hint="glintiqa score PATH...")
    if values.output == "-":
        values["output"].value = None
    _check(values)
    kind = _format(values)
    is_listed = "-" in arguments
    options = [*([f"--runner={values.runner}"] if values.runner else []), *values.beam_options]
    engine = on_beam("glintiqa_jax.engines.on_beam", options)
    images = ImageStream(_paths(arguments) if is_listed else arguments, is_listed=is_listed)
    # what the output is, before the model is loaded: most mistakes are found here
    with _to_other(values) as stream:
        model = open_model(values)
        rows = _here(model) if engine is None else _elsewhere(engine, options, model, values)
        scoring = _Scoring(model.card.scale, images, values, rows)
        if values.output is None or stream is not None:
            _print(scoring, kind, model.card.scale, stream)
        else:
            _write(scoring, kind, values, model.digest)
    if images.left_out:
        values.log.say(f"left out, as they are no images: {images.left_out:,}")
    return 3 if scoring.failed else 1 if scoring.fell else 0


def _check(values: Flags) -> None:
    given = [name for name in ("below", "above") if values[name].value is not None]
    if len(given) == 2:
        raise InputError(field="above", value=values.above, expected="one limit", found=f"`below={values.below}`, too")
    if values.unit and not given:
        raise InputError(field="unit", expected="`below` or `above`, whose unit it is", found="neither")
    chosen = [name for name in ("sort", "top", "bottom") if values[name].value is not None]
    if len(chosen) > 1:
        raise InputError(field=chosen[1], expected=f"not both it and `{chosen[0]}`", found="both")
    if values.resume:
        if values.output is None:
            raise InputError(field="resume", expected="`output`, which holds rows", found="none")
        if given or chosen:
            raise InputError(
                field="resume",
                expected="an output of all images",
                found=f"`{(given + chosen)[0]}`, which leaves some out",
            )
    if values.format == "table" and values.output is not None:
        raise InputError(field="format", value="table", expected="csv or jsonl in a file", found="table")


def _format(values: Flags) -> str:
    if values.format:
        return values.format
    if values.output is not None:
        return format_of(values.output)
    return "table" if sys.stdout.isatty() else "csv"


def _paths(arguments: Iterable[str]) -> Iterator[str]:
    for argument in arguments:
        if argument == "-":
            yield from _listed()
        else:
            yield argument


def _listed() -> Iterator[str]:
    """The paths on stdin, one by one: separated by NUL if the first that is read holds one, else by line breaks."""
    rest, separator = b"", b""
    while chunk := os.read(sys.stdin.fileno(), 2**16):
        rest += chunk
        separator = separator or (b"\0" if b"\0" in rest else b"\n" if b"\n" in rest else b"")
        if separator:
            *paths, rest = rest.split(separator)
            yield from map(os.fsdecode, filter(None, paths))
    if rest:
        yield os.fsdecode(rest)


def _to_other(values: Flags) -> Output | contextlib.nullcontext:
    """An output that is no regular file, as a pipe or a device, opened; else a context of None."""
    path = values.output
    if path and (descriptor(path) is not None or Path(path).is_char_device() or Path(path).is_fifo()):
        if values.resume:
            raise InputError(field="resume", expected="an output that is a file", found=visible(path))
        return open_output("output", path)
    if path and not values.format and Path(path).suffix.lower() not in (*ENDINGS, ""):
        raise InputError(
            field="output", value=path, expected=f"a file ending with {', '.join(ENDINGS)}", hint="or `format`"
        )
    if path == "":
        raise InputError(field="output", expected="a file to write", found="nothing")
    if path and Path(path).is_file() and is_image(Path(path)):
        raise InputError(field="output", value=path, expected="a file for rows", found="an image")
    return contextlib.nullcontext()


class _Scoring:
    """Images to rows.

    Args:
      scale: of their scores.
      images: what is scored.
      values: the flags.
      rows: gives the rows of images and of what is wrong with them already, in their order.

    Attributes:
      done: how many were scored, or could not be.
      failed: how many of them could not be scored.
      fell: how many fell on the side of the gate.
    """

    def __init__(self, scale: ScoreScale, images: ImageStream, values: Flags, rows: Rows):
        self._images, self._values, self._rows = images, values, rows
        self._falls = _gate(values, scale)
        self.done = self.failed = self.fell = 0

    def rows(self, held: Container[str] = ()) -> Iterator[Row]:
        """The rows to show, in their order; ``held`` has the paths that are left out."""
        values, failed = self._values, []

        def scored() -> Iterator[Row]:
            for row in self._each(held):
                if row.error is None:
                    yield row
                else:
                    failed.append(row)

        if values.top is not None:
            yield from heapq.nlargest(values.top, scored(), key=_percent)
        elif values.bottom is not None:
            yield from heapq.nsmallest(values.bottom, scored(), key=_percent)
        elif values.sort:
            yield from sorted(scored(), key=_percent, reverse=values.sort == "best")
        else:
            yield from self._each(held)
        yield from failed

    def _each(self, held: Container[str]) -> Iterator[Row]:
        found = ((path, problem) for path, problem in self._images if str(path) not in held)
        with self._values.log.progress(desc="scoring", unit="image", leave=False) as bar:
            if not bar.disable and not self._images.is_listed:
                bar.total = sum(1 for _ in self._images)
                bar.refresh()
            for row in self._rows(found):
                bar.update()
                self.done += 1
                if row.error is not None:
                    self.failed += 1
                    yield row
                elif self._falls is None or self._falls(row):
                    self.fell += self._falls is not None
                    yield row


def _here(model: Model) -> Rows:
    """Scores in this process, one image after the other."""

    def rows(found: Iterator[tuple[Path | str, str]]) -> Iterator[Row]:
        waiting: collections.deque[Path | str] = collections.deque()  # paths whose scores are on the way

        def images() -> Iterator[Path | str | BadImageError]:
            for path, problem in found:
                waiting.append(path)
                yield BadImageError(problem) if problem else path

        for score in model.score_many(images(), errors="return"):
            yield Row.of(waiting.popleft(), score, model.digest)

    return rows


def _elsewhere(engine: Any, options: list[str], model: Model, values: Flags) -> Rows:
    """Scores on Beam; what its workers write on the way lies beside the output."""
    if not values.output and not any("DirectRunner" in option for option in options):
        raise InputError(field="output", expected="a file in a folder that all workers see", found="none")
    path = None if values.model is None else Path(values.model).expanduser().absolute()
    handler = engine.ScoringHandler(path, max_pixels=values.max_pixels)
    folder = Path(values.output).absolute().parent if values.output else Path(tempfile.gettempdir())
    return lambda found: engine.rows(found, handler, model.digest, options, folder)


def _gate(values: Flags, scale: ScoreScale) -> Callable[[Row], bool] | None:
    """Whether a row falls on the side that the flags ask for; None if they do not ask."""
    limit = values.below if values.below is not None else values.above
    if limit is None:
        return None
    is_below = values.below is not None

    def falls(row: Row) -> bool:
        value = row.score if values.unit else row.percent
        assert value is not None
        return value < limit if is_below else value > limit

    return falls


def _percent(row: Row) -> float:
    assert row.percent is not None
    return row.percent


def _print(scoring: _Scoring, kind: str, scale: ScoreScale, stream: Output | None) -> None:
    """Rows to stdout, or to a pipe or a device."""
    write = result_bytes if stream is None else stream.write
    write(encoded(table_header(scale)) if kind == "table" else header(kind))
    for row in scoring.rows():
        write(encoded(table_line(row)) if kind == "table" else row.line(kind))


def _write(scoring: _Scoring, kind: str, values: Flags, model: str) -> None:
    """Rows to a file, and a line about it to stdout."""
    from glintiqa_jax.scoring.row_file import RowFile

    try:
        with RowFile(values.output, kind, model, resume=values.resume) as file:
            before = file.rows
            for row in scoring.rows(file):
                file.write(row)
            written = file.rows
    except KeyboardInterrupt as stopped:
        stopped.add_note(f"{file.rows:,} rows are in {file.part}; `resume` goes on with them")
        raise
    added = f", {written - before:,} of them new" if values.resume else ""
    failed = f", {scoring.failed:,} could not be read" if scoring.failed else ""
    result(f"{written:,} rows{added}{failed}: {values.output}")
