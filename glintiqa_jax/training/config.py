"""The one configuration of an experiment. Its fields are the flags, its JSON travels with every checkpoint."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from typing import Any

import numpy as np

from glintiqa_jax import settings
from glintiqa_jax.data.images import BAD_IMAGE_POLICIES
from glintiqa_jax.datasets.config import DataConfig
from glintiqa_jax.errors import UserError
from glintiqa_jax.models.glintiqa import VARIANTS, GlintIQAConfig
from glintiqa_jax.training.losses import LOSSES, find

TARGETS = ("quality", "raw")
SELECTIONS = ("validation", "test_best")
OPTIMISERS = ("adamw", "adam_l2")
COMPUTE_DTYPES = ("float32", "bfloat16")
SCHEDULES = ("warmup_cosine", "released_cosine")
_LARGEST = 2**31 - 1  # of whole numbers: steps are counted, and random numbers seeded, in 32 bits
_TINY, _HUGE = float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max)


def _field(default: Any, help_text: str, choices: tuple[str, ...] | None = None) -> Any:
    return dataclasses.field(default=default, metadata={"help": help_text, "choices": choices})


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """A training run: data, network, optimisation, evaluation."""

    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    variant: str = _field("glintiqa_s16_r50", "a row of the variant table", tuple(VARIANTS))
    model: GlintIQAConfig = dataclasses.field(default_factory=GlintIQAConfig)

    backbone_weights: tuple[str, ...] = _field(
        (),
        "where training starts from, comma-separated: 'timm' (downloaded), 'package' (installed with the extra "
        "'pretrained') or files of weights, each recognised by its keys; none: from scratch",
    )

    max_short_side: int = _field(0, "shrink images whose shorter side is longer than this, in pixels; 0: never")
    target: str = _field("quality", "train on quality in [0, 1], or on the 'raw' score as released", TARGETS)
    on_bad_image: str = _field(
        "fail",
        "an image that is missing, does not decode or is smaller than the crop stops the run or is left out",
        BAD_IMAGE_POLICIES,
    )
    cache_megabytes: int = _field(1500, "keep decoded images in memory when all of them fit into this")

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
            "max_short_side",
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
            self.target == "quality" or len(self.data.datasets) == 1,
            f"--target=raw: several databases have no unit in common, found --dataset={self.data.dataset}",
        )
        _require(
            self.target == "quality" or not find(self.loss).on_quality,
            f"--loss={self.loss}: is measured on quality in [0, 1], found --target={self.target}",
        )
        _require(
            self.batch_size // self.accumulate > 1 or not find(self.loss).whole_batch,
            f"--accumulate: --loss={self.loss} is over several crops of a part, found parts of one",
        )
        _require(0.0 <= self.ema_decay < 1.0, f"--ema_decay: expected a share below 1, found {self.ema_decay}")
        _ = self.rate_factors  # refuses what is none
        _require(
            self.selection != "test_best" or self.data.split.split_by != "all",
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
    return json.loads(json.dumps(dataclasses.asdict(config)))


def from_json(content: dict[str, Any]) -> TrainConfig:
    """The configuration that ``to_json`` wrote.

    Raises:
      UserError: for fields that this version does not know.
    """
    return _from_dict(TrainConfig, content)


def differences(ours: TrainConfig, theirs: TrainConfig) -> list[str]:
    """One ``field: ours, theirs`` for each field in which two configurations differ."""
    left, right = _flat(to_json(ours)), _flat(to_json(theirs))
    return [f"{name}: {left[name]!r} here, {right[name]!r} there" for name in left if left[name] != right[name]]


def _from_dict(kind: type, content: dict[str, Any]) -> Any:
    fields = {field.name: field for field in dataclasses.fields(kind)}
    if unknown := sorted(set(content) - set(fields)):
        raise UserError(f"the configuration has fields that this version does not know: {', '.join(unknown)}")
    values: dict[str, Any] = {}
    for name, value in content.items():
        if kind is TrainConfig and name == "data":
            values[name] = settings.from_json(DataConfig, value)
        elif kind is TrainConfig and name == "model":
            values[name] = _from_dict(GlintIQAConfig, value)
        else:
            values[name] = tuple(value) if isinstance(value, list) else value
    return kind(**values)


def _flat(content: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in content.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
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
