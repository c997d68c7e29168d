"""Pictures that the tests of the distortions share."""

import math

import numpy as np
import skimage.data
from numpy.typing import NDArray
from skimage.metrics import mean_squared_error

Picture = NDArray[np.uint8]
LEVELS = (1, 2, 3, 4, 5)


def at_levels(*values: float) -> tuple[tuple[int, float], ...]:
    return tuple(zip(LEVELS, values, strict=True))


def noise_picture(seed: int, height: int, width: int) -> Picture:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def flat(value: int, side: int = 256) -> Picture:
    return np.full((side, side, 3), value, np.uint8)


def psnr(actual: Picture, expected: Picture) -> float:
    error = mean_squared_error(actual, expected)
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)


ASTRONAUT: Picture = np.array(skimage.data.astronaut()[:256, :256], np.uint8)
ASTRONAUT.flags.writeable = False
