"""A gallery's folder: rows of any form, names of any kind, pictures kept, and the old page until the new is whole."""

import base64
import csv
import hashlib
import json
import os
import re
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from conftest import write_images
from PIL import Image

from glintiqa_jax.cli.main import main
from glintiqa_jax.data.scale import ScoreScale
from glintiqa_jax.errors import InputError
from glintiqa_jax.gallery import write_gallery
from glintiqa_jax.models.config import VARIANTS
from glintiqa_jax.models.glintiqa import new_model
from glintiqa_jax.progress import SILENT
from glintiqa_jax.scoring.card import ModelCard
from glintiqa_jax.scoring.model import Model

NUMBERS = ["width", "height", "score", "percent", "deviation", "low", "high"]
COLUMNS = ["schema", "path", *NUMBERS, "model", "note", "error"]


def scored(path, percent, **more):
    """A row of the scale 1 to 5."""
    score = 1 + percent / 25
    row = dict.fromkeys(COLUMNS) | {"schema": 1, "path": os.fspath(path), "width": 40, "height": 48, "model": "c0ffee"}
    return row | {"score": score, "percent": percent, "deviation": 0.25, "low": score - 1, "high": score + 1} | more


def failed(path, error):
    return dict.fromkeys(COLUMNS) | {"schema": 1, "path": os.fspath(path), "error": error}


def write_rows(path, rows):
    if path.suffix == ".csv":
        with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(rows)
    else:
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def shown(folder):
    """What the page is told: about all rows, and each row's cells."""
    (script,) = folder.glob("rows-*.js")
    assert script.name in (folder / "index.html").read_text()
    _, about, *lines, _ = script.read_bytes().decode("ascii").splitlines()
    return json.loads(re.search(r"about: (.*), rows: \[$", about)[1]), [json.loads(line[:-1]) for line in lines]


def pictures(folder, kind="thumbs"):
    return {path: path.stat().st_mtime_ns for path in (folder / kind).glob("*/*")}


@pytest.fixture
def photographs(tmp_path):
    return [tmp_path / "photos" / name for name in write_images(tmp_path / "photos", 6)]


NAMES = ["new\nline.png", "a, b.png", '"quoted".png', "\N{CAT FACE}.png", "-o.png", "<img src=x onerror=alert(1)>.png"]


@pytest.mark.parametrize("ending", ["jsonl", "csv"])
def test_rows_of_either_form_and_any_name_are_shown(photographs, tmp_path, ending):
    names = [tmp_path / name for name in NAMES] + [tmp_path / os.fsdecode(b"not\xfftext.png")]
    for photograph, name in zip([*photographs, photographs[0]], names, strict=True):
        name.write_bytes(photograph.read_bytes())
    rows = [scored(name, 10.0 * number) for number, name in enumerate(names)]
    rows[1]["note"] = "alpha over white"
    rows += [failed("</script><b>.txt", "not an image")]
    written = write_gallery(write_rows(tmp_path / f"rows.{ending}", rows), tmp_path / "gallery", log=SILENT)
    assert (written.photographs, written.failed, written.missing, written.maps) == (7, 1, 0, 0)
    about, cells = shown(tmp_path / "gallery")
    assert about["scale"] == [1, 5]
    assert [Path(path).name for path, *_ in cells[:7]] == ["new\\nline.png", *NAMES[1:], "not\\xfftext.png"]
    path, percent, score, deviation, low, high, width, height, picture, missing, note, model = cells[1]
    assert path == f"{tmp_path}/a, b.png"
    assert (percent, score, deviation, width, height) == (10, 1.4, 0.25, 40, 48)
    assert (round(low, 3), round(high, 3)) == (0.4, 2.4)
    assert (missing, note, about["models"][model]) == ("", "alpha over white", "c0ffee")
    assert cells[7] == ["</script><b>.txt", "not an image"]
    thumb = tmp_path / "gallery" / "thumbs" / picture[:2] / f"{picture}.webp"
    assert np.allclose(np.asarray(Image.open(thumb)).mean(), np.asarray(Image.open(names[1])).mean(), atol=4)


def test_the_page_runs_its_own_script_and_no_other(photographs, tmp_path):
    """Its policy names style and script by their digests; rows are data in a file of their own."""
    rows = write_rows(tmp_path / "rows.jsonl", [scored(photographs[0], 50.0)])
    page = write_gallery(rows, tmp_path / "gallery", log=SILENT).page.read_text()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    for text in (
        re.search(r"<style>(.*)</style>", page, re.DOTALL)[1],
        page.split("<script>")[1].split("</script>")[0],
    ):
        assert f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" in policy
    assert "photos" not in page


def test_photographs_that_cannot_be_shown_are_told_and_end_nothing(photographs, tmp_path, capsys):
    (tmp_path / "text.png").write_text("no photograph")
    os.mkfifo(tmp_path / "pipe.png")
    odd = [tmp_path / "gone.png", tmp_path / "text.png", tmp_path, tmp_path / "pipe.png", "zero\0byte.png", "x" * 5000]
    rows = write_rows(tmp_path / "rows.jsonl", [scored(path, 50.0) for path in [*odd, photographs[0]]])
    main(["gallery", str(rows), "-o", str(tmp_path / "gallery")])
    said = capsys.readouterr()
    assert said.err == (
        f"warning: 6 of 7 photographs have no picture in the gallery, as {tmp_path}/gone.png: the file is gone\n"
    )
    assert said.out == f"gallery:  {tmp_path}/gallery/index.html  (7 photographs)\n"
    _, cells = shown(tmp_path / "gallery")
    assert [bool(one[8]) for one in cells] == [False] * 6 + [True]
    assert all(one[9] for one in cells[:6])


def test_pictures_of_unchanged_photographs_are_kept_and_others_removed(photographs, tmp_path):
    rows, folder = tmp_path / "rows.jsonl", tmp_path / "gallery"
    write_gallery(write_rows(rows, [scored(path, 50.0) for path in photographs[:4]]), folder, log=SILENT)
    before, previews = pictures(folder), pictures(folder, "previews")
    assert len(before) == len(previews) == 4
    Image.new("RGB", (48, 40)).save(photographs[0])
    write_gallery(write_rows(rows, [scored(path, 50.0) for path in photographs[:3]]), folder, log=SILENT)
    after = pictures(folder)
    assert len(after) == len(pictures(folder, "previews")) == 3
    assert len(before.items() & after.items()) == 2
    assert len(list(folder.glob("rows-*.js"))) == 1


class Stopping:
    """A log whose bar ends the work at a photograph."""

    def __init__(self, after):
        self.after = after

    def progress(self, *arguments, **options):
        bar = SILENT.progress(*arguments, **options)
        if options["desc"] == "gallery":
            bar.update = self.update
        return bar

    def update(self):
        self.after -= 1
        if not self.after:
            raise KeyboardInterrupt


def test_an_interrupted_gallery_leaves_the_old_page_and_goes_on_from_there(photographs, tmp_path):
    rows, folder = tmp_path / "rows.jsonl", tmp_path / "gallery"
    write_gallery(write_rows(rows, [scored(path, 50.0) for path in photographs[:2]]), folder, log=SILENT)
    old = shown(folder)
    write_rows(rows, [scored(path, 50.0) for path in photographs[::-1]])
    with pytest.raises(KeyboardInterrupt):
        write_gallery(rows, folder, log=Stopping(3))
    assert shown(folder) == old
    made = pictures(folder)
    assert len(made) >= 2 + 3
    assert {path.name.rpartition(".")[2] for path in folder.iterdir()} == {"html", "js", "thumbs", "previews"}
    write_gallery(rows, folder, log=SILENT)
    assert made.items() <= pictures(folder).items()
    assert len(shown(folder)[1]) == 6


def test_the_worst_get_maps_which_stay(photographs, tmp_path):
    tiny = VARIANTS["glintiqa_tiny"]
    model = Model(new_model(tiny), ModelCard(tiny, ScoreScale(1.0, 5.0)))
    small = tmp_path / "small.png"
    Image.new("RGB", (20, 20)).save(small)
    rows, folder = tmp_path / "rows.jsonl", tmp_path / "gallery"
    percents = [90.0, 20.0, 50.0, 10.0, 95.0, 15.0]
    places = zip([*photographs, small], [*percents, 1.0], strict=True)
    table = [scored(path, percent, model=model.digest) for path, percent in places]
    with pytest.raises(InputError, match=f"expected rows of `model` {model.digest}, found rows of c0ffee"):
        write_gallery(write_rows(rows, [scored(small, 1.0)]), folder, model=model, log=SILENT)
    write_rows(rows, table)
    assert write_gallery(rows, folder, model=model, maps=3, log=SILENT).maps == 2  # one is smaller than a window
    about, cells = shown(folder)
    assert about["unit"] == "MOS"
    assert [number for number, one in enumerate(cells) if len(one) > 12] == [3, 5]
    low, high = cells[3][13]
    assert 0 <= low < high <= 100
    name = cells[3][12]
    with Image.open(folder / "maps" / name[:2] / f"{name}.png") as drawn:
        assert drawn.size == (40, 48)
    made = pictures(folder, "maps")
    assert write_gallery(rows, folder, log=SILENT).maps == 2
    write_gallery(write_rows(rows, table[:4]), folder, log=SILENT)
    assert pictures(folder, "maps").items() == {item for item in made.items() if item[0].stem == name}


def test_a_scale_whose_low_scores_are_good_is_seen_in_the_rows(tmp_path):
    rows = [scored("a", percent, score=100 - percent) for percent in (20.0, 60.0)]
    write_gallery(write_rows(tmp_path / "rows.jsonl", rows), tmp_path / "gallery", log=SILENT)
    assert shown(tmp_path / "gallery")[0]["scale"] == [100, 0]


def test_memory_does_not_grow_with_the_rows(tmp_path):
    def peak(count):
        rows = write_rows(tmp_path / "rows.jsonl", [failed(f"{number}.png", "no image") for number in range(count)])
        tracemalloc.start()
        write_gallery(rows, tmp_path / "gallery", log=SILENT)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    few, many = peak(300), peak(6000)
    assert many < few + 200_000


MISTAKES = [
    (["-o", "new"], "expected one file of rows, found 0"),
    (["rows.jsonl", "rows.jsonl", "-o", "new"], "expected one file of rows, found 2"),
    (["rows.jsonl"], "--output"),
    (["nowhere.jsonl", "-o", "new"], "nowhere.jsonl: expected a file that `glintiqa score` wrote, found none"),
    (["empty.jsonl", "-o", "new"], "empty.jsonl: expected rows of `glintiqa score`, found none"),
    (["torn.jsonl", "-o", "new"], "torn.jsonl, line 2: expected "),
    (["later.jsonl", "-o", "new"], "later.jsonl, line 1: expected "),
    (["other.csv", "-o", "new"], "other.csv"),
    (["words.jsonl", "-o", "new"], "words.jsonl, line 1: expected "),
    (["rows.jsonl", "-o", "photos"], "--output=photos: expected a new folder or a gallery's, found one that holds"),
    (["rows.jsonl", "-o", "rows.jsonl"], "--output=rows.jsonl: expected a folder, found a file"),
    (["rows.jsonl", "-o", "new", "--maps=-1"], "maps"),
    (["rows.jsonl", "-o", "new", "--maps=2", "--model=nowhere"], "nowhere"),
]


def test_mistakes_are_one_line_and_exit_code_2(photographs, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    row = scored(photographs[0], 50.0)
    write_rows(tmp_path / "rows.jsonl", [row])
    write_rows(tmp_path / "later.jsonl", [row | {"schema": 2}])
    write_rows(tmp_path / "words.jsonl", [row | {"score": "good"}])
    Path("empty.jsonl").write_text("")
    Path("torn.jsonl").write_text(f'{json.dumps(row)}\n{{"schema": 1, "pa')
    Path("other.csv").write_text("image,mos\na.png,3\n")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    for arguments, message in MISTAKES:
        with pytest.raises(SystemExit, match=r"^2$"):
            main(["gallery", *arguments])
        (line,) = capsys.readouterr().err.splitlines()
        assert message in line
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
