"""A function of images as StableHLO, by ``jax.export``: the program and a JSON file beside it.

JAX promises to read a program for six months. Until then ``jax.export.deserialize`` reads it without this package; JAX
needs ``flatbuffers`` for that. ``load_exported`` also refuses it afterwards.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax import export

from glintiqa_jax import compilation
from glintiqa_jax.data.paths import local_path
from glintiqa_jax.errors import InputError
from glintiqa_jax.sharding import make_mesh

PLATFORMS = ("cpu", "cuda", "tpu")
BESIDE = ".json"
"""What follows the program's name in that of the file which says what it is."""
_PROMISED = datetime.timedelta(days=180)
"""How long a program can be read (https://docs.jax.dev/en/latest/export/export.html, compatibility guarantees)."""


def stablehlo_bytes(function: Callable, images: jax.ShapeDtypeStruct) -> tuple[bytes, dict[str, Any]]:
    """The program of a function of images, of which the batch may be symbolic, and what is to stand beside it."""
    jitted = compilation.jit(function, make_mesh(devices=jax.local_devices()[:1]))
    program = bytes(export.export(jitted, platforms=PLATFORMS)(images).serialize())
    return program, {
        "jax": jax.__version__,
        "platforms": PLATFORMS,
        "sha256": hashlib.sha256(program).hexdigest(),
        "expires": (datetime.datetime.now(datetime.UTC).date() + _PROMISED).isoformat(),
    }


class Exported:
    """A program that ``load_exported`` read.

    ``exported(crops)`` gives the scores, float32 ``(batch,)``, of uint8 ``(batch, crop, crop, 3)``.

    Attributes:
      said: what stands beside it: ``input``, ``output``, ``preprocessing``, ``card``, ``expires``, ...
    """

    def __init__(self, program: bytes, said: Mapping[str, Any]):
        self.said = said
        try:
            self._call = export.deserialize(bytearray(program)).call
        except ImportError as error:
            raise InputError("needs flatbuffers to be read: pip install 'glintiqa-jax[export]'") from error

    def __call__(self, crops: jax.typing.ArrayLike) -> np.ndarray:
        return np.asarray(self._call(crops))


def load_exported(path: str | os.PathLike) -> Exported:
    """The program in a file that ``glintiqa_jax.Model.export`` wrote as StableHLO.

    Raises:
      InputError: no such file, one that is not whole, or one that JAX no longer promises to read; or ``flatbuffers`` is
        not installed.
    """
    file = local_path("path", path)
    beside = Path(f"{file}{BESIDE}")
    try:
        program, said = file.read_bytes(), json.loads(beside.read_text(encoding="utf-8"))
        expires, digest = datetime.date.fromisoformat(said["expires"]), said["sha256"]
    except OSError as error:
        raise InputError(file=error.filename, expected="an exported model", found=error.strerror) from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            file=beside, expected="what an exported model says of itself", found="something else"
        ) from error
    if digest != hashlib.sha256(program).hexdigest():
        raise InputError(
            file=file, expected=f"the program that {beside.name} is about", found="another, or a damaged one"
        )
    if datetime.datetime.now(datetime.UTC).date() > expires:
        raise InputError(
            file=file,
            expected="a program that JAX promises to read",
            found=f"one that expired on {expires}, six months after it was written by JAX {said.get('jax')}",
            hint="export the model again",
        )
    return Exported(program, said)
