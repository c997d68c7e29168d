"""The trained model in use: any image in, one score out, in the unit the model was trained on."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import jax
import numpy as np

from glintiqa_jax.data.images import MAX_PIXELS, decode_image, limit_long_side, limit_short_side
from glintiqa_jax.data.pixels import BadImageError, to_pixels
from glintiqa_jax.data.scale import ScoreScale
from glintiqa_jax.data.transforms import grid_crops
from glintiqa_jax.errors import visible
from glintiqa_jax.evaluation.prediction import make_predict
from glintiqa_jax.sharding import make_mesh
from glintiqa_jax.training.checkpoints import load_model
from glintiqa_jax.training.config import TrainConfig


class Scorer:
    """Scores images with a trained checkpoint.

    A score is the mean over a fixed grid of crops of one image at a time: it is a function of that image alone,
    whatever else is scored before or after it.

    Args:
      checkpoint: a training run's ``--workdir`` or the folder of one checkpoint.
      max_pixels: the largest width times height that a file may have; 0 is no limit.

    Attributes:
      scale: what the scores mean: range, unit and direction.
      config: how the model was trained.

    Raises:
      UserError: when there is no checkpoint.
    """

    def __init__(self, checkpoint: str | os.PathLike, *, max_pixels: int = MAX_PIXELS):
        # One device: an image is one batch, so that a score cannot depend on its neighbours.
        mesh = make_mesh(devices=jax.devices()[:1])
        loaded = load_model(checkpoint, mesh)
        self.config: TrainConfig = loaded.description.config
        self.scale: ScoreScale = loaded.description.scale
        self._max_pixels = max_pixels
        self._max_side = loaded.description.max_side
        self._params, self._rest = loaded.params, loaded.rest
        self._predict = make_predict(loaded.graphdef, mesh)

    def score(self, image: Any) -> float:
        """The score of one image, which is brought to the pixels that a viewer would show.

        Args:
          image: a file's path or its bytes, a Pillow image, or an array or nested lists ``(height, width)`` or
            ``(height, width, channels)`` of grey or RGB, with alpha or without: integers of 8 or 16 bits, or floats in
            0..1 or 0..255. Neither side is shorter than the model's crop.

        Returns:
          The predicted opinion score in the unit of ``scale``.

        Raises:
          BadImageError: for anything else; a ``ValueError``.
        """
        if isinstance(image, str | os.PathLike):
            return self.score_file(image)
        if isinstance(image, bytes | bytearray | memoryview):
            return self._score(decode_image(bytes(image), "image", max_pixels=self._max_pixels), "image")
        return self._score(to_pixels(image), "image")

    def score_file(self, path: str | os.PathLike) -> float:
        """The score of an image file; ``BadImageError`` names the file that cannot be scored and says why."""
        if not os.fspath(path):  # which pathlib takes for the folder one is in
            raise BadImageError("expected an image, found an empty path")
        try:
            encoded = Path(path).read_bytes()
        except (OSError, ValueError) as error:
            raise BadImageError(f"{visible(path)}: cannot be read ({getattr(error, 'strerror', error)})") from error
        return self._score(decode_image(encoded, str(path), max_pixels=self._max_pixels), str(path))

    def _score(self, pixels: np.ndarray, name: str) -> float:
        image = limit_short_side(limit_long_side(pixels, self._max_side), self.config.max_short_side)
        try:
            crops = grid_crops(image, self.config.model.crop_size, self.config.eval_grid)
        except ValueError as error:
            raise BadImageError(f"{name}: {error}") from error
        predicted = np.asarray(self._predict(self._params, self._rest, crops[None]), np.float64)
        return float((predicted if self.config.target == "raw" else self.scale.to_raw(predicted)).mean())
