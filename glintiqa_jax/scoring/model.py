"""A model in use: any image in, one score out, in the unit that the model was trained on."""

from __future__ import annotations

import collections
import concurrent.futures
import dataclasses
import functools
import hashlib
import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, overload

import jax
import numpy as np
from flax import nnx

from glintiqa_jax.data.crops import Crops, mirrored
from glintiqa_jax.data.images import MAX_PIXELS, decode_image
from glintiqa_jax.data.near_duplicates import Look
from glintiqa_jax.data.pixels import BadImageError, to_pixels
from glintiqa_jax.data.stores import read_file
from glintiqa_jax.errors import InputError, visible
from glintiqa_jax.models.config import describe
from glintiqa_jax.models.files import arrays_of
from glintiqa_jax.models.glintiqa import GlintIQA
from glintiqa_jax.scoring.card import ModelCard
from glintiqa_jax.scoring.maps import QualityMap, quality_map
from glintiqa_jax.scoring.predict import Predict
from glintiqa_jax.scoring.pure import crops_of
from glintiqa_jax.scoring.score import Comparison, Score
from glintiqa_jax.sharding import make_mesh

SMALLEST_SIDE = 32  # in pixels; of less, nobody can say how good it looks
_BEYOND = 0.5  # by which images on the way to an optimum may leave the range
_WINDOWS = 16  # of a map that are scored at once
_DECODERS = min(4, os.cpu_count() or 1)  # threads beside the one that computes


class _Prepared(NamedTuple):
    """An image that is ready to be scored: uint8 ``(crops, crop, crop, 3)``, and what its ``Score`` says of it."""

    crops: np.ndarray
    width: int
    height: int
    notes: tuple[str, ...]


class Model:
    """A network and its card.

    A score is the mean over a fixed set of crops of one image: a function of that image alone, whatever else is scored
    before or after it. An image smaller than a crop is continued by its mirror image.

    Args:
      network: with its values.
      card: what it is and means.
      looks: of the images it was trained on; None where that is not known.
      max_pixels: the largest width times height of an image; 0 is no limit.

    Attributes: the arguments.
    """

    def __init__(
        self, network: GlintIQA, card: ModelCard, *, looks: Sequence[Look] | None = None, max_pixels: int = MAX_PIXELS
    ):
        self.network, self.card, self.looks, self.max_pixels = network, card, looks, max_pixels
        self._graphdef, self._state = nnx.split(network)
        # One device: an image is one batch, so that a score cannot depend on its neighbours.
        self._predict = Predict(self._graphdef, make_mesh(devices=jax.local_devices()[:1]))

    def __repr__(self) -> str:
        return f"<Model {self.digest}: {describe(self.card.network)}, {self.card.scale.describe()}>"

    @functools.cached_property
    def digest(self) -> str:
        """Sixteen hexadecimal digits of the weights and of what else a score depends on in the card."""
        card = self.card
        found = hashlib.sha256(repr((card.network, card.scale, card.view, card.output, card.calibration)).encode())
        for name, array in sorted(arrays_of(self.network).items()):
            found.update(f"{name} {array.dtype} {array.shape}".encode())
            found.update(array.tobytes())
        return found.hexdigest()[:16]

    def __call__(self, images: jax.Array) -> jax.Array:
        """Scores as a pure function of pixels, which can be differentiated, transformed and compiled.

        Args:
          images: ``(batch, height, width, 3)`` of one size: uint8, or floats in [0, 1].

        Returns:
          float32 ``(batch,)`` in the unit and direction of ``card.scale``, whose ``to_quality`` brings it to [0, 1],
          higher is better. Of floats, pixels are not rounded on the way, so that a gradient is exact.

        Raises:
          InputError: when the images are of another shape or type, or, where it is not traced, floats beyond [0, 1].
        """
        if images.ndim != 4 or images.shape[-1] != 3 or min(images.shape[1:3]) < SMALLEST_SIDE:
            expected = f"(batch, height, width, 3) of {SMALLEST_SIDE} pixels a side or more"
            raise InputError(field="images", expected=expected, found=str(images.shape))
        if images.dtype != np.uint8 and not jax.numpy.issubdtype(images.dtype, np.floating):
            raise InputError(field="images", expected="uint8, or floats in [0, 1]", found=str(images.dtype))
        if images.dtype != np.uint8 and not isinstance(images, jax.core.Tracer) and images.size:
            low, high = float(images.min()), float(images.max())
            if not -_BEYOND <= low <= high <= 1 + _BEYOND:
                raise InputError(field="images", expected="floats in [0, 1]", found=f"{low:g} to {high:g}")
        crops = crops_of(images, self.card.view, self._crops)
        # (batch, crops, crop, crop, 3) -> (batch * crops, crop, crop, 3), and scores back
        said = nnx.merge(self._graphdef, self._state)(crops.reshape(-1, *crops.shape[2:]))
        return self.card.to_scale(said.reshape(crops.shape[:2])).mean(axis=1)

    def score(self, image: Any) -> Score:
        """The score of one image, which is brought to the pixels that a viewer would show.

        Args:
          image: a file's path, its address in a store (``gs://``, ``s3://``) or its bytes, a Pillow image, or an array
            or nested lists ``(height, width)`` or ``(height, width, channels)`` of grey or RGB, with alpha or without:
            integers of 8 or 16 bits, or floats in 0..1 or 0..255; at least 32 pixels a side.

        Raises:
          BadImageError: for anything else; a ``ValueError``.
        """
        return self._scored(self._prepared(image))

    @overload
    def score_many(self, images: Iterable[Any], *, errors: Literal["raise"] = "raise") -> Iterator[Score]: ...

    @overload
    def score_many(self, images: Iterable[Any], *, errors: Literal["return"]) -> Iterator[Score | BadImageError]: ...

    def score_many(
        self, images: Iterable[Any], *, errors: Literal["raise", "return"] = "raise"
    ) -> Iterator[Score | BadImageError]:
        """The scores of any number of images, one by one and in their order; images are decoded beside.

        Args:
          images: each as for ``score``, or the error that is known of it already; a few are read ahead.
          errors: whether an image that cannot be scored ends it, or gives the error in the place of its score.

        Raises:
          BadImageError: as for ``score``, unless errors are returned.
          InputError: one image rather than an iterable of them.
        """
        if isinstance(images, str | bytes | os.PathLike):
            raise InputError(field="images", expected="several images", found=f"one {type(images).__name__}")
        waiting: collections.deque[concurrent.futures.Future[_Prepared]] = collections.deque()

        def finished() -> Score | BadImageError:
            try:
                return self._scored(waiting.popleft().result())
            except BadImageError as error:
                if errors == "raise":
                    raise
                return error

        pool = concurrent.futures.ThreadPoolExecutor(_DECODERS)
        try:
            for image in images:
                waiting.append(pool.submit(self._prepared, image))
                if len(waiting) > 2 * _DECODERS:
                    yield finished()
            while waiting:
                yield finished()
        finally:
            pool.shutdown(cancel_futures=True)

    def map(self, image: Any, *, overlap: float = 0.5) -> QualityMap:
        """Quality over an image.

        Args:
          image: as for ``score``.
          overlap: of neighbouring windows, as a share of a window's side, in [0, 1).

        Raises:
          BadImageError: as for ``score``.
          InputError: an overlap outside [0, 1).
        """
        if not 0 <= overlap < 1:
            raise InputError(field="overlap", expected="a share from 0 to below 1", found=overlap)
        notes: list[str] = []
        pixels, name = self._pixels(image, notes)
        _check_size(pixels, name)
        crop, shown = self.card.network.crop_size, self.card.view.shown(pixels)
        found = quality_map(pixels, shown, crop, overlap, self._window_scores, self.card.scale)
        return dataclasses.replace(found, notes=tuple(notes))

    def compare(self, first: Any, second: Any) -> Comparison:
        """Which of two images is better, and whether by more than chance; images and errors as for ``score``."""
        return Comparison(self.score(first), self.score(second))

    def save(self, folder: str | os.PathLike, *, half: bool = False) -> Path:
        """Write the model as a folder, which ``load_model`` opens; see ``save_model``."""
        from glintiqa_jax.scoring.files import save_model  # which loads models

        return save_model(self, folder, half=half)

    def export(self, path: str | os.PathLike, *, format: str | None = None) -> None:
        """Write the model for programs without this package; see ``export_model``."""
        from glintiqa_jax.scoring.export import export_model  # which writes models

        export_model(self, path, format)

    @property
    def _crops(self) -> Crops:
        return self.card.view.crops(self.card.network.crop_size)

    def _prepared(self, image: Any) -> _Prepared:
        if isinstance(image, BadImageError):
            raise image
        notes: list[str] = []
        pixels, name = self._pixels(image, notes)
        _check_size(pixels, name)
        height, width = pixels.shape[:2]
        shown = self.card.view.shown(pixels)
        crop = self.card.network.crop_size
        if min(shown.shape[:2]) < crop:
            notes.append(f"mirrored at its edges to {crop} pixels")
        return _Prepared(self._crops.of(mirrored(shown, crop)), width, height, tuple(notes))

    def _scored(self, image: _Prepared) -> Score:
        scores = self.card.to_scale(self._said(image.crops))
        value, deviation, scale = float(scores.mean()), float(scores.std()), self.card.scale
        interval = None
        calibration = self.card.calibration
        if calibration is not None and (half := calibration.half_width(deviation)) is not None:
            low, high = (min(max(end, scale.low), scale.high) for end in (value - half, value + half))
            interval = (low, high)
        return Score(value, deviation, interval, scale, image.width, image.height, image.notes)

    def _said(self, crops: np.ndarray) -> np.ndarray:
        """uint8 ``(crops, crop, crop, 3)`` to what the network says, float64 ``(crops,)``."""
        return np.asarray(self._predict(crops[None], self._state), np.float64)[0]

    def _window_scores(self, windows: Iterable[np.ndarray]) -> np.ndarray:
        """Windows, uint8 ``(crop, crop, 3)``, to scores ``(windows,)``, by batches of one shape, compiled once."""
        windows, said = iter(windows), []
        while batch := list(itertools.islice(windows, _WINDOWS)):
            padded = np.stack(batch + batch[-1:] * (_WINDOWS - len(batch)))
            said.append(self._said(padded)[: len(batch)])
        return self.card.to_scale(np.concatenate(said))

    def _pixels(self, image: Any, notes: list[str]) -> tuple[np.ndarray, str]:
        """uint8 ``(height, width, 3)``, and what errors call it."""
        if isinstance(image, bytes | bytearray | memoryview):
            return decode_image(bytes(image), "image", max_pixels=self.max_pixels, notes=notes), "image"
        if not isinstance(image, str | os.PathLike):
            return to_pixels(image, notes=notes), "image"
        if not os.fspath(image):  # which pathlib takes for the folder one is in
            raise BadImageError("expected an image, found an empty path")
        try:
            encoded = read_file(image)
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or error
            raise BadImageError(f"cannot be read ({why})", file=visible(image)) from error
        return decode_image(encoded, str(image), max_pixels=self.max_pixels, notes=notes), str(image)


def _check_size(pixels: np.ndarray, name: str) -> None:
    height, width = pixels.shape[:2]
    if min(height, width) < SMALLEST_SIDE:
        expected = f"at least {SMALLEST_SIDE} pixels a side"
        raise BadImageError(file=visible(name), expected=expected, found=f"{width}x{height}")
