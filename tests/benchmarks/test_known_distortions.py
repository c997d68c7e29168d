"""The command that says whether scores fall with the level of known distortions."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from glintiqa_jax.data.scale import ScoreScale
from glintiqa_jax.models.config import VARIANTS
from glintiqa_jax.models.glintiqa import new_model
from glintiqa_jax.saqt.distortions import DISTORTIONS
from glintiqa_jax.saqt.scenes import dead_leaves
from glintiqa_jax.scoring.card import ModelCard, View
from glintiqa_jax.scoring.model import Model

pytestmark = pytest.mark.slow
SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "known_distortions.py"


def run(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True)


def rows(said: str) -> dict[str, list[str]]:
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in said.splitlines() if line[:1] == "|"]
    return {name: cells for name, *cells in lines}


def test_the_model_that_ships_sees_most_distortions(tmp_path):
    Image.fromarray(dead_leaves(256, seed=0)).save(tmp_path / "one.png")
    done = run(f"--photographs={tmp_path}", "--trials=12", "--json")
    assert done.returncode == 0, done.stderr
    table = rows(done.stdout)
    assert {distortion.name for distortion in DISTORTIONS} <= set(table)
    assert float(table["gaussian_blur"][0]) == 1
    shares = json.loads(done.stdout.splitlines()[-1])
    assert shares["falls"] > 0.65  # half of the pairs would fall by chance
    assert shares["found"] > 0.3  # a quarter would be found by chance
    assert [cells.partition(" ")[0] for cells in table["all"]] == [f"{share:.3f}" for share in shares.values()]


def test_a_network_of_random_values_with_lower_is_better_and_no_trials(tmp_path):
    """Its scores are turned round, and what is not measured has no figure."""
    Image.fromarray(dead_leaves(256, seed=0)).save(tmp_path / "one.png")
    network, tables = VARIANTS["glintiqa_tiny"], []
    for lower in (False, True):
        card = ModelCard(network, ScoreScale(0.0, 1.0, lower_is_better=lower), View(max_short_side=40, grid=1))
        folder = Model(new_model(network), card).save(tmp_path / f"model{lower}")
        done = run(f"--photographs={tmp_path}", f"--model={folder}", "--trials=0")
        assert done.returncode == 0, done.stderr
        tables.append(rows(done.stdout))
    assert tables[0] == tables[1]
    assert tables[0]["gaussian_blur"][2] == tables[0]["all"][2] == ""


def test_an_empty_folder_is_one_line_and_exit_code_2(tmp_path):
    done = run(f"--photographs={tmp_path}")
    assert done.returncode == 2
    assert f"--photographs: expected a folder of PNG files, found {tmp_path}" in done.stderr
    assert "Traceback" not in done.stderr
