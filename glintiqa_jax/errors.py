"""The exceptions whose message is all that the person at the keyboard needs."""


class UserError(Exception):
    """Wrong input: the message names the file, field or flag, what was expected and what was found.

    The commands in ``experiments/`` print it without a traceback and exit with code 2.
    """


class LostProcessError(Exception):
    """Another process of the run is gone; what was saved is whole. The commands print it and exit with code 1."""


def about(flag: str, value: object, error: Exception) -> str:
    """A message about a flag's value: ``--flag=value: what went wrong``, the value named once."""
    return f"--{flag}={value}: {str(error).removeprefix(f'{value}: ')}"
