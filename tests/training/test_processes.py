"""Two processes over the loopback train as one; where one dies, the other says so, and both go on."""

import json
import signal
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from conftest import heard, write_rated_folder
from started import Started

from glintiqa_jax.errors import InputError
from glintiqa_jax.training.processes import connect

TRAIN = Path(__file__).resolve().parents[2] / "experiments" / "train.py"
pytestmark = [pytest.mark.compiled_for_users, pytest.mark.slow]

# Two processes connect, and end. The watch looks all the time, so that a look is under way as they end.
SHORT_PAIR = """
import sys
from glintiqa_jax.training import processes, watch
watch._LOOK = 0.0002
processes.connect("off", sys.argv[1], 2, int(sys.argv[2]))
print(processes.gather(sys.argv[2]))
"""


def free_address() -> str:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return f"localhost:{free.getsockname()[1]}"


class Runs:
    """Runs of one experiment on one CPU device per process."""

    def __init__(self, folder: Path):
        self.folder = folder
        images, scores = write_rated_folder(folder)
        self.flags = [
            "--dataset=csv",
            f"--images={images}",
            f"--scores={scores}",
            "--group_column=scene",
            "--split_column=split",
            "--score_range=0,100",
            f"--data_dir={folder / 'data'}",
            "--variant=glintiqa_tiny",
            "--batch_size=8",
            "--eval_batch_size=8",
            "--eval_every=10",
            "--eval_grid=2",
            "--warmup_steps=2",
            "--learning_rate=1e-5",
            "--verbosity=0",
            "--resamples=20",
        ]

    def start(self, workdir: str, *flags: str, processes: int = 1, of_each: Sequence[str] = ()) -> list[Started]:
        address, each = free_address(), []
        for number in range(processes):
            joined = [f"--coordinator_address={address}", f"--num_processes={processes}"]
            command = [sys.executable, str(TRAIN), *self.flags, f"--workdir={self.folder / workdir}", *flags]
            command += [*joined, f"--process_id={number}", *of_each[number : number + 1]] if processes > 1 else []
            each.append(Started(command))
        return each

    def finish(self, running: list[Started], *, expected: int = 0) -> list[str]:
        said = [process.said() for process in running]
        assert [process.returncode for process in running] == [expected] * len(running), "\n".join(said)
        return said

    def rows(self, workdir: str, kind: str) -> dict[int, float | dict]:
        lines = (self.folder / workdir / "metrics.jsonl").read_text().splitlines()
        rows = [row for row in map(json.loads, lines) if kind in row]
        assert len({row["step"] for row in rows}) == len(rows)
        return {row["step"]: row[kind] for row in rows}

    def results(self, workdir: str) -> dict:
        return json.loads((self.folder / workdir / "results.json").read_text())

    def predicted(self, workdir: str) -> list[str]:
        """The names of the tested images."""
        rows = (self.folder / workdir / "predictions_test.csv").read_text().splitlines()
        return [row.split(",")[0] for row in rows]

    def wait_for(self, workdir: str, checkpoint: int) -> None:
        ends = time.monotonic() + 300
        while not (self.folder / workdir / "checkpoints" / str(checkpoint)).is_dir():
            assert time.monotonic() < ends
            time.sleep(0.1)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return Runs(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def pair(runs):
    """What two processes came to that nothing interrupted."""
    first, second = runs.finish(runs.start("pair", "--steps=40", processes=2))
    assert "test:  SROCC" in first
    assert "SROCC" not in second
    return runs.results("pair")


def test_two_processes_train_as_one(runs, pair):
    runs.finish(runs.start("alone", "--steps=40"))
    losses, expected = runs.rows("pair", "loss"), runs.rows("alone", "loss")
    assert losses.keys() == expected.keys()
    np.testing.assert_allclose([*losses.values()], [*expected.values()], rtol=1e-5)
    alone = runs.results("alone")
    assert pair["split_sha256"] == alone["split_sha256"]
    assert pair["test"]["images"] == alone["test"]["images"] == 4
    assert pair["test"]["rmse"] == pytest.approx(alone["test"]["rmse"], rel=1e-4)
    assert runs.predicted("pair") == runs.predicted("alone")


def test_a_process_that_dies_is_noticed_and_the_pair_goes_on(runs, pair):
    """The second one dies, and in what goes on from there the first one, which holds the pair together."""
    for killed, checkpoint in ((1, 10), (0, 20)):
        running = runs.start("killed", "--steps=40", processes=2)
        runs.wait_for("killed", checkpoint)
        running[killed].kill()
        other = running[1 - killed]
        said = other.said(timeout=120)
        assert other.returncode == 75, said
        # JAX itself may be the first to end a process that has lost its coordinator
        ends = (f"process {1 - killed} of 2: another process has ended", "JAX has ended this process")
        assert said.count("error: ") == sum(f"error: {line}" in said for line in ends) == 1, said
        assert "Traceback" not in said
        running[killed].wait()
    first, _ = runs.finish(runs.start("killed", "--steps=40", processes=2))
    assert "continuing from step" in first
    assert runs.results("killed") == pair


def test_all_stop_where_one_is_told_to_and_one_alone_goes_on(runs, pair):
    running = runs.start("stopped", "--steps=40", processes=2)
    runs.wait_for("stopped", 10)
    running[1].send_signal(signal.SIGTERM)
    for said in runs.finish(running, expected=128 + signal.SIGTERM):
        assert "interrupted; the same command resumes from the last checkpoint" in said
    (said,) = runs.finish(runs.start("stopped", "--steps=40"))
    assert "continuing with processes: 1 here, 2 there; figures may differ in their last digits" in said
    assert runs.results("stopped")["test"]["rmse"] == pytest.approx(pair["test"]["rmse"], rel=1e-4)


def test_a_mistake_is_everyones(runs, pair):
    for said in runs.finish(runs.start("pair", "--steps=40", "--seed=1", processes=2), expected=2):
        assert "seed: 1 here, 0 there" in said
        assert "Traceback" not in said


def test_processes_of_two_runs_end_before_the_first_step(runs, pair):
    running = runs.start("other", "--steps=40", processes=2, of_each=["--learning_rate=1e-5", "--learning_rate=1e-4"])
    for said in runs.finish(running, expected=2):
        assert "optimiser.learning_rate: 0.0001 there, 1e-05 in process 0" in said
        assert "Traceback" not in said
    assert not (runs.folder / "other" / "metrics.jsonl").exists()


def test_the_end_of_python_finds_no_thread_inside_jax():
    for _ in range(3):
        address = free_address()
        pair = [Started([sys.executable, "-c", SHORT_PAIR, address, str(number)]) for number in range(2)]
        said = [process.said() for process in pair]
        assert [process.returncode for process in pair] == [0, 0], "\n".join(said)
        assert [heard(one) for one in said] == ["['0', '1']\n"] * 2


def test_who_takes_part_is_said_whole_or_not_at_all():
    with pytest.raises(InputError, match="or none of them, found localhost:1, 2, none"):
        connect("off", "localhost:1", 2)
    with pytest.raises(InputError, match="process_id: expected one of 0 to 1, found 2"):
        connect("off", "localhost:1", 2, 2)
    connect("off")
