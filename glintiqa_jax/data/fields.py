"""The fields of a table: text, until a column is asked for names, words or numbers, which it has one by one or not."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from glintiqa_jax.data.names import normal_name, without_blanks
from glintiqa_jax.errors import InputError

# float() takes 1_5, infinity and the digits of every script, too
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_DECIMAL_COMMA = re.compile(r"[+-]?[0-9]*,[0-9]+(?:[eE][+-]?[0-9]+)?")
_THOUSANDS = re.compile(r"[+-]?[1-9][0-9]{0,2}[,.][0-9]{3}")
_LONG = re.compile(r"[+-]?[0-9]{3,}")
_ADVICE = "write numbers with a decimal point and without separators of thousands"

Row = tuple[int, dict[str, str]]


@dataclasses.dataclass(frozen=True)
class Table:
    """A table with a header: fields are text until a column is asked for its numbers.

    Attributes:
      path: the file.
      columns: the header, less blanks around it and what cannot be seen.
      rows: line and fields by column of each row, less rows of empty fields.
      delimiter: what separates the fields; "" in an Excel file.
    """

    path: Path
    columns: list[str]
    rows: list[Row]
    delimiter: str = ""

    def texts(self, column: str) -> list[str]:
        """The fields of a column, less the blanks around them."""
        key = without_blanks(column)
        return [fields[key].strip(" \t\r\n\v\f\xa0\ufeff\u200b") for _, fields in self.rows]

    def names(self, column: str, folder: str | os.PathLike | None = None) -> list[str]:
        """The images' names in a column, in the spelling of ``normal_name``.

        Raises:
          InputError: what is no name, and a name that is there twice, in whatever spellings.
        """
        lines: dict[str, int] = {}
        for line, fields in self.rows:
            given = fields[without_blanks(column)]
            try:
                name = normal_name(given, folder)
            except ValueError as error:
                raise InputError(str(error), file=f"{self.path}, line {line}") from error
            if name in lines:
                raise InputError(
                    f"{given.strip()!r} is named a second time, first in line {lines[name]}",
                    file=f"{self.path}, line {line}",
                )
            lines[name] = line
        return list(lines)

    def numbers(self, column: str, *, missing: float | None = None) -> list[float]:
        """The finite numbers in a column.

        A comma is a decimal mark where the whole column says so: no field has a point, and some comma cannot separate
        thousands, or the delimiter is a semicolon, which is the dialect of those who write 3,5. Where all points or
        commas of a column may separate thousands, no other column may show that they do.

        Args:
          column: its name.
          missing: what an empty field means; None: an error.

        Raises:
          InputError: a field that is no number, or may be one of two.
        """
        fields = self.texts(column)
        comma = self._has_decimal_comma(column, fields)
        values = []
        for (line, _), text in zip(self.rows, fields, strict=True):
            if not text and missing is not None:
                values.append(missing)
            else:
                values.append(number(text.replace(",", ".") if comma else text, self.path, line, column, shown=text))
        return values

    def whole_numbers(self, column: str, *, missing: int | None = None) -> list[int]:
        """The whole numbers in a column; as ``numbers``."""
        values = self.numbers(column, missing=missing)
        return [
            whole_number(value, self.path, line, column) for (line, _), value in zip(self.rows, values, strict=True)
        ]

    def words(self, column: str, known: Mapping[str, str]) -> list[str]:
        """What the words in a column, in any case, stand for; ``InputError`` for one that is not known."""
        words = [word.lower() for word in self.texts(column)]
        for (line, _), word in zip(self.rows, words, strict=True):
            if word not in known:
                expected = ", ".join(dict.fromkeys(known.values()))
                raise InputError(file=_place(self.path, line, column), expected=expected, found=repr(word))
        return [known[word] for word in words]

    def _has_decimal_comma(self, column: str, fields: Sequence[str]) -> bool:
        numbered = [(line, text) for (line, _), text in zip(self.rows, fields, strict=True)]
        marked = [(line, text) for line, text in numbered if "," in text or "." in text]
        commas = [(line, text) for line, text in marked if "," in text]
        has_long = any(_LONG.fullmatch(text) for _, text in numbered)
        if not commas:
            # cells of numbers have their point from us
            if self.delimiter and marked and all(_THOUSANDS.fullmatch(text) for _, text in marked):
                line, text = marked[0]
                if (has_long and self.delimiter == ";") or self._others_write(column, ","):
                    raise self._may_mean(line, column, text)
            return False
        line, text = commas[0]
        if point := next((one for _, one in marked if "." in one and one != text), None):
            raise self._unclear(line, column, f"{point!r} and {text!r}", expected="one decimal mark in the column")
        for other_line, other in commas:
            if not _DECIMAL_COMMA.fullmatch(other):
                raise self._unclear(other_line, column, repr(other))
        if not all(_THOUSANDS.fullmatch(other) for _, other in commas):
            return True
        if self.delimiter == ";" and not has_long and not self._others_write(column, "."):
            return True
        raise self._may_mean(line, column, text)

    def _others_write(self, column: str, mark: str) -> bool:
        """Whether another column has numbers whose decimal mark this is, for certain."""
        written = _DECIMAL_COMMA if mark == "," else _NUMBER
        for other in self.columns:
            marked = [text for text in self.texts(other) if "," in text or "." in text]
            if (
                without_blanks(other) != without_blanks(column)
                and all(map(written.fullmatch, marked))
                and not all(map(_THOUSANDS.fullmatch, marked))
            ):
                return True
        return False

    def _may_mean(self, line: int, column: str, text: str) -> InputError:
        meanings = f"{text.replace(',', '.')} or {re.sub('[,.]', '', text)}"
        return self._unclear(line, column, f"{text!r}, which may mean {meanings}")

    def _unclear(self, line: int, column: str, found: str, expected: str = "a number") -> InputError:
        return InputError(file=_place(self.path, line, column), expected=expected, found=found, hint=_ADVICE)


def number(field: Any, table: Path, line: int, column: str, *, shown: Any = None) -> float:
    """A finite number from a table's field, written with a decimal point; ``InputError`` names the place otherwise.

    Args:
      field: text, or a spreadsheet's number.
      table: the file.
      line: of it.
      column: of it.
      shown: what the error says was found, where it is not ``field``.
    """
    value = math.nan
    if isinstance(field, str):
        if _NUMBER.fullmatch(field.strip()):
            value = float(field)
    elif isinstance(field, (int, float, np.number)) and not isinstance(field, bool):
        with contextlib.suppress(OverflowError):
            value = float(field)
    if not math.isfinite(value):
        found = field if shown is None else shown
        raise InputError(file=_place(table, line, column), expected="a number", found=repr(found))
    return value


def whole_number(field: Any, table: Path, line: int, column: str) -> int:
    """A whole number from a table's field; ``InputError`` names the place where it is none."""
    value = number(field, table, line, column)
    if value != int(value):
        raise InputError(file=_place(table, line, column), expected="a whole number", found=repr(field))
    return int(value)


def _place(table: Path, line: int, column: str) -> str:
    return f"{table}, line {line}, column {column!r}"
