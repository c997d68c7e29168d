"""The card of a model: all that its use needs, and its origin."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from glintiqa_jax import settings
from glintiqa_jax.data.crops import Crops
from glintiqa_jax.data.images import limit_long_side, limit_short_side, limited_long_size, limited_size
from glintiqa_jax.data.scale import ScoreScale
from glintiqa_jax.errors import InputError
from glintiqa_jax.models.config import ModelConfig

FORMAT = 1
"""Of ``card.json``. A later version of this package reads all earlier formats."""
OUTPUTS = ("quality", "raw")
COVERAGE = 0.95
"""Of intervals, unless another is asked for."""
_KEPT = 1000  # images of a calibration
_MOST = 4.0  # medians that are added to a deviation


@dataclasses.dataclass(frozen=True)
class View:
    """How a model is shown an image: shrunk, never enlarged, then cut into crops.

    Attributes:
      max_side: the longer side that images are shrunk to, in pixels; 0: not.
      max_short_side: the shorter side that they are shrunk to after that; 0: not.
      grid: crops per side of the fixed grid.
      random_crops: this many crops at random rather than the grid, always the same; 0: the grid.
      seed: of the crops at random.
      sizes: shorter sides, in pixels: the shown image is shrunk to each, and cut into as many crops again.
    """

    max_side: int = 0
    max_short_side: int = 0
    grid: int = 5
    random_crops: int = 0
    seed: int = 0
    sizes: tuple[int, ...] = ()

    def shown(self, pixels: np.ndarray) -> np.ndarray:
        """uint8 ``(height, width, 3)`` as large as the model sees it."""
        return limit_short_side(limit_long_side(pixels, self.max_side), self.max_short_side)

    def shown_size(self, height: int, width: int) -> tuple[int, int]:
        """The (height, width) that ``shown`` gives an image of this size."""
        return limited_size(*limited_long_size(height, width, self.max_side), self.max_short_side)

    def crops(self, crop_size: int) -> Crops:
        """The crops of a shown image."""
        return Crops(crop_size, self.grid, self.random_crops, self.seed, self.sizes)


@dataclasses.dataclass(frozen=True)
class Calibration:
    """How far predictions were off on images that were not trained on: split conformal prediction.

    An interval is as wide as errors were, in proportion to how far an image's crops disagree (normalised
    nonconformity: Papadopoulos et al. 2008, Lei et al. 2018).

    Attributes:
      errors: absolute differences of prediction and score, in the unit of the scale; of a thousand images at most.
      deviations: standard deviations over the crops of the same images, in the same unit.
      images: how many there were.
    """

    errors: tuple[float, ...] = dataclasses.field(repr=False)
    deviations: tuple[float, ...] = dataclasses.field(repr=False)
    images: int

    @classmethod
    def of(cls, predicted: np.ndarray, target: np.ndarray, deviation: np.ndarray) -> Calibration:
        """From predictions, scores and deviations over crops, ``(images,)``, in one unit."""
        errors = np.abs(predicted - target)
        kept = np.arange(len(errors))
        if len(errors) > _KEPT:  # evenly from the order that intervals look at
            kept = np.argsort(errors / (deviation + _floor(errors, deviation)))
            kept = kept[np.linspace(0, len(errors) - 1, _KEPT).round().astype(int)]
        kept_errors, deviations = (tuple(float(f"{v:.4g}") for v in values[kept]) for values in (errors, deviation))
        return cls(kept_errors, deviations, len(errors))

    def half_width(self, deviation: float, coverage: float = COVERAGE) -> float | None:
        """Half the interval of an image whose crops' scores have this standard deviation, in the unit of the scale.

        The half width of n images is the ``ceil((n + 1) coverage)``-th smallest of their errors, each over its own
        deviation, times this one; None if n is too small to say.
        """
        rank = int(np.ceil((len(self.errors) + 1) * coverage))
        if rank > len(self.errors):
            return None
        floor, ranked = self._ranked
        return float(ranked[rank - 1]) * (deviation + floor)

    @functools.cached_property
    def _ranked(self) -> tuple[float, np.ndarray]:
        """What is added to every deviation, and the errors over their own, ascending."""
        errors, deviations = np.asarray(self.errors), np.asarray(self.deviations)
        floor = _floor(errors, deviations)
        return floor, np.sort(errors / (deviations + floor))


def _floor(errors: np.ndarray, deviations: np.ndarray) -> float:
    """What is added to every deviation: crops may agree by chance, and of one crop none disagrees.

    Errors are taken to grow as ``a + b deviation``, fitted by least squares, so that ``a / b`` is added. It is one to
    four times the median deviation: an interval adapts at least a little, and never to chance alone.
    """
    median = float(np.median(deviations))
    if median == 0:
        return 1.0
    spread = deviations - deviations.mean()
    slope = float((spread * errors).sum() / max((spread**2).sum(), 1e-12 * median**2))
    start = float(errors.mean()) - slope * float(deviations.mean())
    return float(np.clip(start / slope, median, _MOST * median)) if slope > 0 else _MOST * median


@dataclasses.dataclass(frozen=True)
class TrainedOn:
    """What a model was trained on. What its images look like is in ``trained_on.npz`` beside the card.

    Attributes:
      source: the names of the databases.
      images: how many images trained.
      identity: digest of all images and scores.
      split_sha256: digest of which trained, validated and were tested.
    """

    source: str
    images: int
    identity: str
    split_sha256: str


@dataclasses.dataclass(frozen=True)
class Origin:
    """Where a model is from.

    Attributes:
      experiment: the settings it was trained with, as JSON; empty for weights from elsewhere.
      versions: of Python and the libraries that it was trained with.
      commit: of this package; empty where it was not run from a checkout.
      licences: of the weights that it started from and of the images that it was trained on, a line each.
    """

    experiment: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    versions: Mapping[str, str] = dataclasses.field(default_factory=dict)
    commit: str = ""
    licences: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class ModelCard:
    """A model, described.

    Attributes:
      network: what it is.
      scale: what its scores mean: range, unit and direction.
      view: how it is shown an image.
      output: the network's own output: "quality" in [0, 1], higher is better, or the "raw" score.
      calibration: how far predictions are off; None where that was not measured.
      trained_on: None for weights that were trained elsewhere.
      results: figures by name, by split: ``results["test"]["srocc"]``; null where undefined.
      origin: where it is from.
      notes: what its users should know, a sentence each: what it is not for, known biases, the spread over seeds.
    """

    network: ModelConfig
    scale: ScoreScale
    view: View = View()
    output: str = "quality"
    calibration: Calibration | None = None
    trained_on: TrainedOn | None = None
    results: Mapping[str, Mapping[str, float | int | None]] = dataclasses.field(default_factory=dict)
    origin: Origin = Origin()
    notes: tuple[str, ...] = ()

    def to_scale(self, said: Any) -> Any:
        """The network's output, an array of NumPy's or JAX's, in the unit and direction of ``scale``; any shape."""
        return said if self.output == "raw" else self.scale.to_raw(said)

    def with_results(
        self, figures: Mapping[str, Any], validated: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None
    ) -> ModelCard:
        """The card of a finished run.

        Args:
          figures: by the name of the split, among other things.
          validated: predictions, scores and deviations over crops of images that were not trained on, ``(images,)`` in
            the unit of the scale, to calibrate with.
        """
        results = {name: value for name, value in figures.items() if isinstance(value, Mapping)}
        calibration = Calibration.of(*validated) if validated is not None else None
        return dataclasses.replace(self, results=results, calibration=calibration)

    def to_json(self) -> dict[str, Any]:
        """Plain nested values, with the number of the format."""
        content = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        plain = {name: _plain(value) for name, value in content.items() if name != "network"}
        return {"format": FORMAT, "network": settings.to_json(self.network)} | plain

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> ModelCard:
        """The card that ``to_json`` wrote; values that are unknown here are left out, as a later version may add some.

        Raises:
          InputError: a later format, or content that is not a card.
        """
        if content.get("format") != FORMAT:
            raise InputError(
                expected=f"a model card of format {FORMAT}",
                found=f"format {content.get('format')!r}",
                hint="a later version of glintiqa-jax may read it",
            )
        parts = {
            "view": View,
            "calibration": Calibration,
            "trained_on": TrainedOn,
            "origin": Origin,
        }
        if content.get("output") not in OUTPUTS:
            raise InputError(field="output", expected=f"one of {', '.join(OUTPUTS)}", found=repr(content.get("output")))
        try:
            if (scale := _known(ScoreScale, content["scale"])) is None:
                raise TypeError("it has no scale")
            values = {name: _known(kind, content.get(name)) for name, kind in parts.items()}
            return cls(
                network=settings.from_json(ModelConfig, content["network"]),
                scale=scale,
                output=content["output"],
                results=content["results"],
                notes=tuple(content.get("notes", ())),
                **values,
            )
        except InputError:
            raise
        except (TypeError, KeyError, ValueError, AttributeError) as error:
            raise InputError(expected="a model card", found=f"something else ({error})") from error


def read_card(path: Path) -> ModelCard:
    """The card in a file; ``InputError`` names it."""
    try:
        return ModelCard.from_json(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise InputError(file=path, expected="a model card", found=str(error.strerror)) from error
    except ValueError as error:
        raise InputError(str(error), file=path) from error


def _plain(value: Any) -> Any:
    return dataclasses.asdict(value) if dataclasses.is_dataclass(value) and not isinstance(value, type) else value


def _known(kind: type, content: Mapping[str, Any] | None) -> Any:
    if content is None:
        return None
    names = {field.name for field in dataclasses.fields(kind)}
    return kind(
        **{name: tuple(value) if isinstance(value, list) else value for name, value in content.items() if name in names}
    )
