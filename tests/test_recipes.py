"""Recipes: each is an experiment, in Python as for the command, and a file below ``experiments/flags``."""

from pathlib import Path

import numpy as np
import pytest

from glintiqa_jax import face, recipes, settings
from glintiqa_jax.cli.flags import Flags, data_config, define_experiment, experiment_of
from glintiqa_jax.data import from_arrays
from glintiqa_jax.datasets.config import DataConfig, Splitting
from glintiqa_jax.errors import InputError
from glintiqa_jax.models.config import VARIANTS
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
    recipe, parsed = recipes.read(name), parse(f"--flagfile={FLAGS}/{name}.flags")
    assert recipe.experiment == experiment_of(parsed) != Experiment()
    assert recipe.splitting == data_config(parsed, dataset="demo").split
    assert getattr(recipes, name)(seed=7) == recipes.read(name, seed=7) != recipe
    assert (FLAGS / f"{name}.flags").read_bytes() == recipes.path(name).read_bytes()


def test_recipes_stand_on_each_other():
    recipe = recipes.released_protocol()
    released = recipe.experiment
    assert recipe.splitting == Splitting(validation_fraction=0, test_fraction=0.2)
    assert released.optimiser.optimizer == "adam_l2"
    assert released.objective.target == "raw"
    assert (released.validation.selection, released.validation.eval_random_crops) == ("test_best", 25)
    data = data_config(parse("--recipe=released_protocol"))
    assert data == DataConfig(split=Splitting(validation_fraction=0, test_fraction=0.2))
    assert recipes.own_data_minutes(steps=500).experiment.timing.steps == 500


def test_a_recipe_takes_other_values():
    changed = recipes.own_data(variant="glintiqa_tiny", test_fraction=0.5, crop_size=32)
    assert changed.experiment.model == settings.replace(VARIANTS["glintiqa_tiny"], crop_size=32)
    assert changed.splitting.test_fraction == 0.5
    timing = recipes.own_data().experiment.timing
    for steps, warmup in (
        (20, 2),
        (2, 0),
        (timing.warmup_steps, timing.warmup_steps // 10),
        (timing.warmup_steps + 1, timing.warmup_steps),
    ):
        shorter = recipes.own_data(steps=steps).experiment.timing
        assert (shorter.steps, shorter.warmup_steps) == (steps, warmup)
    with pytest.raises(InputError, match=r"^warmup_steps: expected fewer than the 50 steps"):
        recipes.own_data(steps=50, warmup_steps=50)


def test_training_splits_as_the_recipe_says(monkeypatch):
    monkeypatch.setattr(face.training, "train", lambda source, split, experiment, **_: (split, experiment))
    images = np.random.default_rng(0).integers(0, 256, (10, 40, 40, 3), np.uint8)
    source = from_arrays(images, np.arange(10), score_range=(0, 9))
    values = {"variant": "glintiqa_tiny", "crop_size": 32}
    for recipe, validated in ((recipes.released_protocol(**values), 0), (recipes.own_data(**values), 1)):
        split, experiment = face.train(source, recipe)
        assert (len(split.validation), len(split.test), experiment) == (validated, 2, recipe.experiment)
        split, _ = face.train(source, recipe, Splitting(validation_fraction=0.3))
        assert len(split.validation) == 3


def test_a_line_that_is_no_setting_is_refused(tmp_path, monkeypatch):
    (tmp_path / "mine.flags").write_text("--dataset=csv\n--stepps=3\n")
    monkeypatch.setattr(recipes, "_FOLDER", tmp_path)
    with pytest.raises(InputError, match=r"mine.flags: expected settings, found --stepps=3"):
        recipes.mine()


def test_what_is_none_is_refused():
    with pytest.raises(InputError, match=r"^variant: expected one of .*, found 'glintiqa_nano'"):
        recipes.scratch(variant="glintiqa_nano")
    with pytest.raises(AttributeError, match="no recipe 'quick': there are own_data, "):
        _ = recipes.quick
    with pytest.raises(InputError, match=r"^recipe=quick: expected one of own_data, "):
        recipes.read("quick")
    with pytest.raises(InputError, match=r"^stepps: expected a setting"):
        recipes.scratch(stepps=3)
