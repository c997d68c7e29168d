"""Sources by name, and their splits: the one place that knows every dataset's name."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from glintiqa_jax.data.builder import prepare
from glintiqa_jax.data.cache import cache_records
from glintiqa_jax.data.databases import DATABASES
from glintiqa_jax.data.images import MAX_PIXELS
from glintiqa_jax.data.mixture import MixedSource
from glintiqa_jax.data.own import read_csv
from glintiqa_jax.data.rated_images import SPLIT_NAMES, Collection
from glintiqa_jax.data.records import CARD, RecordSource, records_folder
from glintiqa_jax.data.source import Source
from glintiqa_jax.data.splits import Split, load_split, released_seed, split_as_declared, split_by_group
from glintiqa_jax.data.tables import first_five
from glintiqa_jax.datasets.config import DEMOS, OWN, SPLIT_CHOICES, DataConfig, OwnImages, Splitting
from glintiqa_jax.errors import InputError
from glintiqa_jax.progress import warn
from glintiqa_jax.saqt.demo import read_demo
from glintiqa_jax.saqt.distortions import DISTORTIONS
from glintiqa_jax.saqt.on_the_fly import DistortedSource, is_on_the_fly
from glintiqa_jax.settings import to_json

Say = Callable[[str], None]
"""Gets messages for the user, a line each."""


def open_dataset(name: str, *, data_dir: str | os.PathLike = "~/.cache/glintiqa_jax") -> RecordSource:
    """A database that was prepared, as a source.

    Args:
      name: the database's, such as "koniq10k", or the folder's name that ``prepare_dataset`` printed for the user's own
        images.
      data_dir: where it was prepared.

    Raises:
      InputError: when it is not prepared there; the message says what is, and how to prepare it.
    """
    folder = records_folder(name, data_dir)
    if (folder / CARD).is_file():
        source = RecordSource(folder)
        return _described(DistortedSource(folder) if is_on_the_fly(source) else source)
    prepared = sorted(path.parents[1].name for path in folder.parents[1].glob(f"[!.]*/*/{CARD}"))
    raise InputError(
        field="dataset",
        value=name,
        expected=f"a database prepared in `data_dir={data_dir}`",
        found=", ".join(prepared) or "none",
        hint=f"the command {'build_saqt' if name == 'saqt' else 'prepare_dataset'} prepares it" * (name in DATABASES),
    )


def read_own(config: OwnImages, *, on_bad_image: str = "fail") -> Collection:
    """The folder and the table of scores of ``dataset='csv'``, checked."""
    return read_csv(
        config.images,
        config.scores,
        config.columns,
        score_range=config.score_range or None,
        lower_is_better=config.lower_is_better,
        on_bad_image=on_bad_image,
    )


def find_parts(config: DataConfig, *, on_bad_image: str = "fail", say: Say = warn) -> list[Collection | RecordSource]:
    """What a configuration names, checked but not yet prepared; ``InputError`` where it cannot be used."""
    split_by = config.split.split_by
    if split_by not in SPLIT_CHOICES and not Path(split_by).expanduser().is_file():
        expected = f"{', '.join(SPLIT_CHOICES)} or a file of a split"
        raise InputError(field="split_by", expected=expected, found=repr(split_by))
    parts: list[Collection | RecordSource] = []
    for name, _ in config.datasets:
        if name in DEMOS:
            parts.append(read_demo(name))
        elif name == OWN:
            parts.append(read_own(config.own, on_bad_image=on_bad_image))
        else:
            if config.data_cache_dir:
                cache_records(name, config.data_dir, config.data_cache_dir, say)
            part = open_dataset(name, data_dir=config.data_cache_dir or config.data_dir)
            _check_prepared_so(config, part)
            parts.append(part)
    return parts


def prepare_as_configured(
    config: DataConfig,
    collection: Collection,
    *,
    on_bad_image: str = "fail",
    overwrite: bool = False,
    max_pixels: int = MAX_PIXELS,
) -> Path:
    """``prepare`` as a configuration says."""
    return prepare(
        collection,
        config.data_dir,
        on_bad_image=on_bad_image,
        max_side=config.max_side,
        max_pixels=max_pixels,
        merge_near_duplicates=config.merge_near_duplicates,
        overwrite=overwrite,
    )


def open_data(
    config: DataConfig,
    *,
    on_bad_image: str = "fail",
    parts: Sequence[Collection | RecordSource] | None = None,
    say: Say = warn,
) -> Source:
    """The source that a configuration names, its records written first where they are not there yet.

    Args:
      config: which images.
      on_bad_image: images that are missing or do not decode stop it ("fail") or are left out and reported ("skip").
      parts: the result of ``find_parts``, if it was called before.
      say: is told what was noticed.

    Raises:
      InputError: what the reader or the preparation refuses.
    """
    opened = []
    for part in parts or find_parts(config, on_bad_image=on_bad_image, say=say):
        if isinstance(part, Collection):
            for note in part.notes:
                say(note)
            part = _described(RecordSource(prepare_as_configured(config, part, on_bad_image=on_bad_image)))
            pairs = part.card.near_duplicates.pairs
            if pairs and not part.merges_near_duplicates:
                say(f"warning: {pairs} pairs of images show nearly the same; `merge_near_duplicates` joins them")
            for line in part.contradictions():
                say(line)
        if skipped := part.skipped:
            say(f"warning: {len(skipped)} images of {part.name} are left out: {'; '.join(skipped[:5])}")
        opened.append(part)
    source = opened[0] if len(opened) == 1 else MixedSource(opened, [weight for _, weight in config.datasets])
    source.origin = to_json(config)
    return source


def usable_positions(source: Source, smallest: int, *, on_bad_image: str = "fail", say: Say = warn) -> np.ndarray:
    """Positions of the images that are large enough.

    Args:
      source: the images.
      smallest: the shorter side that an image must have, in pixels: the network's crop.
      on_bad_image: smaller ones stop it ("fail") or are left out and reported ("skip").
      say: is told which.

    Raises:
      InputError: for smaller images with "fail", and where no image is large enough.
    """
    sizes = source.sizes()
    large = sizes.min(axis=1) >= smallest
    small = np.flatnonzero(~large)
    if not len(small):
        return np.arange(len(source))
    if on_bad_image == "fail" or not large.any():
        (height, width), limit = sizes[small[0]], max(part.max_short_side for part in source.parts)
        shrunk = f" after `max_short_side={limit}`" if limit else ""
        raise InputError(
            field="crop_size",
            expected="a crop that fits into every image",
            found=f"{smallest} pixels and {source.index.names[small[0]]} of {width}x{height}{shrunk}",
            hint="`on_bad_image='skip'` leaves such images out",
        )
    names = first_five([source.index.names[position] for position in small])
    say(f"warning: {len(small)} images are smaller than the crop of {smallest} pixels and left out: {names}")
    return np.flatnonzero(large)


def split_data(
    config: Splitting, source: Source, *, smallest: int, on_bad_image: str = "fail", say: Say = warn
) -> Split:
    """Train, validation and test positions: published, drawn by content group, or read from a file.

    Each database of a mixture is split by itself. Images that are too small are in no part.

    Args:
      config: how it is split.
      source: the images.
      smallest: as of ``usable_positions``, and so are the others.
      on_bad_image: see there.
      say: is told what was noticed.

    Raises:
      InputError: where a published split is asked for and there is none, or a split is impossible or leaks; too small
        images with "fail".
    """
    usable = usable_positions(source, smallest, on_bad_image=on_bad_image, say=say)
    names, groups = source.index.names, source.index.groups
    if config.split_by not in SPLIT_CHOICES:
        split = load_split(Path(config.split_by).expanduser(), names, groups, source.name)
        if unnamed := len(names) - _images(split):
            say(f"warning: {unnamed} images are not named in `split_by={config.split_by}` and left out")
    else:
        starts = source.part_starts()
        splits = [_split_part(config, part, say) for part in source.parts]
        split = Split(
            *(
                np.concatenate([getattr(one, side) + start for one, start in zip(splits, starts[:-1], strict=True)])
                for side in SPLIT_NAMES
            )
        )
        if len(source.parts) > 1:
            split = _without_shared_contents(split, groups, say)
    held = Split(*(np.intersect1d(getattr(split, side), usable) for side in SPLIT_NAMES))
    for side in SPLIT_NAMES:
        if not len(getattr(held, side)) and (side == "train" or len(getattr(split, side))):
            raise InputError(
                field="split_by",
                value=config.split_by,
                expected=f"images for {side!r} that hold a crop",
                found="none",
            )
    trained = set(source.part_of(held.train).tolist())
    for number, part in enumerate(source.parts):
        if number not in trained:
            raise InputError(field="dataset", expected=f"images of {part.name} to train on", found="none in the split")
    return held


def _described(source: RecordSource) -> RecordSource:
    """With what is known of its database: the names of its types of distortion, and its licence."""
    found = DATABASES.get(source.name)
    if source.name in (*DEMOS, "kadid10k", "saqt"):
        source.distortions = {distortion.number: distortion.name for distortion in DISTORTIONS}
    elif found:
        source.distortions = dict(enumerate(found.distortions, start=1))
    if found:
        source.licences = (f"{found.title}: {found.origin.licence}",)
    return source


def _images(split: Split) -> int:
    return sum(len(getattr(split, side)) for side in SPLIT_NAMES)


def _without_shared_contents(split: Split, groups: Sequence[str], say: Say) -> Split:
    """Across databases: no image trains whose content is tested or validated in another."""
    declared = [""] * len(groups)
    for side in SPLIT_NAMES:
        for position in getattr(split, side):
            declared[position] = side
    kept = np.asarray([position for position, side in enumerate(declared) if side])
    sides, contents = ([values[position] for position in kept] for values in (declared, groups))
    found = split_as_declared(sides, contents, validation_fraction=0, seed=0, leave_out=True, needed=())
    left = Split(*(kept[getattr(found, side)] for side in SPLIT_NAMES))
    if left_out := _images(split) - _images(left):
        say(f"warning: {left_out} images show what is tested or validated in another database: they are left out")
    return left


def _split_part(config: Splitting, part: Source, say: Say) -> Split:
    index = part.index
    published = any(index.splits)
    if config.split_by == "published" and not published:
        raise InputError(
            f"{part.name} comes without a split", field="split_by", value="published", hint="'drawn' draws one"
        )
    if published and config.split_by not in ("drawn", "all") and not config.split_round:
        split = split_as_declared(
            index.splits,
            index.groups,
            validation_fraction=config.validation_fraction,
            seed=config.split_seed,
            leave_out=part.name in DATABASES or part.merges_near_duplicates,
        )
        if left_out := len(part) - _images(split):
            say(
                f"warning: {left_out} images of {part.name}'s published split show what is tested, or validated, "
                "elsewhere in it: they are left out"
            )
        return split
    return split_by_group(
        index.groups,
        validation_fraction=config.validation_fraction,
        test_fraction=0 if config.split_by == "all" else config.test_fraction,
        seed=released_seed(config.split_round) if config.split_round else config.split_seed,
    )


def _check_prepared_so(config: DataConfig, part: Source) -> None:
    """Refuse settings about the writing of records that were written in another way."""
    for field, given, found in (
        ("max_side", config.max_side or None, part.max_side),
        ("merge_near_duplicates", config.merge_near_duplicates, part.merges_near_duplicates),
    ):
        if given is not None and given != found:
            raise InputError(
                f"{part.name} was prepared with {found}",
                field=field,
                value=given,
                hint="prepare_dataset with `overwrite` prepares it anew",
            )
