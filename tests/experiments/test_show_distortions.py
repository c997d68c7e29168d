"""The gallery's command: one photograph in, one picture out; each mistake is one line and exit code 2."""

from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from conftest import write_images
from forked_commands import run_forked

COMMAND = Path(__file__).resolve().parents[2] / "experiments" / "show_distortions.py"
IMPORTS = ("glintiqa_jax.command_line", "glintiqa_jax.data.images", "glintiqa_jax.saqt.gallery")


@pytest.mark.slow
def test_a_gallery_is_written_wherever_one_asks_for_it(tmp_path):
    """A link stays one, a device stays one, what is piped gets the picture, and a full disk is an error."""
    write_images(tmp_path, 1)
    (tmp_path / "link.png").symlink_to("b.png")
    asked = [
        ("a.png", []),
        ("link.png", ["--seed=5"]),
        ("/dev/stdout", ["--norescale"]),
        ("/dev/null", []),
        ("/dev/full", []),
    ]
    cases = [["image00.png", "-o", name, *flags] for name, flags in asked]
    *written, full = run_forked(COMMAND, cases, tmp_path, imports=IMPORTS)
    assert [(one.returncode, one.stderr) for one in written] == [(0, "")] * 4
    assert (full.returncode, full.stderr) == (2, "error: /dev/full: the disk is full\n")
    one, two = (np.asarray(PIL.Image.open(tmp_path / name)) for name in ("a.png", "b.png"))
    assert one.shape == two.shape
    assert (one != two).any()
    assert "IHDR" in written[2].stdout
    assert written[0].stdout == written[1].stdout == written[3].stdout == ""
    assert (tmp_path / "link.png").is_symlink()
    assert Path("/dev/null").is_char_device()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png", "image00.png", "link.png"]


MISTAKES = [
    (["nowhere.jpg", "-o", "x.png"], "nowhere.jpg: expected a photograph, found No such file"),
    ([".", "-o", "x.png"], ".: expected a photograph, found Is a directory"),
    (["small.png", "-o", "x.png"], "small.png: expected sides of at least 32 pixels, found 40x31"),
    (["text.jpg", "-o", "x.png"], "text.jpg: not an image that can be decoded"),
    (["-o", "x.png"], "expected one photograph, found 0"),
    (["small.png", "small.png", "-o", "x.png"], "expected one photograph, found 2"),
    (["small.png"], "output"),
    (["good.png", "-o", "x.jpg"], "--output=x.jpg: expected a .png file"),
    (["good.png", "-o", "no/x.png"], "--output=no/x.png: expected a file in an existing folder"),
    (["good.png", "-o", "folder"], "--output=folder: expected a file, found a folder"),
    (["good.png", "-o", "good.png"], "--output=good.png: expected another file than what is read"),
    (["small.png", "-o", "x.png", "--seed=-1"], "seed"),
]


def test_mistakes_are_one_line_and_exit_code_2(tmp_path):
    write_images(tmp_path, 1, size=(31, 40))
    (tmp_path / "image00.png").rename(tmp_path / "small.png")
    write_images(tmp_path, 1)
    (tmp_path / "image00.png").rename(tmp_path / "good.png")
    (tmp_path / "text.jpg").write_text("no photograph")
    (tmp_path / "folder").mkdir()
    before = {path.name: path.read_bytes() for path in tmp_path.glob("*.*")}
    results = run_forked(COMMAND, [arguments for arguments, _ in MISTAKES], tmp_path, imports=IMPORTS)
    for done, (arguments, message) in zip(results, MISTAKES, strict=True):
        assert done.returncode == 2, arguments
        assert message in done.stderr
        assert len(done.stderr.splitlines()) == 1 or message in ("output", "seed"), done.stderr  # absl shows the flag
        assert "Traceback" not in done.stderr
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*.*")} == before
