"""Configurations: one field says all that hashes, comparisons and files need."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import pytest

from glintiqa_jax import settings
from glintiqa_jax.datasets.config import DataConfig
from glintiqa_jax.errors import InputError
from glintiqa_jax.settings import group, setting
from glintiqa_jax.training.experiment import Execution, Experiment


@dataclasses.dataclass(frozen=True)
class Round:
    kind: ClassVar[str] = "round"
    radius: float = setting(1.0, "its radius", effect="shape")


@dataclasses.dataclass(frozen=True)
class Square:
    kind: ClassVar[str] = "square"
    side: int = setting(2, "its side", effect="shape")


@dataclasses.dataclass(frozen=True)
class Pace:
    rate: float = setting(0.1, "how fast")
    threads: int = setting(2, "how many at once", effect="nothing")


@dataclasses.dataclass(frozen=True)
class Config:
    form: Round | Square | None = group(Round(), kinds={"round": Round, "square": Square})
    pace: Pace = group(Pace())
    tags: tuple[str, ...] = setting((), "words")

    def __post_init__(self):
        settings.check_choices(self)


def test_a_setting_is_replaced_wherever_it_is():
    changed = settings.replace(Config(), rate=0.5, tags=("a",), form=Square(), side=7)
    assert changed == Config(Square(7), Pace(0.5), ("a",))
    with pytest.raises(InputError, match="expected a setting: radius, rate, tags, threads"):
        settings.replace(Config(), speed=1)


@pytest.mark.parametrize("config", [Config(), Config(Square(3), Pace(0.2, 5), ("a", "b")), Config(None)])
def test_json_keeps_everything(config):
    assert settings.from_json(Config, settings.to_json(config)) == config


def test_json_of_another_version():
    assert settings.from_json(Config, {"pace": {"rate": 0.3}}) == Config(pace=Pace(0.3))
    with pytest.raises(InputError, match="does not know: speed"):
        settings.from_json(Config, {"speed": 1})
    with pytest.raises(InputError, match="form: expected one of round, square, found 'star'"):
        settings.from_json(Config, {"form": {"kind": "star"}})


def test_a_renamed_setting_is_found_in_older_files():
    @dataclasses.dataclass(frozen=True)
    class Renamed:
        tempo: Pace = group(Pace(), formerly=("pace",))
        words: tuple[str, ...] = setting((), "words", formerly=("labels", "tags"))

    older = {"pace": {"rate": 0.3}, "tags": ["a"]}
    assert settings.from_json(Renamed, older) == Renamed(Pace(0.3), ("a",))


def test_changes_say_what_they_change():
    found = settings.changes(Config(), Config(Square(), Pace(threads=3)))
    assert {change.name: change.effect for change in found} == {
        "form.kind": "shape",
        "form.radius": "shape",
        "form.side": "shape",
        "pace.threads": "nothing",
    }


def test_a_new_setting_at_its_default_is_no_change():
    newer = dataclasses.make_dataclass(
        "Newer", [("tags", tuple, setting((), "words")), ("more", int, setting(0, "came later"))], frozen=True
    )
    stored = settings.from_json(newer, {"tags": ["a"]})
    assert not settings.changes(newer(("a",)), stored)
    assert [change.name for change in settings.changes(newer(("a",), more=1), stored)] == ["more"]


def test_names_are_told_apart_whatever_group_they_are_in():
    """A setting is replaced, and is a flag, by its own name."""
    for config in (Experiment(), Execution(), DataConfig()):
        names = [name.rpartition(".")[2] for name, *_ in settings.settings(config)]
        groups = {part for name, *_ in settings.settings(config) for part in name.split(".")[:-1]}
        assert len(set(names)) == len(names)
        assert not groups & set(names)
