"""A run is continued by another command where no figure depends on the change; what may differ is said or refused."""

import shutil
from pathlib import Path

import pytest

from glintiqa_jax.errors import InputError
from glintiqa_jax.training import description

pytest_plugins = ["small_runs"]
pytestmark = [
    pytest.mark.compiled_for_users,
    pytest.mark.usefixtures("one_device"),
    pytest.mark.filterwarnings("ignore:.*is undefined"),  # four test images may all get one prediction
]


@pytest.mark.slow
def test_another_number_of_workers_is_said_and_changes_nothing(small, whole, stopped, capsys):
    results = small.train(stopped, num_workers=1)
    said = "continuing with another value of loading.num_workers: 1 here, 0 there; no figure depends on it"
    assert said in capsys.readouterr().out
    assert results == whole


def test_another_seed_is_refused_unless_it_is_allowed(small, whole, stopped, capsys):
    with pytest.raises(
        InputError, match=r"start.seed: 1 here, 0 there; `allow_config_change` continues it all the same"
    ):
        small.train(stopped, seed=1)
    assert not (stopped / "results.json").exists()
    results = small.train(stopped, seed=1, allow_config_change=True)
    assert "warning: continuing another experiment's run; start.seed: 1 here, 0 there" in capsys.readouterr().out
    assert results["params_sha256"] != whole["params_sha256"]


@pytest.mark.parametrize("change", [{"optimizer": "adam_l2"}, {"frozen": ("^vgfe",)}, {"width": 32}], ids=str)
def test_another_shape_is_refused_even_where_a_change_is_allowed(small, stopped, change):
    (name,) = change
    with pytest.raises(InputError, match=rf"{name}: .* here, .* there$"):
        small.train(stopped, allow_config_change=True, **change)


def test_another_version_of_a_library_is_said(small, whole, stopped, capsys, monkeypatch):
    before = description.library_versions()["flax"]
    monkeypatch.setitem(description.library_versions(), "flax", "99.0")
    assert small.train(stopped) == whole
    said = f"continuing with flax 99.0, before {before}: figures may differ in their last digits"
    assert said in capsys.readouterr().out


def test_a_run_is_not_taken_back(small, stopped):
    with pytest.raises(InputError, match=r"steps: expected more than the 7 steps that the run in .* found 5"):
        small.train(stopped, max_steps=5)


def test_a_complete_run_has_no_figures_of_another_experiment(small, workdir, tmp_path):
    done = shutil.copytree(workdir, tmp_path / "done")
    with pytest.raises(InputError, match=r"expected more than the 8 steps that the run in .* found 8"):
        small.train(done, seed=3, allow_config_change=True)


@pytest.mark.parametrize("content", ["x", "[1]", "{}"])
def test_results_of_another_program_are_refused_and_stay(small, tmp_path, content):
    (tmp_path / "results.json").write_text(content)
    with pytest.raises(InputError, match=r"results\.json: expected a run's results, found something else"):
        small.train(tmp_path)
    assert (tmp_path / "results.json").read_text() == content


def test_a_run_of_version_0_1_0_is_not_continued_and_says_so(small, tmp_path):
    (tmp_path / "config.json").write_text('{"config": {"steps": 3}, "scale": {}}')
    with pytest.raises(
        InputError, match=r"config\.json: expected a run of this version, found one that version 0\.1\.0"
    ):
        small.train(tmp_path)


def test_a_run_in_a_relative_folder_keeps_one_copy(small, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small.train(Path("run"), max_steps=1)
    assert not (tmp_path / "run" / "checkpoints" / "run").exists()
    small.train(Path("other"), max_steps=1, checkpoint_dir="other/a/checkpoints")
    assert not (tmp_path / "other" / "a" / "checkpoints" / "run").exists()
    small.train(Path("third"), max_steps=1, checkpoint_dir="elsewhere")
    assert (tmp_path / "elsewhere" / "run" / "results.json").exists()


def test_checkpoints_may_be_elsewhere_and_know_their_experiment(small, workdir, whole, tmp_path):
    elsewhere = str(shutil.copytree(workdir / "checkpoints", tmp_path / "elsewhere"))
    with pytest.raises(
        InputError, match=r"elsewhere: expected a new folder or one of this experiment.*seed: 3 here, 0"
    ):
        small.train(tmp_path / "new", checkpoint_dir=elsewhere, seed=3)
    assert not (tmp_path / "new").exists()
    assert small.train(tmp_path / "new", checkpoint_dir=elsewhere) == whole
    assert not (tmp_path / "new" / "checkpoints").exists()
