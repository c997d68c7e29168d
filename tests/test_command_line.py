"""How a command ends: errors of the user's, Ctrl-C, and an output that could not be written."""

import subprocess
import sys

import pytest

from glintiqa_jax import command_line
from glintiqa_jax.errors import UserError

SCRIPT = """
from glintiqa_jax import command_line
from glintiqa_jax.errors import UserError

def main():
    raise {raised}

command_line.run(main)
"""


@pytest.mark.parametrize(
    ("raised", "code", "line"),
    [
        ("UserError('--steps: expected 1 or more, found 0')", 2, "error: --steps: expected 1 or more, found 0\n"),
        ("KeyboardInterrupt", 130, "interrupted; run the same command again\n"),
    ],
)
def test_no_end_leaves_a_traceback(raised, code, line):
    script = SCRIPT.format(raised=raised)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stderr, done.stdout) == (code, line, "")


def test_an_output_that_cannot_be_written_is_refused_at_once(tmp_path):
    command_line.check_output(str(tmp_path / "scores.csv"))
    with pytest.raises(UserError, match=r"--output=.*scores.csv: expected a file in an existing folder"):
        command_line.check_output(str(tmp_path / "nowhere" / "scores.csv"))
