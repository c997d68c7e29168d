"""The page of the distortions is what their table says."""

import pathlib
import runpy
import subprocess
import sys

from glintiqa_jax.saqt.distortions import DISTORTIONS

DOCS = pathlib.Path(__file__).resolve().parents[3] / "docs"
page = runpy.run_path(str(DOCS / "distortions.py"))["page"]


def test_page_is_what_its_command_gives() -> None:
    command = [sys.executable, DOCS / "distortions.py"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert (DOCS / "distortions.md").read_text() == printed == page()


def test_every_distortion_has_its_row() -> None:
    rows = [line.strip("| ").split(" | ") for line in page().splitlines() if line.startswith("|")][2:]
    assert [len(row) for row in rows] == [9] * 25
    for cells, row in zip(rows, DISTORTIONS, strict=True):
        assert cells[:2] == [str(row.number), f"`{row.name}`"]
        assert tuple(map(float, cells[2:7])) == row.levels
        assert cells[7] == row.definition
        assert cells[8].startswith("yes") == row.random
        assert all(name in cells[8] for name in row.parameters)
