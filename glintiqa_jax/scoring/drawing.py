"""A quality map as a picture."""

from __future__ import annotations

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from glintiqa_jax.data.images import limit_long_side
from glintiqa_jax.scoring.maps import QualityMap

_LONGEST = 1600  # pixels of a drawn photograph
_INCHES = 6.5
_NARROWEST = 0.1  # of the scale: what less differs is not shown as if it differed much


def draw_map(quality: QualityMap, title: str) -> Figure:
    """The photograph, and beside it the photograph in grey under its quality, with the scale; red is worse.

    Args:
      quality: of ``Model.map``.
      title: above it.
    """
    height, width = quality.image.shape[:2]
    upright = height > width
    image = limit_long_side(quality.image, _LONGEST)
    grey = np.repeat(image.mean(axis=2, keepdims=True).astype(np.uint8), 3, axis=2)
    scale = quality.scale
    with matplotlib.rc_context({"font.size": 9}):
        sides = (_INCHES * min(width / height, 1), _INCHES * min(height / width, 1))
        figure = Figure(figsize=(2 * sides[0] + 1.2, sides[1] + 0.6), layout="constrained")
        left, right = figure.subplots(1, 2)
        extent = (0, width, height, 0)
        left.imshow(image, extent=extent)
        right.imshow(grey, extent=extent)
        middle = float(np.mean([quality.values.min(), quality.values.max()]))
        half = max(float(np.ptp(quality.values)), _NARROWEST * (scale.high - scale.low)) / 2
        drawn = right.imshow(
            quality.values,
            extent=extent,
            cmap="RdYlBu_r" if scale.lower_is_better else "RdYlBu",
            alpha=0.55,
            vmin=middle - half,
            vmax=middle + half,
            interpolation="bilinear",
        )
        worst = quality.worst
        right.add_patch(Rectangle((worst.left, worst.top), worst.width, worst.height, fill=False, edgecolor="black"))
        right.annotate(
            f"worst: {worst.score:.3g}",
            (worst.left + worst.width / 2, worst.top + worst.height / 2),
            ha="center",
            va="center",
            bbox={"boxstyle": "round", "facecolor": "white", "alpha": 0.8},
        )
        for axes in (left, right):
            axes.set_axis_off()
        bar = figure.colorbar(drawn, ax=right, shrink=0.9 if upright else 0.75)
        bar.set_label(scale.describe())
        figure.suptitle(title)
    return figure
