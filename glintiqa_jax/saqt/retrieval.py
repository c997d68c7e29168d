"""The references that are most like each image: cosine similarity (paper section III-D)."""

from __future__ import annotations

import numpy as np

from glintiqa_jax.errors import InputError
from glintiqa_jax.progress import progress_bar


def nearest(
    features: np.ndarray, references: np.ndarray, k: int, *, block: int = 1024
) -> tuple[np.ndarray, np.ndarray]:
    """The ``k`` references that are most like each image.

    One matrix product for each ``block`` of images: beside features and references, what is held at a time is one
    float32 ``(block, references)``, 41 MB for 10,000 references, however many images there are.

    Args:
      features: float32 ``(images, channels)``, rows of length 1; may be a memory map.
      references: float32 ``(references, channels)``, rows of length 1.
      k: from 1 to the number of references; each costs a pass over the similarities.
      block: images per matrix product.

    Returns:
      int64 ``(images, k)`` indices of references and float32 ``(images, k)`` cosine similarities, the most similar
      first, the lower index first where two are equal.

    Raises:
      InputError: features of different backbones, a ``k`` above the number of references.
    """
    check_channels(features, references)
    if not 1 <= k <= len(references):
        raise InputError(f"k={k}: expected from 1 to the {len(references)} references")
    indices = np.empty((len(features), k), np.int64)
    similarities = np.empty((len(features), k), np.float32)
    short = len(features) <= block
    with progress_bar(total=len(features), desc="retrieval", unit="image", leave=False, hidden=short) as bar:
        for start in range(0, len(features), block):
            rows = slice(start, start + block)
            product = np.asarray(features[rows]) @ references.T  # (block, references)
            for rank in range(k):
                best = np.argmax(product, axis=1)[:, None]  # of equal ones, the first
                indices[rows, rank] = best[:, 0]
                similarities[rows, rank] = np.take_along_axis(product, best, axis=1)[:, 0]
                np.put_along_axis(product, best, -np.inf, axis=1)
            bar.update(len(product))
    return indices, similarities


def check_channels(features: np.ndarray, references: np.ndarray) -> None:
    """Raise ``InputError`` unless both are ``(count, channels)`` with as many channels."""
    if features.ndim != 2 or references.ndim != 2 or features.shape[1] != references.shape[1]:
        raise InputError(
            expected="features (images, channels) and references (references, channels) of one backbone",
            found=f"shapes {features.shape} and {references.shape}",
        )
