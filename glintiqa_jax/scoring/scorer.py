"""The trained model in use: any image in, one score out, in the unit the model was trained on."""

from __future__ import annotations

import os
from pathlib import Path

import jax
import numpy as np

from glintiqa_jax.data.catalog import ScoreScale
from glintiqa_jax.data.images import BadImageError, decode_image, limit_long_side, limit_short_side
from glintiqa_jax.data.transforms import grid_crops
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

    Attributes:
      scale: what the scores mean: range, unit and direction.
      config: how the model was trained.

    Raises:
      UserError: when there is no checkpoint.
    """

    def __init__(self, checkpoint: str | os.PathLike):
        # One device: an image is one batch, so that a score cannot depend on its neighbours.
        mesh = make_mesh(devices=jax.devices()[:1])
        loaded = load_model(checkpoint, mesh)
        self.config: TrainConfig = loaded.description.config
        self.scale: ScoreScale = loaded.description.scale
        self._max_side = loaded.description.max_side
        self._params, self._rest = loaded.params, loaded.rest
        self._predict = make_predict(loaded.graphdef, mesh)

    def score(self, image: np.ndarray) -> float:
        """The score of one image.

        Args:
          image: uint8 RGB ``(height, width, 3)``, neither side shorter than the model's crop.

        Returns:
          The predicted opinion score in the unit of ``scale``.

        Raises:
          ValueError: for another dtype or shape, or an image smaller than the crop.
        """
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise ValueError(f"expected a uint8 image (height, width, 3), found {image.dtype} {image.shape}")
        image = limit_short_side(limit_long_side(image, self._max_side), self.config.data.max_short_side)
        crops = grid_crops(image, self.config.model.crop_size, self.config.eval_grid)
        predicted = np.asarray(self._predict(self._params, self._rest, crops[None]), np.float64)
        return float(self.scale.from_target(predicted).mean())

    def score_file(self, path: str | os.PathLike) -> float:
        """The score of an image file; ``BadImageError`` names the file that cannot be scored and says why."""
        try:
            return self.score(decode_image(Path(path).read_bytes(), str(path)))
        except OSError as error:
            raise BadImageError(f"{path}: cannot be read ({error.strerror})") from error
        except ValueError as error:
            raise BadImageError(f"{path}: {error}") from error
