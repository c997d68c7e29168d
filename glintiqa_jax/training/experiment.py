"""What is trained, and where it runs: the two configurations of a training.

``Experiment`` is everything that figures depend on beyond their last digits, and identifies a run. ``Execution`` is the
rest: a run continues under another value of it. Every setting's name is a flag of the commands.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from glintiqa_jax import settings
from glintiqa_jax.data.loading import Loading
from glintiqa_jax.data.transforms import TRANSFORMS
from glintiqa_jax.errors import InputError
from glintiqa_jax.evaluation.metrics import METRICS
from glintiqa_jax.models.config import ModelConfig
from glintiqa_jax.settings import group, setting
from glintiqa_jax.training import losses
from glintiqa_jax.training.losses import LOSSES

TARGETS = ("quality", "raw")
SELECTIONS = ("validation", "test_best")
OPTIMISERS = ("adamw", "adam_l2")
COMPUTE_DTYPES = ("float32", "bfloat16")
SCHEDULES = ("warmup_cosine", "released_cosine")
_LEVELS, _SMALLEST_DISTORTED = 5, 32  # of KADID-10k's distortions, and the side in pixels that they need
_LARGEST = 2**31 - 1  # of integers: steps are counted, and random numbers seeded, in 32 bits
_TINY, _HUGE = float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max)


def check_numbers(config: Any) -> None:
    """``InputError`` for a configuration's own setting that 32 bits cannot hold."""
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, float):
                fits = number == 0 or _TINY <= abs(number) <= _HUGE  # not so for NaN
                expected = f"a number from {_TINY:.2g} to {_HUGE:.2g} in size, or 0"
            else:
                fits = not isinstance(number, int) or abs(number) <= _LARGEST
                expected = f"a whole number up to {_LARGEST}"
            if not fits:
                raise InputError(field=field.name, expected=expected, found=number)


def _at_least(config: Any, least: int, *names: str) -> None:
    for name in names:
        if getattr(config, name) < least:
            raise InputError(field=name, expected=f"{least} or more", found=getattr(config, name))


def _compiled(field: str, pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise InputError(field=field, expected="a regular expression", found=f"{pattern!r} ({error})") from error


@dataclasses.dataclass(frozen=True)
class Start:
    """Where training starts."""

    init: tuple[str, ...] = setting(
        (),
        "where training starts from, comma-separated: 'pretrained' (the model that ships), a model's or a run's "
        "folder, or for its backbones 'package' (installed with the extra 'pretrained'), 'timm' (downloaded) or files "
        "of weights, each recognised by its keys; none: from scratch",
    )
    frozen: tuple[str, ...] = setting(
        (),
        "regular expressions, comma-separated: parameters and statistics whose dotted names match stay as they start, "
        r"as in ^vgfe\.(patch_embed|blocks\.[0-4])\.; a batch normalisation whose mean is frozen uses its running "
        "statistics",
        effect="shape",
    )
    seed: int = setting(0, "seed of the parameters, the crops and the dropout")

    def __post_init__(self) -> None:
        check_numbers(self)
        _at_least(self, 0, "seed")
        for pattern in self.frozen:
            _compiled("frozen", pattern)


@dataclasses.dataclass(frozen=True)
class Images:
    """How images become batches."""

    max_short_side: int = setting(0, "shrink images whose shorter side is longer than this, in pixels; 0: never")
    batch_size: int = setting(32, "crops per step, over all devices")
    crops_per_image: int = setting(1, "crops of an image each time it comes up, side by side in a batch")
    vertical_flips: bool = setting(True, "flip crops upside down, too, as released")
    transforms: tuple[str, ...] = setting(
        (), "what is done to images before they are cropped, in this order, comma-separated", choices=TRANSFORMS
    )
    ranked_levels: int = setting(
        0,
        "add this many levels (up to 5) of one of KADID-10k's distortions after a crop; they count in the batch, have "
        "no score, and are trained to rank lower and lower",
    )
    ranked_every: int = setting(1, "apply `ranked_levels` to one image in this many")
    accumulate: int = setting(
        1, "take a batch in this many parts, one after another, and their mean gradient: large batches in little memory"
    )

    def __post_init__(self) -> None:
        settings.check_choices(self)
        check_numbers(self)
        _at_least(self, 0, "max_short_side", "ranked_levels")
        _at_least(self, 1, "batch_size", "crops_per_image", "accumulate", "ranked_every")
        if self.ranked_levels > _LEVELS:
            raise InputError(field="ranked_levels", expected=f"up to {_LEVELS}", found=self.ranked_levels)
        if self.ranked_every > 1 and not self.ranked_levels:
            raise InputError(field="ranked_every", expected="1 without `ranked_levels`", found=self.ranked_every)
        if self.ranked_levels and self.batch_size % self.rows_per_group:
            images = "an image" if self.ranked_every == 1 else f"{self.ranked_every} images"
            expected = f"a multiple of {self.rows_per_group}, the crops of {images} with `ranked_levels`"
            raise InputError(field="batch_size", expected=expected, found=self.batch_size)
        batch = f"the batch of {self.batch_size}"
        if self.batch_size % self.crops_per_image:
            raise InputError(field="crops_per_image", expected=f"a divisor of {batch}", found=self.crops_per_image)
        if (groups := self.batch_size // self.rows_together) % self.accumulate:
            if self.ranked_levels:
                batch = f"{groups}, the groups of {self.rows_together} crops in {batch}"
            raise InputError(field="accumulate", expected=f"a divisor of {batch}", found=self.accumulate)
        if len(set(self.transforms)) < len(self.transforms):
            raise InputError(field="transforms", expected="each at most once", found=",".join(self.transforms))

    @property
    def rows_per_group(self) -> int:
        """Rows of a batch that ``ranked_every`` images give: the first one's crops with levels, the others' without."""
        return self.crops_per_image * (self.ranked_every + self.ranked_levels)

    @property
    def rows_together(self) -> int:
        """Rows of a batch that no part of it takes without the others: a group's where levels are ranked."""
        return self.rows_per_group if self.ranked_levels else 1

    @property
    def scored_rows(self) -> int:
        """Rows of a batch that have a score of their own."""
        return self.batch_size // self.rows_per_group * self.crops_per_image * self.ranked_every


@dataclasses.dataclass(frozen=True)
class Objective:
    """What is minimised."""

    loss: str | Callable = setting(
        "l1",
        "'l1' as released, 'smooth_l1', or L1 beside a loss that ranks the batch: PLCC's, norm-in-norm, fidelity; in "
        "Python also a function of predictions and targets",
        choices=LOSSES,
    )
    ranking_weight: float = setting(0.2, "of the term that ranks levels, beside the loss, with `ranked_levels`")
    target: str = setting("quality", "train on quality in [0, 1], or on the 'raw' score as released", choices=TARGETS)
    compute_dtype: str = setting(
        "float32",
        "what training multiplies matrices in; parameters, norms, the head and all prediction are float32",
        choices=COMPUTE_DTYPES,
    )

    def __post_init__(self) -> None:
        settings.check_choices(self)
        check_numbers(self)
        _at_least(self, 0, "ranking_weight")
        if self.target != "quality" and self.row.on_quality:
            raise InputError(
                field="loss", value=self.loss, expected="`target='quality'`, on which it is measured", found=self.target
            )

    @property
    def loss_name(self) -> str:
        """What the loss is called."""
        return self.loss if isinstance(self.loss, str) else getattr(self.loss, "__name__", type(self.loss).__name__)

    @property
    def row(self) -> losses.Loss:
        """The loss and what is to be known of it."""
        return losses.find(self.loss)


@dataclasses.dataclass(frozen=True)
class Optimiser:
    """How parameters move."""

    optimizer: str = setting(
        "adamw", "'adamw', or 'adam_l2': the released Adam with L2 in the gradient", effect="shape", choices=OPTIMISERS
    )
    learning_rate: float = setting(3e-4, "peak learning rate")
    rates: tuple[str, ...] = setting(
        (),
        "PATTERN=FACTOR, comma-separated: the learning rate times a factor for parameters in whose dotted names a "
        r"regular expression is found; the first match counts: ^clfe=3,siem\.conv=0.1",
    )
    weight_decay: float = setting(0.05, "weight decay")
    clip_norm: float = setting(0.0, "gradients of a larger global norm are scaled down to it; 0: never")
    ema_decay: float = setting(
        0.0,
        "predict with a moving average of the parameters, of which a step keeps this share, the first ones less; "
        "0: with the last",
        effect="shape",
    )

    def __post_init__(self) -> None:
        settings.check_choices(self)
        check_numbers(self)
        _at_least(self, 0, "weight_decay", "clip_norm")
        if not (self.learning_rate > 0 and math.isfinite(self.learning_rate)):
            raise InputError(field="learning_rate", expected="a positive number", found=self.learning_rate)
        if not 0.0 <= self.ema_decay < 1.0:
            raise InputError(field="ema_decay", expected="a share below 1", found=self.ema_decay)
        _ = self.rate_factors  # refuses malformed ones

    @property
    def rate_factors(self) -> list[tuple[re.Pattern[str], float]]:
        """The patterns and factors in ``rates``; ``InputError`` for a malformed one."""
        parsed = []
        for text in self.rates:
            pattern, equals, factor_text = text.rpartition("=")
            try:
                factor = float(factor_text)
            except ValueError:
                factor = math.nan
            if not (equals and factor >= 0 and math.isfinite(factor)):
                raise InputError(field="rates", expected="PATTERN=FACTOR, a factor of 0 or more", found=repr(text))
            parsed.append((_compiled("rates", pattern), factor))
        return parsed


@dataclasses.dataclass(frozen=True)
class Timing:
    """How long it takes, and the learning rate on the way."""

    steps: int = setting(10_000, "optimiser steps of the whole run; the schedule ends there")
    schedule: str = setting(
        "warmup_cosine",
        "'warmup_cosine' to 0 over the run, or 'released_cosine': up and down again",
        choices=SCHEDULES,
    )
    warmup_steps: int = setting(100, "warmup_cosine: steps from 0 to the peak")
    cosine_period: int = setting(30, "released_cosine: steps from the peak to 0, and from 0 to the peak")

    def __post_init__(self) -> None:
        settings.check_choices(self)
        check_numbers(self)
        _at_least(self, 1, "steps", "cosine_period")
        _at_least(self, 0, "warmup_steps")
        if self.schedule == "warmup_cosine" and self.warmup_steps >= self.steps:
            raise InputError(
                field="warmup_steps", expected=f"fewer than the {self.steps} steps of the run", found=self.warmup_steps
            )


@dataclasses.dataclass(frozen=True)
class Validation:
    """How the run is evaluated on its way, and which step is kept."""

    eval_every: int = setting(500, "steps between two evaluations on the validation split, each with a checkpoint")
    selection: str = setting(
        "validation",
        "which step is kept: the best on 'validation', or as released the best on the test split itself, 'test_best', "
        "whose figures flatter and are labelled so; `validation_fraction=0` beside it trains on what would validate",
        choices=SELECTIONS,
    )
    selection_metric: str = setting("srocc", "the figure by which the best step is kept", choices=METRICS)
    eval_grid: int = setting(5, "evaluation takes a fixed grid of this many by this many crops per image")
    eval_random_crops: int = setting(
        0, "evaluation takes this many crops at random per image instead, always the same; 25 as released; 0: the grid"
    )
    eval_sizes: tuple[int, ...] = setting(
        (),
        "shorter sides, in pixels, comma-separated: evaluation also takes as many crops each of the image shrunk to "
        "them, and a score is the mean over all",
    )

    def __post_init__(self) -> None:
        settings.check_choices(self)
        check_numbers(self)
        _at_least(self, 1, "eval_every", "eval_grid")
        _at_least(self, 0, "eval_random_crops")

    @property
    def watched(self) -> str:
        """The part of the split that says which step is kept."""
        return "test" if self.selection == "test_best" else "validation"


@dataclasses.dataclass(frozen=True)
class Experiment:
    """What is trained. Equal experiments on equal data give equal figures.

    ``settings.replace(experiment, learning_rate=1e-3)`` gives another one, by the names of settings in any group.
    """

    model: ModelConfig = group(ModelConfig())
    start: Start = group(Start())
    images: Images = group(Images())
    objective: Objective = group(Objective())
    optimiser: Optimiser = group(Optimiser())
    timing: Timing = group(Timing())
    validation: Validation = group(Validation())

    def __post_init__(self) -> None:
        images = self.images
        self._check_eval_sizes()
        if images.ranked_levels and self.model.crop_size < _SMALLEST_DISTORTED:
            expected = f"{_SMALLEST_DISTORTED} or more, which distortions need, with `ranked_levels`"
            raise InputError(field="crop_size", expected=expected, found=self.model.crop_size)
        if images.ranked_levels and self.objective.target != "quality":
            expected = "'quality' with `ranked_levels`, whose steps are measured on it"
            raise InputError(field="target", expected=expected, found=self.objective.target)
        if self.objective.row.whole_batch and images.scored_rows // images.accumulate < 2:
            raise InputError(
                field="accumulate",
                expected=f"several crops in a part, over which `loss={self.objective.loss}` is",
                found="parts of one",
            )

    def _check_eval_sizes(self) -> None:
        sizes, largest = self.validation.eval_sizes, self.images.max_short_side
        if sizes and self.validation.eval_random_crops:
            raise InputError(field="eval_sizes", expected="none with `eval_random_crops`", found=sizes)
        if len(set(sizes)) < len(sizes):
            raise InputError(field="eval_sizes", expected="each at most once", found=sizes)
        for size in sizes:
            if size < self.model.crop_size or 0 < largest <= size:
                below = f" and below `max_short_side={largest}`" if largest else ""
                expected = f"sides of {self.model.crop_size}, a crop's, or more{below}"
                raise InputError(field="eval_sizes", expected=expected, found=size)


@dataclasses.dataclass(frozen=True)
class Devices:
    """The mesh that a run is spread over."""

    mesh_data: int = setting(0, "devices along the mesh's data axis; 0: all that mesh_fsdp leaves", effect="rounding")
    mesh_fsdp: int = setting(
        1, "devices along the mesh's fsdp axis, over which large parameters are sharded", effect="rounding"
    )
    step_timeout: float = setting(
        120.0,
        "seconds after which several processes end where a step, a batch of an evaluation or a save does not; 0: never",
        effect="nothing",
    )

    def __post_init__(self) -> None:
        check_numbers(self)
        _at_least(self, 0, "mesh_data", "step_timeout")
        _at_least(self, 1, "mesh_fsdp")


@dataclasses.dataclass(frozen=True)
class Saving:
    """When checkpoints are written beside those of evaluations, and where."""

    save_minutes: float = setting(
        5.0, "minutes after which a checkpoint is saved between evaluations; 0: none by time", effect="nothing"
    )
    save_every: int = setting(
        0, "steps after which a checkpoint is saved between evaluations; 0: none by steps", effect="nothing"
    )
    checkpoint_dir: str = setting(
        "", "folder for checkpoints that all processes see, or gs://...; none: in the run's own", effect="nothing"
    )

    def __post_init__(self) -> None:
        check_numbers(self)
        _at_least(self, 0, "save_minutes", "save_every")


@dataclasses.dataclass(frozen=True)
class Execution:
    """Where and how an experiment runs. Another one changes no figure but for its last digits."""

    devices: Devices = group(Devices())
    loading: Loading = group(Loading())
    saving: Saving = group(Saving())
    eval_batch_size: int = setting(
        16, "images per evaluation batch at most, over all devices; CPUs take fewer of large crops", effect="rounding"
    )
    remat: bool = setting(
        False,
        "compute what lies inside blocks again for the gradient, rather than keep it in memory",
        effect="rounding",
    )
    profile_steps: int = setting(
        0, "record this many of the first steps with JAX's profiler, into the run's profile/; 0: none", effect="nothing"
    )
    max_steps: int = setting(0, "end at this step, evaluation and results included; 0: at the last", effect="nothing")
    allow_config_change: bool = setting(
        False, "continue a run that was begun with another experiment", effect="nothing"
    )

    def __post_init__(self) -> None:
        check_numbers(self)
        _at_least(self, 1, "eval_batch_size")
        _at_least(self, 0, "max_steps", "profile_steps")

    def last_step(self, experiment: Experiment) -> int:
        """The step at which a run of an experiment ends."""
        steps = experiment.timing.steps
        return min(steps, self.max_steps or steps)
