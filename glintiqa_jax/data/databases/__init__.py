"""The databases: a row each, in the file of its like. A new one is a row there, in its ``ROWS``."""

from __future__ import annotations

import os

from glintiqa_jax.data.database import collection_of
from glintiqa_jax.data.databases import authentic, live, synthetic
from glintiqa_jax.data.rated_images import Collection
from glintiqa_jax.errors import InputError

DATABASES = {row.name: row for row in (*live.ROWS, *synthetic.ROWS, *authentic.ROWS)}


def read_database(name: str, source: str | os.PathLike, *, on_bad_image: str = "fail") -> Collection:
    """A downloaded database by its name; arguments and errors as of ``collection_of``, and for an unknown name."""
    if name not in DATABASES:
        raise InputError(field="dataset", value=name, expected=f"one of {', '.join(DATABASES)}, or csv")
    return collection_of(DATABASES[name], source, on_bad_image=on_bad_image)
