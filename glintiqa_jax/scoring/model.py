"""A model in use: any image in, one score out, in the unit that the model was trained on."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx

from glintiqa_jax.data.images import MAX_PIXELS, decode_image, resized
from glintiqa_jax.data.near_duplicates import Look
from glintiqa_jax.data.pixels import BadImageError, to_pixels
from glintiqa_jax.errors import visible
from glintiqa_jax.models.glintiqa import GlintIQA
from glintiqa_jax.scoring.card import ModelCard
from glintiqa_jax.scoring.predict import Predict
from glintiqa_jax.sharding import make_mesh

_WINDOWS = 16  # crops of a map that are scored at once


@dataclasses.dataclass(frozen=True)
class Score:
    """One image's score.

    Attributes:
      value: in the unit and direction of the model's scale; ``float(score)`` gives it, too.
      percent: quality from 0, the worst of the scale, to 100, the best; an extraordinary image may lie outside.
      interval: lowest and highest opinion score to expect, in the unit of ``value``, with the coverage of the card's
        calibration; None if the model is not calibrated.
    """

    value: float
    percent: float
    interval: tuple[float, float] | None = None

    def __float__(self) -> float:
        return self.value


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Two images compared.

    Attributes:
      first: the score of one.
      second: the score of the other.
      difference: by how much the second is better, in percent of the scale; negative where it is worse.
      certain: whether that exceeds the error of two predictions; None if the model is not calibrated.
    """

    first: Score
    second: Score
    difference: float
    certain: bool | None

    @property
    def better(self) -> str:
        """The better one: "first", "second" or "neither"."""
        return "neither" if not self.difference else "second" if self.difference > 0 else "first"


class Model:
    """A network and its card.

    A score is the mean over a fixed set of crops of one image: a function of that image alone, whatever else is scored
    before or after it.

    Args:
      network: with its values.
      card: what it is and means.
      looks: of the images it was trained on; None where that is not known.
      max_pixels: the largest width times height of an image; 0 is no limit.

    Attributes: the arguments.
    """

    def __init__(
        self, network: GlintIQA, card: ModelCard, *, looks: Sequence[Look] | None = None, max_pixels: int = MAX_PIXELS
    ):
        self.network, self.card, self.looks, self.max_pixels = network, card, looks, max_pixels
        graphdef, self._state = nnx.split(network)
        # One device: an image is one batch, so that a score cannot depend on its neighbours.
        self._predict = Predict(graphdef, make_mesh(devices=jax.local_devices()[:1]))

    def score(self, image: Any) -> Score:
        """The score of one image, which is brought to the pixels that a viewer would show.

        Args:
          image: a file's path or its bytes, a Pillow image, or an array or nested lists ``(height, width)`` or
            ``(height, width, channels)`` of grey or RGB, with alpha or without: integers of 8 or 16 bits, or floats in
            0..1 or 0..255. Neither side is shorter than the model's crop.

        Raises:
          BadImageError: for anything else; a ``ValueError``.
        """
        pixels, name = self._pixels(image)
        try:
            crops = self.card.view.crops(self.card.network.crop_size).of(self.card.view.shown(pixels), name)
        except ValueError as error:
            raise BadImageError(f"{visible(name)}: {error}") from error
        return self._as_score(float(self.card.to_scale(self._said(crops)).mean()))

    def map(self, image: Any, *, overlap: float = 0.5) -> np.ndarray:
        """Quality over an image: the scores of overlapping windows, blended to the image's size.

        Args:
          image: as for ``score``.
          overlap: of neighbouring windows, as a share of a window's side, in [0, 1).

        Returns:
          float32 ``(height, width)`` in the unit of the scale.

        Raises:
          BadImageError: as for ``score``.
          ValueError: an overlap outside [0, 1).
        """
        if not 0 <= overlap < 1:
            raise ValueError(f"overlap: expected a share from 0 to below 1, found {overlap}")
        pixels, name = self._pixels(image)
        shown, crop = self.card.view.shown(pixels), self.card.network.crop_size
        if min(shown.shape[:2]) < crop:
            height, width = shown.shape[:2]
            raise BadImageError(
                f"{visible(name)}: an image of {width}x{height} pixels is smaller than the crop of {crop}"
            )
        places = [
            (top, left)
            for top in _starts(shown.shape[0], crop, overlap)
            for left in _starts(shown.shape[1], crop, overlap)
        ]
        total, weights = np.zeros(shown.shape[:2]), np.zeros(shown.shape[:2])
        side = np.sin(np.pi * (np.arange(crop) + 0.5) / crop)  # a window says most of its middle
        weight = np.outer(side, side)
        for start in range(0, len(places), _WINDOWS):
            some = places[start : start + _WINDOWS]
            windows = [shown[top : top + crop, left : left + crop] for top, left in some]
            windows += windows[-1:] * (_WINDOWS - len(windows))  # one shape, compiled once
            scores = self.card.to_scale(self._said(np.stack(windows)))
            for (top, left), score in zip(some, scores, strict=False):
                total[top : top + crop, left : left + crop] += weight * score
                weights[top : top + crop, left : left + crop] += weight
        return resized((total / weights).astype(np.float32), pixels.shape[:2])

    def compare(self, first: Any, second: Any) -> Comparison:
        """Which of two images is better, and whether by more than chance; images and errors as for ``score``."""
        one, other = self.score(first), self.score(second)
        certain = None
        if self.card.calibration is not None:
            # errors of two predictions are taken to be independent
            certain = abs(one.value - other.value) > np.sqrt(2) * self.card.calibration.half_width
        return Comparison(one, other, other.percent - one.percent, certain if certain is None else bool(certain))

    def save(self, folder: str | os.PathLike) -> Path:
        """Write the model as a folder, which ``load_model`` opens; see ``save_model``."""
        from glintiqa_jax.scoring.files import save_model  # which loads models

        return save_model(self, folder)

    def _as_score(self, value: float) -> Score:
        interval = None
        if (calibration := self.card.calibration) is not None:
            interval = (value - calibration.half_width, value + calibration.half_width)
        return Score(value, 100.0 * float(self.card.scale.to_quality(value)), interval)

    def _said(self, crops: np.ndarray) -> np.ndarray:
        """uint8 ``(crops, crop, crop, 3)`` to what the network says, float64 ``(crops,)``."""
        return np.asarray(self._predict(crops[None], self._state), np.float64)[0]

    def _pixels(self, image: Any) -> tuple[np.ndarray, str]:
        """uint8 ``(height, width, 3)``, and what errors call it."""
        if isinstance(image, bytes | bytearray | memoryview):
            return decode_image(bytes(image), "image", max_pixels=self.max_pixels), "image"
        if not isinstance(image, str | os.PathLike):
            return to_pixels(image), "image"
        if not os.fspath(image):  # which pathlib takes for the folder one is in
            raise BadImageError("expected an image, found an empty path")
        try:
            encoded = Path(image).read_bytes()
        except (OSError, ValueError) as error:
            raise BadImageError(f"{visible(image)}: cannot be read ({getattr(error, 'strerror', error)})") from error
        return decode_image(encoded, str(image), max_pixels=self.max_pixels), str(image)


def _starts(side: int, crop: int, overlap: float) -> list[int]:
    """Where windows begin along a side: evenly, from edge to edge, with at least this overlap."""
    count = 1 + int(np.ceil((side - crop) / max(crop * (1 - overlap), 1)))
    return [round(place) for place in np.linspace(0, side - crop, count)]
