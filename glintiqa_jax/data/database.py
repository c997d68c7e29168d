"""A database as its authors distribute it: what is known of it, and how its folder becomes rated images."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

from glintiqa_jax.data.digests import digest
from glintiqa_jax.data.fields import Table
from glintiqa_jax.data.names import normal_name
from glintiqa_jax.data.rated_images import LEAVES_OUT, Collection, RatedImage
from glintiqa_jax.data.scale import ScoreScale
from glintiqa_jax.data.source_folder import SourceFolder
from glintiqa_jax.data.tables import first_five
from glintiqa_jax.errors import InputError


@dataclasses.dataclass(frozen=True)
class Origin:
    """Where a database is from.

    Attributes:
      citation: whom to cite.
      home: its page.
      licence: its terms as its authors state them; "not known here" where we have not seen any.
    """

    citation: str
    home: str
    licence: str = "not known here"


@dataclasses.dataclass(frozen=True)
class Content:
    """What a database shows.

    Attributes:
      images: rated images as published; 0 where there is no such number.
      groups: content groups as published; 0 where there is no such number.
      of: what makes the images of a group the same content: "reference", "image", "prompt" or "source image".
      merge_near_duplicates: images that show nearly the same share a group unless the user says otherwise.
    """

    images: int
    groups: int
    of: str = "image"
    merge_near_duplicates: bool = False


@dataclasses.dataclass(frozen=True)
class Sample:
    """A few of a database's images in its layout; the common tests write them as a small copy.

    Attributes:
      tables: its files of scores, by path: the text of .csv and .txt, the rows of each sheet of .xlsx, and the
        variables of .mat, of which lists of texts are cell arrays.
      images: the images that are read from these tables, in this order, each with the path of its file.
      others: files of images that are there and are not read.
    """

    tables: Mapping[str, Any]
    images: Sequence[RatedImage]
    others: Sequence[str] = ()


@dataclasses.dataclass(frozen=True)
class Database:
    """All that is known of a database.

    Attributes:
      name: short; also of its prepared records.
      title: what people call it.
      scale: what its scores mean.
      content: what it shows.
      origin: where it is from.
      read: gives each image that its score files name, with its score and its expected place. Files are found in any
        case and at any depth, columns by their headers; ``read_database`` checks the result.
      sample: a few of its images.
      distortions: what its types of distortion are, in the order of their numbers from 1; none where they have no
        names, or where they are KADID-10k's, which ``saqt.distortions`` has.
    """

    name: str
    title: str
    scale: ScoreScale
    content: Content
    origin: Origin
    read: Callable[[SourceFolder], list[RatedImage]]
    sample: Sample
    distortions: tuple[str, ...] = ()


def collection_of(database: Database, source: str | os.PathLike, *, on_bad_image: str = "fail") -> Collection:
    """A downloaded database, checked: every scored image is there, and every score is in its range.

    Args:
      database: which.
      source: its folder as it was downloaded and unpacked.
      on_bad_image: "fail" stops where scored images are missing; "skip" leaves them out and lists them.

    Raises:
      InputError: missing or malformed files, names that leave the folder, a name twice,
        scores out of range, missing images (the first five and the count).
    """
    scale, folder = database.scale, SourceFolder(source)
    where: dict[str, Any] = {"field": "source", "value": source}
    listed = [_named(image, where) for image in database.read(folder)]
    for image in listed:
        if not image.group:
            raise InputError(expected=f"a {database.content.of} for {image.name}", found="nothing", **where)
        if not scale.low <= image.raw_score <= scale.high:
            expected = f"scores of {database.name} from {scale.low:g} to {scale.high:g}"
            raise InputError(expected=expected, found=f"{image.raw_score:g} for {image.name}", **where)
    found, missing = [], []
    names: dict[str | Path, str] = {}  # and of files: names may differ in case in a folder and not in a table
    for image in listed:
        path = folder.find(Path(image.image).as_posix()) if isinstance(image.image, Path) else None
        for key in {image.name, path or image.name}:
            if key in names:
                again = f"{image.name!r} is named a second time (first as {names[key]!r})"
                raise InputError(again, hint="an image has one score", **where)
            names[key] = image.name
        if path is None:
            missing.append(image.name)
        else:
            found.append(dataclasses.replace(image, image=path))
    if not found or (missing and on_bad_image == "fail"):
        lost = f"{len(missing)} of {len(listed)} scored images of {database.name} are not there: {first_five(missing)}"
        raise InputError(lost, hint=LEAVES_OUT if found else "", **where)
    notes = []
    for what, published, count in (
        ("images", database.content.images, len(found)),
        ("content groups", database.content.groups, len({image.group for image in found})),
    ):
        if published and published != count:
            notes.append(f"warning: {database.title} has {published:,} {what} as published, found {count:,}")
    return Collection(
        name=database.name,
        scale=scale,
        size=len(found),
        identity=digest(database.name, [image.facts for image in found], scale.facts()),
        sources=tuple(Path(image.image) for image in found),  # type: ignore[arg-type]
        images=lambda: iter(found),
        notes=tuple(notes),
        missing=tuple(f"{name}: scored, but not there" for name in missing),
    )


def _named(image: RatedImage, where: dict[str, Any]) -> RatedImage:
    try:
        return dataclasses.replace(image, name=normal_name(image.name))
    except ValueError as error:
        raise InputError(str(error), **where) from error


def distorted(
    name: str, image: Path, score: float, content: str, reference: str, kind: int, level: int = 0, std: float = math.nan
) -> RatedImage:
    """An image made of a reference, by the type (``kind``) and level of its distortion; ``content`` is its group."""
    return RatedImage(
        name, image, score, content, std, reference=reference, distortion_type=kind, distortion_level=level
    )


def own_contents(
    rows: Table, name_column: str, score_column: str, *, folder: str = "", split: str = ""
) -> list[RatedImage]:
    """The images of a table, each its own content; their files are in ``folder``."""
    return [
        RatedImage(name, Path(folder, name), score, group=name, split=split)
        for name, score in zip(rows.texts(name_column), rows.numbers(score_column), strict=True)
    ]


def reference_type_level(name: str, table: Path) -> tuple[str, int, int]:
    """``("I01", 7, 3)`` of ``I01_07_03.png``; ``InputError`` for another name in the table."""
    parts = PurePath(name).stem.rsplit("_", 2)
    if len(parts) != 3 or not (parts[1].isdigit() and parts[2].isdigit()):
        raise InputError(file=table, expected="names REFERENCE_TYPE_LEVEL", found=repr(name))
    return parts[0], int(parts[1]), int(parts[2])


def check_length(table: Path, found: int, expected: int) -> None:
    """``InputError`` for a variable with another number of entries than there are images."""
    if found != expected:
        raise InputError(file=table, expected=f"{expected} entries, one for each image", found=found)
