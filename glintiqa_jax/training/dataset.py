"""From the data flags to a prepared source and its split: the one place that knows every dataset's name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from glintiqa_jax.data.builder import prepare
from glintiqa_jax.data.cache import cache_records
from glintiqa_jax.data.catalog import DATABASES
from glintiqa_jax.data.images import MAX_PIXELS
from glintiqa_jax.data.mixture import MixedSource, database_of, part_starts
from glintiqa_jax.data.rated_images import SPLIT_NAMES, Collection
from glintiqa_jax.data.readers.own import read_csv
from glintiqa_jax.data.source import RatedSource, open_dataset
from glintiqa_jax.data.splits import Split, load_split, released_seed, split_as_declared, split_by_group
from glintiqa_jax.data.tables import first_five
from glintiqa_jax.errors import UserError
from glintiqa_jax.progress import warn
from glintiqa_jax.saqt.demo import read_demo
from glintiqa_jax.saqt.distortions import DISTORTIONS
from glintiqa_jax.saqt.on_the_fly import DistortedSource, is_on_the_fly
from glintiqa_jax.training.config import SPLIT_CHOICES, DataConfig


def read_own(config: DataConfig) -> Collection:
    """The folder and the table of scores that the flags of ``--dataset=csv`` name, checked."""
    return read_csv(
        config.images,
        config.scores,
        image_column=config.image_column,
        score_column=config.score_column,
        group_column=config.group_column,
        split_column=config.split_column,
        std_column=config.std_column,
        score_range=config.score_range or None,
        lower_is_better=config.lower_is_better,
        on_bad_image=config.on_bad_image,
    )


def find_parts(config: DataConfig, *, say: Callable[[str], None] = warn) -> list[Collection | RatedSource]:
    """What the flags name, checked but not yet prepared; ``UserError`` where it cannot be used."""
    if config.split_by not in SPLIT_CHOICES and not Path(config.split_by).expanduser().is_file():
        expected = f"{', '.join(SPLIT_CHOICES)} or a file of a split"
        raise UserError(f"--split_by: expected {expected}, found {config.split_by!r}")
    parts: list[Collection | RatedSource] = []
    for name, _ in config.datasets:
        if name == "demo":
            parts.append(read_demo())
        elif name == "csv":
            parts.append(read_own(config))
        else:
            if config.data_cache_dir:
                cache_records(name, config.data_dir, config.data_cache_dir, say)
            part = open_dataset(name, data_dir=config.data_cache_dir or config.data_dir, **_seen_as(config))
            if is_on_the_fly(part):
                part = DistortedSource(part.folder, **_seen_as(config))
            _check_prepared_so(config, part)
            parts.append(part)
    return parts


def prepare_as_configured(
    config: DataConfig, collection: Collection, *, overwrite: bool = False, max_pixels: int = MAX_PIXELS
) -> Path:
    """``prepare`` with what the data flags say."""
    return prepare(
        collection,
        config.data_dir,
        on_bad_image=config.on_bad_image,
        max_side=config.max_side,
        max_pixels=max_pixels,
        merge_near_duplicates=config.merge_near_duplicates,
        overwrite=overwrite,
    )


def open_source(
    config: DataConfig,
    *,
    crop_size: int,
    parts: Sequence[Collection | RatedSource] | None = None,
    say: Callable[[str], None] = warn,
) -> RatedSource | MixedSource:
    """The prepared source, its records written first where they are not there yet.

    Args:
      config: the data flags.
      crop_size: the network's crop, which every image must hold.
      parts: what ``find_parts`` gave for the flags, where it was called before.
      say: is told what the reader noticed, a line each.

    Raises:
      UserError: what the reader or the preparation refuses, and, with ``on_bad_image="fail"``, images smaller than the
        crop.
    """
    opened = []
    for part in parts or find_parts(config, say=say):
        if isinstance(part, Collection):
            for note in part.notes:
                say(note)
            part = RatedSource(prepare_as_configured(config, part), **_seen_as(config))
            pairs = part.card["near_duplicate_pairs"]
            if pairs and not part.card["near_duplicates_merged"]:
                say(f"warning: {pairs} pairs of images show nearly the same; --merge_near_duplicates joins them")
            for line in part.contradictions():
                say(line)
        if skipped := part.card["skipped"]:
            say(f"warning: {len(skipped)} images of {part.card['name']} are left out: {'; '.join(skipped[:5])}")
        opened.append(part)
    source = opened[0] if len(opened) == 1 else MixedSource(opened, [weight for _, weight in config.datasets])
    sizes = source.sizes()
    small = np.flatnonzero(sizes.min(axis=1) < crop_size)
    if len(small):
        first, limit = (
            int(small[0]),
            f" after --max_short_side={config.max_short_side}" if config.max_short_side else "",
        )
        found = f"{source.index.names[first]} of {sizes[first][1]}x{sizes[first][0]}{limit}"
        if config.on_bad_image == "fail" or len(small) == len(sizes):
            raise UserError(
                f"--model_crop_size: expected a crop that fits into every image, found {crop_size} pixels and {found}; "
                "--on_bad_image=skip leaves such images out"
            )
        names = first_five([source.index.names[position] for position in small])
        say(f"warning: {len(small)} images are smaller than the crop of {crop_size} pixels and left out: {names}")
    return source


def usable_positions(source: RatedSource | MixedSource, crop_size: int) -> np.ndarray:
    """Positions of the images that hold a crop."""
    return np.flatnonzero(source.sizes().min(axis=1) >= crop_size)


def split_source(
    config: DataConfig,
    source: RatedSource | MixedSource,
    *,
    crop_size: int,
    say: Callable[[str], None] = warn,
) -> Split:
    """Train, validation and test positions: published, drawn by content group, or as a file says.

    Each database of a mixture is split by itself. Images smaller than the crop are in no part.

    Raises:
      UserError: where the flags ask for a published split and there is none, or a split is impossible or leaks.
    """
    names, groups = source.index.names, source.index.groups
    if config.split_by not in SPLIT_CHOICES:
        split = load_split(Path(config.split_by).expanduser(), names, groups, source.card["name"])
        if unnamed := len(names) - sum(len(getattr(split, side)) for side in SPLIT_NAMES):
            say(f"warning: {unnamed} images are not named in --split_by={config.split_by} and left out")
    else:
        starts = part_starts(source)
        splits = [_split_part(config, part, say) for part in source.parts]
        split = Split(
            *(
                np.concatenate([getattr(one, side) + start for one, start in zip(splits, starts[:-1], strict=True)])
                for side in SPLIT_NAMES
            )
        )
        if len(source.parts) > 1:
            split = _without_shared_contents(split, groups, say)
    usable = usable_positions(source, crop_size)
    held = Split(*(np.intersect1d(getattr(split, side), usable) for side in SPLIT_NAMES))
    for side in SPLIT_NAMES:
        may_be_empty = side == "validation" or (side == "test" and config.split_by == "all")
        if not len(getattr(held, side)) and (len(getattr(split, side)) or not may_be_empty):
            raise UserError(f"--split_by={config.split_by}: expected images for {side!r} that hold a crop, found none")
    trained = set(database_of(source, held.train).tolist())
    for number, part in enumerate(source.parts):
        if number not in trained:
            raise UserError(f"--dataset: expected images of {part.card['name']} to train on, found none in the split")
    return held


def distortion_names(source: RatedSource | MixedSource) -> dict[str, dict[int, str]]:
    """The names of each database's types of distortion by their numbers; of databases without names none."""

    def names(database: str) -> dict[int, str]:
        if database in ("demo", "kadid10k", "saqt"):
            return {distortion.number: distortion.name for distortion in DISTORTIONS}
        found = DATABASES.get(database)
        return dict(enumerate(found.distortions if found else (), start=1))

    return {part.card["name"]: names(part.card["name"]) for part in source.parts}


def _without_shared_contents(split: Split, groups: Sequence[str], say: Callable[[str], None]) -> Split:
    """Of databases that show the same: nothing trains whose content is tested or validated in another."""
    declared = [""] * len(groups)
    for side in SPLIT_NAMES:
        for position in getattr(split, side):
            declared[position] = side
    kept = np.asarray([position for position, side in enumerate(declared) if side])
    sides, contents = ([values[position] for position in kept] for values in (declared, groups))
    found = split_as_declared(sides, contents, validation_fraction=0, seed=0, leave_out=True, needed=())
    left = Split(*(kept[getattr(found, side)] for side in SPLIT_NAMES))
    if left_out := sum(len(getattr(split, side)) - len(getattr(left, side)) for side in SPLIT_NAMES):
        say(f"warning: {left_out} images show what is tested or validated in another database: they are left out")
    return left


def _split_part(config: DataConfig, part: RatedSource, say: Callable[[str], None]) -> Split:
    name, index = part.card["name"], part.index
    published = any(index.splits)
    if config.split_by == "published" and not published:
        raise UserError(f"--split_by=published: {name} comes without a split; --split_by=drawn draws one")
    if published and config.split_by not in ("drawn", "all") and not config.split_round:
        split = split_as_declared(
            index.splits,
            index.groups,
            validation_fraction=config.validation_fraction,
            seed=config.split_seed,
            leave_out=name in DATABASES or part.card["near_duplicates_merged"],
        )
        if left_out := len(part) - sum(len(getattr(split, side)) for side in SPLIT_NAMES):
            say(
                f"warning: {left_out} images of {name}'s published split show what is tested, or validated, elsewhere "
                "in it: they are left out"
            )
        return split
    return split_by_group(
        index.groups,
        validation_fraction=config.validation_fraction,
        test_fraction=0 if config.split_by == "all" else config.test_fraction,
        seed=released_seed(config.split_round) if config.split_round else config.split_seed,
    )


def _check_prepared_so(config: DataConfig, part: RatedSource) -> None:
    """Refuse flags about the writing of records that were written in another way."""
    name = part.card["name"]
    for flag, given, found in (
        ("max_side", config.max_side or None, part.card["max_side"]),
        ("merge_near_duplicates", config.merge_near_duplicates, part.card["near_duplicates_merged"]),
    ):
        if given is not None and given != found:
            raise UserError(
                f"--{flag}={given}: {name} was prepared with {found}; prepare_dataset.py --overwrite prepares it anew"
            )


def _seen_as(config: DataConfig) -> dict[str, Any]:
    """How a source shows its images and scores to the network."""
    return {"max_short_side": config.max_short_side, "raw_target": config.target == "raw"}
