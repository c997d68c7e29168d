"""The pristine photographs that distorted images are made of: found, and looked at before any long work."""

from __future__ import annotations

import dataclasses
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

import numpy as np
from tqdm import tqdm

from glintiqa_jax.data.images import BadImageError, find_images
from glintiqa_jax.data.near_duplicates import Fingerprint, merge_groups, near_duplicates
from glintiqa_jax.data.tables import first_five
from glintiqa_jax.errors import UserError
from glintiqa_jax.saqt.distortions.procedure import MINIMUM_SIDE
from glintiqa_jax.saqt.generation import COLOUR_ONLY, Recipe


@dataclasses.dataclass(frozen=True)
class Photograph:
    """A pristine photograph.

    Attributes:
      name: its path below the folder of sources, without the ending.
      path: the file.
      digest: SHA-256 of its bytes.
      group: photographs that show nearly the same share one.
    """

    name: str
    path: Path
    digest: str
    group: str


def find_photographs(
    folder: str | os.PathLike, recipe: Recipe, *, on_bad_image: str = "fail"
) -> tuple[list[Photograph], list[str]]:
    """The photographs in a folder and below, sorted, and what is to be said of those that are left out.

    Args:
      folder: of image files.
      recipe: photographs are looked at as it shrinks them.
      on_bad_image: "fail" stops at the first that does not decode, is smaller than a distortion takes or is grey, on
        which distortions of colour would not show; "skip" leaves such photographs out.

    Raises:
      UserError: a folder without images, two files of one name, no photograph that is left.
      BadImageError: a bad photograph with "fail".
    """
    root = Path(folder).expanduser()
    if not root.is_dir():
        raise UserError(f"--sources={folder}: expected a folder of photographs, found none")
    paths = find_images([root])
    names = [path.relative_to(root).with_suffix("").as_posix() for path in paths]
    taken: dict[str, Path] = {}
    for name, path in zip(names, paths, strict=True):
        if name.casefold() in taken:
            raise UserError(
                f"--sources={folder}: expected one file of a name, found {taken[name.casefold()]} and {path}"
            )
        taken[name.casefold()] = path
    for name, path in zip(names, paths, strict=True):
        inside = [str(parent) for parent in PurePosixPath(name).parents if str(parent).casefold() in taken]
        if inside or name.casefold() == "labels.csv" or not name.isprintable():
            raise UserError(
                f"--sources={folder}: a folder is named after each photograph, which cannot be for {str(path)!r}"
                + (f" beside {taken[inside[0].casefold()]}" if inside else "")
            )

    def look(path: Path) -> Fingerprint | BadImageError:
        try:
            return _looked_at(path, recipe)
        except BadImageError as error:
            return error

    kept: list[Photograph] = []
    prints: list[Fingerprint] = []
    left_out: list[str] = []
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        seen = tqdm(pool.map(look, paths), total=len(paths), desc="looking at photographs", unit="image")
        for name, path, found in zip(names, paths, seen, strict=True):
            if isinstance(found, Fingerprint):
                kept.append(Photograph(name, path, found.digest, name))
                prints.append(found)
            elif on_bad_image == "skip":
                left_out.append(str(found))
            else:
                pool.shutdown(cancel_futures=True)
                raise BadImageError(f"{found}; --on_bad_image=skip leaves such photographs out")
    if not kept:
        raise UserError(f"--sources={folder}: none of {len(paths)} photographs can be used: {first_five(left_out)}")
    own = [photograph.group for photograph in kept]
    groups = merge_groups(own, near_duplicates(prints, own))
    return [dataclasses.replace(p, group=group) for p, group in zip(kept, groups, strict=True)], left_out


def _looked_at(path: Path, recipe: Recipe) -> Fingerprint:
    try:
        encoded = path.read_bytes()
        pixels = recipe.pristine(path)
    except OSError as error:
        raise BadImageError(f"{path}: cannot be read ({error.strerror})") from error
    height, width = pixels.shape[:2]
    if min(height, width) < MINIMUM_SIDE:
        shrunk = f" with its longer side at most {recipe.max_side}" if max(height, width) == recipe.max_side else ""
        raise BadImageError(f"{path}: expected at least {MINIMUM_SIDE} pixels a side, found {width}x{height}{shrunk}")
    if np.array_equal(pixels[..., 0], pixels[..., 1]) and np.array_equal(pixels[..., 0], pixels[..., 2]):
        raise BadImageError(
            f"{path}: expected a colour photograph, found a grey one, on which {', '.join(COLOUR_ONLY)} do not show"
        )
    return Fingerprint.of(encoded, pixels)
