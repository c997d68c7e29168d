"""The exceptions whose one-line message is all a user needs, and how such a message shows names."""

from __future__ import annotations

import re
from collections.abc import Callable

# Invisible or active characters: control characters and line breaks, marks that change the direction of text, bytes of
# a file name that are not text, and what XML does not allow.
_INVISIBLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff\ufffe\uffff]"
)
_SURROGATE = re.compile("[\ud800-\udfff]")
_NAMED = re.compile(r"`([a-z][a-z0-9_.]*)(=[^`]*)?`")


class InputError(ValueError):
    """Wrong input, in one line: where it is, what was expected and what was found.

    ``str(error)`` is ``field=value: expected ..., found ...; hint``, without the parts that are not given. Texts name
    other fields in backticks, as in `on_bad_image='skip'`, and a command shows them as its flags. Below ``cli/`` no
    text mentions flags.

    Args:
      problem: what is wrong, if "expected ..., found ..." does not say it.
      field: the argument or the configuration's field, dotted below a group; empty if a file is at fault.
      value: of the field; None to leave it out.
      file: the file or folder; a text such as ``scores.csv, line 3`` where a line is known.
      expected: what is accepted.
      found: what was given.
      hint: what to do.

    Attributes: the arguments.
    """

    def __init__(
        self,
        problem: str = "",
        *,
        field: str = "",
        value: object = None,
        file: object = "",
        expected: str = "",
        found: object = None,
        hint: str = "",
    ):
        self.problem, self.field, self.value, self.file = problem, field, value, file
        self.expected, self.found, self.hint = expected, found, hint
        super().__init__(self.text())

    def text(self, name: Callable[[str], str] = str) -> str:
        """The line.

        Args:
          name: gives the user's name of a field, for ``field`` and for names in backticks.
        """
        place = name(self.field) + ("" if self.value is None else f"={self.value}") if self.field else ""
        found = f"found {self.found}" if self.found is not None else ""
        said = self.problem or ", ".join(
            part for part in (f"expected {self.expected}" * bool(self.expected), found) if part
        )
        line = ": ".join(str(part) for part in (place, self.file, said) if str(part))
        return named_fields(f"{line}; {self.hint}" if self.hint else line, name)

    def of(self, field: str, value: object) -> InputError:
        """The same, told of the argument that named the file or the source whose fault it is."""
        return InputError(str(self).removeprefix(f"{value}: "), field=field, value=value)


TRY_AGAIN = 75
"""The exit code of what the same command, run again, is expected to do better; sysexits' EX_TEMPFAIL."""


class LostProcessError(Exception):
    """Another process of the run was lost; what was saved is intact. The commands print it and end with ``code``.

    Attributes:
      code: the exit code; 75, by which a scheduler may start the same command again, or the one that the other had.
    """

    def __init__(self, message: str, code: int = TRY_AGAIN):
        super().__init__(message)
        self.code = code


def named_fields(text: str, name: Callable[[str], str]) -> str:
    """A text whose fields, in backticks, are replaced by the user's names of them; with ``str`` it stays as it is."""
    if name is str:
        return text
    return _NAMED.sub(lambda found: name(found[1]) + (found[2] or "").replace("'", ""), text)


def visible(text: object) -> str:
    r"""A text on one line, whatever is in it: a line break shows as ``\n``, a byte that is not text as ``\xe9``."""
    return _INVISIBLE.sub(_spelled_out, str(text))


def encoded(text: str) -> bytes:
    r"""A text in UTF-8; a byte of a file name that is not text becomes ``\xe9``."""
    return _SURROGATE.sub(_spelled_out, text).encode("utf-8")


def _spelled_out(found: re.Match[str]) -> str:
    code = ord(found[0])
    if 0xDC80 <= code <= 0xDCFF:  # how Python keeps a byte of a file name that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return ascii(found[0])[1:-1]
