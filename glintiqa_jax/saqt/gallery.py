"""A picture of every distortion at every level, on the user's own photograph."""

from __future__ import annotations

import textwrap

import numpy as np
import PIL.Image
import PIL.ImageOps
from matplotlib.figure import Figure
from numpy.typing import NDArray

from glintiqa_jax.saqt.distortions import KADID, DistortionSet

# In pixels. Distortions have sizes in pixels of their own: what is distorted is the tile, and a pixel of it is one of
# the picture, so that nothing is blurred or sharpened on the way.
_TILE = (192, 144)  # width, height
_GAP = 8
_CAPTION = 20  # above each tile
_LABEL = 188  # left of each row
_LEAST = (96, 72)  # width and height left for a tile that is smaller, so that texts do not meet
_DPI = 120


def draw_gallery(
    photograph: NDArray[np.uint8], *, seed: int = 0, rescale: bool = True, distortions: DistortionSet = KADID
) -> Figure:
    """The photograph once, then a row for each distortion of a set with a tile for each of its levels.

    Args:
      photograph: uint8 RGB ``(height, width, 3)``, each side at least 32 pixels. It is shrunk to tiles of 192x144
        pixels, cropped to its middle where it has another aspect, and never enlarged.
      seed: of the random distortions.
      rescale: as in ``distort``.
      distortions: the set.

    Returns:
      a figure for ``save_figure``, of KADID-10k's set some 1,200 x 4,500 pixels.

    Raises:
      InputError: for an image of another dtype, shape or size, and for a negative seed.
    """
    tile = _tile(photograph)
    rows = [
        [distortions.distort(tile, row.number, level, seed=seed, rescale=rescale) for level in distortions.levels]
        for row in distortions.rows
    ]
    height, width = tile.shape[:2]
    across, down = max(width, _LEAST[0]) + _GAP, max(height, _LEAST[1]) + _CAPTION + _GAP
    size = (_LABEL + len(distortions.levels) * across, (1 + len(rows)) * down + _GAP)
    figure = Figure(figsize=(size[0] / _DPI, size[1] / _DPI), dpi=_DPI)

    def place(image: NDArray[np.uint8], row: int, column: int, caption: str) -> None:
        """An image and its caption; the row of the pristine photograph is 0."""
        left, top = _LABEL + column * across, _GAP + row * down
        figure.text(left / size[0], 1 - (top + _CAPTION / 2) / size[1], caption, size=7, va="center")
        # figimage counts from the lower edge
        figure.figimage(image, left, size[1] - top - _CAPTION - height, origin="upper")

    def label(row: int, title: str, text: str) -> None:
        top = 1 - (_GAP + row * down + _CAPTION) / size[1]
        figure.text(_GAP / size[0], top, title, size=8, weight="bold", va="top")
        figure.text(_GAP / size[0], top - 20 / size[1], textwrap.fill(text, 27), size=7, va="top", linespacing=1.4)

    label(0, "pristine", f"{'rescaled before and after' if rescale else 'not rescaled'}, seed {seed}")
    place(tile, 0, 0, f"{width}x{height} pixels")
    for number, (row, images) in enumerate(zip(distortions.rows, rows, strict=True), start=1):
        label(number, f"{row.number} {row.name}", row.definition)
        for column, (image, parameter) in enumerate(zip(images, row.levels, strict=True)):
            place(image, number, column, f"level {column + 1}: {parameter:g}")
    return figure


def _tile(photograph: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = photograph.shape[:2]
    size = (min(width, _TILE[0]), min(height, _TILE[1]))
    return np.asarray(PIL.ImageOps.fit(PIL.Image.fromarray(photograph), size, PIL.Image.Resampling.BICUBIC))
