"""Generation on Apache Beam: the same images on a laptop, on Dataflow, Flink or Spark (``pip install
'glintiqa-jax[beam]'``). Every machine must see the sources and the folder that is written.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from apache_beam.runners import create_runner

from glintiqa_jax.data.builder import OnBeam
from glintiqa_jax.data.files import write_text
from glintiqa_jax.data.rated_images import RatedImage
from glintiqa_jax.errors import InputError
from glintiqa_jax.progress import quiet
from glintiqa_jax.saqt.generation import VERSIONS, Recipe, Source, from_line, rated_images, to_line, write_distorted

_SOURCES_FILE = ".sources.jsonl"


def check_options(options: Sequence[str]) -> None:
    """``InputError`` for flags that Beam does not have and would ignore, and for values that it cannot use."""
    for option in options:
        if not option.startswith("--"):
            raise InputError(
                field="beam_options", value=option, expected="a flag of Beam's, which begins with two hyphens"
            )
    said = io.StringIO()
    try:
        with quiet("apache_beam"), contextlib.redirect_stderr(said):
            parsed = PipelineOptions(list(options))
            unknown = parsed.get_all_options(retain_unknown_options=True).keys() - parsed.get_all_options().keys()
            create_runner(parsed.view_as(StandardOptions).runner or "DirectRunner")
    except (ValueError, ImportError, AttributeError, SystemExit) as error:
        reason = said.getvalue().rstrip().rpartition("error: ")[2] or str(error)  # as argparse says it
        raise InputError(" ".join(reason.split()), field="beam_options", value=" ".join(options)) from error
    if unknown:
        raise InputError(field="beam_options", expected="flags of Beam's", found=", ".join(sorted(unknown)))


def write_all(sources: Sequence[Source], folder: Path, recipe: Recipe, options: Sequence[str]) -> None:
    """``generation.write_all`` on Beam; ``options`` are Beam's flags."""

    def write(line: str) -> None:
        write_distorted(from_line(line.partition("\t")[2]), folder, recipe)

    with beam.Pipeline(options=PipelineOptions(list(options))) as pipeline:
        _ = pipeline | _lines(sources, folder) | "Distort" >> beam.Map(write)


def records(sources: Sequence[Source], folder: Path, options: Sequence[str]) -> OnBeam:
    """The argument ``on_beam`` of ``glintiqa_jax.data.builder.prepare``."""

    def images(line: str) -> Iterator[tuple[int, RatedImage]]:
        position, _, source = line.partition("\t")
        yield from enumerate(rated_images(from_line(source), folder), start=int(position) * VERSIONS)

    return OnBeam(_lines(sources, folder) | "Images" >> beam.FlatMap(images), options)


def _lines(sources: Sequence[Source], folder: Path) -> beam.PTransform:
    """A source in each line of a file, behind its position: too many for the description of a pipeline."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / _SOURCES_FILE
    write_text(path, "".join(f"{position}\t{to_line(source)}\n" for position, source in enumerate(sources)))
    return "Sources" >> beam.io.ReadFromText(str(path)) | "Spread" >> beam.Reshuffle()
