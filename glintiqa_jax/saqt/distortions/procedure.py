"""A distortion, a set of them, and KADID-10k's procedure around each: checks, scaling, seeding."""

import dataclasses
import inspect
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from glintiqa_jax.errors import InputError
from glintiqa_jax.identity import digest
from glintiqa_jax.saqt.distortions import colour_spaces
from glintiqa_jax.saqt.distortions.colour_spaces import Image, from_uint8, to_uint8
from glintiqa_jax.saqt.distortions.noise import DEFAULT_DENOISER, Denoiser

MINIMUM_SIDE = 32
"""Smallest height and width in pixels: a colour block must fit."""
LEAST_RANGE = 0.75 / 255
"""A smaller range is rounding on a constant image, which has nothing to stretch and stays as it is."""


@dataclasses.dataclass(frozen=True)
class Distortion:
    """A row of a set.

    Attributes:
        number: unique in the set; of KADID-10k's, 1..25, the database's numbering.
        name: identifier, unique in the set.
        levels: the parameter at level 1, 2, ...; what it means is in `definition`.
        definition: one line for documentation.
        function: ``(image, parameter) -> image``, when random ``(image, parameter, rng, *, ...) -> image``; float32
            RGB in [0, 1] in, the same shape out, values possibly outside [0, 1].
        random: whether the result depends on the seed.
        denoises: whether `function` takes a denoiser after `rng`.
    """

    number: int
    name: str
    levels: tuple[float, ...]
    definition: str
    function: Callable[..., Image]
    random: bool = False
    denoises: bool = False

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of what can be given instead of drawn."""
        signature = inspect.signature(self.function)
        return tuple(name for name, given in signature.parameters.items() if given.kind is given.KEYWORD_ONLY)

    def apply(
        self, image: Image, level: int, rng: np.random.Generator, denoiser: Denoiser, **parameters: float
    ) -> Image:
        """The plain distortion of a float32 image at a level, counted from 1."""
        means = [rng] * self.random + [denoiser] * self.denoises
        return self.function(image, self.levels[level - 1], *means, **parameters)


@dataclasses.dataclass(frozen=True)
class DistortionSet:
    """Distortions with their levels. KADID-10k's set is fixed; others are sets of their own, made in one file:

        MINE = DistortionSet("mine", (Distortion(1, "haze", (0.1, 0.2, 0.4), "share of white", haze),))
        hazy = MINE.distort(image, "haze", 2)

    Attributes:
        name: what tells it from other sets.
        rows: the distortions, all with as many levels.

    Raises:
        InputError: for numbers or names that are not unique, and for different numbers of levels.
    """

    name: str
    rows: tuple[Distortion, ...]

    def __post_init__(self) -> None:
        for what, keys in (("number", [row.number for row in self.rows]), ("name", [row.name for row in self.rows])):
            if len(set(keys)) < len(keys):
                raise InputError(field="rows", expected=f"a {what} of its own for each distortion", found=keys)
        if len(counts := {len(row.levels) for row in self.rows}) != 1 or counts == {0}:
            raise InputError(field="rows", expected="distortions with as many levels each", found=sorted(counts))

    @property
    def levels(self) -> range:
        """The levels of every distortion, from 1."""
        return range(1, len(self.rows[0].levels) + 1)

    def identity(self) -> str:
        """A digest of the rows, and of the code that makes the images: images that were made otherwise are others.

        The code is that of whole modules: the functions', this one and that of the colour spaces.
        """
        rows = [(row.number, row.name, row.levels, row.function.__qualname__, row.random) for row in self.rows]
        return digest((self.name, rows), [*(row.function for row in self.rows), colour_spaces, DistortionSet])

    def find(self, distortion: int | str) -> Distortion:
        """A row by its number or name; `InputError` where there is none."""
        for row in self.rows:
            if (_is_integer(distortion) and distortion == row.number) or distortion == row.name:
                return row
        numbers, names = zip(*((row.number, row.name) for row in self.rows), strict=True)
        expected = f"a number from {min(numbers)} to {max(numbers)} or one of: {', '.join(names)}"
        raise InputError(field="distortion", expected=expected, found=repr(distortion))

    def distort(
        self,
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
            distortion: number or name of one of the set; of KADID-10k's, 1..25 in the database's order.
            level: one of the set's; of KADID-10k's, 1..5.
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
            InputError: a ValueError, for an image of another dtype or shape, an unknown distortion or parameter, a
                parameter that is not finite, a level that is none or a negative seed.

        Example:
            >>> import numpy as np
            >>> from glintiqa_jax.saqt.distortions import distort
            >>> image = np.zeros((32, 32, 3), np.uint8)
            >>> image[:, 16:] = 255
            >>> distort(image, "gaussian_blur", 3, rescale=False)[16, 12:20, 0].tolist()
            [0, 0, 14, 76, 179, 241, 255, 255]
        """
        _check_image(image)
        row = self.find(distortion)
        if not _is_integer(level) or level not in self.levels:
            raise InputError(field="level", expected=f"a level from 1 to {self.levels[-1]}", found=repr(level))
        if not _is_integer(seed) or seed < 0:
            raise InputError(field="seed", expected="an integer of at least 0", found=repr(seed))
        for name, value in parameters.items():
            if name not in row.parameters:
                expected = f"parameters of {row.name} among: {', '.join(row.parameters) or 'none'}"
                raise InputError(field=name, expected=expected, found=repr(name))
            if not np.isfinite(value):
                raise InputError(field=name, expected="a finite number", found=repr(value))
        rng = np.random.default_rng([seed, row.number, level])
        values = from_uint8(image)
        if rescale:
            values = _stretch(values)
        values = row.apply(values, level, rng, denoiser, **parameters)
        if rescale:
            values = _stretch(values)
        return to_uint8(values)


def _is_integer(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _check_image(image: NDArray[np.uint8]) -> None:
    dtype, shape = getattr(image, "dtype", None), getattr(image, "shape", None)
    if not isinstance(image, np.ndarray) or dtype != np.uint8 or len(image.shape) != 3 or image.shape[2] != 3:
        found = type(image).__name__ if shape is None else f"{dtype} of shape {tuple(shape)}"
        raise InputError(field="image", expected="a uint8 RGB array of shape (height, width, 3)", found=found)
    if min(image.shape[:2]) < MINIMUM_SIDE:
        expected = f"height and width of at least {MINIMUM_SIDE} pixels"
        raise InputError(field="image", expected=expected, found=f"shape {image.shape}")


def _stretch(values: Image) -> Image:
    low, high = values.min(), values.max()
    return values if high - low < LEAST_RANGE else (values - low) / (high - low)
