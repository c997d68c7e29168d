"""README's picture: a photograph of which the right half is blurred, and the quality map of the model that ships.

python docs/map.py
"""

from pathlib import Path

import numpy as np
import skimage.data
from matplotlib.text import Text

import glintiqa_jax as giq
from glintiqa_jax.scoring.drawing import draw_map

_WIDTH = 600  # of the photograph, in pixels


def photograph() -> np.ndarray:
    """uint8 ``(400, 600, 3)``: scikit-image's cup of coffee (Rachel Michetti, CC0), blurred from the middle on."""
    image = skimage.data.coffee()
    blurred = giq.distort(image, "gaussian_blur", level=4)
    return np.where(np.arange(_WIDTH)[:, None] < _WIDTH // 2, image, blurred)  # (400, 600, 3)


if __name__ == "__main__":
    quality = giq.load_model().map(photograph(), overlap=0.75)
    figure = draw_map(quality, "Left half as photographed, right half blurred")
    for text in figure.findobj(Text):
        text.set_fontsize(14)  # it is shown at half its size
    figure.savefig(Path(__file__).with_name("map.jpg"), dpi=100, pil_kwargs={"quality": 85})
