"""A command that is killed at any moment, or whose disk is full, goes on and ends the same to the last bit."""

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import write_rated_folder
from small_runs import is_saved
from started import Started

from glintiqa_jax.training.metrics_log import read_metrics

pytestmark = pytest.mark.compiled_for_users

TRAIN = Path(__file__).resolve().parents[2] / "experiments" / "train.py"


@pytest.fixture(scope="module")
def flags(tmp_path_factory):
    """Eight steps on a folder of images, evaluated and saved after 3, 6 and 8."""
    folder = tmp_path_factory.mktemp("folder")
    images, scores = write_rated_folder(folder)
    return {
        "dataset": "csv",
        "data_dir": folder / "data",
        "images": images,
        "scores": scores,
        "group_column": "scene",
        "split_column": "split",
        "score_range": "0,100",
        "variant": "glintiqa_tiny",
        "steps": 8,
        "batch_size": 8,
        "eval_batch_size": 8,
        "eval_every": 3,
        "eval_grid": 2,
        "warmup_steps": 2,
        "learning_rate": 1e-3,
        "resamples": 20,
        "verbosity": 0,  # says what a person at a terminal hears
    }


def command(flags, workdir):
    flags = flags | {"workdir": workdir}
    return [sys.executable, str(TRAIN), *(f"--{name}={value}" for name, value in flags.items())]


def environment():
    """Of a command on one CPU device, that finds what other commands have compiled."""
    return {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"} | {"JAX_PLATFORMS": "cpu"}


def start(flags, workdir):
    return Started(command(flags, workdir), env=environment())


def finish(process):
    """What it says, after it has ended well."""
    said = process.said()
    assert process.returncode == 0, said
    return said


def wait_until(reached, process):
    """Look again and again, until the moment has come; a run that ends before has been looked at too late."""
    while not reached():
        assert process.poll() is None, process.said()
        time.sleep(0.001)


def in_the_first_step(workdir):
    return (workdir / "metrics.jsonl").exists()


def after_an_evaluation(workdir):
    """In a step, or as a checkpoint is begun: steps go on meanwhile."""
    rows = read_metrics(workdir)
    return bool(rows) and rows[-1]["step"] == 6 and "validation" in rows[-1]


def saving(workdir):
    return bool(list((workdir / "checkpoints").glob("6.orbax-checkpoint-tmp*")))


def saving_the_first(workdir):
    return bool(list((workdir / "checkpoints").glob("3.orbax-checkpoint-tmp*")))


def evaluating(workdir):
    rows = read_metrics(workdir)
    return bool(rows) and rows[-1]["step"] == 6 and "validation" not in rows[-1]


def at_the_end(workdir):
    return is_saved(workdir, 8)


@pytest.fixture(scope="module")
def uninterrupted(flags, tmp_path_factory):
    """What a command leaves that nothing interrupts."""
    workdir = tmp_path_factory.mktemp("uninterrupted")
    finish(start(flags, workdir))
    return workdir


def kill_at(moment, flags, workdir):
    process = start(flags, workdir)
    wait_until(lambda: moment(workdir), process)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert not (workdir / "results.json").exists()


def check_same(workdir, uninterrupted):
    for name in ("results.json", "predictions_test.csv", "predictions_validation.csv"):
        assert (workdir / name).read_bytes() == (uninterrupted / name).read_bytes(), name
    assert read_metrics(workdir, speed=False) == read_metrics(uninterrupted, speed=False)
    steps = [(row["step"], "validation" in row) for row in read_metrics(workdir)]
    assert len(steps) == len(set(steps))


@pytest.mark.slow
def test_a_run_killed_while_it_saves_ends_as_if_it_had_not_been(flags, uninterrupted, tmp_path):
    kill_at(saving, flags, tmp_path / "run")
    said = finish(start(flags, tmp_path / "run"))
    check_same(tmp_path / "run", uninterrupted)
    assert "continuing from step" in said
    assert not list((tmp_path / "run" / "checkpoints").glob("*tmp*"))


@pytest.mark.slow
def test_a_run_killed_again_and_again_ends_as_if_it_had_not_been(flags, uninterrupted, tmp_path):
    for moment in (in_the_first_step, saving_the_first, evaluating, after_an_evaluation, at_the_end):
        kill_at(moment, flags, tmp_path / "run")
    finish(start(flags, tmp_path / "run"))
    check_same(tmp_path / "run", uninterrupted)


@pytest.mark.slow
def test_a_command_asked_to_end_in_an_evaluation_ends_at_once_and_goes_on(flags, uninterrupted, tmp_path):
    process = start(flags, tmp_path / "run")
    wait_until(lambda: evaluating(tmp_path / "run"), process)
    process.send_signal(signal.SIGTERM)
    said = process.said(timeout=60)
    assert (process.returncode, said.count("interrupted; ")) == (128 + signal.SIGTERM, 1)
    assert "Traceback" not in said
    assert not (tmp_path / "run" / "results.json").exists()
    assert "continuing from step 3" in finish(start(flags, tmp_path / "run"))
    check_same(tmp_path / "run", uninterrupted)


@pytest.mark.slow
def test_a_run_on_a_disk_that_is_too_small_goes_on_on_a_larger_one(flags, uninterrupted, tmp_path):
    """Really full: a file system of its own, which Linux lets ordinary users mount in a namespace of their own."""
    mount = f"mount -t tmpfs -o size=2500k tmpfs {tmp_path}"
    inside = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    if not shutil.which("unshare") or subprocess.run([*inside, mount], capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    train = shlex.join(command(flags, tmp_path / "run"))
    script = (
        f"{mount}; {train}; echo exit code $?; ls {tmp_path}/run/checkpoints; "
        f"mount -o remount,size=20m {tmp_path}; {train} >&2 && cat {tmp_path}/run/results.json"
    )
    done = subprocess.run([*inside, script], env=environment(), capture_output=True, text=True)
    assert done.stdout == "exit code 2\n3\n" + (uninterrupted / "results.json").read_text()
    assert "checkpoints: the disk is full (a checkpoint takes 1.8 MB, " in done.stderr
    assert "Traceback" not in done.stderr
