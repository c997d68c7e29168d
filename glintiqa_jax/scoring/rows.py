"""Scored images as rows of a file: CSV with a header, or JSON lines; the same names in both.

| column | type | content |
|---|---|---|
| schema | integer | version of this table: 1 |
| path | text | of the image, as it was found |
| width, height | integer | pixels, as a viewer shows the image |
| score | number | in the unit and direction of the model's scale |
| percent | number | quality from 0 to 100 percent of the scale, higher is better |
| deviation | number | standard deviation of the score over the image's crops |
| low, high | number | 95 % interval of the opinion score; none of a model that is not calibrated |
| model | text | digest of the model, 16 hexadecimal digits |
| note | text | what a viewer may show differently, as "alpha over white" |
| error | text | why there is no score |

What a row does not have is empty in CSV and null in JSON. Text is UTF-8; a byte of a path that is not stays as it is in
CSV, and is a lone surrogate (``\\udcXX``, as Python's ``surrogateescape`` has it) in JSON.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from glintiqa_jax.errors import InputError
from glintiqa_jax.scoring.score import Score

SCHEMA = 1
ENDINGS = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl"}
"""What files of rows may be called, and their formats."""
FORMATS = ("csv", "jsonl")
COLUMNS = (
    *("schema", "path", "width", "height", "score", "percent", "deviation", "low", "high", "model", "note", "error"),
)
INTEGERS, TEXTS = ("schema", "width", "height"), ("path", "model", "note", "error")
_DIGITS = 9  # which keep what a float32 says


@dataclasses.dataclass(frozen=True)
class Row:
    """One line: an image with its score, or with the reason why it has none. The module has a table of its fields."""

    path: str
    width: int | None = None
    height: int | None = None
    score: float | None = None
    percent: float | None = None
    deviation: float | None = None
    low: float | None = None
    high: float | None = None
    model: str | None = None
    note: str | None = None
    error: str | None = None
    schema: int = SCHEMA

    @classmethod
    def of(cls, path: str | os.PathLike, found: Score | Exception, model: str) -> Row:
        """The row of an image that has a score, or could not be scored."""
        name = os.fspath(path)
        if isinstance(found, Exception):
            return cls(name, model=model, error=str(found).removeprefix(f"{name}: "))
        low, high = found.interval or (None, None)
        return cls(
            name,
            found.width,
            found.height,
            _rounded(found.value),
            _rounded(found.percent),
            _rounded(found.deviation),
            _rounded(low),
            _rounded(high),
            model,
            "; ".join(found.notes) or None,
        )

    def line(self, kind: str) -> bytes:
        """The row as a line of a file of that format."""
        values = [getattr(self, name) for name in COLUMNS]
        if kind == "jsonl":
            return f"{json.dumps(dict(zip(COLUMNS, values, strict=True)))}\n".encode()
        return _csv_line(["" if value is None else value for value in values])

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Row:
        """The row of a line's values by column; ``ValueError`` for others. Columns of later versions are left out."""
        if int(values["schema"]) != SCHEMA:
            raise ValueError(f"schema {values['schema']}")
        found: dict[str, Any] = {}
        for name in COLUMNS:
            value = values[name]
            kind = str if name in TEXTS else int if name in INTEGERS else float
            found[name] = None if value in ("", None) else kind(value)
        return cls(**found | {"path": values["path"]})


def header(kind: str) -> bytes:
    """What a file of that format begins with."""
    return _csv_line(COLUMNS) if kind == "csv" else b""


def format_of(path: str | os.PathLike) -> str:
    """The format that a file's ending names; CSV for any other."""
    return ENDINGS.get(Path(path).suffix.lower(), "csv")


def read_rows(path: str | os.PathLike) -> Iterator[Row]:
    """The rows of a file, whichever of the formats it has, one by one.

    Raises:
      InputError: a file that cannot be read, or a line that is no row; both are named.
    """
    try:
        with Path(path).open("rb") as file:
            for number, _, row in scan(file, path):
                if row is None:
                    raise InputError(
                        file=f"{path}, line {number}",
                        expected="a row that `glintiqa score` wrote",
                        found="something else",
                    )
                yield row
    except OSError as error:
        raise InputError(file=path, expected="a file of rows", found=error.strerror or error) from error


def scan(file: BinaryIO, path: str | os.PathLike) -> Iterator[tuple[int, int, Row | None]]:
    """The rows of an open file, as far as they are whole.

    Yields:
      The number of the row's line, where the row ends in bytes, and the row. What is no row, or is torn, is given as
      None, and ends it.

    Raises:
      InputError: a CSV file with other columns.
    """
    columns: list[str] | None = None
    end = number = 0
    for record, lines in _records(file):
        start, number = number + 1, number + lines
        text = record.decode("utf-8", "surrogateescape")
        if columns is None and not record.endswith(b"\n") and header("csv").startswith(record):
            yield start, end, None
            return
        if columns is None and not text.startswith("{"):
            columns = next(csv.reader([text]), [])
            if missing := [name for name in COLUMNS if name not in columns]:
                raise InputError(
                    file=path, expected="rows that `glintiqa score` wrote", found=f"no column called {missing[0]}"
                )
            end += len(record)
            continue
        try:
            if columns:
                values = next(csv.reader(io.StringIO(text, newline="")))
                row = Row.read(dict(zip(columns, values, strict=True)))
            else:
                columns = []
                row = Row.read(json.loads(text))
            if not record.endswith(b"\n"):
                raise ValueError("torn")
        except (ValueError, KeyError, TypeError, StopIteration):
            yield start, end, None
            return
        end += len(record)
        yield start, end, row


def _records(file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """Lines, joined where a quoted field holds line breaks, with the number of lines; the last may be torn."""
    record, lines = b"", 0
    for line in file:
        record, lines = record + line, lines + 1
        if record.startswith(b"{") or record.count(b'"') % 2 == 0:
            yield record, lines
            record, lines = b"", 0
    if record:
        yield record, lines


def _csv_line(values: Any) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\r\n").writerow(values)  # it quotes what is in this alone
    return f"{text.getvalue()[:-2]}\n".encode("utf-8", "surrogateescape")


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.{_DIGITS}g}")
