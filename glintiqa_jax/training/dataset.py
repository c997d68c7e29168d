"""From the data flags to a prepared source and its split: the one place that knows every dataset's name."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from absl import logging

from glintiqa_jax.data.builder import prepare
from glintiqa_jax.data.readers import Collection, read_csv
from glintiqa_jax.data.source import RatedSource
from glintiqa_jax.data.splits import Split, split_as_declared, split_by_group
from glintiqa_jax.errors import UserError
from glintiqa_jax.saqt.demo import read_demo
from glintiqa_jax.training.config import DataConfig


def read_collection(config: DataConfig) -> Collection:
    """The rated images that the flags name, checked; ``UserError`` where they cannot be used."""
    if config.dataset == "demo":
        return read_demo()
    return read_csv(
        config.images,
        config.scores,
        image_column=config.image_column,
        score_column=config.score_column,
        group_column=config.group_column,
        split_column=config.split_column,
        score_range=config.score_range or None,
        lower_is_better=config.lower_is_better,
    )


def open_dataset(
    config: DataConfig,
    *,
    crop_size: int,
    collection: Collection | None = None,
    say: Callable[[str], None] = logging.warning,
) -> RatedSource:
    """The prepared source, its records written first where they are not there yet.

    Args:
      config: the data flags.
      crop_size: the network's crop, which every image must hold.
      collection: what ``read_collection`` gave for the flags, where it was called before.
      say: is told what the reader noticed, a line each.

    Raises:
      UserError: what the reader or the preparation refuses, and images smaller than the crop.
    """
    collection = collection or read_collection(config)
    for note in collection.notes:
        say(note)
    folder = prepare(collection, config.data_dir, on_bad_image=config.on_bad_image)
    source = RatedSource(folder, max_short_side=config.max_short_side)
    if skipped := source.card["skipped"]:
        say(f"warning: {len(skipped)} images do not decode and are left out: {'; '.join(skipped[:5])}")
    sizes = source.sizes()
    small = int(np.argmin(sizes.min(axis=1)))
    if sizes[small].min() < crop_size:
        limit = f" after --max_short_side={config.max_short_side}" if config.max_short_side else ""
        raise UserError(
            f"--model_crop_size: expected a crop that fits into every image, found {crop_size} pixels and "
            f"{source.index.names[small]} of {sizes[small][1]}x{sizes[small][0]}{limit}"
        )
    return source


def split_source(config: DataConfig, source: RatedSource) -> Split:
    """Train, validation and test positions: as the data declare, else drawn by content group."""
    if any(source.index.splits):
        return split_as_declared(
            source.index.splits,
            source.index.groups,
            validation_fraction=config.validation_fraction,
            seed=config.split_seed,
        )
    return split_by_group(
        source.index.groups,
        validation_fraction=config.validation_fraction,
        test_fraction=config.test_fraction,
        seed=config.split_seed,
    )
