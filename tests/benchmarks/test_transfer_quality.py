"""The command that measures label transfer: its bounds on KADID-10k, and every row where there are images."""

import csv
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from glintiqa_jax.saqt.scenes import dead_leaves

COMMAND = Path(__file__).resolve().parents[2] / "benchmarks" / "transfer_quality.py"
COUNT = 6


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, str(COMMAND), *arguments], cwd=folder, capture_output=True, text=True)


def table(output: str) -> dict[str, list[float]]:
    """The numbers of each row of a Markdown table."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in output.splitlines() if line[:1] == "|"]
    return {name: [float(value) for value in values] for name, *values in rows[2:]}


@pytest.fixture
def references(tmp_path) -> Path:
    """``dmos.csv`` and images of a few references; every second one is the same scene as the one before, brighter.

    The scores of a scene's two references are nearly the same.
    """
    rng = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    rows = []
    for scene in range(COUNT // 2):
        pixels, scores = dead_leaves(48, seed=scene), rng.uniform(1.2, 4.8, (25, 5))
        for number in (2 * scene + 1, 2 * scene + 2):
            name = f"I{number:02d}"
            brighter = np.minimum(pixels.astype(int) + 4 * (number % 2), 255).astype(np.uint8)
            Image.fromarray(brighter).save(tmp_path / "images" / f"{name.lower()}.PNG")
            for (kind, level), score in np.ndenumerate(scores + rng.uniform(-0.2, 0.2, scores.shape)):
                rows.append([f"{name}_{kind + 1:02d}_{level + 1:02d}.png", f"{name}.png", f"{score:.3f}"])
    with (tmp_path / "dmos.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["dist_img", "ref_img", "dmos"], *rows])
    return tmp_path


@pytest.mark.slow
def test_bounds_of_kadid(shared, tmp_path):
    done = run(tmp_path, f"--reference_scores={shared / 'scores' / 'kadid10k' / 'dmos.csv'}")
    assert done.returncode == 0, done.stderr
    assert "81 references, MOS 1 to 5, higher is better" in done.stdout
    # of the project's plan, computed by itself: .888 / .507 for one draw, .938 / .363, .950 / .334
    found = table(done.stdout)
    np.testing.assert_allclose(found["a reference at random"], [0.888, 0.507], atol=0.005)
    np.testing.assert_allclose(found["mean over the others"], [0.938, 0.363], atol=0.0006)
    np.testing.assert_allclose(found["the best reference (oracle)"], [0.950, 0.334], atol=0.0006)


@pytest.mark.slow
def test_rows_of_references_with_images(references):
    flags = ("--reference_scores=dmos.csv", "--features=colour_texture", "--reference_features=own.npz", "--k=2")
    done = run(references, *flags, "--reference_images=images")
    assert done.returncode == 0, done.stderr
    found = table(done.stdout)
    assert list(found)[3:] == [f"{method}, colour_texture" for method in ("top1", "top2", "shrunk")]
    # the scene's other picture is the best reference, and is found
    assert found["top1, colour_texture"] == found["the best reference (oracle)"]
    assert found["top1, colour_texture"][1] < 0.3 < found["mean over the others"][1]
    assert found["shrunk, colour_texture"][1] < found["mean over the others"][1]
    again = run(references, *flags, "--reference_images=images")  # from the file
    assert again.returncode == 0, again.stderr
    assert again.stdout == done.stdout
    another = run(references, *flags, "--reference_images=images", "--features=resnet50", "--weights=timm")
    assert another.returncode == 2
    assert "own.npz: expected features of resnet50, found a feature file of another backbone" in another.stderr


@pytest.mark.slow
def test_simulated_features(references):
    done = run(references, "--reference_scores=dmos.csv", "--simulate", "--draws=1", "--k=2")
    assert done.returncode == 0, done.stderr
    found = table(done.stdout)
    mean = float(re.search(r"mean over the others (\S+)", done.stdout)[1])
    assert list(found) == ["0%", "3%", "10%", "30%", "100%"]
    assert found["100%"][0] < 0.3 < mean < found["0%"][0]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--reference_scores"),
        (["--reference_scores=nowhere.csv"], "nowhere.csv: cannot be read"),
        (
            ["--reference_scores=dmos.csv", "--reference_features=no.npz"],
            "--reference_features=no.npz: needs --reference_images",
        ),
        (["--reference_scores=dmos.csv", "--reference_images=nowhere"], "nowhere: expected an image or a folder"),
        (["--reference_scores=dmos.csv", "--reference_images=some"], "4 are missing: I03.png, I04.png, I05.png"),
        (["--reference_scores=dmos.csv", "--reference_images=images"], "features of resnet50 need its ImageNet"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(references, arguments, message):
    (references / "some").mkdir()
    for name in ("i01.PNG", "i02.PNG"):
        (references / "some" / name).write_bytes((references / "images" / name).read_bytes())
    done = run(references, *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
