"""The command that measures evaluation next to PyTorch, and the network there: is it the same one?"""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from flax import nnx
from PIL import Image
from reference import official_state_dict, parity

from glintiqa_jax.models.glintiqa import create_model
from glintiqa_jax.models.weights import export_glintiqa
from glintiqa_jax.saqt.scenes import dead_leaves

torch = pytest.importorskip("torch")

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"
WAYS = ("PyTorch, every crop decoded", "PyTorch, every image decoded once", "ours", "ours, compiled")


@pytest.fixture
def network(monkeypatch):
    """PyTorch's network of a variant, with weights in the official layout."""
    monkeypatch.syspath_prepend(FOLDER)
    import networks
    import torch_glintiqa

    def make(variant: str, weights: dict[str, np.ndarray]):
        model = torch_glintiqa.GlintIQA(SimpleNamespace(**networks.fields_of_variants()[variant]))
        model.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in weights.items()}, strict=True)
        return model

    return make


def scores(model, images: np.ndarray) -> np.ndarray:
    """Of uint8 crops ``(batch, crop, crop, 3)``."""
    with torch.no_grad():
        return model(torch.from_numpy(images).permute(0, 3, 1, 2) / 127.5 - 1).numpy()


def test_pytorchs_network_gives_the_references_scores(network):
    model = network("glintiqa_s16_r50", official_state_dict())
    np.testing.assert_allclose(scores(model, parity()["image"]), parity()["score"], atol=1e-4)


@pytest.mark.parametrize("variant", ["glintiqa_tiny", "glintiqa_mini", "glintiqa_lite"])
def test_pytorchs_network_takes_exported_weights_and_gives_our_scores(network, variant):
    model = create_model(variant, seed=1, identity_start=False)
    side = model.config.crop_size
    images = np.random.default_rng(0).integers(0, 256, (4, side, side, 3), np.uint8)
    ours = nnx.jit(lambda model, images: model(images))(model, images)
    found = scores(network(variant, export_glintiqa(model)), images)
    assert found.std() > 1e-3
    np.testing.assert_allclose(found, ours, atol=1e-5)


def run(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, str(FOLDER / "evaluate_folder.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.fixture
def photographs(tmp_path) -> Path:
    """Three of different sizes, one of them turned by its EXIF data alone, and a file that is none."""
    for number, (side, orientation) in enumerate([(48, 1), (40, 6), (64, 1)]):
        exif = Image.Exif()
        exif[0x0112] = orientation
        pixels = dead_leaves(64, seed=number)[:side]
        Image.fromarray(pixels).save(tmp_path / f"{number}.jpg", exif=exif)
    (tmp_path / "scores.txt").write_text("no photograph")
    return tmp_path


@pytest.mark.slow
def test_table(photographs):
    few = ("--variants=glintiqa_tiny", "--images=3", "--repeats=1", "--batch_size=2")
    done = run(*few, f"--photographs={photographs}", "--torch_batch_size=7")
    assert done.returncode == 0, done.stderr
    lines = [line.strip("|").split("|") for line in done.stdout.splitlines() if line[:1] == "|"]
    titles, _, *rows = [[cell.strip() for cell in line] for line in lines]
    assert titles == ["variant", "way", "seconds", "of them compiling", "images/s", "ratio to PyTorch's loop"]
    data_only = [f"{way}, data only" for way in WAYS[:3]]
    assert [row[:2] for row in rows] == [["glintiqa_tiny", way] for way in (*WAYS, *data_only)]
    assert all(float(row[2]) > 0 and float(row[4]) > 0 for row in rows)
    assert [row[1] for row in rows if row[3]] == ["ours"]
    for row in (rows[0], rows[4]):
        assert row[5] == "1.00 (1.00 to 1.00)"
    assert "3 images" in done.stdout
    assert "25 crops each" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--variants=glintiqa"], "--variants: expected some of glintiqa_s16_r50, "),
        (["--variants="], "--variants: expected some of"),
        (["--images=0"], "--images=0"),
        (["--repeats=some"], "--repeats=some"),
        (["--torch_workers=-1"], "--torch_workers=-1"),
        (["--photographs=nowhere"], "--photographs=nowhere: expected a folder of photographs, found no folder"),
        (["--photographs={}", "--images=4"], "expected at least the 4 of --images, found 3"),
        (["--photographs={}", "--images=3"], "expected sides of at least 64 pixels, the crop of glintiqa_mini, found"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(photographs, arguments, message):
    done = run(*(argument.format(photographs) for argument in arguments))
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
