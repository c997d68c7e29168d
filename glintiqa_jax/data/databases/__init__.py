"""The databases: a row each, in a file of its own. A new one is a file here, and its name in this list."""

from __future__ import annotations

import os

from glintiqa_jax.data.database import collection_of
from glintiqa_jax.data.databases.agiqa3k import AGIQA3K
from glintiqa_jax.data.databases.bid import BID
from glintiqa_jax.data.databases.biq2021 import BIQ2021
from glintiqa_jax.data.databases.clive import CLIVE
from glintiqa_jax.data.databases.csiq import CSIQ
from glintiqa_jax.data.databases.flive import FLIVE
from glintiqa_jax.data.databases.kadid10k import KADID10K
from glintiqa_jax.data.databases.koniq10k import KONIQ10K
from glintiqa_jax.data.databases.live import LIVE
from glintiqa_jax.data.databases.livemd import LIVEMD
from glintiqa_jax.data.databases.pipal import PIPAL
from glintiqa_jax.data.databases.saqt import SAQT
from glintiqa_jax.data.databases.spaq import SPAQ
from glintiqa_jax.data.databases.tid import TID2008, TID2013
from glintiqa_jax.data.rated_images import Collection
from glintiqa_jax.errors import InputError

_ROWS = (
    LIVE,
    CSIQ,
    TID2008,
    TID2013,
    KADID10K,
    LIVEMD,
    CLIVE,
    KONIQ10K,
    SPAQ,
    BID,
    FLIVE,
    BIQ2021,
    PIPAL,
    AGIQA3K,
    SAQT,
)
DATABASES = {row.name: row for row in _ROWS}


def read_database(name: str, source: str | os.PathLike, *, on_bad_image: str = "fail") -> Collection:
    """A downloaded database by its name; arguments and errors as of ``collection_of``, and for an unknown name."""
    if name not in DATABASES:
        raise InputError(field="dataset", value=name, expected=f"one of {', '.join(DATABASES)}, or csv")
    return collection_of(DATABASES[name], source, on_bad_image=on_bad_image)
