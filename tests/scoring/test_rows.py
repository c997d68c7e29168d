"""Rows: whatever an image is called, its row comes back; a file of rows survives whatever ends its writer."""

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glintiqa_jax.data.pixels import BadImageError
from glintiqa_jax.data.scale import ScoreScale
from glintiqa_jax.errors import InputError
from glintiqa_jax.scoring.row_file import RowFile
from glintiqa_jax.scoring.rows import COLUMNS, FORMATS, SCHEMA, Row, header, read_rows, scan
from glintiqa_jax.scoring.score import Score

SCALE = ScoreScale(1.0, 5.0)
NAMES = ["plain.png", "a,b.png", 'say "cheese".png', "two\nlines.png", "-dash.png", "🦊.png", "caf\udce9.png", "{.png"]
LETTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
PATHS = st.text(st.one_of(LETTERS, st.sampled_from("\udc80\udcff")), min_size=1)


def row(name, model="abc"):
    return Row.of(name, Score(3.5, 0.25, (3.0, 4.25), SCALE, 640, 480, ("alpha over white",)), model)


def failed(name, model="abc"):
    return Row.of(name, BadImageError("not an image", file=name), model)


@pytest.mark.parametrize("kind", FORMATS)
@given(st.lists(PATHS, max_size=5))
def test_rows_come_back(kind, names):
    rows = [make(name) for name in [*NAMES, *names] for make in (row, failed)]
    file = io.BytesIO(header(kind) + b"".join(one.line(kind) for one in rows))
    assert [found for _, _, found in scan(file, "rows")] == rows


def test_a_row_says_what_a_score_says():
    assert row("a.png") == Row(
        "a.png", 640, 480, 3.5, 62.5, 0.25, 3.0, 4.25, "abc", "alpha over white", error=None, schema=SCHEMA
    )
    assert failed("a.png") == Row("a.png", model="abc", error="not an image")
    assert tuple(json.loads(row("a.png").line("jsonl"))) == COLUMNS
    assert header("csv") == (",".join(COLUMNS) + "\n").encode()


def test_columns_of_a_later_version_are_left_out(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_bytes(header("csv").replace(b"\n", b",colour\n") + row("a.png").line("csv").replace(b"\n", b",red\n"))
    assert list(read_rows(path)) == [row("a.png")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"name,score\na,1\n", "rows.csv: expected rows that .* wrote, found no column called schema"),
        (header("csv") + b"2,a.png,1,1,1,1,1,1,1,m,,\n", "rows.csv, line 2: expected a row"),
        (row("a").line("jsonl") + b"{}\n", "rows.csv, line 2: expected a row"),
        (header("csv") + row("two\nlines").line("csv") + b"torn", "rows.csv, line 4: expected a row"),
    ],
)
def test_what_is_no_row_is_named(tmp_path, content, message):
    (tmp_path / "rows.csv").write_bytes(content)
    with pytest.raises(InputError, match=message):
        list(read_rows(tmp_path / "rows.csv"))
    with pytest.raises(InputError, match=r"nowhere\.csv: expected a file of rows"):
        list(read_rows(tmp_path / "nowhere.csv"))


@pytest.mark.parametrize("kind", FORMATS)
@given(kept=st.integers(0, 8), torn=st.integers(0, 400))
def test_a_file_is_continued_wherever_it_ended(kind, kept, torn, tmp_path_factory):
    """As after kill -9: at the end, within a row, within the header."""
    path = tmp_path_factory.mktemp("rows") / f"rows.{kind}"
    whole = header(kind) + b"".join(row(name).line(kind) for name in NAMES[:kept])
    content = whole + row("torn\nrow").line(kind)
    path.with_name(f"{path.name}.part").write_bytes(content[: max(len(whole) - 60, 0) + torn])
    with RowFile(path, kind, "abc", resume=True) as file:
        for name in NAMES:
            if name not in file:
                file.write(row(name))
    found = [one.path for one in read_rows(path)]
    assert [name for name in found if name != "torn\nrow"] == NAMES
    assert not path.with_name(f"{path.name}.part").exists()


def test_a_finished_file_is_continued_too(tmp_path):
    path = tmp_path / "rows.csv"
    with RowFile(path, "csv", "abc") as file:
        file.write(row("a.png"))
    with RowFile(path, "csv", "abc", resume=True) as file:
        assert "a.png" in file
        file.write(row("b.png"))
    assert [one.path for one in read_rows(path)] == ["a.png", "b.png"]
    path.chmod(0o640)
    with RowFile(path, "csv", "abc") as file:
        pass
    assert (list(read_rows(path)), path.stat().st_mode & 0o777) == ([], 0o640)


def test_an_error_leaves_the_part_and_the_file_before_it(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("before")

    def interrupted():
        with RowFile(path, "csv", "abc") as file:
            file.write(row("a.png"))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == "before"
    assert list(read_rows(tmp_path / "rows.csv.part")) == [row("a.png")]
    with pytest.raises(InputError, match=r"expected no rows of an interrupted run, found .*part; `resume` goes on"):
        RowFile(path, "csv", "abc")
    with pytest.raises(InputError, match="expected rows of the model xyz, found rows of abc"):
        RowFile(path, "csv", "xyz", resume=True)
    with pytest.raises(InputError, match="expected rows in the format jsonl"):
        RowFile(path, "jsonl", "abc", resume=True)
    path.write_bytes(header("csv") + row("a.png").line("csv"))
    (tmp_path / "rows.csv.part").unlink()
    with pytest.raises(InputError, match="expected rows of the model xyz"):
        RowFile(path, "csv", "xyz", resume=True)
    assert [one.name for one in tmp_path.iterdir()] == ["rows.csv"]


def test_two_writers_of_one_file_are_refused(tmp_path):
    with RowFile(tmp_path / "rows.csv", "csv", "abc") as file:
        with pytest.raises(InputError, match="one that another run is writing"):
            RowFile(tmp_path / "rows.csv", "csv", "abc")
        file.write(row("a.png"))
    assert list(read_rows(tmp_path / "rows.csv")) == [row("a.png")]


def test_what_cannot_be_written_is_named(tmp_path):
    for name, message in [(".", "expected a file, found a folder"), ("no/x.csv", "a file in an existing folder")]:
        with pytest.raises(InputError, match=message):
            RowFile(tmp_path / name, "csv", "abc")
