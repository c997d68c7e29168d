"""Training that starts from a whole model: what it takes of it, and what the model has seen is no test."""

import dataclasses
import shutil

import numpy as np
import pytest
from small_runs import stop_after

from glintiqa_jax import settings
from glintiqa_jax.errors import InputError
from glintiqa_jax.models.files import arrays_of
from glintiqa_jax.models.glintiqa import new_model
from glintiqa_jax.scoring.card import ModelCard, Origin
from glintiqa_jax.scoring.files import load_model, save_model
from glintiqa_jax.scoring.model import Model
from glintiqa_jax.training.metrics_log import read_metrics
from glintiqa_jax.training.result import Result
from glintiqa_jax.training.start import check_start, first_model

pytest_plugins = ["small_runs"]
LICENCE = "photographs: CC0"


@pytest.fixture(scope="module")
def start(small, tmp_path_factory):
    """A model's folder, which has seen images 0, 8 and 9; the last two are tested here, the first is trained on."""
    looks = [small.source.looks()[position] for position in (0, 8, 9)]
    card = ModelCard(small.experiment.model, small.source.scale, origin=Origin(licences=(LICENCE,)))
    model = Model(new_model(small.experiment.model, seed=5), card, looks=looks)
    return save_model(model, tmp_path_factory.mktemp("start") / "model")


def test_training_starts_from_every_value_of_a_model(small, start):
    for named in (start, start.parent):  # a run's folder holds its model's
        experiment = settings.replace(small.experiment, init=(str(named),))
        check_start(experiment)
        found, expected = (arrays_of(model) for model in (first_model(experiment), new_model(experiment.model, seed=5)))
        assert all(np.array_equal(found[name], expected[name]) for name in expected)


def test_a_model_of_another_network_is_refused_before_any_work(small, start):
    other = settings.replace(small.experiment, init=(str(start),), width=32)
    with pytest.raises(InputError, match=r"^init=.*a model of the network to train, .*width 32.*, found glintiqa_tiny"):
        check_start(other)
    with pytest.raises(InputError, match=r"^init=nowhere: expected 'pretrained', 'timm', 'package' or a file"):
        check_start(settings.replace(small.experiment, init=("nowhere",)))


def test_what_the_start_has_seen_is_not_tested_and_stays_known(small, start, tmp_path, one_device, capsys):
    figures = small.train(tmp_path / "run", init=(str(start),), steps=3, eval_every=3)
    assert "warning: 2 of 4 test images show what the model that training starts from was trained on" in (
        capsys.readouterr().out
    )
    assert figures["test"]["images"] == 2
    result = Result.load(tmp_path / "run", small.source)
    assert {look.digest for look in result.model.looks} >= {look.digest for look in small.source.looks()[8:10]}
    assert LICENCE in result.model.card.origin.licences
    assert small.train(tmp_path / "run", init=(str(start),), steps=3, eval_every=3) == figures


def test_a_run_resumes_as_it_began_when_its_start_is_gone(small, start, tmp_path, one_device):
    """Who is tested, what is known to have been seen, and the licences are of the start as it was."""
    copy = shutil.copytree(start, tmp_path / "start")
    options = {"init": (str(copy),), "steps": 3, "eval_every": 3}
    stop_after(one_device, 2)
    assert small.train(tmp_path / "run", **options) is None
    shutil.rmtree(copy)
    figures = small.train(tmp_path / "run", **options)
    assert figures["test"]["images"] == 2
    result = Result.load(tmp_path / "run", small.source)
    assert {look.digest for look in result.model.looks} >= {look.digest for look in small.source.looks()[8:10]}
    assert LICENCE in result.model.card.origin.licences


def test_a_run_that_goes_on_with_its_split_keeps_its_parts(small, start, tmp_path, one_device, capsys):
    """It was selected on the images to validate, and trained on none of them; another split takes them for seen."""
    first = small.train(tmp_path / "first", init=(str(start),), steps=3, eval_every=3)
    assert "warning: 2 of 4 test images" in capsys.readouterr().out
    second = small.train(tmp_path / "second", init=(str(tmp_path / "first"),), steps=3, eval_every=3)
    assert "warning" not in capsys.readouterr().out
    for part in ("validation", "test"):
        assert first[part]["images"] == second[part]["images"], part
    assert second["test"]["images"] == 2  # those that the first one's own start had seen are not back
    turned = dataclasses.replace(small.split, train=small.split.test, test=small.split.train)
    with pytest.raises(InputError, match=r"^init: expected validation images that the model to start from was not"):
        small.train(tmp_path / "third", init=(str(tmp_path / "first"),), split=turned)


def test_a_start_that_has_seen_all_tests_is_refused(small, start, tmp_path):
    split = dataclasses.replace(small.split, test=np.array([8, 9]))
    with pytest.raises(InputError, match=r"^init: expected test images that the model to start from was not"):
        small.train(tmp_path / "run", init=(str(start),), split=split)


def test_the_model_that_a_run_starts_from_is_kept_where_training_makes_it_worse(small, start, tmp_path, one_device):
    """It is evaluated once, as step 0, also in a run that is interrupted; random values are no model."""
    worse = {"init": (str(start),), "steps": 3, "eval_every": 3, "warmup_steps": 0, "learning_rate": 30.0}
    small.train(tmp_path / "scratch", steps=3, eval_every=3)
    assert [row["step"] for row in read_metrics(tmp_path / "scratch") if "validation" in row] == [3]
    stop_after(one_device, 2)
    assert small.train(tmp_path / "run", **worse) is None
    figures = small.train(tmp_path / "run", **worse)
    rows = [row for row in read_metrics(tmp_path / "run") if "validation" in row]
    assert [row["step"] for row in rows] == [0, 3]
    assert figures["best_step"] == 0
    assert figures["validation"]["srocc"] == rows[0]["validation"]["srocc"]
    kept, began = arrays_of(load_model(tmp_path / "run").network), arrays_of(load_model(start).network)
    assert all(np.array_equal(kept[name], began[name]) for name in began)
