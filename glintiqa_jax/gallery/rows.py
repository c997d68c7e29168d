"""What was scored, read row by row: JSON lines, or CSV with the same columns."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from glintiqa_jax.errors import InputError, visible

SCHEMA = 1
_NUMBERS = ("score", "percent", "deviation", "low", "high")
_TEXTS = ("path", "model", "note", "error")
_SIDES = ("width", "height")


@dataclasses.dataclass(frozen=True)
class Row:
    """One image's row; what is missing is None, or an empty text.

    Attributes:
      path: of the image, as it was given.
      width: in pixels, as shown.
      height: in pixels, as shown.
      score: in the unit of the model's scale.
      percent: quality from 0, the worst, to 100, the best.
      deviation: standard deviation over crops, in the unit of the scale.
      low: lower end of the 95 % interval, in the unit of the scale.
      high: its upper end.
      model: digest of the model, in hexadecimal digits.
      note: what was done to the image so that it could be scored.
      error: why there is no score.
    """

    path: str
    width: int | None = None
    height: int | None = None
    score: float | None = None
    percent: float | None = None
    deviation: float | None = None
    low: float | None = None
    high: float | None = None
    model: str = ""
    note: str = ""
    error: str = ""


def read_rows(path: Path) -> Iterator[Row]:
    """The rows of a file, one after the other.

    Raises:
      InputError: names the line that is no row, and what was expected.
      OSError: the file cannot be read.
    """
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        first = file.readline()
        file.seek(0)
        if first.startswith("{"):
            for number, line in enumerate(file, 1):
                try:
                    yield _row(json.loads(line), path, number)
                except ValueError as error:
                    if isinstance(error, InputError):
                        raise
                    raise _refused(path, number, "a JSON object", visible(line[:60])) from error
        elif first:
            lines = csv.DictReader(file, strict=True)
            try:
                for cells in lines:
                    yield _row(cells, path, lines.line_num)
            except csv.Error as error:
                raise _refused(path, lines.line_num, "CSV", str(error)) from error


def _row(cells: Any, path: Path, number: int) -> Row:
    if not isinstance(cells, Mapping) or not {"schema", "path"} <= cells.keys():
        raise _refused(path, number, "a row of `glintiqa score` with schema and path", visible(str(cells)[:60]))
    if str(cells["schema"]) != str(SCHEMA):
        raise _refused(path, number, f"schema {SCHEMA}", visible(cells["schema"]))
    try:
        values: dict[str, Any] = {name: str(cells.get(name) or "") for name in _TEXTS}
        values |= {name: _number(cells.get(name)) for name in _NUMBERS}
        values |= {name: None if (side := _number(cells.get(name))) is None else int(side) for name in _SIDES}
    except (TypeError, ValueError) as error:
        raise _refused(path, number, "numbers", visible(error)) from error
    return Row(**values)


def _number(cell: Any) -> float | None:
    if cell is None or cell == "":
        return None
    number = float(cell)
    return number if math.isfinite(number) else None


def _refused(path: Path, number: int, expected: str, found: object) -> InputError:
    return InputError(file=f"{visible(path)}, line {number}", expected=expected, found=found)
