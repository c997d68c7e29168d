"""One run at a time works in a folder; what a killed one left behind does not keep the next one out."""

import errno
import fcntl
import json
import os
import socket
import subprocess
import sys

import pytest

from glintiqa_jax.data import lock
from glintiqa_jax.data.lock import sole_user
from glintiqa_jax.errors import InputError


def take(folder):
    with sole_user(folder, "workdir"):
        pass


def owner(**changes):
    """What a run that was killed has left in the lock."""
    return json.dumps(lock._this_process() | {"pid": 2**22 + 1, "started": "1"} | changes)


def test_a_second_run_is_refused_and_told_who_is_there(tmp_path):
    there = rf"workdir=.*: .* process {os.getpid()} of {socket.gethostname()} .*since"
    with sole_user(tmp_path / "run", "workdir"), pytest.raises(InputError, match=there):
        take(tmp_path / "run")
    take(tmp_path / "run")


def test_a_killed_run_does_not_keep_the_next_one_out(tmp_path):
    code = (
        "import os, pathlib, signal, sys\n"
        "from glintiqa_jax.data.lock import sole_user\n"
        "with sole_user(pathlib.Path(sys.argv[1]), 'x'):\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert (tmp_path / ".lock").read_text()
    take(tmp_path)


def test_a_folder_made_for_a_run_that_is_refused_is_not_left(tmp_path):
    with pytest.raises(KeyError), sole_user(tmp_path / "one" / "two", "workdir"):
        raise KeyError
    assert not list(tmp_path.iterdir())
    with sole_user(tmp_path / "one" / "two", "workdir"):
        (tmp_path / "one" / "two" / "kept").touch()
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["kept"]


def test_a_run_of_another_machine_counts_as_long_as_it_gives_signs_of_life(tmp_path):
    (tmp_path / ".lock").write_text(owner(host="elsewhere"))
    with pytest.raises(InputError, match=r"of elsewhere .*remove .*\.lock"):
        take(tmp_path)
    os.utime(tmp_path / ".lock", (1e9, 1e9))
    take(tmp_path)


@pytest.mark.parametrize("left", ["", "{", "[]", '{"host": "x"}', "\x00"])
def test_a_lock_that_says_nothing_keeps_nobody_out(tmp_path, left):
    (tmp_path / ".lock").write_text(left)
    take(tmp_path)


def test_where_the_file_system_has_no_locks_the_process_itself_is_looked_for(tmp_path, monkeypatch):
    def none(*_):
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr(fcntl, "flock", none)
    running = {"pid": os.getppid(), "started": lock._started(os.getppid())}
    (tmp_path / ".lock").write_text(owner(**running))
    with pytest.raises(InputError, match=f"process {os.getppid()}"):
        take(tmp_path)
    (tmp_path / ".lock").write_text(owner(**running | {"started": "1"}))  # another process has its number now
    take(tmp_path)


def test_a_folder_that_cannot_be_made_is_one_error(tmp_path):
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", tmp_path / "file" / "below", tmp_path / ("x" * 300)):
        with pytest.raises(InputError, match=r"workdir=.*: "):
            take(place)
