"""The embedded datasets: photographs and scenes, distorted as KADID-10k's, with its observers' mean scores.

``demo`` has both, ``demo_photographs`` no scenes. Nothing is downloaded: the photographs ship inside scikit-image and
Matplotlib. A distorted image is labelled with the mean score of its type and level, which is SAQT's label transfer
without the retrieval (paper section III-D).
"""

from __future__ import annotations

import dataclasses
import hashlib
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import matplotlib
import numpy as np
import skimage

from glintiqa_jax.data.databases import DATABASES
from glintiqa_jax.data.digests import digest
from glintiqa_jax.data.images import decode_image, encode_png, limit_short_side
from glintiqa_jax.data.rated_images import Collection, RatedImage
from glintiqa_jax.identity import code_of
from glintiqa_jax.saqt import scenes
from glintiqa_jax.saqt.distortions import DISTORTIONS, KADID, LEVELS
from glintiqa_jax.saqt.generation import COLOUR_ONLY, distorted, image_name, versions
from glintiqa_jax.saqt.kadid_scores import MEAN_SCORES

_AT_A_TIME = 16
_SHORT_SIDE = 256  # pixels; KADID-10k's own are 512x384, which take twice as long
_SCENE_SIDE = 160
_SCENES = 240  # all for training
# name: (split, where it ships). Validation and test are photographs only, and no photograph is in two parts.
_PHOTOGRAPHS = {
    "astronaut.png": ("test", skimage),
    "chelsea.png": ("test", skimage),
    "coffee.png": ("test", skimage),
    "motorcycle_left.png": ("test", skimage),
    "grace_hopper.jpg": ("validation", matplotlib),
    "rocket.jpg": ("validation", skimage),
    "brick.png": ("train", skimage),
    "camera.png": ("train", skimage),
    "coins.png": ("train", skimage),
    "grass.png": ("train", skimage),
    "gravel.png": ("train", skimage),
    "hubble_deep_field.jpg": ("train", skimage),
    "ihc.png": ("train", skimage),
    "moon.png": ("train", skimage),
    "retina.jpg": ("train", skimage),
}
_GREY = ("brick.png", "camera.png", "coins.png", "grass.png", "gravel.png", "moon.png")
_FOLDERS = {skimage: Path("data"), matplotlib: Path("mpl-data", "sample_data")}


@dataclasses.dataclass(frozen=True)
class _Content:
    """An undistorted image and the (type, level) pairs of its distorted versions."""

    name: str
    split: str
    distortions: tuple[tuple[int, int], ...]

    def pixels(self) -> np.ndarray:
        if self.name in _PHOTOGRAPHS:
            return limit_short_side(photograph(self.name), _SHORT_SIDE)
        return scenes.dead_leaves(_SCENE_SIDE, seed=zlib.crc32(self.name.encode()))

    def facts(self) -> list[object]:
        """The facts that its distorted images and labels depend on, beside the code."""
        labels = [MEAN_SCORES[kind - 1, level - 1] for kind, level in self.distortions]
        made_of = hashlib.sha256(_encoded(self.name)).hexdigest() if self.name in _PHOTOGRAPHS else _SCENE_SIDE
        return [self.name, self.split, made_of, _SHORT_SIDE, self.distortions, labels]


def photograph(name: str) -> np.ndarray:
    """A photograph that ships inside a dependency, uint8 RGB ``(height, width, 3)``."""
    return decode_image(_encoded(name), name)


def _encoded(name: str) -> bytes:
    package = _PHOTOGRAPHS[name][1]
    return (Path(package.__path__[0]) / _FOLDERS[package] / name).read_bytes()


def read_demo(name: str = "demo") -> Collection:
    """The demo as a collection; images are made as they are iterated over, the same ones each time.

    Args:
      name: "demo", or "demo_photographs" without the scenes, whose images have 256 pixels a side or more.
    """
    contents = [content for content in _contents() if name == "demo" or content.name in _PHOTOGRAPHS]
    return Collection(
        name=name,
        scale=DATABASES["kadid10k"].scale,
        size=sum(len(content.distortions) for content in contents),
        identity=digest(name, KADID.identity(), code_of(scenes), [content.facts() for content in contents]),
        images=lambda: _distorted(contents),
    )


def _contents() -> Iterator[_Content]:
    for name, (split, _) in _PHOTOGRAPHS.items():
        hidden = [row.number for row in DISTORTIONS if name in _GREY and row.name in COLOUR_ONLY]
        yield _Content(name, split, tuple(version for version in versions() if version[0] not in hidden))
    for number in range(_SCENES):
        name = f"scene_{number:03d}"
        # a scene is cheap and a new content teaches more than a second level: one level per type
        levels = np.random.default_rng(zlib.crc32(name.encode())).integers(LEVELS.start, LEVELS.stop, len(DISTORTIONS))
        pairs = tuple((d.number, int(level)) for d, level in zip(DISTORTIONS, levels, strict=True))
        yield _Content(name, "train", pairs)


def _distorted(contents: list[_Content]) -> Iterator[RatedImage]:
    with ThreadPoolExecutor() as pool:
        for start in range(0, len(contents), _AT_A_TIME):  # a few at a time, to bound memory
            for images in pool.map(_distort_content, contents[start : start + _AT_A_TIME]):
                yield from images


def _distort_content(content: _Content) -> list[RatedImage]:
    pixels, stem = content.pixels(), Path(content.name).stem
    return [
        RatedImage(
            name=image_name(stem, kind, level),
            image=encode_png(distorted(pixels, stem, kind, level)),
            raw_score=float(MEAN_SCORES[kind - 1, level - 1]),
            group=content.name,
            split=content.split,
            distortion_type=kind,
            distortion_level=level,
        )
        for kind, level in content.distortions
    ]
