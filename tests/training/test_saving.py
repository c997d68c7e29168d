"""When a run is saved: by itself, by time and by steps, and without any figure that depends on it."""

import dataclasses
import json
import os
import signal

import pytest
from small_runs import cheap_runs, is_saved, stop_after

from glintiqa_jax.errors import UserError
from glintiqa_jax.training import loop, run, storage
from glintiqa_jax.training.config import from_json, to_json
from glintiqa_jax.training.workdir import experiment

pytest_plugins = ["small_runs"]
pytestmark = [
    pytest.mark.compiled_for_users,
    pytest.mark.usefixtures("one_device"),
    pytest.mark.filterwarnings("ignore:.*is undefined"),  # four test images may all get one prediction
]


def rows(workdir):
    return (workdir / "metrics.jsonl").read_text()


@pytest.mark.parametrize("saving", [{"save_every": 1}, {"save_minutes": 1e-9}], ids=["by steps", "by time"])
def test_saving_at_every_step_changes_no_figure_and_is_gone_on_from(
    config, whole, workdir, tmp_path, monkeypatch, saving
):
    often = dataclasses.replace(config, **saving)
    with monkeypatch.context() as patch:

        def killed(*_):
            raise MemoryError  # as good as a kill: nothing more is saved

        evaluate = run.Run._evaluate
        patch.setattr(run.Run, "_evaluate", lambda *given: killed() if given[2] == 6 else evaluate(*given))
        with pytest.raises((MemoryError, UserError)):
            loop.train_and_evaluate(often, tmp_path / "run")
    assert is_saved(tmp_path / "run", 5)  # between the evaluations at 3 and 6
    assert is_saved(tmp_path / "run", 3)  # the best on validation is kept
    assert loop.train_and_evaluate(often, tmp_path / "run") == whole
    assert rows(tmp_path / "run") == rows(workdir)


def test_by_default_nothing_is_saved_between_two_evaluations_of_a_few_seconds(config, half):
    assert (config.save_minutes, config.save_every) == (5.0, 0)
    assert storage.steps(storage.place(half, "workdir") / "checkpoints") == [6, 7]


def test_when_a_run_is_saved_is_no_part_of_its_experiment(config):
    other = dataclasses.replace(config, save_minutes=0.0, save_every=7)
    assert experiment(other) == experiment(config)


def test_a_configuration_from_before_there_were_these_flags_is_read(config):
    content = to_json(config)
    del content["save_minutes"], content["save_every"]
    assert from_json(content) == config


def test_losses_that_no_row_has_yet_come_back(config, whole, workdir, tmp_path, monkeypatch):
    """A run that was stopped between two looks has the same rows in the end."""
    with monkeypatch.context() as patch:
        stop_after(patch, 5)
        assert loop.train_and_evaluate(config, tmp_path / "run") is None
    assert loop.train_and_evaluate(config, tmp_path / "run") == whole
    assert rows(tmp_path / "run") == rows(workdir)


def test_a_first_checkpoint_that_cannot_be_read_ends_the_run_at_once(config, tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "same_arrays", lambda *_, **__: False)
    with pytest.raises(UserError, match=r"checkpoints/3: the first checkpoint cannot be read back"):
        loop.train_and_evaluate(config, tmp_path / "run")
    assert [json.loads(row)["step"] for row in rows(tmp_path / "run").splitlines()] == [3, 3]


def test_two_runs_do_not_share_a_workdir_or_checkpoints(config, tmp_path, monkeypatch):
    refused = []

    def meanwhile(self, state, step):
        for workdir, elsewhere in ((tmp_path / "run", None), (tmp_path / "other", str(tmp_path / "run/checkpoints"))):
            with pytest.raises(UserError, match=rf"process {os.getpid()} of .* at work there") as caught:
                loop.train_and_evaluate(config, workdir, checkpoint_dir=elsewhere)
            refused.append(str(caught.value).split("=")[0])
        raise KeyboardInterrupt

    monkeypatch.setattr(run.Run, "_evaluate", meanwhile)
    with pytest.raises(KeyboardInterrupt):
        loop.train_and_evaluate(config, tmp_path / "run")
    assert refused == ["--workdir", "--checkpoint_dir"]
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("part", ["first step", "evaluation", "test"])
def test_a_signal_outside_the_steps_acts_at_once_and_loses_nothing_that_was_saved(
    config, whole, stopped, tmp_path, part
):
    """By Python's own answer to Ctrl-C: nothing waits for the end of what may take hours."""
    with cheap_runs() as patch:
        if part == "first step":
            stop_after(patch, 8)
        else:
            predict = run.Run.predict

            def interrupted(self, state, positions, progress):
                if progress.startswith({"evaluation": "validating", "test": "testing"}[part]):
                    os.kill(os.getpid(), signal.SIGINT)
                return predict(self, state, positions, progress)

            patch.setattr(run.Run, "predict", interrupted)
        with pytest.raises(KeyboardInterrupt):
            loop.train_and_evaluate(config, stopped)
    assert not (stopped / "results.json").exists()
    assert loop.train_and_evaluate(config, stopped) == whole
