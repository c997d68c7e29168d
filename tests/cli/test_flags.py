"""Settings as flags, on configurations of every shape: nested groups, absent ones, groups of several kinds."""

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

import pytest
from absl import flags

from glintiqa_jax.cli.flags import Flags, define_settings
from glintiqa_jax.errors import InputError
from glintiqa_jax.options import configured, options
from glintiqa_jax.settings import check_choices, group, setting


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
