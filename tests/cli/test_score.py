"""``glintiqa score`` and its kind as a user runs them: rows, a gate, files that are continued, and one clear error."""

import contextlib
import csv
import dataclasses
import io
import json
import os
import pty
import re
import signal
import subprocess
import sys
import termios
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from conftest import heard, write_images
from PIL import Image

from glintiqa_jax.cli.main import main
from glintiqa_jax.data.scale import ScoreScale
from glintiqa_jax.models.config import VARIANTS
from glintiqa_jax.models.glintiqa import new_model
from glintiqa_jax.scoring.card import Calibration, ModelCard, TrainedOn, View
from glintiqa_jax.scoring.model import Model
from glintiqa_jax.scoring.rows import read_rows
from glintiqa_jax.version import __version__

TINY = VARIANTS["glintiqa_tiny"]
PHOTOS = [f"photos/image0{number}.png" for number in range(6)]
CARD = ModelCard(
    TINY,
    ScoreScale(1.0, 5.0),
    View(max_short_side=64, grid=2),
    calibration=Calibration((0.1,) * 60, (0.2,) * 60, 60),
    trained_on=TrainedOn("csv", 200, "0" * 64, "1" * 64),
    results={"test": {"srocc": 0.875, "images": 40}},
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with model/ and photos/, six images and one that is broken."""
    folder = tmp_path_factory.mktemp("score")
    Model(new_model(TINY), CARD).save(folder / "model")
    write_images(folder / "photos", 6, size=(50, 70))
    (folder / "photos" / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    return folder


@pytest.fixture
def call(folder, capfd, monkeypatch):
    """Runs a job in the folder; gives the exit code, stdout and stderr."""
    monkeypatch.chdir(folder)

    def run(*arguments, stdin=None):
        if stdin is not None:
            (folder / "list").write_bytes(stdin)
            monkeypatch.setattr(sys, "stdin", (folder / "list").open())
        code = 0
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as ended:
            code = ended.code
        finally:
            if stdin is not None:
                sys.stdin.close()
        out, err = capfd.readouterr()
        return code, out, heard(err)

    return run


def rows(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_rows_of_a_folder_come_in_order_and_a_bad_file_is_one_of_them(call):
    code, out, err = call("score", "--model=model", "photos")
    assert (code, err) == (3, "")
    found = rows(out)
    assert [row["path"] for row in found] == [
        "photos/broken.jpg",
        *(f"photos/image0{number}.png" for number in range(6)),
    ]
    assert found[0]["score"] == ""
    assert found[0]["error"].startswith("not an image that can be decoded")
    for row in found[1:]:
        assert (row["width"], row["height"], row["error"]) == ("70", "50", "")
        assert float(row["percent"]) == pytest.approx(25 * (float(row["score"]) - 1))
        assert float(row["low"]) <= float(row["high"])


def test_formats_hold_the_same(call, tmp_path):
    _, out, _ = call("score", "-m", "model", "photos")
    _, lines, _ = call("score", "-m", "model", "photos", "--format=jsonl")
    for one, other in zip(rows(out), map(json.loads, lines.splitlines()), strict=True):
        assert {name: "" if value is None else str(value) for name, value in other.items()} == one
    code, table, _ = call("score", "-m", "model", "photos", "--format=table")
    assert code == 3
    header, *body = table.splitlines()
    assert header.endswith("image (MOS 1 to 5, higher is better)")
    assert len(body) == 7
    for name in ("rows.csv", "rows.jsonl"):
        code, said, err = call("score", "-m", "model", "photos", "-o", tmp_path / name)
        assert (code, said, err) == (3, f"7 rows, 1 could not be read: {tmp_path}/{name}\n", "")
    assert (tmp_path / "rows.csv").read_text() == out
    assert (tmp_path / "rows.jsonl").read_text() == lines


def test_the_best_and_the_worst(call):
    _, out, _ = call("score", "-m", "model", "photos")
    ordered = sorted((row for row in rows(out) if row["score"]), key=lambda row: float(row["score"]))
    for flag, expected in (
        ("--sort=best", ordered[::-1]),
        ("--sort=worst", ordered),
        ("--top=2", ordered[:-3:-1]),
        ("--bottom=2", ordered[:2]),
    ):
        code, out, _ = call("score", "-m", "model", "photos", flag)
        assert (code, [row["path"] for row in rows(out)]) == (3, [*(r["path"] for r in expected), "photos/broken.jpg"])


def test_a_gate_tells_by_its_exit_code(call):
    _, out, _ = call("score", "-m", "model", *PHOTOS)
    percents = sorted(float(row["percent"]) for row in rows(out))
    values = sorted(float(row["score"]) for row in rows(out))
    for flags, fallen in (
        ([f"--below={percents[2]}"], 2),
        ([f"--above={percents[2]}"], 3),
        ([f"--below={values[3]}", "--unit"], 3),
        ([f"--below={percents[0]}"], 0),
    ):
        code, out, _ = call("score", "-m", "model", *PHOTOS, *flags)
        assert (code, len(rows(out))) == (1 if fallen else 0, fallen)


def test_a_terminal_gets_a_table_and_a_bar(folder):
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (40, 120))
    code = "from glintiqa_jax.cli.main import main; main()"
    command = [sys.executable, "-c", code, "score", "-m", folder / "model", "photos", "photos/image00.png"]
    with subprocess.Popen(command, cwd=folder, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # how a terminal ends
            while chunk := os.read(ours, 2**16):
                shown += chunk
    os.close(ours)
    assert process.returncode == 3, shown
    lines = [line for line in shown.decode().replace("\r", "\n").splitlines() if line.strip()]
    assert any(re.search(r"scoring: .*/8 .*image/s", line) for line in lines), lines
    assert [line.split()[-1] for line in lines if line.endswith(".png")] == [*PHOTOS, PHOTOS[0]]


@pytest.mark.parametrize("separator", [b"\n", b"\0"])
def test_a_list_on_stdin(call, folder, separator):
    names = [b"photos/image00.png", b"photos/nowhere.png", b"photos/image01.png"]
    code, out, _ = call("score", "-m", "model", "-", stdin=separator.join(names))
    assert (code, [row["path"].encode() for row in rows(out)]) == (3, names)


def test_names_of_all_kinds(call, folder, tmp_path):
    names = ["two\nlines.png", "a,b.png", 'say "hi".png', "🦊.png", "--dash.png", "caf\udce9.png"]
    for name in names:
        Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(tmp_path / "x.png")
        try:
            (tmp_path / "x.png").rename(tmp_path / name)
        except OSError:
            names.remove(name)  # this file system takes names in UTF-8 alone
    assert call("score", "-m", "model", tmp_path, "-o", folder / "names.csv")[0] == 0
    assert sorted(Path(row.path).name for row in read_rows(folder / "names.csv")) == sorted(names)
    code, out, _ = call("score", "-m", "model", tmp_path, "--format=table")
    assert (code, len(out.splitlines())) == (0, 1 + len(names))


def test_an_output_is_continued(call, folder, tmp_path):
    path = tmp_path / "rows.csv"
    code, said, _ = call("score", "-m", "model", "photos/image00.png", "photos/image03.png", "-o", path)
    assert (code, said) == (0, f"2 rows: {path}\n")
    code, said, _ = call("score", "-m", "model", "photos", "-o", path, "--resume")
    assert (code, said) == (3, f"7 rows, 5 of them new, 1 could not be read: {path}\n")
    assert len({row.path for row in read_rows(path)}) == 7
    assert call("score", "-m", "model", "photos", "-o", path, "--resume")[0] == 0  # nothing is left
    other = dataclasses.replace(CARD, scale=ScoreScale(0.0, 1.0))
    Model(new_model(TINY), other).save(tmp_path / "other")
    code, _, err = call("score", "-m", tmp_path / "other", "photos", "-o", path, "--resume")
    assert code == 2
    assert "expected rows of the model" in err


def test_what_kill_9_left_is_continued(call, folder, tmp_path, monkeypatch):
    """Without a double or torn row; the file appears when it is complete."""
    photos = write_images(tmp_path / "photos", 60, size=(50, 70))
    code = "from glintiqa_jax.cli.main import main; main()"
    arguments = ["score", f"--model={folder}/model", "photos", "--output=rows.jsonl"]
    command = [sys.executable, "-c", code, *arguments]
    part = tmp_path / "rows.jsonl.part"
    for end, told in ((signal.SIGKILL, ""), (signal.SIGTERM, "rows are in")):
        extra = ["--resume"] if part.exists() else []
        before = part.stat().st_size if part.exists() else 0
        with subprocess.Popen([*command, *extra], cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
            while process.poll() is None and not (part.exists() and part.stat().st_size > before + 500):
                time.sleep(0.01)
            process.send_signal(end)
            said = process.communicate()[1]
        assert process.returncode in (-9, 143)
        assert told in heard(said)
        assert not (tmp_path / "rows.jsonl").exists()
    monkeypatch.chdir(tmp_path)
    code, _, said = call(*arguments)
    assert (code, "--resume goes on with them" in said) == (2, True)
    code, _, said = call(*arguments, "--resume")
    assert code == 0, said
    assert sorted(row.path for row in read_rows(tmp_path / "rows.jsonl")) == [
        f"photos/{name}" for name in sorted(photos)
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos", "rows.jsonl"]


def test_rows_go_wherever_output_says(folder, tmp_path):
    """To a reader that leaves, alone to stdout; and a full disk is one line."""
    score = f"{sys.executable} -c 'from glintiqa_jax.cli.main import main; main()' score -m {folder}/model"
    image = f"{folder}/photos/image00.png"
    for command, code, shown, said in [
        (f"{score} {image} {image} | head -1 | cut -d, -f1-2; exit ${{PIPESTATUS[0]}}", 0, ["schema,path"], ""),
        (f"{score} {image} -o /dev/stdout | cut -d, -f2", 0, ["path", image], ""),
        (f"{score} {image} -o /dev/full", 2, [], "error: /dev/full: the disk is full\n"),
    ]:
        done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode in (code, 141), command  # 141: after the reader had left
        assert (done.stdout.splitlines(), heard(done.stderr)) == (shown, said), command


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["score", "-m", "model"], "expected images or folders to score, found none"),
        (["score", "-m", "nowhere", "photos"], "--model=nowhere: expected"),
        (["score", "-m", "model", "photos", "--below=1", "--above=2"], "--above=2.0: expected one limit"),
        (["score", "-m", "model", "photos", "--unit"], "--unit: expected --below or --above"),
        (["score", "-m", "model", "photos", "--top=3", "--sort=best"], "--top: expected not both it and --sort"),
        (["score", "-m", "model", "photos", "--resume"], "--resume: expected --output"),
        (
            ["score", "-m", "model", "photos", "--resume", "-o", "x.csv", "--top=1"],
            "--resume: expected an output of",
        ),
        (["score", "-m", "model", "photos", "--format=table", "-o", "x.csv"], "--format=table: expected csv or jsonl"),
        (["score", "-m", "model", "photos", "-o", "no/x.csv"], "--output=no/x.csv: expected a file in an existing"),
        (["score", "-m", "model", "photos", "-o", ""], "--output: expected a file to write, found nothing"),
        (["score", "-m", "model", "photos", "-o", "x.parquet"], "--output=x.parquet: expected a file ending with .csv"),
        (["score", "-m", "model", "photos", "-o", "photos/image00.png"], "photos/image00.png: expected a file ending"),
        (
            ["score", "-m", "model", "photos", "-o", "photos/image00.png", "--format=csv"],
            "a file for rows, found an image",
        ),
        (["score", "-m", "model", "photos", "--formt=csv"], "Did you mean: format ?"),
        (
            ["map", "-m", "model", "photos/image00.png", "-o", "x.jpg"],
            "--output=x.jpg: expected a file ending",
        ),
        (["map", "-m", "model", "-o", "x.png"], "expected one photograph, found 0"),
        (["map", "-m", "model", "photos/broken.jpg", "-o", "x.png"], "photos/broken.jpg: not an image"),
        (["map", "-m", "model", "photos/image00.png", "-o", "x.png", "--overlap=1"], "--overlap=1.0: expected a share"),
        (["compare", "-m", "model", "photos"], "expected two photographs or folders, found 1"),
        (["compare", "-m", "model", "photos", "photos/image00.png"], "photos: expected two folders, or no folder"),
        (["info", "a", "b"], "expected one model, found 2"),
        (["info", "nowhere"], "model=nowhere: expected"),
    ],
)
def test_wrong_use_is_one_line(call, folder, arguments, message):
    code, out, err = call(*arguments)
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert message in err
    assert not [path for path in folder.iterdir() if path.name.startswith(("x.", ".partial"))]


def test_a_map_in_three_forms(call, tmp_path):
    for ending in ("png", "npy", "json"):
        code, out, err = call("map", "-m", "model", "photos/image00.png", "-o", tmp_path / f"map.{ending}")
        assert (code, err) == (0, "")
        assert out.endswith(f": {tmp_path}/map.{ending}\n")
    values = np.load(tmp_path / "map.npy", allow_pickle=False)
    assert (values.shape, values.dtype) == ((50, 70), np.float32)
    content = json.loads((tmp_path / "map.json").read_text())
    assert (content["path"], content["width"]) == ("photos/image00.png", 70)
    assert {"left", "top", "width", "height", "score"} == set(content["windows"][0])
    assert np.asarray(Image.open(tmp_path / "map.png").convert("RGB")).std() > 10


def test_photographs_are_compared_with_the_best(call):
    names = PHOTOS[:3]
    _, out, _ = call("score", "-m", "model", *names, "--sort=best")
    expected = [row["path"] for row in rows(out)]
    code, out, err = call("compare", "-m", "model", *names)
    assert (code, err) == (0, "")
    assert [line.split()[-1] for line in out.splitlines()[1:]] == expected
    found = json.loads(call("compare", "-m", "model", *names, "--json")[1])["photographs"]
    assert [one["path"] for one in found] == expected
    assert all(one["certain"] == (one["behind"] > one["uncertainty"]) for one in found[1:])


def test_folders_are_compared_pair_by_pair(call, tmp_path):
    """A folder against itself is the same; against darkened copies, whatever their endings, it has a sign."""
    names = write_images(tmp_path / "before", 6, size=(50, 70))
    (tmp_path / "after").mkdir()
    for name in names:
        dark = Image.open(tmp_path / "before" / name).point(lambda value: value // 4)
        dark.save(tmp_path / "after" / f"{Path(name).stem}.bmp")
    call("score", "-m", "model", tmp_path / "before", "-o", tmp_path / "before.csv")
    call("score", "-m", "model", tmp_path / "after", "-o", tmp_path / "after.csv")
    percents = [[row.percent for row in read_rows(tmp_path / f"{side}.csv")] for side in ("before", "after")]
    code, out, err = call("compare", "-m", "model", tmp_path / "before", tmp_path / "after", "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert found["pairs"] == 6
    assert found["difference"] == pytest.approx(np.mean(np.subtract(*percents[::-1])), rel=1e-6)
    assert found["interval"][0] <= found["difference"] <= found["interval"][1]
    code, out, _ = call("compare", "-m", "model", tmp_path / "before", tmp_path / "before")
    assert out.splitlines()[-1].endswith("which may be chance; better in 0% of 6 pairs")
    (tmp_path / "after" / "image00.bmp").unlink()
    said = call("compare", "-m", "model", tmp_path / "before", tmp_path / "after")[2]
    assert said == "1 photographs are in one of the folders only, and are left out\n"


def test_info_is_the_card(call):
    code, out, err = call("info", "model")
    assert (code, err) == (0, "")
    for said in (
        "glintiqa_tiny",
        "MOS 1 to 5, higher is better",
        "2 x 2 crops of 32 x 32",
        "95 %, by the errors on 60",
        "csv, 200 images",
        "SROCC 0.8750",
        "digest",
    ):
        assert said in out
    card = json.loads(call("info", "model", "--json")[1])
    assert ModelCard.from_json(card) == CARD


def test_info_says_the_versions_that_a_report_of_a_fault_needs(call):
    code, out, err = call("info", "--versions")
    assert (code, err) == (0, "")
    found = dict(re.split(" {2,}", line, maxsplit=1) for line in out.splitlines())
    assert list(found) == ["glintiqa", "commit", "libraries", "devices", "platform"]
    assert found["glintiqa"] == __version__
    assert all(f"{name} {version(name)}" in found["libraries"] for name in ("jax", "flax"))
    assert "(cpu)" in found["devices"]
    assert call("info", "--versions", "model")[0] == 2


@pytest.mark.parametrize("job", ["score", "map", "compare", "info"])
def test_help_fits_a_screen_and_has_an_example(call, job):
    code, out, _ = call(job, "--help")
    assert code == 0
    assert len(out.splitlines()) <= 45
    assert f"    glintiqa {job} " in out
