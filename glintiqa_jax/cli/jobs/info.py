"""Show a model's card: what it is, what it was trained on, how well it does, and under which licences.

    glintiqa info runs/scratch
    glintiqa info --versions

MODEL is a model's, a run's or a checkpoint's folder; without it, the model that ships. The second says what a report of
a fault needs: the versions of this package, of Python and of the libraries, the devices and the platform.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator
from typing import TYPE_CHECKING

from absl import flags

from glintiqa_jax.cli.flags import Flags
from glintiqa_jax.cli.results import result
from glintiqa_jax.errors import InputError
from glintiqa_jax.version import __version__

if TYPE_CHECKING:
    from glintiqa_jax.scoring.model import Model

ARGUMENTS = "[MODEL]"


def define(values: Flags) -> None:
    """The job's flags."""
    flags.DEFINE_bool("json", False, "the whole card as JSON", values)
    flags.DEFINE_bool("versions", False, "the versions of what is installed, and the devices, instead", values)


def run(values: Flags, arguments: list[str]) -> None:
    """The job; ``arguments`` is the model's folder, or nothing for the one that ships."""
    if len(arguments) > 1:
        raise InputError(expected="one model", found=len(arguments), hint="glintiqa info MODEL")
    if values.versions:
        if arguments:
            raise InputError(expected="no model beside `versions`", found=arguments[0])
        _show(list(_versions()))
        return
    from glintiqa_jax.scoring.files import load_model

    model = load_model(arguments[0] if arguments else None)
    if values.json:
        result(json.dumps(model.card.to_json() | {"digest": model.digest}))
        return
    _show(list(_facts(model)))


def _show(facts: list[tuple[str, str]]) -> None:
    width = max(len(name) for name, _ in facts)
    for name, said in facts:
        result(f"{name:{width}}  {said}")


def _versions() -> Iterator[tuple[str, str]]:
    from glintiqa_jax.training.provenance import provenance

    yield "glintiqa", __version__
    yield from provenance().rows
    yield "platform", platform.platform()


def _facts(model: Model) -> Iterator[tuple[str, str]]:
    from glintiqa_jax.models.config import describe
    from glintiqa_jax.models.files import arrays_of

    card, view = model.card, model.card.view
    size = sum(array.size for array in arrays_of(model.network).values())
    yield "network", f"{describe(card.network)}; {size:,} parameters and statistics"
    yield "score", card.scale.describe()
    crop = card.network.crop_size
    count = f"{view.random_crops} at random" if view.random_crops else f"{view.grid} x {view.grid}"
    crops = f"{count} crops of {crop} x {crop}"
    if view.sizes:
        crops += f", and as many each with the shorter side shrunk to at most {', '.join(map(str, view.sizes))}"
    shrunk = [
        f"the {name} side shrunk to at most {side} pixels"
        for name, side in (("longer", view.max_side), ("shorter", view.max_short_side))
        if side
    ]
    yield "sees", "; ".join([*shrunk, f"{crops}; their mean is the score"])
    if (calibration := card.calibration) is None or calibration.half_width(0) is None:
        yield "interval", "none: it was not measured on enough images"
    else:
        yield "interval", f"95 %, by the errors on {calibration.images:,} validation images"
    if card.trained_on is not None:
        trained = card.trained_on
        count = f", {trained.images:,} images" if trained.images else ""
        yield "trained on", f"{trained.source}{count} (digest {trained.identity[:16]})"
    else:
        yield "trained on", "not known: weights from elsewhere"
    for split, figures in card.results.items():
        yield split, _figures(figures)
    for note in card.notes:
        yield "note", note
    yield "licences", "; ".join(card.origin.licences) or "none are recorded"
    yield "made with", ", ".join(f"{name} {version}" for name, version in card.origin.versions.items()) or "not known"
    yield "digest", model.digest


def _figures(figures) -> str:
    from glintiqa_jax.evaluation.metrics import result_line

    return result_line(figures)
