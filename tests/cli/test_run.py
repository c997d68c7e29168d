"""How a job ends: errors of the user's, signals, streams that are closed or that nobody reads."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import os, sys
from absl import flags
from glintiqa_jax.cli.results import result
from glintiqa_jax.cli.run import run as run_job
from glintiqa_jax.data.files import open_output
from glintiqa_jax.errors import InputError, LostProcessError
from glintiqa_jax.progress import LOGGER, say, warn

ARGUMENTS = "NAME..."

def define(values):
    flags.DEFINE_integer("steps", 1, "a flag", flag_values=values)
    flags.DEFINE_string("output", None, "another", values)

def run(values, rest):
    {body}

run_job(lambda: sys.modules["__main__"], sys.argv[1:], "script")
"""


def run(body: str, *arguments: str | bytes, shell: str = "", cwd: Path | None = None, **environment: str):
    """A command of this body; ``shell`` is what follows it there, such as ``| head -1``."""
    command = [sys.executable, "-c", SCRIPT.format(body=body), *arguments]
    if shell:
        command = ["bash", "-c", f'set -o pipefail; "$@" {shell}', "bash", *command]
    done = subprocess.run(
        command, capture_output=True, cwd=cwd, env=os.environ | {"PYTHONUNBUFFERED": ""} | environment
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


@pytest.mark.parametrize(
    ("body", "code", "line"),
    [
        ("raise InputError(field='data.steps', expected='1 or more')", 2, "error: --steps: expected 1 or more\n"),
        ("raise InputError('two\\nlines of \\x1b[31mcolour')", 2, "error: two\\nlines of \\x1b[31mcolour\n"),
        ("raise LostProcessError('process 1 is gone')", 75, "error: process 1 is gone\n"),
        (
            "from glintiqa_jax.interruptions import Stopped; raise Stopped(15)",
            143,
            "interrupted; run the same command again\n",
        ),
        ("raise KeyboardInterrupt", 130, "interrupted; run the same command again\n"),
        ("open('/nowhere/file')", 2, "error: /nowhere/file: No such file or directory\n"),
        (
            "os.path.expanduser('~') and __import__('pathlib').Path('~nobody_so/x').expanduser()",
            2,
            "error: expected a home",
        ),
    ],
)
def test_no_end_leaves_a_traceback(body, code, line):
    found, results, said = run(body)
    assert (found, results) == (code, "")
    assert said.startswith(line)
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("body", "shell", "expected"),
    [
        ("[print(number) for number in range(10**5)]", "| head -1", (141, "0\n", "")),
        ("[result(str(number)) for number in range(10**5)]", "| head -1", (141, "0\n", "")),
        ("print('few')", "| true", (141, "", "")),
        ("print('lost')", "> /dev/full", (2, "", "error: standard output: the disk is full\n")),
        ("result('lost')", "> /dev/full", (2, "", "error: standard output: the disk is full\n")),
        ("print('out'); warn('said')", ">&-", (0, "", "said\n")),
        ("print('out'); warn('said'); say('said')", "2>&-", (0, "out\n", "")),
        ("print(sys.stdin.read(), os.open('x', os.O_CREAT) > 2); warn('said')", "<&- 2>&-", (0, " True\n", "")),
    ],
)
def test_streams_that_are_closed_full_or_not_read(body, shell, expected, tmp_path):
    code, results, said = run(body, shell=shell, cwd=tmp_path)
    if expected[0] == 141 and code == 0:  # it was quicker than its reader
        code = 141
    assert (code, results, said) == expected


@pytest.mark.parametrize(
    ("body", "arguments", "line"),
    [
        ("values.log.warn('`data.steps=3` is few')", [], "--steps=3 is few\n"),
        ("LOGGER.warning('left out: %s', 'a.png')", [], "left out: a.png\n"),
        ("import warnings; warnings.warn('few images')", [], "warning: few images\n"),
        ("say('going on'); LOGGER.info('opened')", [], ""),
        ("say('going on'); LOGGER.info('opened')", ["--verbosity=0"], "going on\nopened\n"),
        (
            "stopped = KeyboardInterrupt(); stopped.add_note('see `output`'); raise stopped",
            [],
            "interrupted; see --output\n",
        ),
    ],
)
def test_messages_name_flags_and_are_as_loud_as_asked_for(body, arguments, line):
    assert run(body, *arguments)[1:] == ("", line)


def test_help_that_is_not_read_to_its_end():
    code, results, said = run("pass", "--help", shell="| head -1")
    assert (code in (0, 141), results, said) == (True, "\n", "")


def test_a_broken_pipe_of_ours_is_no_reason_for_silence():
    """One to a worker process, say."""
    body = "reader, writer = os.pipe(); os.close(reader); os.write(writer, b'x')"
    code, _, said = run(body)
    assert code == 1
    assert "BrokenPipeError" in said


def test_an_output_that_nobody_reads_any_more_is_named():
    body = "output = open_output('output', values.output).__enter__(); [output.write(b'x' * 10**5) for _ in range(9)]"
    code, _, said = run(body, shell="--output=>(true)")
    assert code == 141
    assert said.startswith("error: /dev/fd/")
    assert said.endswith(": nobody reads it any more\n")


@pytest.mark.parametrize("environment", [{}, {"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C"}, {"PYTHONUTF8": "0"}])
def test_any_name_can_be_printed(environment):
    code, results, said = run(
        "print(*rest); result(rest[0]); warn(rest[0])", b"caf\xe9", "\u0394".encode(), **environment
    )
    assert code == 0
    assert "Traceback" not in said
    first, second = results.splitlines()
    assert second == "caf\\xe9" == said.rstrip("\n")
    assert first in ("caf\\udce9 \u0394", "caf\\udce9 \\u0394")


SLOW_IMPORTS = """
import os, sys

class Ending:
    def find_spec(self, name, path=None, target=None):
        if name == "glintiqa_jax.training.experiment":
            os.kill(os.getpid(), int(os.environ["NUMBER"]))

sys.meta_path.insert(0, Ending())
"""


@pytest.mark.parametrize("number", [2, 15])
def test_a_signal_while_libraries_are_imported_leaves_no_traceback(tmp_path, number):
    (tmp_path / "sitecustomize.py").write_text(SLOW_IMPORTS)
    done = subprocess.run(
        [sys.executable, Path(__file__).resolve().parents[2] / "experiments" / "train.py"],
        env=os.environ | {"PYTHONPATH": f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}", "NUMBER": str(number)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (
        128 + number,
        "",
        "interrupted; run the same command again\n",
    )


def test_results_come_line_by_line():
    body = "result('first'); sys.stdin.read(); result('second')"
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT.format(body=body)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "first\n"  # while it waits
        assert process.communicate("")[0] == "second\n"


def test_flags_from_files(tmp_path):
    """UTF-8 with or without a byte-order mark, Windows' line ends, comments, files in files; later flags win."""
    (tmp_path / "bom.flags").write_bytes("\ufeff--steps=3\r\n# --steps=4\r\n\r\n//\r\n".encode())
    (tmp_path / "outer.flags").write_text(
        "--steps=2\n  --flagfile=bom.flags\n--output=d\u0394\u2028\n", encoding="utf-8"
    )
    body = "print(values.steps, repr(values.output), rest)"
    for arguments, line in [
        (["--flagfile=bom.flags"], "3 None []"),
        (["--flagfile", "bom.flags", "name"], "3 None ['name']"),
        (["--flagfile=outer.flags"], "3 'd\u0394' []"),
        (["--flagfile=outer.flags", "--steps=9"], "9 'd\u0394' []"),
        (["--steps=9", "--", "--flagfile=bom.flags"], "9 None ['--flagfile=bom.flags']"),
    ]:
        assert run(body, *arguments, cwd=tmp_path) == (0, line + "\n", "")


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        (
            "--flagfile=nowhere.flags",
            "--flagfile=nowhere.flags: expected a text file of flags, in UTF-8, found No such",
        ),
        ("--flagfile=folder", "--flagfile=folder: expected a text file of flags, in UTF-8, found Is a directory"),
        (
            "--flagfile=latin.flags",
            "--flagfile=latin.flags: expected a text file of flags, in UTF-8, found other bytes",
        ),
        ("--flagfile=self.flags", "--flagfile=./self.flags: expected a file of flags, found one that includes itself"),
        ("--flagfile=", "--flagfile=: expected a text file of flags, in UTF-8, found nothing"),
        ("--flagfile", "--flagfile=: expected a text file of flags, in UTF-8, found nothing"),
        ("--step=3", "Unknown command line flag 'step'. Did you mean: steps ?"),
        ("--steps=three", "flag --steps=three: invalid literal"),
        (b"--steps=\xe9\n", "flag --steps=\\xe9"),
        (b"--caf\xe9", "Unknown command line flag 'caf\\xe9'"),
    ],
)
def test_wrong_flags_are_one_line(tmp_path, argument, message):
    (tmp_path / "folder").mkdir()
    (tmp_path / "latin.flags").write_bytes(b"--output=caf\xe9\n")
    (tmp_path / "self.flags").write_text("--flagfile=other.flags")
    (tmp_path / "other.flags").write_text("--flagfile=./self.flags")
    code, results, said = run("print('not to be reached')", argument, cwd=tmp_path)
    assert (code, results) == (2, "")
    assert said.startswith(f"error: {message}")
    assert said.count("\n") == 1
