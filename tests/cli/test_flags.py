"""Settings as flags, on configurations of every shape, and on the ones that there are."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import pytest
from absl import flags

from glintiqa_jax import settings
from glintiqa_jax.cli.flags import Flags, data_config, define_experiment, define_settings, execution_of, experiment_of
from glintiqa_jax.datasets.config import DataConfig, OwnImages, Splitting
from glintiqa_jax.errors import InputError
from glintiqa_jax.models.config import VARIANTS
from glintiqa_jax.options import configured, options
from glintiqa_jax.settings import check_choices, group, setting
from glintiqa_jax.training.experiment import Execution, Experiment


@dataclasses.dataclass(frozen=True)
class Round:
    """A round branch."""

    kind: ClassVar[str] = "round"
    radius: int = setting(3, "its size")


@dataclasses.dataclass(frozen=True)
class Square:
    """A square branch."""

    kind: ClassVar[str] = "square"
    sides: tuple[int, ...] = setting((1, 2), "its sizes")


@dataclasses.dataclass(frozen=True)
class Tokens:
    """A branch of tokens."""

    heads: int = setting(6, "of attention")


SHAPES: Mapping[str, type] = {"round": Round, "square": Square}


@dataclasses.dataclass(frozen=True)
class Network:
    crop_size: int = setting(224, "side of a crop", effect="shape")
    tokens: Tokens | None = group(Tokens())
    shape: Round | Square | None = group(Round(), kinds=SHAPES)


@dataclasses.dataclass(frozen=True)
class Optimiser:
    learning_rate: float = setting(1e-3, "peak; not with `crop_size=1`")
    name: str = setting("adamw", "which", choices=("adamw", "adam_l2"))
    patterns: tuple[str, ...] = setting((), "which parameters", effect="rounding")

    def __post_init__(self) -> None:
        check_choices(self)


@dataclasses.dataclass(frozen=True)
class Whole:
    model: Network = group(Network())
    optimiser: Optimiser = group(Optimiser())
    workers: int = setting(0, "processes", effect="nothing")
    merge: bool | None = setting(None, "near-duplicates")
    flips: bool = setting(True, "upside down")


def parse(*arguments: str) -> Whole:
    values = Flags()
    define_settings(Whole, values, "whole")
    values(["", *arguments])
    return configured(Whole(), values.given(options(Whole)))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], Whole()),
        (["--workers=2", "--noflips", "--merge"], Whole(workers=2, flips=False, merge=True)),
        (["--learning_rate=0.5"], Whole(optimiser=Optimiser(learning_rate=0.5))),
        (["--name=adam_l2", "--patterns=^a,b$"], Whole(optimiser=Optimiser(name="adam_l2", patterns=("^a", "b$")))),
        (["--patterns="], Whole()),
        (["--model_crop_size=64"], Whole(model=Network(crop_size=64))),
        (["--model_heads=2", "--model_radius=9"], Whole(model=Network(tokens=Tokens(2), shape=Round(9)))),
        (["--nomodel_tokens", "--model_shape=none"], Whole(model=Network(tokens=None, shape=None))),
        (["--model_shape=square", "--model_sides=4"], Whole(model=Network(shape=Square((4,))))),
        (["--model_shape=round", "--model_tokens"], Whole()),
    ],
)
def test_flags_become_a_configuration(arguments, expected):
    assert parse(*arguments) == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--workers=two"], "flag --workers=two: expected a whole number, found 'two'"),
        (["--model_sides=1,b"], "flag --model_sides=1,b: expected comma-separated whole numbers, found '1,b'"),
        (["--name=sgd"], "--name: expected one of adamw, adam_l2, found 'sgd'"),
        (["--model_shape=flat"], "--model_shape: expected one of round, square, none, found 'flat'"),
        (["--model_sides=1"], "--model_sides=(1,): nothing that is chosen has it"),
        (["--nomodel_tokens", "--model_heads=2"], "--model_heads=2: nothing that is chosen has it"),
        (["--wrokers=2"], "Unknown command line flag 'wrokers'. Did you mean: workers ?"),
    ],
)
def test_what_is_refused_is_called_by_its_flag(arguments, message):
    values = Flags()
    define_settings(Whole, values, "whole")
    with pytest.raises((flags.Error, InputError)) as refused:
        parse(*arguments)
    error = refused.value
    assert (error.text(values.called) if isinstance(error, InputError) else str(error)) == message


def test_fields_are_called_by_the_longest_ending_that_is_a_flag():
    values = Flags()
    define_settings(Whole, values, "whole")
    for field, name in [
        ("workers", "--workers"),
        ("optimiser.learning_rate", "--learning_rate"),
        ("model.crop_size", "--model_crop_size"),
        ("crop_size", "--model_crop_size"),
        ("model.shape.radius", "--model_radius"),
        ("photograph", "photograph"),
    ]:
        assert values.called(field) == name


def test_help_says_the_effect_and_names_flags():
    values = Flags()
    define_settings(Whole, values, "whole")
    assert values["workers"].help == "processes; changes no figure"
    assert values["patterns"].help == "which parameters; changes figures by rounding"
    assert values["learning_rate"].help == "peak; not with --model_crop_size=1"
    assert values["model_crop_size"].help == "side of a crop (default: the variant's)"
    assert values["model_shape"].help.startswith("round: A round branch; square: A square branch")
    assert list(values.flags_by_module_dict()) == ["model", "optimiser", "whole"]


def read(*arguments: str) -> tuple[DataConfig, Experiment, Execution]:
    """The flags of ``train`` as its configurations; a refusal as a command tells it."""
    values = Flags()
    define_experiment(values)
    try:
        values(["", *arguments])
        return data_config(values), experiment_of(values), execution_of(values)
    except InputError as error:
        raise InputError(error.text(values.called)) from error


def test_flags_are_the_settings_of_an_experiment_its_data_and_where_it_runs():
    assert read("--variant=glintiqa_s16_r50") == read() == (DataConfig(), Experiment(), Execution())
    data, experiment, execution = read(
        *("--dataset=csv", "--images=a", "--scores=b", "--score_range=1,5", "--split_seed=3", "--on_bad_image=skip"),
        *("--variant=glintiqa_tiny", "--model_cnn=none", "--learning_rate=0.5", "--max_short_side=99", "--mesh_fsdp=2"),
    )
    own = OwnImages(images="a", scores="b", score_range=(1.0, 5.0))
    assert data == DataConfig(dataset="csv", own=own, split=Splitting(split_seed=3))
    asked: dict[str, Any] = {"learning_rate": 0.5, "max_short_side": 99}
    tiny = settings.replace(VARIANTS["glintiqa_tiny"], cnn=None)
    assert experiment == settings.replace(Experiment(model=tiny), **asked)
    assert execution == settings.replace(Execution(), on_bad_image="skip", mesh_fsdp=2)
    for config in (data, experiment, execution):
        assert settings.from_json(type(config), settings.to_json(config)) == config


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--model_crop_size=100"],
            "--model_crop_size: expected a positive multiple of --model_patch_size=16, found 100",
        ),
        (["--dataset=csv", "--scores=x"], "--images: needed with --dataset=csv"),
        (["--dataset=csv", "--images=x"], "--scores: needed with --dataset=csv"),
        (["--score_range=1"], "--score_range: expected lowest,highest"),
        (["--batch_size=0"], "--batch_size: expected 1 or more, found 0"),
        (["--learning_rate=-1"], "--learning_rate: expected a positive number"),
        (["--validation_fraction=1"], "--validation_fraction: expected a share from 0 to below 1, found 1"),
        (["--validation_fraction=0.6", "--test_fraction=0.4"], "--validation_fraction: expected together with --test_"),
        (["--steps=50"], "--warmup_steps: expected fewer than the 50 steps"),
        (["--save_minutes=-1"], "--save_minutes: expected 0 or more, found -1"),
        (["--loss=l7"], "--loss: expected one of l1"),
        (["--transforms=quarter_turns,l7"], "--transforms: expected one of quarter_turns, random_sizes, found 'l7'"),
        (["--transforms=quarter_turns,quarter_turns"], "--transforms: expected each at most once"),
        (["--eval_sizes=100"], "--eval_sizes: expected sides of 224, a crop's, or more, found 100"),
        (
            ["--eval_sizes=300", "--max_short_side=256"],
            "--eval_sizes: expected .* and below --max_short_side=256, found",
        ),
        (["--eval_sizes=256,256"], "--eval_sizes: expected each at most once"),
        (["--eval_sizes=256", "--eval_random_crops=25"], "--eval_sizes: expected none with --eval_random_crops"),
        (["--seed=4294967296"], "--seed: expected a whole number up to 2147483647, found 4294967296"),
        (["--clip_norm=1e-320"], r"--clip_norm: expected a number from 1.2e-38 to 3.4e\+38 in size, or 0, found"),
        *[
            ([f"--dataset=koniq10k:{weight},kadid10k:1"], f"expected a weight from 0.0001 to 10000 .* found '{weight}'")
            for weight in ("1e-320", "1e400", "nan", "-1", "0", "1e9")
        ],
    ],
)
def test_impossible_values_are_refused_by_flag(arguments, message):
    with pytest.raises(InputError, match=message):
        read(*arguments)


def test_no_number_is_a_traceback():
    """Of any setting that is one: a configuration, or one error that names the flag."""
    numbers = [
        option.name
        for config in (DataConfig, Experiment, Execution)
        for option in options(config).values()
        if option.kind in (int, float)
    ]
    assert len(numbers) > 35
    said = []
    for flag in numbers:
        for number in ("-0", "-1", "2147483648", "1e39", "1e-45", "1e400", "nan", "-inf"):
            try:
                read(f"--{flag}={number}")
            except (InputError, flags.Error) as error:
                said.append(str(error))
    assert all("--" in line for line in said), [line for line in said if "--" not in line]
    assert len(said) > 5 * len(numbers)
