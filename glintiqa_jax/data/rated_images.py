"""What every reader gives: images and their opinion scores."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np

from glintiqa_jax.data.scale import ScoreScale
from glintiqa_jax.errors import InputError

LEAVES_OUT = "`on_bad_image='skip'` leaves them out"
SPLIT_NAMES = ("train", "validation", "test")
# What tables call them, in lower case.
SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "val": "validation",
    "valid": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}
SPLIT_EXPECTED = ", ".join(dict.fromkeys(SPLIT_WORDS.values()))


@dataclasses.dataclass(frozen=True)
class RatedImage:
    """One image and its opinion score.

    Attributes:
      name: unique in its collection; what errors, reports and score files call the image.
      image: the file that holds it, its encoded bytes, or uint8 RGB ``(height, width, 3)``.
      raw_score: opinion score in the collection's own unit and direction.
      group: images with the same content share a group, which never crosses a split.
      score_std: standard deviation of the opinions, in the same unit; NaN where it is not known.
      reference: name of the pristine image it was made of, "" where there is none.
      split: "train", "validation" or "test" where the source fixes it, else "".
      distortion_type: number of the distortion in its database's numbering, 0 where there is none.
      distortion_level: level of the distortion, 0 where there is none.

    Raises:
      InputError: a negative deviation.
    """

    name: str
    image: Path | bytes | np.ndarray
    raw_score: float
    group: str
    score_std: float = math.nan
    reference: str = ""
    split: str = ""
    distortion_type: int = 0
    distortion_level: int = 0

    def __post_init__(self) -> None:
        if self.score_std < 0:
            found = f"{self.score_std:g} of {self.name}"
            raise InputError(field="score_std", expected="a standard deviation of 0 or more", found=found)

    def encoded(self) -> bytes:
        """The image file's bytes; for an array its shape and values."""
        if isinstance(self.image, np.ndarray):
            return f"{self.image.shape}".encode() + self.image.tobytes()
        return self.image if isinstance(self.image, bytes) else self.image.read_bytes()

    @property
    def facts(self) -> list[str]:
        """All but the image, for digests."""
        return [str(value) for value in dataclasses.astuple(dataclasses.replace(self, image=b""))]


@dataclasses.dataclass(frozen=True)
class Collection:
    """Rated images that belong together.

    Attributes:
      name: short name, part of the prepared records' path.
      scale: what the scores mean.
      size: how many images ``images`` yields.
      identity: a digest of everything that the records would hold except the bytes of ``sources``.
      sources: the files whose bytes the records hold, if ``identity`` does not cover them.
      images: a new iterator over the images, always in the same order.
      notes: what the reader noticed, for the user, a line each.
      missing: scored images whose files are missing, left out because the user asked for that.
      files: small files that belong beside the records, by name.
      compared: images of different groups are known to differ, and are not searched for near-duplicates.
    """

    name: str
    scale: ScoreScale
    size: int
    identity: str
    images: Callable[[], Iterator[RatedImage]]
    sources: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    files: Mapping[str, bytes] = dataclasses.field(default_factory=dict)
    compared: bool = False
