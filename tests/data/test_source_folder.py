"""Files are found by the end of their path, and tables of any dialect give back what was written."""

import csv

import pytest
from databases import write_stand_ins, write_table
from hypothesis import given
from hypothesis import strategies as st

from glintiqa_jax.data.source_folder import SourceFolder
from glintiqa_jax.data.tables import read_csv_rows, read_text_rows
from glintiqa_jax.errors import UserError

# Unlike in a real table, a name is never a part of another: what is found is then known.
names = st.text("abcdefghij", min_size=1, max_size=6)
paths = st.lists(names, min_size=1, max_size=4).map("/".join)
# Line ends within a field may come back as others; NUL is no text.
fields = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12)
headers = st.lists(
    st.text("abcdefghijklmnopqrstuvwxyzABC_ ()0123456789", min_size=1, max_size=12), min_size=2, max_size=6, unique=True
)


def swap(text: str, choices: list[bool]) -> str:
    return "".join(char.upper() if choices[i % len(choices)] else char.lower() for i, char in enumerate(text))


@given(paths, st.lists(names, max_size=3), st.lists(st.booleans(), min_size=1), st.lists(st.booleans(), min_size=1))
def test_a_file_is_found_in_any_case_and_however_deep(tmp_path_factory, path, above, on_disk, asked):
    folder = tmp_path_factory.mktemp("source")
    place = swap("/".join([*above, f"{path}.png"]), on_disk)
    write_stand_ins(folder, [place])
    source = SourceFolder(folder)
    parts = f"{path}.png".split("/")
    for start in range(len(parts)):
        wanted = swap("/".join(parts[start:]), asked)
        assert source.find(wanted) == folder / place
        assert source.find(wanted.replace("/", "\\")) == folder / place  # as Windows writes paths
        assert source.find(f"{wanted}x") is None
        assert source.find(f"x{wanted}") is None  # whole names, not ends of them
    assert source.find(f"none/{place}") is None


def test_the_least_nested_file_is_taken(tmp_path):
    write_stand_ins(tmp_path, ["a/images/x.png", "images/x.png", "a/b/images/x.png", "a/b/c/x.png"])
    source = SourceFolder(tmp_path)
    assert source.find("x.png") == source.find("images/x.png") == tmp_path / "images" / "x.png"
    assert source.find("a/images/x.png") == tmp_path / "a" / "images" / "x.png"
    assert source.find("c/x.png") == tmp_path / "a" / "b" / "c" / "x.png"


def test_of_files_that_differ_in_case_alone_the_exact_one_is_taken(tmp_path):
    write_stand_ins(tmp_path, ["images/x.png", "images/X.png"])
    if len(list((tmp_path / "images").iterdir())) < 2:
        pytest.skip("this file system does not tell names by case")
    source = SourceFolder(tmp_path)
    assert source.find("x.png") == tmp_path / "images" / "x.png"
    assert source.find("images/X.png") == tmp_path / "images" / "X.png"
    with pytest.raises(UserError, match=r"expected one file x\.PNG, found images/X\.png, images/x\.png"):
        source.find("x.PNG")


def test_equally_deep_files_are_refused_with_their_names(tmp_path):
    write_stand_ins(tmp_path, ["a/x.png", "b/x.png"])
    source = SourceFolder(tmp_path)
    with pytest.raises(UserError, match=rf"--source={tmp_path}: expected one file x\.png, found a/x\.png, b/x\.png"):
        source.find("x.png")
    assert source.find("b/x.png") == tmp_path / "b" / "x.png"


@pytest.mark.parametrize("name", ["", ".", "./"])
def test_no_name_is_no_file(tmp_path, name):
    write_stand_ins(tmp_path, ["x.png"])
    assert SourceFolder(tmp_path).find(name) is None


def test_files_beside_and_below_a_folder_are_not_inside_it(tmp_path):
    write_stand_ins(tmp_path, ["Labels/a.png", "labels.png", "b/LABELS/b.PNG", "labels/deep/c.png", "labels/d.bmp"])
    found = [path.relative_to(tmp_path).as_posix() for path in SourceFolder(tmp_path).inside("labels", ".png")]
    assert sorted(found) == ["Labels/a.png", "b/LABELS/b.PNG"]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@given(data=st.data(), columns=headers, ending=st.sampled_from(["\n", "\r\n"]))
def test_any_table_comes_back_as_it_was_written(tmp_path_factory, delimiter, encoding, data, columns, ending):
    rows = data.draw(st.lists(st.tuples(*[fields for _ in columns]), max_size=8))
    table = tmp_path_factory.mktemp("tables") / "table.csv"
    with table.open("w", newline="", encoding=encoding) as file:
        csv.writer(file, delimiter=delimiter, lineterminator=ending).writerows([columns, *rows])
    filled = [dict(zip(columns, row, strict=True)) for row in rows if any(field.strip() for field in row)]
    if filled:
        assert [row for _, row in read_csv_rows(table, columns)] == filled
    else:
        with pytest.raises(UserError, match=rf"{table}: expected one row per image below the header, found none"):
            read_csv_rows(table, columns)


def test_fields_over_several_lines_come_back(tmp_path):
    table = tmp_path / "table.csv"
    write_table(table, ["name", "prompt"], [("a.png", "two\nlines, and a comma"), ("b.png", 'a "quoted" word')])
    assert [row["prompt"] for _, row in read_csv_rows(table, ["name"])] == [
        "two\nlines, and a comma",
        'a "quoted" word',
    ]


@given(st.lists(st.lists(st.text("abc.019_()-é", min_size=1, max_size=8), min_size=2, max_size=2), min_size=1))
def test_text_lists_come_back_as_they_were_written(tmp_path_factory, rows):
    table = tmp_path_factory.mktemp("lists") / "list.txt"
    table.write_text("".join("\t ".join(row) + " \r\n\n" for row in rows), encoding="utf-8", newline="")
    assert read_text_rows(table, 2) == [(2 * number + 1, row) for number, row in enumerate(rows)]
