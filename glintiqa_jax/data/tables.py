"""Score tables as people distribute them: CSV of every dialect, Excel, MATLAB, plain text."""

from __future__ import annotations

import contextlib
import csv
import io
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from glintiqa_jax.errors import UserError


def read_csv_rows(table: Path, columns: Sequence[str]) -> list[tuple[int, dict[str, str]]]:
    """Line and fields by column name of each row of a CSV file, with commas, semicolons or tabs.

    The file is UTF-8, with or without a byte-order mark; rows of empty fields are left out.

    Raises:
      UserError: other encodings, a missing column, no row, a row with too few fields.
    """
    text = _text(table)
    header = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=header.count)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
    found = reader.fieldnames or []
    for column in columns:
        if found.count(column) != 1:
            raise UserError(f"{table}: expected one column {column!r}, found {', '.join(found) or 'an empty file'}")
    rows = []
    for row in _csv_rows(reader, table):
        if not any(value and value.strip() for key, value in row.items() if key is not None):
            continue  # spreadsheets leave rows of empty fields behind
        if any(row[column] is None for column in columns):
            raise UserError(f"{table}, line {reader.line_num}: expected {len(found)} fields, found fewer")
        if any(row.get(None) or ()):  # type: ignore[call-overload]  # a decimal comma among commas, say
            raise UserError(f"{table}, line {reader.line_num}: expected {len(found)} fields, found more")
        rows.append((reader.line_num, row))
    if not rows:
        raise UserError(f"{table}: expected one row per image below the header, found none")
    return rows


def read_numbers(table: Path, name_column: str, columns: Sequence[str]) -> dict[str, list[float]]:
    """The numbers of each name in a CSV file, in its order, the columns in theirs.

    Raises:
      UserError: as ``read_csv_rows``, a name twice, a field that is no finite number.
    """
    found: dict[str, list[float]] = {}
    for line, row in read_csv_rows(table, [name_column, *columns]):
        name = row[name_column].strip()
        if name in found:
            raise UserError(f"{table}, line {line}: expected each name once, found {name!r} again")
        found[name] = [number(row[column], table, line, column) for column in columns]
    return found


def read_text_rows(table: Path, fields: int) -> list[tuple[int, list[str]]]:
    """Number and fields of each line, separated by blanks or tabs; ``UserError`` where it has more or fewer fields."""
    rows = []
    for line, text in enumerate(_text(table).splitlines(), start=1):
        row = text.split()
        if row and len(row) != fields:
            raise UserError(f"{table}, line {line}: expected {fields} fields, found {len(row)}: {text[:80]!r}")
        if row:
            rows.append((line, row))
    if not rows:
        raise UserError(f"{table}: expected one line per image, found none")
    return rows


def read_excel_rows(table: Path, sheet: str | None = None) -> list[tuple[int, list[Any]]]:
    """Number and cells of each row of a sheet, by default the first, less empty ones; ``UserError`` where it has none.

    All rows have as many cells as the longest; what is not there is None.
    """
    import openpyxl  # only three databases need it

    try:
        book = openpyxl.load_workbook(table, read_only=True, data_only=True)
    except Exception as error:  # a broken file raises whatever zip, XML or openpyxl raise
        raise UserError(f"{table}: expected an Excel file (.xlsx), found something else ({error})") from error
    with contextlib.closing(book):
        if sheet is not None and sheet not in book.sheetnames:
            raise UserError(f"{table}: expected a sheet {sheet!r}, found {', '.join(book.sheetnames)}")
        cells = book[sheet or book.sheetnames[0]].iter_rows(values_only=True)
        numbered = enumerate(cells, start=1)
        rows = [(line, list(row)) for line, row in numbered if any(cell is not None for cell in row)]
    if not rows:
        raise UserError(f"{table}: expected one row per image, found an empty sheet")
    width = max(len(row) for _, row in rows)
    return [(line, row + [None] * (width - len(row))) for line, row in rows]


def read_matlab(table: Path, variable: str) -> np.ndarray:
    """A variable of a MATLAB file, flat: float64 ``(n,)``, or ``(n,)`` strings of a cell array.

    Raises:
      UserError: no MATLAB file (of version 7 or older), or none with this variable.
    """
    import scipy.io

    try:
        content = scipy.io.loadmat(table, variable_names=[variable])
    except Exception as error:  # a broken file raises whatever its parser trips over
        raise UserError(f"{table}: expected a MATLAB file up to version 7, found something else ({error})") from error
    if variable not in content:
        found = ", ".join(name for name, *_ in scipy.io.whosmat(table))
        raise UserError(f"{table}: expected a variable {variable!r}, found {found or 'none'}")
    values = content[variable].ravel()
    if values.dtype == object:
        return np.asarray([str(np.ravel(cell)[0]) if np.size(cell) else "" for cell in values])
    return values.astype(np.float64) if values.dtype.kind in "biuf" else values


def number(text: Any, table: Path, line: int, column: str) -> float:
    """A finite number from a table's field; ``UserError`` names the place where it is none."""
    try:
        # A decimal comma is the habit of half the world; thousands are never separated in a score.
        value = float(text.strip().replace(",", ".")) if isinstance(text, str) else float(text)
    except (TypeError, ValueError):
        value = math.nan
    if not math.isfinite(value):
        raise UserError(f"{table}, line {line}, column {column!r}: expected a number, found {text!r}")
    return value


def whole_number(text: Any, table: Path, line: int, column: str) -> int:
    """A whole number from a table's field; ``UserError`` names the place where it is none."""
    value = number(text, table, line, column)
    if value != int(value):
        raise UserError(f"{table}, line {line}, column {column!r}: expected a whole number, found {text!r}")
    return int(value)


def first_five(names: Sequence[str]) -> str:
    """The first five of many names, for an error."""
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")


def _csv_rows(reader: csv.DictReader, table: Path) -> Iterator[dict[str, str]]:
    try:
        yield from reader
    except csv.Error as error:
        raise UserError(
            f"{table}, line {reader.line_num}: expected rows of a CSV file, found none ({error})"
        ) from error


def _text(table: Path) -> str:
    try:
        return table.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{table}: expected text in UTF-8, found other bytes ({error.reason})") from error
    except OSError as error:
        raise UserError(f"{table}: cannot be read ({error.strerror})") from error
