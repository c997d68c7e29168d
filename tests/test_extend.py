"""The recipes in docs/howto/extend.md run as they stand there and do what they say."""

import importlib
import re
import sys
from pathlib import Path

import databases
import jax
import numpy as np
import pytest

from glintiqa_jax import settings
from glintiqa_jax.cli.flags import Flags, define_experiment, define_report
from glintiqa_jax.data import from_arrays
from glintiqa_jax.data.databases import DATABASES, read_database
from glintiqa_jax.data.pipeline import Batching, training_batches
from glintiqa_jax.data.transforms import TRANSFORMS
from glintiqa_jax.evaluation.baselines import BASELINES, baseline_values
from glintiqa_jax.evaluation.metrics import METRICS, all_metrics
from glintiqa_jax.evaluation.tables import Judged, metrics_table
from glintiqa_jax.models.backbones import BACKBONES
from glintiqa_jax.training.experiment import Images, Objective, Validation
from glintiqa_jax.training.losses import LOSSES

TEXT = (Path(__file__).resolve().parents[1] / "docs" / "howto" / "extend.md").read_text(encoding="utf-8")
SECTIONS = [section.split("\n", 1) for section in re.split(r"^##+ ", TEXT, flags=re.MULTILINE)]
RECIPES = {title: code for title, text in SECTIONS for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL)}
TABLES = (BACKBONES, BASELINES, DATABASES, LOSSES, METRICS, TRANSFORMS)
IMAGES = list(np.random.default_rng(0).integers(0, 200, (4, 40, 48, 3), np.uint8))


@pytest.fixture
def follow(tmp_path, monkeypatch):
    """The module that a recipe's block makes; the tables that it extends are restored."""
    kept = [dict(table) for table in TABLES]
    monkeypatch.syspath_prepend(tmp_path)

    def follow(recipe):
        (tmp_path / "recipe_block.py").write_text(RECIPES[recipe], encoding="utf-8")
        monkeypatch.delitem(sys.modules, "recipe_block", raising=False)
        return importlib.import_module("recipe_block")

    yield follow
    sys.modules.pop("recipe_block", None)
    for table, rows in zip(TABLES, kept, strict=True):
        table.clear()
        table.update(rows)


def flags() -> Flags:
    values = Flags()
    define_experiment(values)
    define_report(values)
    return values


def test_a_database(follow, tmp_path):
    follow("A database")
    expected = databases.write_sample("phones", tmp_path / "phones")
    collection = read_database("phones", tmp_path / "phones")
    assert [image.facts for image in collection.images()] == [image.facts for image in expected]
    assert collection.notes == ()


def test_a_backbone(follow):
    model = follow("A backbone").model
    assert model(np.zeros((2, 32, 32, 3), np.uint8), train=False).shape == (2,)
    assert "stack" in flags()["model_cnn"].parser.syntactic_help
    assert "model_stack_width" in flags()


def test_a_loss(follow):
    follow("A loss")
    loss = Objective(loss="squared").row
    np.testing.assert_allclose(jax.grad(loss)(np.array([1.0, 0.0]), np.zeros(2)), [1.0, 0.0])


def test_a_metric(follow):
    follow("A metric")
    predicted, target = np.random.default_rng(0).random((2, 20))
    assert all_metrics(predicted, target)["largest_error"] == np.abs(predicted - target).max()
    assert "largest error" in str(metrics_table({"model": Judged(predicted, target)}, resamples=10))
    assert Validation(selection_metric="largest_error")


def test_a_baseline(follow, tmp_path):
    follow("A baseline")
    source = from_arrays(IMAGES, [0, 1, 2, 3], score_range=(0, 3))
    values = baseline_values(source, np.arange(4), ["contrast"], tmp_path)
    np.testing.assert_allclose(values["contrast"], [image.std() for image in IMAGES])


def test_a_set_of_distortions(follow):
    weather = follow("A set of distortions").WEATHER
    means = [weather.distort(IMAGES[0], "haze", level, rescale=False).mean() for level in weather.levels]
    assert IMAGES[0].mean() < means[0] < means[1] < means[2]


def test_a_transform(follow):
    follow("A transform")
    batching = Batching(crop_size=32, batch_size=8, transforms=[TRANSFORMS["grey"]])
    source = from_arrays(IMAGES, [0, 1, 2, 3], score_range=(0, 3))
    batch = next(iter(training_batches(source, np.arange(4), np.zeros(4), batching)))
    assert 0 < sum((crop == crop[..., :1]).all() for crop in batch["image"]) < 8
    assert "grey" in flags()["transforms"].parser.syntactic_help
    assert Images(transforms=("grey",))


def test_a_setting(follow):
    images = follow("A setting").SharpImages
    assert not settings.changes(images(), settings.from_json(images, settings.to_json(Images())))
    (change,) = settings.changes(images(), images(fewest_edges=0.1))
    assert (change.name, change.effect) == ("fewest_edges", "results")


def test_every_recipe_is_followed():
    assert all(f"test_{title.lower().replace(' ', '_')}" in globals() for title in RECIPES)
    assert len(RECIPES) == TEXT.count("```python")
