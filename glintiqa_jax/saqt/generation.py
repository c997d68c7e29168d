"""Distorted images with transferred scores, made of pristine photographs (SAQT, paper section III-D).

A distorted image is a pure function of its photograph, type, level and seed: it is the same whoever makes it, in
whatever order and on however many machines. What is made lies in one folder per photograph, written under a temporary
name and renamed, so that work that was interrupted goes on where it stopped.
"""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
import shutil
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from glintiqa_jax.data.catalog import DATABASES
from glintiqa_jax.data.files import write_csv, write_text
from glintiqa_jax.data.images import decode_image, encode_png, limit_long_side
from glintiqa_jax.data.rated_images import Collection, RatedImage, fingerprint
from glintiqa_jax.errors import UserError
from glintiqa_jax.saqt.distortions import DEFAULT_DENOISER, DISTORTIONS, LEVELS, Denoiser, distort

VERSIONS = len(DISTORTIONS) * len(LEVELS)  # distorted images of one photograph
# What changes nothing but colour leaves a grey photograph as it is, and no observer would have marked it down.
COLOUR_ONLY = ("colour_diffusion", "saturation_hsv", "saturation_lab")
LABEL_COLUMNS = (  # the release's
    "distorted_image",
    "quality_score",
    "source_image",
    "matched_reference",
    "distortion_type",
    "distortion_level",
)
# Changes whenever the distortions' results do, so that images made before are not taken for these.
_REVISION = 1
_MADE_OF, _MARKER, _PARTIAL = ".made_of", ".saqt_images", ".partial-"


@dataclasses.dataclass(frozen=True)
class Source:
    """A pristine photograph, and what its distorted images are called and score.

    Attributes:
      name: unique; the path below the folder of sources without its ending, and the folder of what is made of it.
      path: the image file.
      digest: SHA-256 of the file's bytes.
      group: photographs that show nearly the same share one.
      reference: the rated reference whose scores it got, "" where they come from several.
      scores: 125 scores in [0, 9], higher is better: the five levels of type 1, those of type 2, ...
    """

    name: str
    path: str
    digest: str
    group: str
    reference: str
    scores: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What the distorted images depend on beside their photograph.

    Attributes:
      seed: of the random distortions.
      max_side: photographs whose longer side is longer are shrunk to it first; 0: never.
      denoiser: what removes the noise in type 15.
    """

    seed: int = 0
    max_side: int = 512
    denoiser: Denoiser = DEFAULT_DENOISER

    def facts(self) -> tuple[int, int, str]:
        """What tells one recipe from another."""
        return self.seed, self.max_side, self.denoiser.name

    def describe(self) -> str:
        """For a card: ``seed 0, longer side at most 512, denoised by a bilateral filter``."""
        shrunk = f"longer side at most {self.max_side}" if self.max_side else "never shrunk"
        return f"seed {self.seed}, {shrunk}, denoised by: {self.denoiser.name}"

    def pristine(self, path: str | os.PathLike) -> np.ndarray:
        """The photograph that is distorted, uint8 ``(height, width, 3)``; ``BadImageError`` for what is none."""
        return limit_long_side(decode_image(Path(path).read_bytes(), str(path)), self.max_side)


def image_name(source: str, distortion: int, level: int) -> str:
    """``I01_07_03.png``: the file of a source's distorted image, as KADID-10k names them."""
    return f"{Path(source).name}_{distortion:02d}_{level:02d}.png"


def distorted(
    pixels: np.ndarray,
    source: str,
    distortion: int,
    level: int,
    *,
    seed: int = 0,
    denoiser: Denoiser = DEFAULT_DENOISER,
) -> np.ndarray:
    """The distorted image of a source, uint8 of the same shape: a function of these arguments alone."""
    own = zlib.crc32(f"{source}_{distortion:02d}_{level:02d}.png".encode())  # of a folder's photographs, no two alike
    return distort(pixels, distortion, level, seed=own + (seed << 32), denoiser=denoiser)


def claim(folder: Path) -> None:
    """Make a folder to write images into, or find one that was made so; what a killed run left half-made goes.

    Raises:
      UserError: a folder that holds anything else, or cannot be written.
    """
    marker = folder / _MARKER
    try:
        if folder.exists() and not marker.exists() and any(folder.iterdir()):
            raise UserError(
                f"{folder}: expected no such folder, an empty one, or one written here before, found others"
            )
        folder.mkdir(parents=True, exist_ok=True)
        marker.touch()
        for partial in folder.rglob(f"{_PARTIAL}*"):
            shutil.rmtree(partial)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error})") from error


def write_distorted(source: Source, folder: Path, recipe: Recipe) -> Path:
    """Write the 125 images of a source into a folder named after it, or find them written.

    Raises:
      BadImageError: when the photograph does not decode any more.
      UserError: when the folder cannot be written, or holds something else; nothing half-made is left.
    """
    place = folder / source.name
    try:
        digest = made_of(source, recipe)
        if (place / _MADE_OF).is_file() and (place / _MADE_OF).read_text() == digest:
            return place
        if place.exists() and not (place / _MADE_OF).is_file():
            raise UserError(f"{place}: expected nothing, or images made of {source.path} before; found something else")
        place.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=_PARTIAL, dir=place.parent))
        try:
            made = work / place.name
            made.mkdir()
            pixels = recipe.pristine(source.path)
            for distortion, level in versions():
                image = distorted(pixels, source.name, distortion, level, seed=recipe.seed, denoiser=recipe.denoiser)
                (made / image_name(source.name, distortion, level)).write_bytes(encode_png(image))
            write_text(made / _MADE_OF, digest)
            if place.exists():
                place.rename(work / "replaced")
            made.rename(place)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    except OSError as error:
        raise UserError(f"{place}: cannot be written ({error}); the same command goes on from here") from error
    return place


def write_all(sources: Sequence[Source], folder: Path, recipe: Recipe, *, workers: int = 0) -> None:
    """Write the images of all sources by several processes; 0 is one for each processor."""
    workers = min(workers or os.cpu_count() or 1, len(sources))
    bar = tqdm(total=VERSIONS * len(sources), desc="distorting", unit="image")
    # spawned: a forked copy of a process in which JAX has threads may hang
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_one_thread)
    with bar, pool:
        waiting = [pool.submit(write_distorted, source, folder, recipe) for source in sources]
        try:
            for done in as_completed(waiting):
                done.result()
                bar.update(VERSIONS)
        except BrokenProcessPool as error:
            raise UserError(
                "--workers: a process that distorts was ended, for want of memory perhaps; with fewer, the same "
                "command goes on from here"
            ) from error
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def rated_images(source: Source, folder: Path) -> Iterator[RatedImage]:
    """What ``write_distorted`` wrote of a source, with its scores."""
    for (distortion, level), score in zip(versions(), source.scores, strict=True):
        name = f"{source.name}/{image_name(source.name, distortion, level)}"
        yield RatedImage(
            name=name,
            image=folder / name,
            raw_score=score,
            group=source.group,
            reference=source.reference,
            distortion_type=distortion,
            distortion_level=level,
        )


def collection(sources: Sequence[Source], folder: Path, recipe: Recipe, *, notes: Sequence[str] = ()) -> Collection:
    """The distorted images of all sources, once they are written, for ``glintiqa_jax.data.builder.prepare``."""
    return Collection(
        name="saqt",
        scale=DATABASES["saqt"].scale,
        size=VERSIONS * len(sources),
        fingerprint=fingerprint("saqt", [(made_of(s, recipe), s.group, s.reference, s.scores) for s in sources]),
        images=lambda: (image for source in sources for image in rated_images(source, folder)),
        notes=tuple(notes),
        compared=True,
    )


def write_labels(path: Path, sources: Sequence[Source]) -> None:
    """Write the labels in the released columns; images are named by their path beside the file."""
    write_csv(
        path,
        LABEL_COLUMNS,
        (
            (
                image.name,
                f"{image.raw_score:.6g}",
                source.name,
                image.reference,
                image.distortion_type,
                image.distortion_level,
            )
            for source in sources
            for image in rated_images(source, path.parent)
        ),
    )


def to_line(source: Source) -> str:
    """A source as one line of JSON, for ``from_line``."""
    return json.dumps(dataclasses.asdict(source))


def from_line(line: str) -> Source:
    """The source that ``to_line`` wrote."""
    content = json.loads(line)
    return Source(**content | {"scores": tuple(content["scores"])})


def versions() -> list[tuple[int, int]]:
    """The (type, level) of the 125 images, in the order in which they are kept."""
    return [(row.number, level) for row in DISTORTIONS for level in LEVELS]


def made_of(source: Source, recipe: Recipe) -> str:
    """A digest of all that a source's distorted images depend on."""
    return fingerprint(_REVISION, source.name, source.digest, recipe.facts())


def _one_thread() -> None:
    cv2.setNumThreads(1)  # there is a process for each processor already
