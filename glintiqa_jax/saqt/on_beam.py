"""Generation on Apache Beam: the same images on a laptop, on Dataflow, Flink or Spark (``pip install
'glintiqa-jax[beam]'``). Every machine must see the sources and the folder that is written.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from glintiqa_jax.data.builder import OnBeam
from glintiqa_jax.data.files import write_text
from glintiqa_jax.data.rated_images import RatedImage
from glintiqa_jax.saqt.generation import VERSIONS, Recipe, Source, from_line, rated_images, to_line, write_distorted

_SOURCES_FILE = ".sources.jsonl"


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
