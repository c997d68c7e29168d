"""What every engine does with a batch of images."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence

from glintiqa_jax.data.images import MAX_PIXELS
from glintiqa_jax.scoring.files import load_model
from glintiqa_jax.scoring.model import Model
from glintiqa_jax.scoring.rows import Row

Example = str | tuple[str, bytes]
"""An image's path, or what its row calls it and the file's content."""


def model_of(path: str | os.PathLike | None, max_pixels: int = MAX_PIXELS) -> Model:
    """The model at a path, or the one that ships; ``InputError`` where there is none."""
    model = load_model(path)
    model.max_pixels = max_pixels
    return model


once_a_process = functools.lru_cache(maxsize=1)(model_of)
"""``model_of``, for engines that make the same request of a process again and again."""


def rows_of(model: Model, examples: Sequence[Example]) -> list[Row]:
    """A row for each image, in their order; of one that cannot be scored the row says why."""
    named = [(one, one) if isinstance(one, str) else one for one in examples]
    scores = model.score_many([image for _, image in named], errors="return")
    return [Row.of(name, score, model.digest) for (name, _), score in zip(named, scores, strict=True)]
