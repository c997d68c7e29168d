"""The data's part of a configuration: which rated images, how they are read and how they are split."""

from __future__ import annotations

import dataclasses
import math

from glintiqa_jax.data.databases import DATABASES
from glintiqa_jax.data.own import Columns
from glintiqa_jax.data.paths import check_path, is_remote
from glintiqa_jax.data.scale import opinion_scale
from glintiqa_jax.errors import InputError
from glintiqa_jax.settings import changes, group, setting

OWN = "csv"
DEMOS = ("demo", "demo_photographs")  # the second without the scenes of the first
SPLIT_CHOICES = ("auto", "published", "drawn", "all")
_WEIGHTS = 1e4  # a mixture's database that has one crop in so many is as good as left out


def dataset_names() -> tuple[str, ...]:
    """What `dataset` may name."""
    return (*DEMOS, OWN, *DATABASES)


@dataclasses.dataclass(frozen=True)
class OwnImages:
    """The user's own images: a folder and a table of scores."""

    images: str = setting("", "csv: folder of the images")
    scores: str = setting("", "csv: CSV file with one row per image")
    columns: Columns = group(Columns())
    score_range: tuple[float, ...] = setting((), "csv: lowest,highest possible score; none: as found in the scores")
    lower_is_better: bool = setting(False, "csv: the scores are DMOS-like")

    def __post_init__(self) -> None:
        for name in ("images", "scores"):
            check_path(name, getattr(self, name))
        if self.score_range:
            opinion_scale(self.score_range, self.lower_is_better)


@dataclasses.dataclass(frozen=True)
class Splitting:
    """Which images train, validate and test."""

    split_by: str = setting(
        "auto",
        "'published', 'drawn' by content group, 'auto': published where it is, 'all': trains on all but what validates "
        "and tests nothing, or a split.json of another run",
    )
    validation_fraction: float = setting(
        0.1, "share of the content groups held out for validation, where none is declared; 0: none is"
    )
    test_fraction: float = setting(0.2, "share of the content groups held out for the test, where none is declared")
    split_seed: int = setting(0, "seed of the drawn splits")
    split_round: int = setting(0, "draw the split by the seed of this released round, 12345 * round; 0: no")

    def __post_init__(self) -> None:
        check_path("split_by", self.split_by)
        for name in ("split_seed", "split_round"):
            if not 0 <= getattr(self, name) < 2**31:
                raise InputError(field=name, expected="0 or more, in 32 bits", found=getattr(self, name))
        if not 0.0 <= self.validation_fraction < 1.0:
            raise InputError(
                field="validation_fraction", expected="a share from 0 to below 1", found=self.validation_fraction
            )
        if not 0.0 < self.test_fraction < 1.0:
            raise InputError(field="test_fraction", expected="a share between 0 and 1", found=self.test_fraction)
        if self.validation_fraction + self.test_fraction >= 1.0:
            raise InputError(
                field="validation_fraction",
                expected="together with `test_fraction` less than 1, so that something is left to train on",
                found=f"{self.validation_fraction} and {self.test_fraction}",
            )
        if self.split_round and self.split_by != "auto":
            raise InputError(
                "draws the split", field="split_round", found=None, hint=f"leave out `split_by='{self.split_by}'`"
            )


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """Which rated images, and how they are read."""

    dataset: str = setting(
        "demo",
        "what to train on: 'demo' and 'demo_photographs' need nothing, 'csv' is your own folder, and a database's "
        "name is one that prepare_dataset has prepared; several are mixed by weight: koniq10k:2,kadid10k:1",
    )
    data_dir: str = setting(
        "~/.cache/glintiqa_jax", "where prepared records are kept and found again", effect="nothing"
    )
    data_cache_dir: str = setting(
        "",
        "copy prepared records to this folder first and read them there; needed with `data_dir='gs://...'`",
        effect="nothing",
    )
    own: OwnImages = group(OwnImages())
    split: Splitting = group(Splitting())
    max_side: int = setting(0, "when records are written: shrink images whose longer side is longer; 0: never")
    merge_near_duplicates: bool | None = setting(
        None, "when records are written: images that show nearly the same share a group (default: the database's)"
    )

    def __post_init__(self) -> None:
        check_path("data_cache_dir", self.data_cache_dir)
        check_path("data_dir", self.data_dir, stores=True)
        if self.max_side < 0:
            raise InputError(field="max_side", expected="0 or more", found=self.max_side)
        names = [name for name, _ in self.datasets]
        given = f"`dataset='{self.dataset}'`"
        if OWN in names:
            for name in ("images", "scores"):
                if not getattr(self.own, name):
                    raise InputError(f"needed with {given}, found nothing", field=name)
            if self.split.split_by == "published" and not self.own.columns.split_column:
                raise InputError(
                    f"{OWN} comes without a split unless `split_column` names one", field="split_by", value="published"
                )
        elif others := changes(self.own, OwnImages()):
            name = others[0].name.rpartition(".")[2]
            raise InputError(f"needs `dataset='{OWN}'`, found {given}", field=name)
        if {OWN, *DEMOS} & set(names) and (self.data_cache_dir or is_remote(self.data_dir)):
            raise InputError(
                f"{self.dataset} is prepared on this machine, where it is read",
                field="data_cache_dir" if self.data_cache_dir else "data_dir",
                value=self.data_cache_dir or self.data_dir,
            )
        if is_remote(self.data_dir) and not self.data_cache_dir:
            raise InputError(
                f"needed with `data_dir='{self.data_dir}'`, as records of object stores are copied first",
                field="data_cache_dir",
            )

    @property
    def datasets(self) -> list[tuple[str, float]]:
        """The names and weights in ``dataset``; ``InputError`` for an unknown or repeated name or a bad weight."""
        parsed: list[tuple[str, float]] = []
        for part in self.dataset.split(","):
            name, colon, weight_text = part.strip().partition(":")
            if name not in dataset_names():
                raise InputError(field="dataset", expected=f"one of {', '.join(dataset_names())}", found=repr(name))
            if name in dict(parsed):
                raise InputError(field="dataset", expected="each database once", found=f"{name} twice")
            try:
                weight = float(weight_text) if colon else 1.0
            except ValueError:
                weight = math.nan
            if not 1 / _WEIGHTS <= weight <= _WEIGHTS:
                raise InputError(
                    field="dataset",
                    expected=f"a weight from {1 / _WEIGHTS:g} to {_WEIGHTS:g} after {name}:",
                    found=repr(weight_text),
                )
            parsed.append((name, weight))
        return parsed
