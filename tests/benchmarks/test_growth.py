"""The command that measures how time and memory grow."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "growth.py"


def run(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True)


def test_each_measure_has_a_row_for_each_size():
    few = ("--variant=glintiqa_tiny", "--sizes_at_most=2", "--repeats=1")
    done = run("--measures=crops,photograph,photographs,step,side", *few)
    assert done.returncode == 0, done.stderr
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in done.stdout.splitlines()[2:]]
    sizes = ("2 crops", "8 crops", "0.25 megapixels", "1 megapixels", "10 photographs", "40 photographs")
    assert [row[1] for row in rows] == [*sizes, "4 crops", "8 crops", "128 pixels", "224 pixels"]
    assert all(float(row[2]) > 0 and float(row[4]) >= 0 for row in rows)
    assert [bool(row[3]) for row in rows] == [False, True] * 5


def test_an_unknown_measure_is_one_line_and_exit_code_2():
    done = run("--measures=none")
    assert done.returncode == 2
    assert "--measures: expected some of crops, photograph, photographs, step, side, found 'none'" in done.stderr
    assert "Traceback" not in done.stderr
