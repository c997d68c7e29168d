"""Tables of any dialect give back what was written, or one clear error; no number is read as another."""

import contextlib
import csv
import io
import re

import pytest
from databases import write_table
from hypothesis import given, settings
from hypothesis import strategies as st

from glintiqa_jax.data.fields import number
from glintiqa_jax.data.tables import read_numbers, read_table, read_text_rows
from glintiqa_jax.errors import InputError

# Line ends within a field may come back as others; NUL is no text.
fields = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12)
titles = st.text("abcdefghijklmnopqrstuvwxyzABC_()0123456789", min_size=1, max_size=12)
headers = st.lists(titles, min_size=2, max_size=6, unique=True)
# Other scripts' digits and minus signs, too.
BAD = [
    *("1_5", "\u0663", "0x1F", "infinity", "inf", "nan", "NaN", "1e400", "\uff11", "5%", "\u22121", "--1", "1e", "."),
    *("", "True", "1 434", "1\u00a0434"),
]
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-32"]


def written(path, text: str, encoding: str = "utf-8"):
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@settings(max_examples=25)
@given(
    data=st.data(),
    columns=headers,
    ending=st.sampled_from(["\n", "\r\n", "\r"]),
    encoding=st.sampled_from(ENCODINGS),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    declared=st.booleans(),
)
def test_any_table_comes_back_as_it_was_written(
    tmp_path_factory, delimiter, data, columns, ending, encoding, quoting, declared
):
    rows = data.draw(st.lists(st.tuples(*[fields for _ in columns]), max_size=8))
    table = tmp_path_factory.mktemp("tables") / "table.csv"
    with table.open("w", newline="", encoding=encoding) as file:
        if declared:
            file.write(f"sep={delimiter}{ending}")
        csv.writer(file, delimiter=delimiter, lineterminator=ending, quoting=quoting).writerows([columns, *rows])
    blank = re.compile(r"[\s\ufeff\u200b\x1c-\x1f\x85]*")
    filled = [dict(zip(columns, row, strict=True)) for row in rows if not all(blank.fullmatch(cell) for cell in row)]
    if filled:
        assert [row for _, row in read_table(table, columns).rows] == filled
    else:
        with pytest.raises(InputError, match=rf"{table}: expected one row per image below the header, found none"):
            read_table(table, columns)


@settings(max_examples=60)
@given(st.binary(max_size=60) | st.text(',;\t"\n\rab1.=e', max_size=40).map(str.encode))
def test_any_bytes_are_a_table_or_one_error(tmp_path_factory, content):
    table = tmp_path_factory.mktemp("tables") / "table.csv"
    table.write_bytes(content)
    with contextlib.suppress(InputError):
        found = read_table(table)
        assert found.rows
        found.numbers(found.columns[0])


@settings(max_examples=60)
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1), st.sampled_from([",", ";", "\t"]))
def test_numbers_come_back_with_either_decimal_mark(tmp_path_factory, values, delimiter):
    table = tmp_path_factory.mktemp("tables") / "table.csv"
    rows = list(enumerate(map(repr, values)))
    write_table(table, ["name", "x"], rows)
    assert [found for (found,) in read_numbers(table, "name", ["x"]).values()] == values
    with table.open("w", newline="", encoding="utf-8") as file:
        commas = [(name, text.replace(".", ",")) for name, text in rows]
        csv.writer(file, delimiter=delimiter).writerows([["name", "x"], *commas])
    try:
        found = [found for (found,) in read_numbers(table, "name", ["x"]).values()]
    except InputError as error:
        found = str(error)
    assert found == values or "may mean" in found  # 1,125 alone, say


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('name,x\na,"1,5"\nb,2\n', [1.5, 2]),
        ('name,x\na,"1,434"\nb,"0,5"\n', [1.434, 0.5]),
        ("name;x\na;1,434\nb;2,5\n", [1.434, 2.5]),
        ("name;x\na;1,434\nb;2,871\n", [1.434, 2.871]),
        ("name;x\na;1.434\nb;2.5\n", [1.434, 2.5]),
        ("name\tx\na\t1,25\nb\t-,5e-1\n", [1.25, -0.05]),
        ("name,x\na, +1. \nb,\u00a0.5\u00a0\n", [1, 0.5]),
        ('"name","x"\n"a","1e3"\n"b","-0"\n', [1000, 0]),
        ("sep=;\nname;x\na;1,5\nb;2,5\n", [1.5, 2.5]),
        ("SEP=;;\nname;x\na;1\nb;2\n", [1, 2]),
        ("name;x;y\na;1.434;0.500\nb;2.871;0.750\n", [1.434, 2.871]),
        ("sep=|\r\nname|x\r\na|1\r\nb|2\r\n", [1, 2]),
        ("\ufeff\ufeffname\u00a0, \u200bx \na,1\nb,2\n", [1, 2]),
        ("name,x\ra,1\rb,2\r", [1, 2]),
        ("name;x;c,d,e,f\na;1;\nb;2;\n", [1, 2]),
        ("name\tx\ttwo, three; four\na\t1\t\nb\t2\t\n", [1, 2]),
        ("\n\nname,x\n\na,1\n , \nb,2\n", [1, 2]),
    ],
)
def test_numbers_as_the_world_writes_them(tmp_path, text, expected):
    for encoding in ("utf-8", "utf-16"):
        table = written(tmp_path / "table.csv", text, encoding)
        assert read_numbers(table, "name", ["x"]) == {"a": [expected[0]], "b": [expected[1]]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('name,x\na,"1,434"\nb,2\n', r"line 2, column 'x': .*'1,434', which may mean 1\.434 or 1434; write numbers"),
        ('name,x\na,1\nb,"1,434"\n', r"line 3, column 'x': .*may mean"),
        ("name\tx\na\t1,434\nb\t2,871\n", "may mean"),
        ("name;x\na;1,434\nb;950\n", "may mean"),
        ('name,x\na,"1,434,000"\nb,2\n', r"line 2, column 'x': expected a number, found '1,434,000'"),
        ("name;x\na;1,5\nb;2.5\n", r"expected one decimal mark in the column, found '2\.5' and '1,5'"),
        ("name;x\na;1.434,5\nb;2\n", r"line 2, column 'x': expected a number, found '1\.434,5'; write numbers"),
        ("name;x\na;1.434\nb;950\n", r"line 2, .*'1\.434', which may mean 1\.434 or 1434; write numbers"),
        ("name;x;std\na;1.434;0,5\nb;2.871;0,75\n", r"line 2, .*'1\.434', which may mean 1\.434 or 1434"),
        ("name\tx\tother\na\t1.434\t0,5\nb\t2\t\n", r"line 2, .*'1\.434', which may mean"),
        ("name;x;std\na;1,434;0.5\nb;2,871;0.75\n", r"line 2, .*'1,434', which may mean 1\.434 or 1434"),
        *((f"name,x\na,1\nb,{one}\n", f"line 3, column 'x': .* found {re.escape(repr(one))}") for one in BAD),
        ("name,x\na,1\n./a,2\n", r"line 3: './a' is named a second time, first in line 2"),
        ("name,x\na,1\n ,2\n", "line 3: expected a name, found nothing"),
        ("name,x,x\na,1,2\n", "expected one column 'x', found name, x, x"),
        ("name, x ,x\u00a0\na,1,2\n", "expected one column 'x', found name, x, x"),
        ("name,X\na,1\n", "expected one column 'x', found name, X"),
        ('name,x\na,"1\nb,2\n', "line 2: expected rows of a CSV file, found none .*unexpected end of data"),
        ('name,x\na,"1"2\n', "line 2: expected rows of a CSV file"),
        ("name,x\na\n", "line 2: expected 2 fields, found fewer"),
        ("name,x\na,1,5\n", "line 2: expected 2 fields, found more"),
        ("sep=;\nname;x\na;y\n", "line 3, column 'x': expected a number"),
        ("", "expected one column 'name', found an empty file"),
        ("name,x\n", "expected one row per image"),
        ("name,x\na,\x001\n", "line 2: expected text, found a zero byte"),
    ],
)  # fmt: skip
def test_what_is_no_number_and_no_table_is_refused(tmp_path, text, message):
    table = written(tmp_path / "table.csv", text)
    with pytest.raises(InputError, match=f"^{re.escape(str(table))}.*{message}"):
        read_numbers(table, "name", ["x"])


def test_delimiters_that_cannot_be_told_are_refused(tmp_path):
    table = written(tmp_path / "table.csv", "a,b;c\n1,2;3\n")
    with pytest.raises(InputError, match=r"cannot tell whether its fields are separated by ',' and ';'; a first line"):
        read_table(table)
    assert read_table(written(table, "sep=;\na,b;c\n1,2;3\n")).columns == ["a,b", "c"]


@pytest.mark.parametrize(("text", "encoding"), [("caf\u00e9", "cp1252"), ("\u30bd", "shift-jis"), ("x", "utf-16-le")])
def test_other_encodings_say_how_to_convert(tmp_path, text, encoding):
    table = written(tmp_path / "table.csv", f"name,x\n{text},1\n", encoding)
    with pytest.raises(InputError, match=r"line \d: expected text.*UTF-"):
        read_table(table)


def test_excel_files_are_read_by_the_same_way(tmp_path):
    import openpyxl

    book = openpyxl.Workbook()
    for row in (
        ["name", " x\u00a0", None],
        ["a.png", 1.25, None],
        [None, None, None],
        ["./b.png", 3, None],
        ["c.png", "2", None],
    ):
        book.active.append(row)
    table = tmp_path / "scores.csv"  # whatever it is called
    book.save(table.with_suffix(".xlsx"))
    table.with_suffix(".xlsx").rename(table)
    assert read_numbers(table, "name", ["x"]) == {"a.png": [1.25], "b.png": [3], "c.png": [2]}
    for cell in ("1,434", True, "#N/A", None):
        book.active["B2"] = cell
        book.save(tmp_path / "scores.xlsx")
        with pytest.raises(InputError, match=r"line 2, column 'x': expected a number"):
            read_numbers(tmp_path / "scores.xlsx", "name", ["x"])
    book.active["B2"], book.active["C1"], book.active["C2"] = 1.434, "y", "0,5"
    book.save(tmp_path / "scores.xlsx")  # a cell of a number is one, whatever others write
    assert read_numbers(tmp_path / "scores.xlsx", "name", ["x"])["a.png"] == [1.434]
    for content, message in (
        (b"PK\x03\x04rest", "expected an Excel file"),
        (b"\xd0\xcf\x11\xe0rest", "old Excel file"),
    ):
        (tmp_path / "broken.xlsx").write_bytes(content)
        with pytest.raises(InputError, match=message):
            read_table(tmp_path / "broken.xlsx")


def test_fields_over_several_lines_come_back(tmp_path):
    table = tmp_path / "table.csv"
    write_table(table, ["name", "prompt"], [("a.png", "two\nlines, and a comma"), ("b.png", 'a "quoted" word')])
    assert read_table(table, ["name"]).texts("prompt") == ["two\nlines, and a comma", 'a "quoted" word']


@settings(max_examples=30)
@given(st.lists(st.lists(st.text("abc.019_()-é", min_size=1, max_size=8), min_size=2, max_size=2), min_size=1))
def test_text_lists_come_back_as_they_were_written(tmp_path_factory, rows):
    table = tmp_path_factory.mktemp("lists") / "list.txt"
    table.write_text("".join("\t ".join(row) + " \r\n\n" for row in rows), encoding="utf-8", newline="")
    assert read_text_rows(table, 2) == [(2 * number + 1, row) for number, row in enumerate(rows)]


@pytest.mark.parametrize("field", [True, None, "1,5", "1_5", b"1", 10**400, io.StringIO()])
def test_a_cell_that_is_no_number_is_refused(tmp_path, field):
    with pytest.raises(InputError, match=r"line 1, column 'x': expected a number"):
        number(field, tmp_path, 1, "x")
