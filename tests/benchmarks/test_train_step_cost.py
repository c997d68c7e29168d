"""The command that measures the training step."""

import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = Path(__file__).resolve().parents[2] / "benchmarks" / "train_step_cost.py"


def run(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, str(COMMAND), *arguments], capture_output=True, text=True)


def table(output: str) -> list[list[str]]:
    """The cells of each row of a Markdown table, its titles first."""
    lines = [line.strip("|").split("|") for line in output.splitlines() if line[:1] == "|"]
    return [[cell.strip() for cell in line] for number, line in enumerate(lines) if number != 1]


@pytest.mark.slow
def test_table_of_the_smallest_variant():
    few = ("--dtypes=float32", "--remat=false", "--steps=2", "--repeats=1", "--batch_sizes=4")
    done = run("--variants=glintiqa_tiny", "--accumulate=1,2", *few)
    assert done.returncode == 0, done.stderr
    titles, *rows = table(done.stdout)
    assert titles[:9] == [
        *("variant", "batch", "dtype", "remat", "accumulate"),
        *("images/s", "ratio", "peak MB", "ratio"),
    ]
    assert [title for title in titles[9:] if title not in ("device peak MB", "utilisation")] == [
        *("compile s", "GFLOP/image", "compiled", "data wait")
    ]
    assert [row[:5] for row in rows] == [["glintiqa_tiny", "4", "float32", "no", parts] for parts in ("1", "2")]
    assert all(float(cell.rstrip("%")) > 0 for row in rows for cell in row[5:-1])
    assert all(0 <= float(row[-1].rstrip("%")) < 100 for row in rows)
    assert rows[0][6] == rows[0][8] == "1.00"
    peak, model, compiled = (titles.index(title) for title in ("peak MB", "GFLOP/image", "compiled"))
    assert float(rows[1][peak]) < float(rows[0][peak])  # what accumulation is for
    for row in rows:
        assert float(row[compiled]) == pytest.approx(float(row[model]), rel=0.2)
