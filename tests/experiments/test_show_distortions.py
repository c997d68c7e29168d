"""The gallery's command: one photograph in, one picture out; each mistake is one line and exit code 2."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from conftest import write_images

COMMAND = Path(__file__).resolve().parents[2] / "experiments" / "show_distortions.py"


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, str(COMMAND), *arguments], cwd=folder, capture_output=True, text=True)


@pytest.mark.slow
def test_a_gallery_is_written(tmp_path):
    write_images(tmp_path, 1)
    for name, flags in (("one.png", []), ("two.png", ["--seed=5"]), ("three.png", ["--norescale"])):
        done = run(tmp_path, "image00.png", "-o", name, *flags)
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
    one, two, three = (np.asarray(PIL.Image.open(tmp_path / f"{name}.png")) for name in ("one", "two", "three"))
    assert one.shape == two.shape == three.shape
    assert (one != two).any()
    assert (one != three).any()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["image00.png", "one.png", "three.png", "two.png"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.jpg", "-o", "x.png"], "nowhere.jpg: expected a photograph, found No such file"),
        ([".", "-o", "x.png"], ".: expected a photograph, found Is a directory"),
        (["small.png", "-o", "x.png"], "small.png: expected sides of at least 32 pixels, found 40x31"),
        (["text.jpg", "-o", "x.png"], "text.jpg: not an image that can be decoded"),
        (["-o", "x.png"], "expected one photograph, found 0"),
        (["small.png", "small.png", "-o", "x.png"], "expected one photograph, found 2"),
        (["small.png"], "output"),
        (["small.png", "-o", "x.jpg"], "--output=x.jpg: expected a .png file"),
        (["small.png", "-o", "no/x.png"], "--output=no/x.png: expected a file in an existing folder"),
        (["small.png", "-o", "x.png", "--seed=-1"], "seed"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(tmp_path, arguments, message):
    write_images(tmp_path, 1, size=(31, 40))
    (tmp_path / "image00.png").rename(tmp_path / "small.png")
    (tmp_path / "text.jpg").write_text("no photograph")
    done = run(tmp_path, *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "x.png").exists()
