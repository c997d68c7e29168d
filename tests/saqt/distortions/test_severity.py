"""Each level is worse than the one before, by SSIM against the pristine photograph, but for what says why not."""

import pathlib

import numpy as np
import PIL.Image
import pytest
import skimage.data
from numpy.typing import NDArray
from pictures import LEVELS, Picture
from skimage.metrics import structural_similarity

from glintiqa_jax.saqt.distortions import DISTORTIONS, distort

SIDE = 256
FALLS = "----"
# For the steps from level 1 to 2, 2 to 3, 3 to 4 and 4 to 5, whether SSIM falls (-) or rises (+) on every photograph,
# or may do either (?), for the types that do not fall at every step. Found by measuring on all the photographs below.
EXCEPTIONS = {
    # Green that is out of place by a few pixels is no more like itself than by a few more.
    "colour_shift": "-???",
    # 0.15, 0.08, 0, -0.08, -0.15: level 3 is the photograph itself.
    "mean_shift": "++--",
    # The last patches may by chance move where nothing is seen to move, or move back.
    "non_eccentricity": "---?",
    # The small image has a whole number of pixels, so that the result drifts towards the far end: at this size by 0.95
    # of a small pixel at level 1, 0.23 at level 2 and 0.1 at level 3.
    "pixelate": "+?--",
    # Each level draws its own places: squares may by chance lie on one another or on what is flat.
    "colour_block": "--??",
    # 0.3, 0.15, 0, -0.4, -0.6: from more contrast to less, with least change between levels 3 and 4.
    "contrast": "++?-",
}
# Drawn for each level they would hide what a level does. At a slant the line is interpolated as well, and at 45 degrees
# one of 2 pixels changes more than one of 4.
GIVEN = {"motion_blur": {"angle": 0.0}, "colour_shift": {"direction": 30.0}}


def likeness(photograph: Picture, name: str, seed: int) -> list[float]:
    # Plain: stretching the range would undo part of what darkens or brightens little.
    levels = [distort(photograph, name, level, seed=seed, rescale=False, **GIVEN.get(name, {})) for level in LEVELS]
    return [float(structural_similarity(photograph, result, channel_axis=2)) for result in levels]


def check(photographs: list[Picture], name: str) -> None:
    likenesses = np.array([likeness(photograph, name, seed) for seed, photograph in enumerate(photographs)])
    steps: NDArray[np.float64] = np.diff(likenesses, axis=1)
    for step, expected in enumerate(EXCEPTIONS.get(name, FALLS)):
        if expected != "?":
            turned = steps[:, step] if expected == "-" else -steps[:, step]
            assert (turned < 0).all(), f"level {step + 1} to {step + 2}: {steps[:, step].round(4)}"
    if name in ("non_eccentricity", "colour_block"):  # chance aside
        assert (steps.mean(axis=0) < 0).all()


def middle(photograph: Picture) -> Picture:
    top, left = ((side - SIDE) // 2 for side in photograph.shape[:2])
    return np.ascontiguousarray(photograph[top : top + SIDE, left : left + SIDE])


@pytest.mark.parametrize("name", [row.name for row in DISTORTIONS])
def test_each_level_is_worse(name: str) -> None:
    check([middle(getattr(skimage.data, image)()) for image in ("astronaut", "chelsea", "coffee", "rocket")], name)


@pytest.mark.slow
@pytest.mark.parametrize("name", [row.name for row in DISTORTIONS])
def test_each_level_is_worse_on_twenty_photographs(shared: pathlib.Path, name: str) -> None:
    files = sorted((shared / "data" / "kodak24").glob("*.png"))[:20]
    assert len(files) == 20
    check([middle(np.asarray(PIL.Image.open(file).convert("RGB"))) for file in files], name)
