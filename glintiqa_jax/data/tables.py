"""Score tables as people distribute them: CSV of every dialect, Excel, MATLAB, plain text."""

from __future__ import annotations

import codecs
import contextlib
import csv
import io
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from glintiqa_jax.data.fields import Row, Table
from glintiqa_jax.data.names import without_blanks
from glintiqa_jax.errors import InputError

_DELIMITERS = (",", ";", "\t")
_DECLARED = re.compile(r'\ufeff?"?(?i:sep)=(.)"?[ \t,;]*(?:\r\n|\r|\n)')  # how Excel is told the delimiter
_MARKS = (  # the longer first: UTF-32's begins as UTF-16's
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_ZIP, _OLD_OFFICE = b"PK\x03\x04", b"\xd0\xcf\x11\xe0"


def read_table(path: Path, columns: Sequence[str] = ()) -> Table:
    """A table with a header: CSV with commas, semicolons or tabs, or the first sheet of an Excel file (.xlsx).

    Text is UTF-8, or UTF-16 and UTF-32 with their mark. Which delimiter it is, is decided by what finds the columns;
    a first line ``sep=;`` says it.

    Args:
      path: the file.
      columns: those that must be there, once each.

    Raises:
      InputError: other encodings and files, a missing column, no row, a row with too few or too many fields, quotes
        that are never closed.
    """
    content = _bytes(path)
    if content.startswith(_ZIP):
        (line, header), *cells = read_excel_rows(path)
        lines = [(line, [_as_text(cell) for cell in header])]
        lines += [(line, [_as_text(cell) for cell in row]) for line, row in cells]
        return _table(path, lines, columns, delimiter="")
    text = _text(path, content)
    skipped = 0
    candidates: tuple[str, ...] = _DELIMITERS
    if declared := _DECLARED.match(text):
        text, skipped, candidates = text[declared.end() :], 1, (declared[1],)
    parsed: dict[str, list[tuple[int, list[str]]]] = {}
    problems: dict[str, InputError] = {}
    for delimiter in candidates:
        try:
            parsed[delimiter] = _csv_lines(text, delimiter, path, skipped)
        except InputError as error:
            problems[delimiter] = error
    fields = max((len(_header(lines)) for lines in parsed.values()), default=0)
    for delimiter, problem in problems.items():  # of the delimiter that is the likeliest
        if text.lstrip().splitlines()[0].count(delimiter) >= fields and not _finding(parsed, columns):
            raise problem
    delimiter = _delimiter(path, parsed, columns)
    return _table(path, parsed[delimiter], columns, delimiter)


def read_numbers(path: Path, name_column: str, columns: Sequence[str]) -> dict[str, list[float]]:
    """The numbers of each image in a table, in its order, the columns in theirs.

    Raises:
      InputError: as ``read_table``, a name twice, a field that is no finite number.
    """
    table = read_table(path, [name_column, *columns])
    values = zip(*(table.numbers(column) for column in columns), strict=True)
    return dict(zip(table.names(name_column), map(list, values), strict=True))


def read_text_rows(table: Path, fields: int) -> list[tuple[int, list[str]]]:
    """Number and fields of each line, separated by blanks or tabs; ``InputError`` where it has more or fewer fields."""
    rows = []
    for line, text in enumerate(_text(table, _bytes(table)).splitlines(), start=1):
        row = text.split()
        if row and len(row) != fields:
            raise InputError(
                file=f"{table}, line {line}", expected=f"{fields} fields", found=f"{len(row)}: {text[:80]!r}"
            )
        if row:
            rows.append((line, row))
    if not rows:
        raise InputError(file=table, expected="one line per image", found="none")
    return rows


def read_excel_rows(table: Path, sheet: str | None = None) -> list[tuple[int, list[Any]]]:
    """Number and cells of each row of a sheet, by default the first, less empty ones; ``InputError`` where it has none.

    All rows have as many cells as the longest; what is not there is None.
    """
    import openpyxl

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of styles and validations that it does not know
            book = openpyxl.load_workbook(io.BytesIO(_bytes(table)), read_only=True, data_only=True)
            with contextlib.closing(book):
                if sheet is not None and sheet not in book.sheetnames:
                    raise InputError(file=table, expected=f"a sheet {sheet!r}", found=", ".join(book.sheetnames))
                worksheet = book[sheet] if sheet is not None else book.worksheets[0]
                worksheet.reset_dimensions()  # as some programs write them wrong, and rows would be lost
                numbered = enumerate(worksheet.iter_rows(values_only=True), start=1)
                rows = [(line, list(row)) for line, row in numbered if any(cell is not None for cell in row)]
    except InputError:
        raise
    except Exception as error:  # a broken file raises whatever zip, XML or openpyxl raise
        raise InputError(file=table, expected="an Excel file (.xlsx)", found=f"something else ({error})") from error
    if not rows:
        raise InputError(file=table, expected="one row per image", found="an empty sheet")
    width = max(len(row) for _, row in rows)
    return [(line, row + [None] * (width - len(row))) for line, row in rows]


def read_matlab(table: Path, variable: str) -> np.ndarray:
    """A variable of a MATLAB file, flat: float64 ``(n,)``, or ``(n,)`` strings of a cell array.

    Raises:
      InputError: no MATLAB file (of version 7 or older), or none with this variable.
    """
    import scipy.io

    try:
        content = scipy.io.loadmat(table, variable_names=[variable])
    except Exception as error:  # a broken file raises whatever its parser trips over
        raise InputError(
            file=table, expected="a MATLAB file up to version 7", found=f"something else ({error})"
        ) from error
    if variable not in content:
        found = ", ".join(name for name, *_ in scipy.io.whosmat(table))
        raise InputError(file=table, expected=f"a variable {variable!r}", found=found or "none")
    values = content[variable].ravel()  # (1, n) or (n, 1) -> (n,)
    if values.dtype == object:
        return np.asarray([str(np.ravel(cell)[0]) if np.size(cell) else "" for cell in values])
    return values.astype(np.float64) if values.dtype.kind in "biuf" else values


def first_five(names: Sequence[str]) -> str:
    """The first five of many names, for an error."""
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")


def _table(path: Path, lines: list[tuple[int, list[str]]], columns: Sequence[str], delimiter: str) -> Table:
    header = _header(lines)
    for column in columns:
        if header.count(without_blanks(column)) != 1:
            raise InputError(file=path, expected=f"one column {column!r}", found=", ".join(header) or "an empty file")
    rows: list[Row] = []
    for line, fields in lines[1:]:
        if not any(map(without_blanks, fields)):
            continue  # spreadsheets leave rows of empty fields behind
        if len(fields) < len(header):
            raise InputError(file=f"{path}, line {line}", expected=f"{len(header)} fields", found="fewer")
        if any(map(without_blanks, fields[len(header) :])):  # a decimal comma among commas, say
            raise InputError(file=f"{path}, line {line}", expected=f"{len(header)} fields", found="more")
        rows.append((line, dict(zip(header, fields, strict=False))))
    if not rows:
        raise InputError(file=path, expected="one row per image below the header", found="none")
    return Table(path, header, rows, delimiter)


def _header(lines: list[tuple[int, list[str]]]) -> list[str]:
    return [without_blanks(title) for title in lines[0][1]] if lines else []


def _csv_lines(text: str, delimiter: str, path: Path, skipped: int) -> list[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    lines, began = [], 0
    try:
        for fields in reader:
            lines.append((reader.line_num + skipped, fields))
            began = reader.line_num
    except csv.Error as error:
        raise InputError(
            file=f"{path}, line {began + 1 + skipped}", expected="rows of a CSV file", found=f"none ({error})"
        ) from error
    while lines and not any(map(without_blanks, lines[0][1])):
        del lines[0]
    return lines


def _delimiter(path: Path, parsed: dict[str, list[tuple[int, list[str]]]], columns: Sequence[str]) -> str:
    """The delimiter that finds the columns; of several that do, the one that gives each row as many fields."""
    finding = _finding(parsed, columns)
    if not finding:  # which is an error if there are any, and shows the likeliest header
        fields = max(len(_header(lines)) for lines in parsed.values())
        finding = [one for one, lines in parsed.items() if len(_header(lines)) == fields]
    even = [one for one in finding if len({len(fields) for _, fields in parsed[one] if any(fields)}) == 1] or finding
    if any(parsed[one] != parsed[even[0]] for one in even[1:]):
        kinds = " and ".join("tabs" if one == "\t" else repr(one) for one in even)
        raise InputError(
            f"cannot tell whether its fields are separated by {kinds}",
            file=path,
            hint=f"a first line such as 'sep={even[0]}' says it",
        )
    return even[0]


def _finding(parsed: dict[str, list[tuple[int, list[str]]]], columns: Sequence[str]) -> list[str]:
    """The delimiters that find each of the columns once; none where none are asked for."""
    headers = {delimiter: _header(lines) for delimiter, lines in parsed.items()}
    wanted = [without_blanks(column) for column in columns]
    return [one for one, header in headers.items() if wanted and all(header.count(column) == 1 for column in wanted)]


def _as_text(cell: Any) -> str:
    return "" if cell is None else cell if isinstance(cell, str) else str(cell)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except (OSError, ValueError) as error:
        raise InputError(f"cannot be read ({getattr(error, 'strerror', None) or error})", file=path) from error


def _text(path: Path, content: bytes) -> str:
    if content.startswith(_OLD_OFFICE):
        raise InputError(
            file=path, expected="a CSV file or .xlsx", found="an old Excel file (.xls)", hint="save it as .xlsx"
        )
    encoding = next((name for mark, name in _MARKS if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(
            file=f"{path}, line {line}",
            expected="text in UTF-8",
            found=f"other bytes ({error.reason})",
            hint="save it as UTF-8 (in Excel: 'CSV UTF-8'), or convert it: iconv -f WINDOWS-1252 -t UTF-8",
        ) from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise InputError(
            file=f"{path}, line {line}",
            expected="text",
            found="a zero byte",
            hint="UTF-16 is read where it begins with its mark",
        )
    return text
