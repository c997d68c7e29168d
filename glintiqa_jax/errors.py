"""The one exception for mistakes that the person at the keyboard can mend."""


class UserError(Exception):
    """Wrong input: the message names the file, field or flag, what was expected and what was found.

    The commands in ``experiments/`` print it without a traceback and exit with code 2.
    """
