"""Recipes: each is an experiment, in Python as for the command, and a file below ``experiments/flags``."""

from pathlib import Path

import pytest

from glintiqa_jax import recipes
from glintiqa_jax.cli.flags import Flags, data_config, define_experiment, experiment_of
from glintiqa_jax.datasets.config import DataConfig, Splitting
from glintiqa_jax.errors import InputError
from glintiqa_jax.recipes.flagfiles import expanded
from glintiqa_jax.training.experiment import Experiment

FLAGS = Path(__file__).resolve().parents[1] / "experiments" / "flags"


def parse(*arguments: str) -> Flags:
    values = Flags()
    define_experiment(values)
    values(["", *(flag for flag in expanded(arguments) if not flag.startswith("--workdir"))])
    return values


@pytest.mark.parametrize("name", recipes.names())
def test_a_recipe_is_one_experiment_everywhere(name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    experiment = recipes.read(name)
    assert experiment == experiment_of(parse(f"--flagfile={FLAGS}/{name}.flags")) != Experiment()
    assert getattr(recipes, name)(seed=7) == recipes.read(name, seed=7) != experiment
    assert (FLAGS / f"{name}.flags").read_bytes() == recipes.path(name).read_bytes()


def test_recipes_stand_on_each_other():
    released = recipes.released_protocol()
    assert released.optimiser.optimizer == "adam_l2"
    assert released.objective.target == "raw"
    assert (released.validation.selection, released.validation.eval_random_crops) == ("test_best", 25)
    data = data_config(parse("--recipe=released_protocol"))
    assert data == DataConfig(split=Splitting(validation_fraction=0, test_fraction=0.2))
    assert recipes.own_data_minutes(steps=500).timing.steps == 500


def test_what_is_none_is_refused():
    with pytest.raises(AttributeError, match="no recipe 'quick': there are own_data, "):
        _ = recipes.quick
    with pytest.raises(InputError, match=r"^recipe=quick: expected one of own_data, "):
        recipes.read("quick")
    with pytest.raises(InputError, match=r"^stepps: expected a setting"):
        recipes.quickstart(stepps=3)
