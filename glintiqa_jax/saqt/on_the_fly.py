"""Distorted images made while they are read: millions of them need only the disk space of their photographs."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from glintiqa_jax.data.databases import DATABASES
from glintiqa_jax.data.digests import digest
from glintiqa_jax.data.images import encode_png
from glintiqa_jax.data.near_duplicates import Look
from glintiqa_jax.data.rated_images import Collection, RatedImage
from glintiqa_jax.data.records import RecordSource
from glintiqa_jax.errors import InputError
from glintiqa_jax.saqt.generation import VERSIONS, Recipe, Source, distorted, image_name, made_of, versions

_SCORES_FILE = "transferred_scores.npz"


def pristine_collection(sources: Sequence[Source], recipe: Recipe, *, notes: Sequence[str] = ()) -> Collection:
    """The photographs themselves, for ``glintiqa_jax.data.builder.prepare``, with the data of ``DistortedSource``.

    A photograph's own score is the mean of its distorted images'.
    """
    scores = np.asarray([source.scores for source in sources], np.float64)
    content = io.BytesIO()
    np.savez_compressed(content, scores=scores, seed=np.int64(recipe.seed))

    def images() -> Iterator[RatedImage]:
        for source in sources:
            yield RatedImage(
                name=source.name,
                image=encode_png(recipe.pristine(source.path)),
                raw_score=float(np.mean(source.scores)),
                group=source.group,
                reference=source.reference,
            )

    return Collection(
        name="saqt",
        scale=DATABASES["saqt"].scale,
        size=len(sources),
        identity=digest("saqt on the fly", [(made_of(s, recipe), s.group, s.reference, s.scores) for s in sources]),
        images=images,
        notes=("photographs, which training distorts on the fly; scores are means over 125 images", *notes),
        files={_SCORES_FILE: content.getvalue()},
        compared=True,
    )


def is_on_the_fly(source: RecordSource) -> bool:
    """Whether records are the photographs of ``pristine_collection``."""
    return (source.folder / _SCORES_FILE).is_file()


class DistortedSource(RecordSource):
    """The 125 distorted images of each prepared photograph, as ``generation.write_all`` would have written them.

    An image is distorted when it is asked for, by the process that asks.

    Args:
      folder: what ``prepare`` returned.

    Raises:
      InputError: when the folder holds no photographs that were prepared for this.
    """

    def __init__(self, folder: str | Path):
        super().__init__(folder)
        path = self.folder / _SCORES_FILE
        try:
            with np.load(path, allow_pickle=False) as file:
                scores, self._seed = file["scores"].ravel(), int(file["seed"])
        except (OSError, KeyError, ValueError) as error:
            raise InputError(
                file=path, expected="what build_saqt wrote with `on_the_fly`", found=f"something else ({error})"
            ) from error
        photographs = self.index
        if len(scores) != VERSIONS * len(photographs.names):
            raise InputError(
                file=path, expected=f"{VERSIONS} scores for each of {len(photographs.names)}", found=len(scores)
            )
        self._photographs = photographs.names
        names = [f"{name}/{image_name(name, *version)}" for name in photographs.names for version in versions()]
        each = {field.name: _repeated(getattr(photographs, field.name)) for field in dataclasses.fields(photographs)}
        types, levels = np.asarray(versions(), np.int32).T
        each |= {
            "names": names,
            "raw_scores": scores,
            "distortion_types": np.tile(types, len(photographs.names)),
            "distortion_levels": np.tile(levels, len(photographs.names)),
        }
        self.index = dataclasses.replace(photographs, **each)

    def looks(self) -> list[Look]:
        """The photographs' looks, one for each of their distorted images."""
        return _repeated(super().looks())

    def _pixels(self, position: int) -> np.ndarray:
        photograph, version = divmod(position, VERSIONS)
        name = self._photographs[photograph]
        pristine = self._record(photograph, name)
        return distorted(pristine, name, *versions()[version], seed=self._seed)


def _repeated(values: Any) -> Any:
    """Each of a list or an array 125 times, side by side."""
    if isinstance(values, np.ndarray):
        return np.repeat(values, VERSIONS)
    return [value for value in values for _ in range(VERSIONS)]
