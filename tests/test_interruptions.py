"""What ends a run from outside: each signal ends a command and its children once, and errors name what failed."""

import concurrent.futures.process
import contextlib
import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from glintiqa_jax.errors import InputError
from glintiqa_jax.interruptions import noticing_a_full_disk, stop_on_signals, what_failed

COMMAND = """
import os, time
import sys
from glintiqa_jax import interruptions
from glintiqa_jax.cli.run import run as run_job

interruptions.GRACE = float(os.environ["GRACE"])
way = os.environ["WAY"]

def begin():
    pass

def wait(number):
    if number < 2:
        os.write(1, f"{os.getpid()}\\n".encode())
    time.sleep(60)

def define(values):
    pass

def run(values, arguments):
    if way == "processes":
        with interruptions.process_pool(2, begin) as pool:
            for future in [pool.submit(wait, number) for number in range(9)]:
                future.result()
    if way == "noted":
        try:
            print("ready\\nready", flush=True)
            time.sleep(60)
        except KeyboardInterrupt as stopped:
            stopped.add_note("3 of 9 are in x.csv")
            raise
    if way == "collected":
        class Garbage:
            def __del__(self):
                print("ready\\nready", flush=True)
                time.sleep(60)
        try:
            Garbage()
            time.sleep(60)
        except KeyboardInterrupt as stopped:
            stopped.add_note("it was heard")
            raise
    if way == "swallowed":
        print("ready\\nready", flush=True)
        while True:
            try:
                time.sleep(60)
            except KeyboardInterrupt:
                pass

if __name__ == "__main__":
    run_job(lambda: sys.modules["__main__"], [], "")
"""


@pytest.fixture
def start(tmp_path):
    """Starts COMMAND in a way; the process, and what its first two lines on stdout say."""
    started = []
    (tmp_path / "command.py").write_text(COMMAND)

    def start(way: str, grace: float = 20) -> tuple[subprocess.Popen, list[str]]:
        process = subprocess.Popen(
            [sys.executable, str(tmp_path / "command.py")],
            env=os.environ | {"WAY": way, "GRACE": str(grace)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process, [process.stdout.readline().strip() for _ in range(2)]

    yield start
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def is_gone(pid: int) -> bool:
    """Whether a process has ended, a second or some later at the latest."""
    for _ in range(200):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize(
    ("number", "to_all", "code"),
    [(signal.SIGINT, True, 130), (signal.SIGTERM, False, 143), (signal.SIGHUP, True, 129)],
)
def test_a_signal_ends_a_command_and_its_processes_with_one_line(start, number, to_all, code):
    process, workers = start("processes")
    (os.killpg if to_all else os.kill)(process.pid, number)
    assert process.communicate(timeout=30) == ("", "interrupted; run the same command again\n")
    assert process.returncode == code
    assert all(is_gone(int(pid)) for pid in workers)


def test_processes_end_with_a_parent_that_is_killed(start):
    process, workers = start("processes")
    process.kill()
    assert process.communicate(timeout=30) == ("", "")
    assert all(is_gone(int(pid)) for pid in workers)


def test_a_note_says_how_to_go_on(start):
    process, _ = start("noted")
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=30)[1] == "interrupted; 3 of 9 are in x.csv\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_garbage_is_collected_is_not_lost(start, number):
    """Where Python drops what is raised, and shows a traceback of it."""
    process, _ = start("collected")
    process.send_signal(number)
    assert process.communicate(timeout=30) == ("", "interrupted; it was heard\n")
    assert process.returncode == 128 + number


def test_what_does_not_listen_is_ended_after_a_while_and_by_a_second_signal_at_once(start):
    process, _ = start("swallowed", grace=0.2)
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=30)[1] == "interrupted; run the same command again\n"
    assert process.returncode == 143
    process, _ = start("swallowed")
    for _ in range(100):  # some at once may be one
        process.send_signal(signal.SIGINT)
        time.sleep(0.05)
        if process.poll() is not None:
            break
    assert process.communicate(timeout=30)[0] == ""
    assert process.returncode in (130, -signal.SIGINT)


def test_a_first_signal_sets_the_event_and_a_second_acts_as_before():
    with stop_on_signals() as stop:
        assert not stop.is_set()
        signal.raise_signal(signal.SIGINT)
        assert stop.is_set()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as under nohup
    try:
        with stop_on_signals() as stop:
            signal.raise_signal(signal.SIGHUP)
            assert not stop.is_set()
    finally:
        signal.signal(signal.SIGHUP, before)


def raised(error: Exception | str, module: str = "anywhere") -> Exception:
    """An error that was raised in a module."""
    try:
        exec("raise error", {"error": error, "__name__": module})
    except Exception as caught:
        return caught


def of_the_system(number: int, *names: object) -> OSError:
    return OSError(number, os.strerror(number), *names)


TENSORSTORE = (
    'RESOURCE_EXHAUSTED: Error writing "a/0.0" in OCDBT database at local file "/run/ck/ocdbt/": Failed writing: '
    "\"/run/ck/ocdbt/d/e7f8\": Failed to write 5427200 bytes to file 4: No space left on device [os_error_code='28']"
)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (of_the_system(errno.ENOSPC, "/run/a.png"), "/run/a.png: the disk is full"),
        (of_the_system(errno.ENOSPC), "{folder}: the disk is full"),
        (of_the_system(errno.EDQUOT, "/run/a.png"), "/run/a.png: the quota of this disk is used up"),
        (of_the_system(errno.EROFS, b"/run/a.png"), "/run/a.png: Read-only file system"),
        (of_the_system(errno.EACCES, "/run/a.png"), "/run/a.png: Permission denied"),
        (of_the_system(errno.EMFILE, "/run/a.png"), "/run/a.png: too many open files, .*`ulimit -n`"),
        (of_the_system(errno.ENFILE), "this process: too many open files"),
        (of_the_system(errno.ENOENT, "/run/a", None, "/run/b"), "/run/b: No such file"),
        (of_the_system(errno.ENOMEM), "not enough memory"),
        (MemoryError("Unable to allocate 9 GiB"), r"not enough memory \(Unable to allocate 9 GiB\)"),
        (OSError("1000 requested and 12 written"), "{folder}: the disk is full"),
        (ValueError(TENSORSTORE), "/run/ck/ocdbt/d/e7f8: the disk is full"),
        (ValueError(TENSORSTORE.replace("28", "30")), "/run/ck/ocdbt/d/e7f8: Read-only file system"),
        (raised(of_the_system(errno.ENOSPC), "multiprocessing.synchronize"), "/dev/shm: .* is full; .*--shm-size"),
        (raised(of_the_system(errno.ENOSPC, "/psm_1"), "multiprocessing.shared_memory"), "/dev/shm: .* is full"),
        (RuntimeError("Worker process was terminated unexpectedly with exit code -7. Search"), "/dev/shm: .* is full"),
        (RuntimeError("Worker process was terminated unexpectedly with exit code -9. Search"), "a worker .*memory"),
        (concurrent.futures.process.BrokenProcessPool(), "a worker process was ended, for want of memory perhaps"),
    ],
)
def test_an_error_names_what_failed(tmp_path, error, message):
    def write() -> None:
        try:
            raise error
        finally:
            raise ValueError("what could not be written cannot be closed")

    with pytest.raises(InputError, match=f"^{message.format(folder=tmp_path)}"), noticing_a_full_disk(tmp_path):
        write()


@pytest.mark.parametrize("write", [lambda file: file.write(b"text" * 10000), lambda file: np.ones(10000).tofile(file)])
def test_a_full_disk_is_recognised_by_what_is_really_raised(write):
    def write_to_the_full() -> None:
        with Path("/dev/full").open("wb") as file:
            write(file)

    with pytest.raises(InputError, match=r"^/dev: the disk is full; .* the same command resumes"):  # noqa: SIM117
        with noticing_a_full_disk("/dev"):
            write_to_the_full()


def test_a_fault_of_ours_stays_one():
    for error in (ValueError("expected a batch"), KeyError("mos"), BrokenPipeError(errno.EPIPE, "Broken pipe")):
        assert what_failed(error) is None
        with pytest.raises(type(error)), noticing_a_full_disk("/anywhere"):
            raise error
