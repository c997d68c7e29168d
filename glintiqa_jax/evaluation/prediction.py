"""Predictions: each image decoded once, as a grid of crops or as many at random, in batches of one shape."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
from jax.sharding import Mesh
from tqdm import tqdm

from glintiqa_jax.compilation import platform_of
from glintiqa_jax.data.files import Output, write_csv
from glintiqa_jax.data.loading import Loading
from glintiqa_jax.data.names import positions_by_name
from glintiqa_jax.data.pipeline import evaluation_batches
from glintiqa_jax.data.source import Source
from glintiqa_jax.data.tables import first_five, read_numbers
from glintiqa_jax.errors import InputError
from glintiqa_jax.evaluation.metrics import METRICS, all_metrics
from glintiqa_jax.scoring.card import ModelCard
from glintiqa_jax.sharding import everywhere, global_batch

# All crops of a batch, on one CPU. With more, what the network makes on its way leaves the caches, and its memory goes
# back to the system each time: the paper's network takes 1.5 times as long over 8 images as over one, and 5 GB for 0.6.
_CPU_PIXELS = 3 * 2**18

COLUMNS = ("name", "predicted", "crop_deviation", "score", "score_std", "group")


@dataclasses.dataclass(frozen=True)
class Predictions:
    """Predicted and opinion scores of some images of a source, in its own unit and direction.

    Attributes:
      positions: int ``(images,)``, record positions.
      names: the images' names.
      predicted: float64 ``(images,)``, mean over an image's crops.
      crop_deviation: float64 ``(images,)``, standard deviation over an image's crops.
      target: float64 ``(images,)``, the raw opinion scores.
      databases: the database of each image.
      groups: the content of each image.
      target_std: float64 ``(images,)``, standard deviations of the opinions, NaN where they are not known.
    """

    positions: np.ndarray
    names: list[str]
    predicted: np.ndarray
    crop_deviation: np.ndarray
    target: np.ndarray
    databases: list[str]
    groups: list[str]
    target_std: np.ndarray

    @classmethod
    def of(
        cls, source: Source, positions: np.ndarray, predicted: np.ndarray, crop_deviation: np.ndarray
    ) -> Predictions:
        """Predictions for some positions of a source, with the source's metadata."""
        index = source.index
        return cls(
            positions=positions,
            names=[index.names[position] for position in positions],
            predicted=predicted,
            crop_deviation=crop_deviation,
            target=index.raw_scores[positions],
            databases=[source.parts[number].name for number in source.part_of(positions)],
            groups=[index.groups[position] for position in positions],
            target_std=index.score_stds[positions],
        )

    def metrics(self) -> dict[str, float | int]:
        """``all_metrics``; for several databases the mean over them, as their scores are not comparable."""
        each = list(self.metrics_by_database().values())
        if len(each) == 1:
            return each[0]
        keys = [key for key in METRICS if all(key in one for one in each)]
        return {key: float(np.mean([one[key] for one in each])) for key in keys} | {"images": len(self.target)}

    def metrics_by_database(self) -> dict[str, dict[str, float | int]]:
        """``all_metrics`` of each database."""
        found, databases = {}, np.asarray(self.databases)
        for name in dict.fromkeys(self.databases):
            rows = databases == name
            found[name] = all_metrics(self.predicted[rows], self.target[rows], known(self.target_std[rows]))
        return found

    def write_csv(self, path: Path | Output) -> None:
        """One row per image, of ``COLUMNS``; nine digits, which keep what a float32 says.

        Where the deviations of the opinions are not known their field is empty.
        """
        columns = (self.predicted, self.crop_deviation, self.target, self.target_std)
        values = (["" if np.isnan(value) else f"{value:.9g}" for value in row] for row in zip(*columns, strict=True))
        rows = ([name, *row, group] for name, row, group in zip(self.names, values, self.groups, strict=True))
        write_csv(path, COLUMNS, rows)


def known(target_std: np.ndarray) -> np.ndarray | None:
    """Standard deviations of opinions, or None unless those of all images are known."""
    return target_std if len(target_std) and np.isfinite(target_std).all() else None


def read_predictions(path: Path, source: Source) -> Predictions:
    """Read what ``write_csv`` wrote, for images of a source.

    Raises:
      InputError: a missing or malformed file, or names that the source does not have (the first five).
    """
    rows = read_numbers(path, "name", ["predicted", "crop_deviation"])
    position = positions_by_name(source.index.names)
    names = list(rows)
    if unknown := [name for name in names if name not in position]:
        raise InputError(f"{len(unknown)} of its images are not in {source.name}: {first_five(unknown)}", file=path)
    positions = np.asarray([position[name] for name in names], np.int64)
    values = np.asarray(list(rows.values()), np.float64)
    return Predictions.of(source, positions, values[:, 0], values[:, 1])


def predict_source(
    predict: Callable[[jax.Array], jax.Array],
    source: Source,
    positions: np.ndarray,
    card: ModelCard,
    *,
    mesh: Mesh,
    batch_size: int = 16,
    loading: Loading = Loading(),
    bar: tqdm | None = None,
) -> Predictions:
    """Predict some images of a source, every one exactly once, over all processes; each gets all predictions.

    Args:
      predict: uint8 ``(batch, crops, crop, crop, 3)`` to ``(batch, crops)``, what the network says.
      source: where the images are, as large as the model wants them.
      positions: which of them.
      card: of the model; predictions are brought from its scale to the source's own.
      mesh: where batches are put.
      batch_size: images per batch at most, a multiple of the mesh's devices.
      loading: how images are loaded.
      bar: advances with each image.
    """
    crops = card.view.crops(card.network.crop_size)
    said = np.full((len(source), crops.count), np.nan)
    batch_size = images_at_once(batch_size, len(positions), crops.count * crops.crop_size**2, mesh)
    seen = np.zeros(len(source), bool)
    batches = evaluation_batches(
        source,
        positions,
        crops,
        batch_size=batch_size,
        process=(jax.process_index(), jax.process_count()),
        loading=loading,
    )
    for batch in batches:
        batch = global_batch(batch, mesh)
        found, numbers = everywhere(predict(batch["image"])), everywhere(batch["position"])
        real = numbers >= 0
        said[numbers[real]] = found[real]
        seen[numbers[real]] = True
        if bar is not None:
            bar.update(int(real.sum()))
    positions = positions[seen[positions]]
    raw = card.to_scale(said[positions])
    if card.scale != source.scale:
        raw = source.scale.to_raw(card.scale.to_quality(raw))
    if not np.isfinite(raw).all():
        bad = [source.index.names[p] for p in positions[~np.isfinite(raw).all(axis=1)]][:5]
        raise FloatingPointError(f"predictions that are not finite, for {', '.join(bad)}")
    return Predictions.of(source, np.asarray(positions), raw.mean(axis=1), raw.std(axis=1))


def images_at_once(most: int, images: int, pixels: int, mesh: Mesh) -> int:
    """Images per batch: no more than there are, nor on CPUs than is fast; a multiple of the devices.

    Args:
      most: the answer at most, itself a multiple of the devices.
      images: how many are to be predicted.
      pixels: of all crops of an image.
      mesh: the devices that share a batch.
    """
    each = -(-images // mesh.size)
    if platform_of(mesh) == "cpu":
        each = min(each, _CPU_PIXELS // pixels)
    return min(most, max(each, 1) * mesh.size)
