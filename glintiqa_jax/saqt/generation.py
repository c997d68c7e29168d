"""Distorted images with transferred scores, made of pristine photographs (SAQT, paper section III-D).

A distorted image is a pure function of its photograph, type, level and seed: it is the same in any order and on any
  number of machines. Each photograph has a folder, written under a temporary name and renamed, so that interrupted work
  resumes, and damaged images are made again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import as_completed
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from glintiqa_jax.data.databases import DATABASES
from glintiqa_jax.data.digests import digest
from glintiqa_jax.data.files import write_csv, write_json
from glintiqa_jax.data.images import decode_image, encode_png, limit_long_side
from glintiqa_jax.data.lock import sole_user
from glintiqa_jax.data.rated_images import Collection, RatedImage
from glintiqa_jax.errors import InputError, visible
from glintiqa_jax.interruptions import noticing_a_full_disk, process_pool
from glintiqa_jax.progress import progress_bar
from glintiqa_jax.saqt.distortions import DEFAULT_DENOISER, DISTORTIONS, KADID, LEVELS, Denoiser, distort

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
LABELS = "labels.csv"  # beside the folders of images
LONGEST_NAME = 255  # bytes of a file's name, on most disks
_MADE_OF, _MARKER, _LOCK, _PARTIAL = ".made_of", ".saqt_images", ".lock", ".partial-"


@dataclasses.dataclass(frozen=True)
class Source:
    """A pristine photograph, and the names and scores of its distorted images.

    Attributes:
      name: unique; the path below the folder of sources without its ending, and the folder of what is made of it.
      path: the image file.
      digest: SHA-256 of its pixels, shrunk as the recipe has it.
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
    """The parameters of distorted images, beside their photograph.

    Attributes:
      seed: of the random distortions.
      max_side: photographs whose longer side is longer are shrunk to it first; 0: never.
      denoiser: what removes the noise in type 15.
      distortions: a digest of what the distortions do.
    """

    seed: int = 0
    max_side: int = 512
    denoiser: Denoiser = DEFAULT_DENOISER
    distortions: str = dataclasses.field(default_factory=KADID.identity)

    def digest(self) -> str:
        """The facts that identify a recipe."""
        return digest(self.seed, self.max_side, self.denoiser.name, self.distortions)

    def describe(self) -> str:
        """For a card: ``seed 0, longer side at most 512, denoised by a bilateral filter``."""
        shrunk = f"longer side at most {self.max_side}" if self.max_side else "never shrunk"
        return f"seed {self.seed}, {shrunk}, denoised by: {self.denoiser.name}"

    def pristine(self, path: str | os.PathLike) -> np.ndarray:
        """The photograph to distort, uint8 ``(height, width, 3)``; ``BadImageError`` if it does not decode."""
        return self.shrunk(Path(path).read_bytes(), path)

    def shrunk(self, encoded: bytes, path: str | os.PathLike) -> np.ndarray:
        """The same, from a file's bytes."""
        return limit_long_side(decode_image(encoded, str(path)), self.max_side)


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


@contextlib.contextmanager
def claimed(folder: Path, field: str, recipe: Recipe, *, overwrite: bool = False) -> Iterator[None]:
    """Lock a folder for images, new or from an earlier run; incomplete remains of a killed run are removed.

    Args:
      folder: where to.
      field: the setting or argument that it is, such as ``output``.
      recipe: of the images.
      overwrite: replace images of another recipe.

    Raises:
      InputError: a folder that holds anything else, or images of another recipe; one that cannot be written, or is in
        use.
    """
    marker = folder / _MARKER
    try:
        others = folder.exists() and not marker.exists() and any(path.name != _LOCK for path in folder.iterdir())
        found = _read_json(marker)
    except OSError as error:
        raise InputError(f"cannot be written ({error.strerror})", field=field, value=folder) from error
    if others:
        raise InputError(
            field=field,
            value=folder,
            expected="no such folder, an empty one, or one written here before",
            found="others",
        )
    if not overwrite and found.get("recipe", recipe.digest()) != recipe.digest():
        raise InputError(
            field=field,
            value=folder,
            expected=f"images of this recipe ({recipe.describe()})",
            found=f"those of another, or of another version's distortions ({found.get('described')})",
            hint="`overwrite` replaces them",
        )
    with sole_user(folder, field):
        with noticing_a_full_disk(folder):
            write_json(marker, {"recipe": recipe.digest(), "described": recipe.describe()})
            _remove_partial(folder)
        try:
            yield
        except BaseException:
            _remove_partial(folder)  # of processes that were ended
            raise


def write_distorted(source: Source, folder: Path, recipe: Recipe) -> Path:
    """Write the 125 images of a source into a folder named after it, unless they are there, complete by their sizes.

    Raises:
      BadImageError: when the photograph does not decode any more.
      InputError: when the folder cannot be written, or holds something else; nothing incomplete is left.
    """
    place = folder / source.name
    if is_written(source, folder, recipe):
        return place
    with noticing_a_full_disk(place):
        if place.exists() and not (place / _MADE_OF).is_file():
            raise InputError(
                file=visible(place),
                expected=f"nothing, or images made of {visible(source.path)} before",
                found="something else",
            )
        place.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=_PARTIAL, dir=folder))
        try:
            made = work / "made"
            made.mkdir()
            pixels = recipe.pristine(source.path)
            sizes = []
            for distortion, level in versions():
                image = distorted(pixels, source.name, distortion, level, seed=recipe.seed, denoiser=recipe.denoiser)
                path = made / image_name(source.name, distortion, level)
                sizes.append(path.write_bytes(encode_png(image)))
            write_json(made / _MADE_OF, {"made_of": made_of(source, recipe), "sizes": sizes})
            if place.exists():
                _move_others(place, made)
                place.rename(work / "replaced")
            made.rename(place)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return place


def is_written(source: Source, folder: Path, recipe: Recipe) -> bool:
    """Whether the images of a source are written already."""
    place = folder / source.name
    try:
        written = _read_json(place / _MADE_OF)
        if written.get("made_of") != made_of(source, recipe):
            return False
        with os.scandir(place) as entries:
            found = {entry.name: entry.stat().st_size for entry in entries}
    except OSError:
        return False
    return written.get("sizes") == [found.get(image_name(source.name, *version)) for version in versions()]


def write_all(sources: Sequence[Source], folder: Path, recipe: Recipe, *, workers: int = 0) -> None:
    """Write the images of all sources by several processes; 0 is one for each processor.

    When interrupted or killed, it ends its processes, too, and the next call resumes.

    Raises:
      InputError: as ``write_distorted``, and a lost process.
    """
    with progress_bar(total=VERSIONS * len(sources), desc="distorting", unit="image") as bar:
        missing = []
        for source in sources:
            if is_written(source, folder, recipe):
                bar.update(VERSIONS)
            else:
                missing.append(source)
        if not missing:
            return
        count = min(workers or os.cpu_count() or 1, len(missing))
        with noticing_a_full_disk(folder), process_pool(count, _one_thread) as pool:
            waiting = [pool.submit(write_distorted, source, folder, recipe) for source in missing]
            for done in as_completed(waiting):
                done.result()
                bar.update(VERSIONS)


def rated_images(source: Source, folder: Path) -> Iterator[RatedImage]:
    """The images that ``write_distorted`` wrote for a source, with their scores."""
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
    """The written distorted images of all sources, for ``glintiqa_jax.data.builder.prepare``."""
    return Collection(
        name="saqt",
        scale=DATABASES["saqt"].scale,
        size=VERSIONS * len(sources),
        identity=digest("saqt", [(made_of(s, recipe), s.group, s.reference, s.scores) for s in sources]),
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
    """The (type, level) of the 125 images, in their order."""
    return [(row.number, level) for row in DISTORTIONS for level in LEVELS]


def made_of(source: Source, recipe: Recipe) -> str:
    """A digest of all that a source's distorted images depend on."""
    return digest(source.name, source.digest, recipe.digest())


def _one_thread() -> None:
    cv2.setNumThreads(1)  # there is a process for each processor already


def _move_others(place: Path, made: Path) -> None:
    """Keep files that others have put beside the images of a source."""
    for path in place.iterdir():
        if not path.name.startswith(f"{place.name}_") and path.name != _MADE_OF:
            path.rename(made / path.name)


def _remove_partial(folder: Path) -> None:
    for partial in folder.glob(f"{_PARTIAL}*/"):
        shutil.rmtree(partial, ignore_errors=True)


def _read_json(path: Path) -> dict[str, Any]:
    """The content of our file; empty if it is missing, or holds something else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
