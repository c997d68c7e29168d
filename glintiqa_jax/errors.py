"""The exceptions whose message is all that the person at the keyboard needs, and how such a message shows a name."""

import re

# What could not be seen or would act on what shows it: control characters and line breaks, marks that turn the
# direction of the text around them, bytes of a file name that are no text, and what XML does not allow.
_INVISIBLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff\ufffe\uffff]"
)
_SURROGATE = re.compile("[\ud800-\udfff]")


class UserError(ValueError):
    """Wrong input: the message names the file, field or flag, what was expected and what was found.

    The commands in ``experiments/`` print it without a traceback and exit with code 2.
    """


class LostProcessError(Exception):
    """Another process of the run is gone; what was saved is whole. The commands print it and exit with code 1."""


def about(flag: str, value: object, error: Exception) -> str:
    """A message about a flag's value: ``--flag=value: what went wrong``, the value named once."""
    return f"--{flag}={value}: {str(error).removeprefix(f'{value}: ')}"


def visible(text: object) -> str:
    r"""A text on one line, whatever is in it: a line break shows as ``\n``, a byte that is no text as ``\xe9``."""
    return _INVISIBLE.sub(_spelled_out, str(text))


def encoded(text: str) -> bytes:
    r"""A text in UTF-8; a byte of a file name that is no text becomes ``\xe9`` in it."""
    return _SURROGATE.sub(_spelled_out, text).encode("utf-8")


def _spelled_out(found: re.Match[str]) -> str:
    code = ord(found[0])
    if 0xDC80 <= code <= 0xDCFF:  # how Python keeps a byte of a file name that is no UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return ascii(found[0])[1:-1]
