"""The database's procedure around a distortion: checks, scaling, seeding."""

import numpy as np
from numpy.typing import NDArray

from glintiqa_jax.saqt.distortions.colour_spaces import Image, from_uint8, to_uint8
from glintiqa_jax.saqt.distortions.noise import DEFAULT_DENOISER, Denoiser
from glintiqa_jax.saqt.distortions.table import DISTORTIONS, Distortion

MINIMUM_SIDE = 32
"""Smallest height and width in pixels: a colour block must fit."""
LEAST_RANGE = 0.75 / 255
"""A smaller range is rounding on a constant image, which has nothing to stretch and stays as it is."""

_BY_KEY: dict[int | str, Distortion] = {}
for _row in DISTORTIONS:
    _BY_KEY[_row.number] = _row
    _BY_KEY[_row.name] = _row


def distort(
    image: NDArray[np.uint8],
    distortion: int | str,
    level: int,
    *,
    seed: int = 0,
    rescale: bool = True,
    denoiser: Denoiser = DEFAULT_DENOISER,
    **parameters: float,
) -> NDArray[np.uint8]:
    """Distorts an image as KADID-10k's generation procedure does.

    Args:
        image: uint8 RGB of shape (height, width, 3), each side at least 32 pixels; not changed.
        distortion: number 1..25 in the database's order, or name (see `DISTORTIONS`).
        level: 1..5.
        seed: not negative; with the distortion and the level it fixes every random draw.
        rescale: whether minimum and maximum over the whole array are stretched to [0, 1] before and after the
            distortion, the database's procedure; False gives the plain distortion, clipped to [0, 1].
        denoiser: what "denoise" removes its noise with; as with the seed, the others do without. Its `name` belongs
            in the metadata of a dataset. A DnCNN, as in the database, comes from `glintiqa_jax.saqt.dncnn`.
        **parameters: a random parameter given instead of drawn: `angle` in degrees for "motion_blur",
            `direction` in degrees for "colour_shift".

    Returns:
        uint8 RGB of the same shape.

    Raises:
        ValueError: for an image of another dtype or shape, an unknown distortion or parameter, a parameter
            that is not finite, a level outside 1..5 or a negative seed.
    """
    _check_image(image)
    row = _find(distortion)
    if isinstance(level, bool) or not isinstance(level, int | np.integer) or not 1 <= level <= 5:
        raise ValueError(f"expected a level from 1 to 5, found {level!r}")
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise ValueError(f"expected a seed that is an integer of at least 0, found {seed!r}")
    for name, value in parameters.items():
        if name not in row.parameters:
            expected = ", ".join(row.parameters) or "none"
            raise ValueError(f"expected parameters of {row.name} among: {expected}; found {name!r}")
        if not np.isfinite(value):
            raise ValueError(f"expected {name} of {row.name} to be a finite number, found {value!r}")
    rng = np.random.default_rng([seed, row.number, level])
    values = from_uint8(image)
    if rescale:
        values = _stretch(values)
    values = row.apply(values, level, rng, denoiser, **parameters)
    if rescale:
        values = _stretch(values)
    return to_uint8(values)


def _check_image(image: NDArray[np.uint8]) -> None:
    dtype = getattr(image, "dtype", None)
    shape = getattr(image, "shape", None)
    if not isinstance(image, np.ndarray) or dtype != np.uint8 or len(image.shape) != 3 or image.shape[2] != 3:
        found = type(image).__name__ if shape is None else f"{dtype} of shape {tuple(shape)}"
        raise ValueError(f"expected a uint8 RGB array of shape (height, width, 3), found {found}")
    if min(image.shape[:2]) < MINIMUM_SIDE:
        raise ValueError(f"expected height and width of at least {MINIMUM_SIDE} pixels, found shape {image.shape}")


def _find(distortion: int | str) -> Distortion:
    known = isinstance(distortion, int | str | np.integer) and not isinstance(distortion, bool)
    if not known or distortion not in _BY_KEY:
        names = ", ".join(row.name for row in DISTORTIONS)
        raise ValueError(f"expected a distortion from 1 to 25 or one of: {names}; found {distortion!r}")
    return _BY_KEY[distortion]


def _stretch(values: Image) -> Image:
    low, high = values.min(), values.max()
    return values if high - low < LEAST_RANGE else (values - low) / (high - low)
