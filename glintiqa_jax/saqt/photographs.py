"""The pristine photographs that distorted images are made of, found and checked before any long work."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import unicodedata
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

import numpy as np

from glintiqa_jax.data.images import BadImageError
from glintiqa_jax.data.near_duplicates import Look, merge_groups, near_duplicates
from glintiqa_jax.data.tables import first_five
from glintiqa_jax.data.walk import find_images
from glintiqa_jax.errors import InputError, visible
from glintiqa_jax.progress import progress_bar
from glintiqa_jax.saqt.distortions.procedure import MINIMUM_SIDE
from glintiqa_jax.saqt.generation import COLOUR_ONLY, LABELS, LONGEST_NAME, Recipe, image_name


@dataclasses.dataclass(frozen=True)
class Photograph:
    """A pristine photograph.

    Attributes:
      name: its path below the folder of sources, without the ending; accents are composed (NFC).
      path: the file.
      digest: SHA-256 of its pixels, shrunk as the recipe has it.
      group: photographs that show nearly the same share one.
    """

    name: str
    path: Path
    digest: str
    group: str


def find_photographs(
    folder: str | os.PathLike, recipe: Recipe, *, on_bad_image: str = "fail"
) -> tuple[list[Photograph], list[str]]:
    """The photographs in a folder and below, sorted, and notes on what is left out.

    Args:
      folder: of image files.
      recipe: photographs are looked at as it shrinks them.
      on_bad_image: "fail" stops at the first that does not decode, is smaller than a distortion takes or is grey, on
        which distortions of colour would not show; "skip" leaves such photographs out.

    Raises:
      InputError: a folder without images, two files of one name, a name that no folder can have, no photograph that is
        left.
      BadImageError: a bad photograph with "fail".
    """
    root = Path(folder).expanduser()
    if not root.is_dir():
        instead = "a file" if root.is_file() else "nothing there"
        raise InputError(field="sources", value=folder, expected="a folder of photographs", found=instead)
    walked = find_images([root])
    names = [_name(path.relative_to(root)) for path in walked.images]
    _check_names(folder, names, walked.images)
    left_out = [note] if (note := walked.note()) else []
    bad: list[str] = []
    kept: list[Photograph] = []
    looks: list[Look] = []
    with contextlib.closing(_looked_at(walked.images, recipe)) as looked_at:
        for name, path, found in zip(names, walked.images, looked_at, strict=True):
            if not isinstance(found, BadImageError):
                digest, look = found
                kept.append(Photograph(name, path, digest, name))
                looks.append(look)
            elif on_bad_image == "skip":
                bad.append(str(found))
            else:
                raise BadImageError(str(found), hint="`on_bad_image='skip'` leaves such photographs out")
    if not kept:
        raise InputError(
            f"none of {len(bad)} photographs can be used: {first_five(bad)}", field="sources", value=folder
        )
    if bad:
        left_out.append(f"{len(bad)} of {len(names)} photographs left out: {first_five(bad)}")
    own = [photograph.group for photograph in kept]
    groups = merge_groups(own, near_duplicates(looks, own))
    return [dataclasses.replace(p, group=group) for p, group in zip(kept, groups, strict=True)], left_out


def _name(path: Path) -> str:
    return unicodedata.normalize("NFC", path.with_suffix("").as_posix())


def _check_names(folder: str | os.PathLike, names: Sequence[str], paths: Sequence[Path]) -> None:
    """Refuse photographs that cannot have a folder each, on case-sensitive and other disks."""
    taken: dict[str, Path] = {}
    for name, path in zip(names, paths, strict=True):
        if (key := name.casefold()) in taken:
            raise InputError(
                field="sources",
                value=folder,
                expected="one file of a name, whatever its capitals, accents and ending",
                found=f"{visible(taken[key])} and {visible(path)}",
            )
        taken[key] = path
    for name, path in zip(names, paths, strict=True):
        inside = [parent for parent in map(str, PurePosixPath(name.casefold()).parents) if parent in taken]
        if inside:
            reason = f" beside {taken[inside[0]]}"
        elif name.casefold() == LABELS or any(unicodedata.category(letter) in ("Cc", "Cs") for letter in name):
            reason = ""
        elif len(os.fsencode(image_name(name, 1, 1))) > LONGEST_NAME:
            reason = ": it is too long for the names of what is made"
        else:
            continue
        raise InputError(
            f"a folder is named after each photograph, which cannot be for {visible(path)}{reason}",
            field="sources",
            value=folder,
        )


def _looked_at(paths: Sequence[Path], recipe: Recipe) -> Generator[tuple[str, Look] | BadImageError]:
    """``_look`` of each, or its exception, by several threads."""

    def look(path: Path) -> tuple[str, Look] | BadImageError:
        try:
            return _look(path, recipe)
        except BadImageError as error:
            return error

    pool = ThreadPoolExecutor(min(8, os.cpu_count() or 1))
    try:
        yield from progress_bar(pool.map(look, paths), total=len(paths), desc="looking at photographs", unit="image")
    finally:
        pool.shutdown(cancel_futures=True)


def _look(path: Path, recipe: Recipe) -> tuple[str, Look]:
    """The digest of a photograph's pixels, and its look."""
    try:
        encoded = path.read_bytes()
    except OSError as error:
        raise BadImageError(f"cannot be read ({error.strerror})", file=visible(path)) from error
    pixels = recipe.shrunk(encoded, path)
    height, width = pixels.shape[:2]
    if min(height, width) < MINIMUM_SIDE:
        shrunk = f" with its longer side at most {recipe.max_side}" if max(height, width) == recipe.max_side else ""
        raise BadImageError(
            file=visible(path), expected=f"at least {MINIMUM_SIDE} pixels a side", found=f"{width}x{height}{shrunk}"
        )
    if np.array_equal(pixels[..., 0], pixels[..., 1]) and np.array_equal(pixels[..., 0], pixels[..., 2]):
        raise BadImageError(
            file=visible(path),
            expected="a colour photograph",
            found=f"a grey one, on which {', '.join(COLOUR_ONLY)} do not show",
        )
    digest = hashlib.sha256(f"{pixels.shape}".encode() + pixels.tobytes()).hexdigest()
    return digest, Look.of(encoded, pixels)
