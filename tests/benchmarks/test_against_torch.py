"""The commands that measure scoring and the training step beside PyTorch."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytestmark = pytest.mark.slow
FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


def run(script: str, *arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, str(FOLDER / script), "--variants=glintiqa_tiny", *arguments]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.parametrize("script", ["forward.py", "train_step.py"])
def test_table_and_json(script):
    few = ("--batch_sizes=1,3", "--ways=channels_last,eager", "--repeats=1", "--seconds=0")
    done = run(script, *few, "--json")
    assert done.returncode == 0, done.stderr
    lines = [line.strip("|").split("|") for line in done.stdout.splitlines() if line[:1] == "|"]
    titles, _, *rows = [[cell.strip() for cell in line] for line in lines]
    assert titles == ["network", "crops", "way", "crops/s", "ours to it", "of the limit"]
    ways = ("ours", "channels_last", "eager")
    assert [row[:3] for row in rows] == [["glintiqa_tiny", size, way] for size in ("1", "3") for way in ways]
    assert all(float(row[3]) > 0 for row in rows)
    assert [row[4] for row in rows[::3]] == ["1.00", "1.00"]
    last = json.loads(done.stdout.splitlines()[-1])
    assert set(last["ratios"]) == {"channels_last", "eager"}
    assert 0 < last["share_of_limit"] < 1


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--variants=none", "--variants: expected some of glintiqa_s16_r50, "),
        ("--ways=ours", "--ways: expected some of eager, channels_last, compile, bfloat16, found 'ours'"),
        ("--batch_sizes=0", "--batch_sizes: expected whole numbers from 1, found 0"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(argument, message):
    done = run("forward.py", argument)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
