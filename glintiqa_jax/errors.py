"""The one exception for mistakes that the person at the keyboard can mend."""


class UserError(Exception):
    """Wrong input: the message names the file, field or flag, what was expected and what was found.

    The commands in ``experiments/`` print it without a traceback and exit with code 2.
    """


def about(flag: str, value: object, error: Exception) -> str:
    """A message about a flag's value: ``--flag=value: what went wrong``, the value named once."""
    return f"--{flag}={value}: {str(error).removeprefix(f'{value}: ')}"
