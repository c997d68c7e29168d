"""The command that says what a model does with kinds of photographs, and with images that are none."""

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from glintiqa_jax.data.scale import ScoreScale
from glintiqa_jax.models.config import VARIANTS
from glintiqa_jax.models.glintiqa import new_model
from glintiqa_jax.saqt.scenes import dead_leaves
from glintiqa_jax.scoring.card import ModelCard, View
from glintiqa_jax.scoring.model import Model

pytestmark = pytest.mark.slow
SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "biases.py"
COUNT = 40


def run(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True)


def test_kinds_are_told_apart_and_their_error_is_their_own(tmp_path):
    """Every second photograph is dark, and predicted .2 too high."""
    scores = np.random.default_rng(0).uniform(0.2, 0.6, COUNT)
    with (tmp_path / "predictions.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["name", "predicted", "crop_deviation", "score", "score_std", "group"])
        for number, score in enumerate(scores):
            dark = number % 2
            Image.fromarray(dead_leaves(48, seed=number) // (5 if dark else 1)).save(tmp_path / f"{number}.png")
            rows.writerow([f"{number}.png", score + 0.2 * dark, 0, score, "", number])
    card = ModelCard(VARIANTS["glintiqa_tiny"], ScoreScale(0.0, 1.0), View(max_short_side=40, grid=1))
    folder = Model(new_model(card.network), card).save(tmp_path / "model")
    done = run(f"--predictions={tmp_path / 'predictions.csv'}", f"--images={tmp_path}", f"--model={folder}")
    assert done.returncode == 0, done.stderr
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in done.stdout.splitlines()]
    table = {cells[0].partition(":")[0]: cells[1:] for cells in lines}
    assert (table["all"][0], table["all"][2]) == ("40", "+0.100")
    assert table["dark"] == ["20", "1.000 (1.000 to 1.000)", "+0.200"]
    assert {"a page of text", "noise", "mean of 40 photographs, 1/8 of their pixels a side"} <= set(table)


def test_photographs_that_are_not_there_are_one_line_and_exit_code_2(tmp_path):
    (tmp_path / "predictions.csv").write_text("name,predicted,score\na.png,1,2\n")
    done = run(f"--predictions={tmp_path / 'predictions.csv'}", f"--images={tmp_path}")
    assert done.returncode == 2
    assert "--images: expected 1 photographs, such as" in done.stderr
    assert "Traceback" not in done.stderr
