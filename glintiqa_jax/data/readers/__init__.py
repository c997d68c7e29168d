"""Databases as distributed -> rated images. One small reader per layout; nothing else knows a layout.

A reader takes the folder, reads the scores, and says of each image what it is called and where it should lie;
``read_database`` finds the images and refuses what does not fit together.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path

from glintiqa_jax.data.catalog import DATABASES
from glintiqa_jax.data.digests import digest
from glintiqa_jax.data.names import normal_name
from glintiqa_jax.data.rated_images import LEAVES_OUT, Collection, RatedImage
from glintiqa_jax.data.readers import authentic, synthetic
from glintiqa_jax.data.source_folder import SourceFolder
from glintiqa_jax.data.tables import first_five
from glintiqa_jax.errors import InputError

READERS: dict[str, Callable[[SourceFolder], list[RatedImage]]] = {
    "live": synthetic.read_live,
    "csiq": synthetic.read_csiq,
    "tid2008": synthetic.read_tid,
    "tid2013": synthetic.read_tid,
    "kadid10k": synthetic.read_kadid10k,
    "livemd": synthetic.read_livemd,
    "pipal": synthetic.read_pipal,
    "saqt": synthetic.read_saqt,
    "clive": authentic.read_clive,
    "koniq10k": authentic.read_koniq10k,
    "spaq": authentic.read_spaq,
    "bid": authentic.read_bid,
    "flive": authentic.read_flive,
    "biq2021": authentic.read_biq2021,
    "agiqa3k": authentic.read_agiqa3k,
}


def read_database(name: str, source: str | os.PathLike, *, on_bad_image: str = "fail") -> Collection:
    """A downloaded database, checked: every scored image is there, and every score is in the catalog's range.

    Args:
      name: a row of the catalog.
      source: folder of the database as it was downloaded and unpacked.
      on_bad_image: "fail" stops where scored images are missing; "skip" leaves them out and lists them.

    Raises:
      InputError: an unknown name, files that are missing or do not read as the database's, names that leave the folder,
        a name twice, scores out of range, missing images (the first five and the count).
    """
    if name not in READERS:
        raise InputError(field="dataset", value=name, expected=f"one of {', '.join(READERS)}, or csv")
    database, folder = DATABASES[name], SourceFolder(source)
    listed = [_named(image, source) for image in READERS[name](folder)]
    for image in listed:
        if not image.group:
            raise InputError(
                field="source", value=source, expected=f"a {database.content} for {image.name}", found="nothing"
            )
        if not database.scale.low <= image.raw_score <= database.scale.high:
            raise InputError(
                field="source",
                value=source,
                expected=f"scores of {name} from {database.scale.low:g} to {database.scale.high:g}",
                found=f"{image.raw_score:g} for {image.name}",
            )
    found, missing = [], []
    names: dict[str | Path, str] = {}  # of files, too: a folder may tell names by case and a table not
    for image in listed:
        path = folder.find(Path(image.image).as_posix()) if isinstance(image.image, Path) else None
        for key in {image.name, path or image.name}:
            if key in names:
                raise InputError(
                    f"{image.name!r} is named a second time (first as {names[key]!r})",
                    field="source",
                    value=source,
                    hint="an image has one score",
                )
            names[key] = image.name
        if path is None:
            missing.append(image.name)
        else:
            found.append(dataclasses.replace(image, image=path))
    if not found or (missing and on_bad_image == "fail"):
        raise InputError(
            f"{len(missing)} of {len(listed)} scored images of {name} are not there: {first_five(missing)}",
            field="source",
            value=source,
            hint=LEAVES_OUT if found else "",
        )
    notes = []
    for what, published, count in (
        ("images", database.images, len(found)),
        ("content groups", database.groups, len({image.group for image in found})),
    ):
        if published and published != count:
            notes.append(f"warning: {database.title} has {published:,} {what} as published, found {count:,}")
    rows = [image.facts for image in found]
    return Collection(
        name=name,
        scale=database.scale,
        size=len(found),
        identity=digest(name, rows, database.scale.facts()),
        sources=tuple(Path(image.image) for image in found),  # type: ignore[arg-type]
        images=lambda: iter(found),
        notes=tuple(notes),
        missing=tuple(f"{name}: scored, but not there" for name in missing),
    )


def _named(image: RatedImage, source: str | os.PathLike) -> RatedImage:
    try:
        return dataclasses.replace(image, name=normal_name(image.name))
    except ValueError as error:
        raise InputError(str(error), field="source", value=source) from error
