"""A run goes on with another command where no figure depends on the change; what may differ is said or refused."""

import dataclasses
import shutil

import pytest

from glintiqa_jax import settings
from glintiqa_jax.errors import UserError
from glintiqa_jax.training import checkpoints, loop

pytest_plugins = ["small_runs"]
pytestmark = [
    pytest.mark.compiled_for_users,
    pytest.mark.usefixtures("one_device"),
    pytest.mark.filterwarnings("ignore:.*is undefined"),  # four test images may all get one prediction
]


@pytest.mark.slow
def test_another_number_of_workers_is_said_and_changes_nothing(config, whole, stopped, capsys):
    results = loop.train_and_evaluate(dataclasses.replace(config, num_workers=1), stopped)
    said = "going on with another value of num_workers: 1 here, 0 there; no figure depends on it"
    assert said in capsys.readouterr().out
    assert results == whole


def test_data_that_moved_are_the_same_data(config, whole, stopped, tmp_path):
    """Wherever they are, and copied without their times: they are known by their content."""
    images = shutil.copytree(config.data.own.images, tmp_path / "moved", copy_function=shutil.copyfile)
    scores = shutil.copyfile(config.data.own.scores, tmp_path / "moved.csv")
    data = settings.replace(config.data, images=str(images), scores=str(scores), data_dir=str(tmp_path / "data"))
    assert loop.train_and_evaluate(dataclasses.replace(config, data=data), stopped) == whole
    (images / "image00.png").write_bytes((images / "image01.png").read_bytes())
    with pytest.raises(UserError, match="images or scores have changed since this run began"):
        loop.train_and_evaluate(dataclasses.replace(config, data=data), stopped)


def test_another_seed_is_refused_unless_it_is_allowed(config, whole, stopped, capsys):
    other = dataclasses.replace(config, seed=1)
    with pytest.raises(UserError, match=r"seed: 1 here, 0 there; --allow_config_change goes on all the same"):
        loop.train_and_evaluate(other, stopped)
    assert not (stopped / "results.json").exists()
    results = loop.train_and_evaluate(other, stopped, allow_config_change=True)
    assert "warning: going on with another experiment's run; seed: 1 here, 0 there" in capsys.readouterr().out
    assert results["params_sha256"] != whole["params_sha256"]


def test_another_shape_is_refused_even_where_a_change_is_allowed(config, stopped):
    other = dataclasses.replace(config, optimizer="adam_l2")
    with pytest.raises(UserError, match=r"optimizer: 'adam_l2' here, 'adamw' there$"):
        loop.train_and_evaluate(other, stopped, allow_config_change=True)


def test_another_version_of_a_library_is_said(config, whole, stopped, capsys, monkeypatch):
    before = checkpoints.library_versions()["flax"]
    monkeypatch.setitem(checkpoints.library_versions(), "flax", "99.0")
    assert loop.train_and_evaluate(config, stopped) == whole
    said = f"going on with flax 99.0, before {before}: figures may differ in their last digits"
    assert said in capsys.readouterr().out


def test_a_run_is_not_taken_back(config, whole, stopped):
    with pytest.raises(
        UserError, match=r"--steps, --max_steps: expected more than the 7 steps that the run in .* found 5"
    ):
        loop.train_and_evaluate(config, stopped, max_steps=5)


def test_a_complete_run_has_no_figures_of_other_flags(config, workdir, whole, tmp_path):
    done = shutil.copytree(workdir, tmp_path / "done")
    other = dataclasses.replace(config, seed=3)
    with pytest.raises(UserError, match=r"expected more than the 8 steps that the run in .* found 8"):
        loop.train_and_evaluate(other, done, allow_config_change=True)
    moved = dataclasses.replace(config, num_workers=2)
    shutil.rmtree(done)
    assert loop.train_and_evaluate(moved, shutil.copytree(workdir, tmp_path / "moved")) == whole


@pytest.mark.parametrize("content", ["x", "[1]", "{}"])
def test_results_of_another_program_are_refused_and_stay(config, tmp_path, content):
    (tmp_path / "results.json").write_text(content)
    with pytest.raises(UserError, match=r"results\.json: expected the results of a run of ours, found something else"):
        loop.train_and_evaluate(config, tmp_path)
    assert (tmp_path / "results.json").read_text() == content


def test_checkpoints_may_be_elsewhere_and_know_their_experiment(config, workdir, whole, tmp_path):
    elsewhere = shutil.copytree(workdir / "checkpoints", tmp_path / "elsewhere")
    other = dataclasses.replace(config, seed=3)
    with pytest.raises(UserError, match=r"elsewhere: expected a new folder or one of this experiment.*seed: 3 here, 0"):
        loop.train_and_evaluate(other, tmp_path / "new", checkpoint_dir=str(elsewhere))
    assert not (tmp_path / "new").exists()
    assert loop.train_and_evaluate(config, tmp_path / "new", checkpoint_dir=str(elsewhere)) == whole
    assert not (tmp_path / "new" / "checkpoints").exists()
