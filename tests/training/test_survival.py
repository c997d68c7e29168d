"""Damaged checkpoints, full disks, losses that are not finite: what is lost is said, and what is left goes on."""

import re
import shutil
import signal
from pathlib import Path

import numpy as np
import orbax.checkpoint as ocp
import pytest
from small_runs import is_saved, stop_after

from glintiqa_jax.errors import InputError
from glintiqa_jax.scoring.files import load_model
from glintiqa_jax.training import checkpoints, run, training
from glintiqa_jax.training.description import begun_with
from glintiqa_jax.training.metrics_log import MetricsLog

pytest_plugins = ["small_runs"]
pytestmark = [
    pytest.mark.compiled_for_users,
    pytest.mark.usefixtures("one_device"),
    pytest.mark.filterwarnings("ignore:.*is undefined"),  # four test images may all get one prediction
]


def test_a_run_asked_to_end_says_where_it_saved(small, tmp_path, capsys, monkeypatch):
    stop_after(monkeypatch, 2, signal.SIGTERM)
    assert small.train(tmp_path / "run") is None
    assert "stopped at step 2\nthe same command resumes from the last checkpoint\n" in capsys.readouterr().out
    assert is_saved(tmp_path / "run", 2)


# Checkpoints that are not as they were written.


def largest_file(checkpoint):
    return max((path for path in checkpoint.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)


def truncate(path):
    path.write_bytes(path.read_bytes()[:-1])


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DAMAGES = [
    pytest.param(truncate, r"has \d+ bytes, expected \d+", id="truncated"),
    pytest.param(flip_a_bit, "has other content than was written", id="flipped bit"),
    pytest.param(Path.unlink, "is missing", id="deleted"),
]


@pytest.mark.parametrize(("damage", "wrong"), DAMAGES)
def test_a_damaged_checkpoint_is_named_and_set_aside(stopped, damage, wrong):
    folder = stopped / "checkpoints"
    path = largest_file(folder / "7")
    damage(path)
    name, aside = re.escape(str(path.relative_to(folder / "7"))), stopped / "checkpoints_damaged" / "7-0"
    first, second = opening(stopped, latest=6)
    assert re.fullmatch(
        rf"warning: the checkpoint of step 7 is damaged: {name} {wrong}; it is now {re.escape(str(aside))}", first
    )
    assert second.startswith("warning: the checkpoint of step 6 is whole; the best on validation is now the best of ")
    assert aside.is_dir()
    assert not is_saved(stopped, 7)
    assert opening(stopped, latest=6) == []


def opening(workdir, *, latest):
    """What is said when a run goes on in a workdir, whose latest whole checkpoint is of the given step."""
    said = []
    store = checkpoints.CheckpointStore(workdir / "checkpoints", begun_with(workdir), said.append)
    assert store.latest_step() == latest
    store.close()
    return said


def test_a_list_of_checksums_that_is_none_is_damage(stopped):
    path = stopped / "checkpoints" / "7" / "checksums.json"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert "step 7 is damaged: checksums.json is no list of checksums" in opening(stopped, latest=6)[0]


def test_a_checkpoint_that_its_run_had_no_time_to_seal_is_sealed_by_the_next(stopped):
    checkpoint = stopped / "checkpoints" / "7"
    (checkpoint / "checksums.json").unlink()
    assert opening(stopped, latest=7) == []
    flip_a_bit(largest_file(checkpoint))
    assert "step 7 is damaged" in opening(stopped, latest=6)[0]


def test_damage_without_checksums_is_noticed_where_it_cannot_be_read(small, whole, stopped, capsys):
    checkpoint = stopped / "checkpoints" / "7"
    (checkpoint / "checksums.json").unlink()
    truncate(checkpoint / "description" / "metadata")
    assert small.train(stopped) == whole
    assert "step 7 is damaged: what it says of itself cannot be read" in capsys.readouterr().out


def test_a_run_goes_on_from_the_checkpoint_before_a_damaged_one(small, whole, stopped, capsys):
    flip_a_bit(largest_file(stopped / "checkpoints" / "7"))
    assert small.train(stopped) == whole
    assert re.search(r"the checkpoint of step 6 is whole;.*\ncontinuing from step 6\n", capsys.readouterr().out)


def test_where_all_checkpoints_are_damaged_the_run_starts_over(small, whole, stopped, capsys):
    saved = sorted(int(path.name) for path in (stopped / "checkpoints").iterdir())
    for step in saved:
        flip_a_bit(largest_file(stopped / "checkpoints" / str(step)))
    results = small.train(stopped)
    said = capsys.readouterr().out
    for step in saved:
        assert f"checkpoint of step {step} is damaged" in said
    assert "no other is there: starting over" in said
    assert "continuing from step" not in said
    assert sorted(path.name for path in (stopped / "checkpoints_damaged").iterdir()) == [f"{step}-0" for step in saved]
    assert results == whole


@pytest.mark.parametrize(("damage", "wrong"), DAMAGES)
def test_a_damaged_checkpoint_is_not_scored_with(stopped, damage, wrong):
    folder = stopped / "checkpoints" / "6"
    path = largest_file(folder)
    damage(path)
    name = re.escape(str(path.relative_to(folder)))
    with pytest.raises(InputError, match=rf"checkpoints/6: is damaged: {name} {wrong}"):
        load_model(folder)


# A loss that is not finite.


def test_a_loss_that_is_not_finite_names_its_images_and_the_last_good_checkpoint(small, tmp_path, monkeypatch):
    batches, given = run.training_batches, []

    def with_a_wrong_score(*arguments, **options):
        for batch in batches(*arguments, **options):
            given.append(set(batch["position"].tolist()))
            if len(given) == 5:
                batch["target"] = np.full_like(batch["target"], np.nan)
            yield batch

    monkeypatch.setattr(run, "training_batches", with_a_wrong_score)
    with pytest.raises(InputError, match=r"not finite at step 5, on .*; the last good .* step 3's") as caught:
        small.train(tmp_path / "run")
    named = re.search(r", on (.*?);", str(caught.value))[1].split(", ")
    assert given[4] not in (given[3], given[5])
    assert set(named) == {f"image{position:02d}.png" for position in given[4]}  # records are in the CSV's order
    assert is_saved(tmp_path / "run", 3)
    assert not is_saved(tmp_path / "run", 6)


# A full disk.


def small_disk(patch, step):
    """Say that hardly any room is left, from when the given step is saved."""

    class Filled(checkpoints.CheckpointStore):
        def save(self, state, validation, **options):
            if int(state.step) == step:
                usage = shutil.disk_usage(self.folder)._replace(free=1000)
                patch.setattr(checkpoints.shutil, "disk_usage", lambda folder: usage)
            super().save(state, validation, **options)

    patch.setattr(training, "CheckpointStore", Filled)


def test_a_checkpoint_that_the_disk_has_no_room_for_is_not_begun(small, whole, stopped, monkeypatch):
    before = opened(stopped)
    with monkeypatch.context() as patch:
        small_disk(patch, 8)
        with pytest.raises(
            InputError, match=r"checkpoints: the disk is full \(a checkpoint takes \d\.\d MB, 0\.0 MB are free\)"
        ):
            small.train(stopped)
    assert opened(stopped) == before
    assert opening(stopped, latest=7) == []
    assert small.train(stopped) == whole


def opened(workdir):
    """The names of its checkpoints, and of those that have been begun."""
    return sorted(path.name for path in (workdir / "checkpoints").iterdir())


def test_a_disk_that_fills_up_while_a_checkpoint_is_written_is_said(small, whole, stopped, monkeypatch):
    """The error is the one that Orbax 0.12.8 gave on a full tmpfs: TensorStore's text, in a ValueError."""
    save, wait = ocp.CheckpointManager.save, ocp.CheckpointManager.wait_until_finished
    begun = []

    def no_save(self, step, *arguments, **options):
        if step == 8:
            return begun.append(step)
        return save(self, step, *arguments, **options)

    def failing(self):
        wait(self)
        if begun and begun.pop():  # once
            raise ValueError(
                'RESOURCE_EXHAUSTED: Error writing "opt_state.124/0" in OCDBT database at local file "8/optimiser/d": '
                "Failed to write 29588 bytes to file 15: No space left on device [os_error_code='28']"
            )

    with monkeypatch.context() as patch:
        patch.setattr(ocp.CheckpointManager, "save", no_save)
        patch.setattr(ocp.CheckpointManager, "wait_until_finished", failing)
        with pytest.raises(InputError, match=r"run: the disk is full; what was saved before is intact"):
            small.train(stopped)
    assert small.train(stopped) == whole


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full, which is Linux's")
def test_a_row_that_the_disk_has_no_room_for_is_said(small, whole, stopped, monkeypatch):
    def on_a_full_disk(self, row):
        monkeypatch.setattr(self, "_path", Path("/dev/full"))
        return write(self, row)

    write = MetricsLog.write
    with monkeypatch.context() as patch:
        patch.setattr(MetricsLog, "write", on_a_full_disk)
        with pytest.raises(InputError, match="the disk is full"):
            small.train(stopped)
    assert small.train(stopped) == whole
