"""The gallery's job: one photograph in, one picture out; each mistake is one line and exit code 2."""

from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from conftest import write_images

from glintiqa_jax.cli.main import main


@pytest.mark.slow
def test_a_gallery_is_written_wherever_one_asks_for_it(tmp_path, monkeypatch, capfdbinary):
    """A link stays one, a device stays one, what is piped gets the picture, and a full disk is an error."""
    write_images(tmp_path, 1)
    (tmp_path / "link.png").symlink_to("b.png")
    asked = [
        ("a.png", []),
        ("link.png", ["--seed=5"]),
        ("/dev/stdout", []),
        ("/dev/null", []),
        ("/dev/full", []),
    ]
    monkeypatch.chdir(tmp_path)
    written = []
    for name, flags in asked[:-1]:
        main(["show-distortions", "image00.png", "-o", name, *flags])
        written.append(capfdbinary.readouterr())
    with pytest.raises(SystemExit):
        main(["show-distortions", "image00.png", "-o", "/dev/full"])
    assert capfdbinary.readouterr().err == b"error: /dev/full: the disk is full\n"
    assert not any(one.err for one in written)
    one, two = (np.asarray(PIL.Image.open(tmp_path / name)) for name in ("a.png", "b.png"))
    assert one.shape == two.shape
    assert (one != two).any()
    assert written[2].out == (tmp_path / "a.png").read_bytes()
    assert written[0].out == written[1].out == written[3].out == b""
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


def test_mistakes_are_one_line_and_exit_code_2(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_images(tmp_path, 1, size=(31, 40))
    (tmp_path / "image00.png").rename(tmp_path / "small.png")
    write_images(tmp_path, 1)
    (tmp_path / "image00.png").rename(tmp_path / "good.png")
    (tmp_path / "text.jpg").write_text("no photograph")
    (tmp_path / "folder").mkdir()
    before = {path.name: path.read_bytes() for path in tmp_path.glob("*.*")}
    for arguments, message in MISTAKES:
        with pytest.raises(SystemExit, match=r"^2$"):
            main(["show_distortions", *arguments])
        (line,) = capsys.readouterr().err.splitlines()
        assert message in line
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*.*")} == before
