"""Predictions of any models, as files, against the same opinion scores."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from glintiqa_jax.data.tables import first_five, read_numbers, read_table
from glintiqa_jax.errors import InputError
from glintiqa_jax.evaluation import plots
from glintiqa_jax.evaluation.config import ReportOptions
from glintiqa_jax.evaluation.document import Block, Plot, Section, write_document
from glintiqa_jax.evaluation.tables import Judged, comparison_table, metrics_table
from glintiqa_jax.protocols.runs import claim
from glintiqa_jax.training.provenance import provenance

_SMALLEST, _LARGEST = 1e-38, 1e38  # single precision's, whose squares double precision holds


@dataclasses.dataclass(frozen=True)
class Columns:
    """Which columns of the CSV files hold what.

    Attributes:
      image: of the scores, the images' names.
      score: of the scores, the opinion scores.
      group: of the scores, the content of each image; none: each image is its own.
      std: of the scores, the standard deviations of the opinions; none: not known.
      name: of the predictions, the images' names.
      predicted: of the predictions, what the model says.
    """

    image: str = "image"
    score: str = "mos"
    group: str = ""
    std: str = ""
    name: str = "name"
    predicted: str = "predicted"


def compare(
    predictions: Mapping[str, Path],
    scores: Path,
    workdir: Path,
    *,
    columns: Columns = Columns(),
    same_unit: bool = False,
    report: ReportOptions | None = None,
) -> dict[str, Judged]:
    """Report how well each model's predictions agree with people, and how the others differ from the first.

    Args:
      predictions: a CSV file of each model's, by the model's name; all of the same images. Higher means a higher score,
        in any unit.
      scores: a CSV file of the opinion scores, of these images and maybe others.
      workdir: where ``report.md`` and ``report.html`` go.
      columns: of the files.
      same_unit: all predict in the unit of the scores, so that errors are figures, too.
      report: what the report holds.

    Returns:
      What was judged, by model.

    Raises:
      InputError: files that cannot be read, predictions and scores that do not join (naming the first five), models
        that predict different images, a folder that holds another report.
    """
    report = report or ReportOptions()
    wanted = [columns.score, *([columns.std] if columns.std else [])]
    scored = read_numbers(scores, columns.image, wanted)
    found = {name: read_numbers(path, columns.name, [columns.predicted]) for name, path in predictions.items()}
    images = list(next(iter(found.values())))
    first = next(iter(predictions))
    for name, said in found.items():
        if unknown := [image for image in said if image not in scored]:
            problem = f"{len(unknown)} of its {len(said)} images have no score in {scores}: {first_five(unknown)}"
            raise InputError(problem, file=predictions[name])
        for one, other, lacking in (
            (predictions[name], predictions[first], [image for image in images if image not in said]),
            (predictions[first], predictions[name], [image for image in said if image not in found[first]]),
        ):
            if lacking:
                raise InputError(f"lacks {len(lacking)} of the images of {other}: {first_five(lacking)}", file=one)
    if columns.std and (negative := [image for image in images if scored[image][1] < 0]):
        problem = f"standard deviations below 0, of {first_five(negative)}"
        raise InputError(problem, file=f"{scores}, column {columns.std!r}")
    for path, said in ((scores, scored), *((predictions[name], said) for name, said in found.items())):
        largest = max(abs(number) for numbers in said.values() for number in numbers)
        if largest and not _SMALLEST <= largest <= _LARGEST:
            expected = f"numbers whose largest is {_SMALLEST:g} to {_LARGEST:g} in size"
            raise InputError(file=path, expected=expected, found=f"{largest:g}")
    digests = {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in (*predictions.values(), scores)}
    files = {"scores": digests[scores], "predictions": {name: digests[path] for name, path in predictions.items()}}
    claim(workdir, "comparison", {}, files=files, columns=dataclasses.asdict(columns))
    groups = _groups(scores, columns, images) if columns.group else None
    judged = {
        name: Judged(
            predicted=np.asarray([said[image][0] for image in images]),
            target=np.asarray([scored[image][0] for image in images]),
            groups=groups,
            target_std=np.asarray([scored[image][1] for image in images]) if columns.std else None,
            same_unit=same_unit,
        )
        for name, said in found.items()
    }
    blocks: list[Block] = [
        f"{len(images)} of the {len(scored)} images in {scores.name}.",
        metrics_table(judged, resamples=report.resamples),
    ]
    (_, reference), *others = judged.items()
    if others:
        blocks.append(comparison_table(first, reference, dict(others), resamples=report.resamples))
    panels = {name: (one.predicted, one.target) for name, one in judged.items()}
    scatter = Plot("predicted_against_true", plots.scatter(panels, "in its unit"), "predicted against true")
    made_of = [(f"SHA-256 of {path.name}", digest) for path, digest in digests.items()]
    sections = [
        Section(f"{', '.join(judged)} against {scores.name}", blocks),
        Section("Predicted against true", [scatter]),
        provenance(report.command).section(*made_of),
    ]
    write_document(workdir, sections, latex=report.latex)
    return judged


def _groups(scores: Path, columns: Columns, images: list[str]) -> np.ndarray:
    table = read_table(scores, [columns.image, columns.group])
    group = dict(zip(table.names(columns.image), table.texts(columns.group), strict=True))
    return np.asarray([group[image] for image in images])
