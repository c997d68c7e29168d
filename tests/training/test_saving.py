"""When a run is saved: by itself, by time and by steps, and without any figure that depends on it."""

import os
import signal

import pytest
from small_runs import compiled_once, is_saved, stop_after

from glintiqa_jax.errors import InputError
from glintiqa_jax.scoring.storage import place, steps
from glintiqa_jax.training import run, storage
from glintiqa_jax.training.metrics_log import read_metrics

pytest_plugins = ["small_runs"]
pytestmark = [
    pytest.mark.compiled_for_users,
    pytest.mark.usefixtures("one_device"),
    pytest.mark.filterwarnings("ignore:.*is undefined"),  # four test images may all get one prediction
]


def rows(workdir):
    return read_metrics(workdir, speed=False)


@pytest.mark.parametrize("saving", [{"save_every": 1}, {"save_minutes": 1e-9}], ids=["by steps", "by time"])
def test_saving_at_every_step_changes_no_figure_and_is_gone_on_from(
    small, whole, workdir, tmp_path, monkeypatch, saving
):
    often = small.change(**saving)
    with monkeypatch.context() as patch:

        def killed(*_):
            raise MemoryError  # as good as a kill: nothing more is saved

        evaluate = run.Run._evaluate
        patch.setattr(run.Run, "_evaluate", lambda *given: killed() if given[2] == 6 else evaluate(*given))
        with pytest.raises((MemoryError, InputError)):
            often.train(tmp_path / "run")
    assert is_saved(tmp_path / "run", 5)  # between the evaluations at 3 and 6
    assert is_saved(tmp_path / "run", 3)  # the best on validation is kept
    assert often.train(tmp_path / "run") == whole
    assert rows(tmp_path / "run") == rows(workdir)


def test_by_default_nothing_is_saved_between_two_evaluations_of_a_few_seconds(small, half):
    assert (small.execution.saving.save_minutes, small.execution.saving.save_every) == (5.0, 0)
    assert steps(place(half, "workdir") / "checkpoints") == [6, 7]


def test_losses_that_no_row_has_yet_come_back(small, whole, workdir, tmp_path, monkeypatch):
    """A run that was stopped between two looks has the same rows in the end."""
    with monkeypatch.context() as patch:
        stop_after(patch, 5)
        assert small.train(tmp_path / "run") is None
    assert small.train(tmp_path / "run") == whole
    assert rows(tmp_path / "run") == rows(workdir)


def test_a_first_checkpoint_that_cannot_be_read_ends_the_run_at_once(small, tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "same_arrays", lambda *_, **__: False)
    with pytest.raises(InputError, match=r"checkpoints/3: the first checkpoint cannot be read back"):
        small.train(tmp_path / "run")
    assert [row["step"] for row in rows(tmp_path / "run")] == [3, 3]


def test_two_runs_do_not_share_a_workdir_or_checkpoints(small, tmp_path, monkeypatch):
    refused = []

    def meanwhile(self, state, step):
        for workdir, elsewhere in ((tmp_path / "run", ""), (tmp_path / "other", str(tmp_path / "run/checkpoints"))):
            with pytest.raises(InputError, match=rf"process {os.getpid()} of .* at work there") as caught:
                small.train(workdir, checkpoint_dir=elsewhere)
            refused.append(str(caught.value).split("=")[0])
        raise KeyboardInterrupt

    monkeypatch.setattr(run.Run, "_evaluate", meanwhile)
    with pytest.raises(KeyboardInterrupt):
        small.train(tmp_path / "run")
    assert refused == ["workdir", "checkpoint_dir"]
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("part", ["first step", "evaluation", "test"])
def test_a_signal_outside_the_steps_acts_at_once_and_loses_nothing_that_was_saved(small, whole, stopped, part):
    """By Python's own answer to Ctrl-C: nothing waits for the end of what may take hours."""
    with compiled_once() as patch:
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
            small.train(stopped)
    assert not (stopped / "results.json").exists()
    assert small.train(stopped) == whole
