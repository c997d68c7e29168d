"""What ends a run from outside: signals, the death of its parent, and exhausted resources."""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import errno
import math
import multiprocessing
import os
import re
import select
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import context
from pathlib import Path
from typing import Any, NoReturn

from glintiqa_jax.errors import InputError

GRACE = 5.0
"""Seconds that a command has to end after a signal; then it is killed, whatever it waits for."""


class Stopped(KeyboardInterrupt):
    """A signal ended a run between two steps, or batches of an evaluation; its notes say how to resume.

    Attributes:
      number: the signal's.
    """

    def __init__(self, number: int):
        super().__init__(signal.Signals(number).name)
        self.number = number


class Stop(threading.Event):
    """Set by a signal.

    Attributes:
      number: the signal's; 0 for none yet.
    """

    number = 0


_ENDING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
_FULL = (errno.ENOSPC, errno.EDQUOT)
_WORKER_ENDED = re.compile(r"Worker process was terminated unexpectedly with exit code (-?\d+)")  # Grain's words


@contextlib.contextmanager
def ending_on_signals(advice: str) -> Iterator[None]:
    """Let SIGINT, SIGTERM and SIGHUP end the process and its children within seconds, with one line on stderr.

    The main thread gets a ``KeyboardInterrupt``, and has ``GRACE`` seconds to unwind; a second signal ends at once. The
    exit code is 128 and the signal's number. Signals that were ignored when the process started, as by ``nohup``, stay
    ignored.

    Args:
      advice: how to resume, after "interrupted; ". Notes added to the exception replace it.
    """
    handlers = {number: signal.getsignal(number) for number in _ENDING}
    caught = [number for number, handler in handlers.items() if handler not in (signal.SIG_IGN, None)]
    received: list[int] = []
    unsaid = threading.Lock()
    # Python runs a handler between two steps of its main thread, which may be long in coming: a compilation, a thread
    # that is waited for. The system writes the signal's number here at once.
    reader, writer = os.pipe()
    os.set_blocking(writer, False)

    def on_signal(number: int, frame: Any) -> None:
        received.append(number)
        for other in caught:
            signal.signal(other, signal.SIG_DFL)
        raise KeyboardInterrupt(signal.Signals(number).name)

    def on_unraisable(lost: Any) -> None:
        """Python drops what is raised where it collects garbage, after a traceback; then it is raised once more."""
        if not (received and lost.exc_type is KeyboardInterrupt):
            show_unraisable(lost)
        elif threading.current_thread() is threading.main_thread():
            signal.set_wakeup_fd(-1)  # as this is no second signal
            signal.signal(received[0], on_signal)
            threading.Timer(0.01, signal.pthread_kill, [threading.get_ident(), received[0]]).start()

    def end(number: int, words: str, leave: Callable[[int], Any]) -> None:
        for child in multiprocessing.active_children():
            child.kill()
        if unsaid.acquire(blocking=False):
            os.write(2, f"interrupted; {words}\n".encode(errors="backslashreplace"))
        leave(128 + number)

    def watch() -> None:
        if number := _next_signal(reader, caught):
            _next_signal(reader, caught, timeout=GRACE)
            flushing = threading.Thread(target=sys.stdout.flush, daemon=True)  # which a full pipe may hold up
            flushing.start()
            flushing.join(0.5)
            end(number, advice, os._exit)
        os.close(reader)

    # Shared memory of a process that is killed is removed by a process of Python's own, which would warn of it.
    sys.warnoptions.append("ignore:resource_tracker:UserWarning")
    wakeup = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    threading.Thread(target=watch, name="signals", daemon=True).start()
    for number in caught:
        signal.signal(number, on_signal)
    show_unraisable, sys.unraisablehook = sys.unraisablehook, on_unraisable
    try:
        yield
    except BaseException as stopped:
        if isinstance(stopped, KeyboardInterrupt):
            received.append(getattr(stopped, "number", signal.SIGINT))
        if not received or (isinstance(stopped, SystemExit) and not stopped.code):
            raise
        # whatever it has become on its way: Beam, for one, raises an exception of its own
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
        end(received[0], "; ".join(getattr(stopped, "__notes__", ())) or advice, _leave)
    finally:
        # a process that is on its way out has nothing left to lose, but is watched: it may wait for a thread
        leaving = sys.exc_info()[0] is not None
        for number in caught:
            signal.signal(number, signal.SIG_DFL if leaving else handlers[number])
        if not leaving:
            sys.unraisablehook = show_unraisable
            signal.set_wakeup_fd(wakeup)
            os.close(writer)


def _leave(code: int) -> NoReturn:
    """End the process, without tearing down what XLA still compiles in the background, which crashes in it."""
    atexit._run_exitfuncs()
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
    os._exit(code)


def _next_signal(reader: int, numbers: Sequence[int], *, timeout: float | None = None) -> int:
    """The next of these signals; 0 when there will be none, or the time is over."""
    while select.select([reader], [], [], timeout)[0]:
        number = int.from_bytes(os.read(reader, 1))
        if not number or number in numbers:
            return number
    return 0


@contextlib.contextmanager
def stop_on_signals() -> Iterator[Stop]:
    """An event that the first SIGINT, SIGTERM or SIGHUP sets; the second acts as it did before."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.getsignal(number) for number in _ENDING}
    before = {number: handler for number, handler in before.items() if handler not in (signal.SIG_IGN, None)}
    wakeup = signal.set_wakeup_fd(-1)  # so that ending_on_signals, around this, hears nothing of the first

    def act_as_before() -> None:
        signal.set_wakeup_fd(wakeup)
        for number, handler in before.items():
            signal.signal(number, handler)

    def on_signal(number: int, frame: Any) -> None:
        stop.number = number
        stop.set()
        act_as_before()

    for number in before:
        signal.signal(number, on_signal)
    try:
        yield stop
    finally:
        act_as_before()


def end_aborted(why: Callable[[], tuple[str, int]]) -> None:
    """Let a process that C++ aborts end with a line on stderr and an exit code; SIGABRT has neither.

    A handler of Python's would run too late: ``abort`` ends the process when the handler of the system's returns.

    Args:
      why: gives the line and the code.
    """

    def on_abort(number: int) -> None:
        line, code = why()
        os.write(2, f"error: {line}\n".encode(errors="backslashreplace"))
        os._exit(code)

    handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(on_abort)
    _HANDLERS.append(handler)
    ctypes.CDLL(None).signal(signal.SIGABRT, handler)


def abort_as_ever() -> None:
    """Take back ``end_aborted``."""
    signal.signal(signal.SIGABRT, signal.SIG_DFL)


_HANDLERS: list[Any] = []  # which the system calls, so that they must stay


@contextlib.contextmanager
def deaf_children() -> Iterator[None]:
    """What is blocked here while a process starts, stays blocked there."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGHUP))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Worker(context.SpawnProcess):
    """A process that leaves Ctrl-C and a closed terminal to its parent, from before its first line on."""

    def start(self) -> None:
        with deaf_children():
            super().start()


class _Workers(context.SpawnContext):
    """Starts processes, and remembers them. Spawned, as a forked copy of a process with JAX's threads may hang."""

    def __init__(self) -> None:
        super().__init__()
        self.started: list[_Worker] = []

    def Process(self, *args: Any, **options: Any) -> _Worker:  # type: ignore[override]  # noqa: N802
        self.started.append(_Worker(*args, **options))
        return self.started[-1]


@contextlib.contextmanager
def process_pool(workers: int, initializer: Callable[[], None]) -> Iterator[ProcessPoolExecutor]:
    """A pool whose processes end with this one, however it ends, and at once when an exception leaves the block.

    Give it work by ``submit``: Python's pool stumbles over what an interrupted ``map`` cancels.

    Args:
      workers: processes at most.
      initializer: called in each as it begins; importable, as what is submitted must be.
    """
    processes = _Workers()
    with deaf_children():  # the process that keeps account of what is shared starts here
        pool = ProcessPoolExecutor(workers, processes, initializer=_begin_work, initargs=(initializer,))
    try:
        yield pool
    except BaseException:
        for process in processes.started:
            if process.pid:
                process.kill()
        pool.shutdown(cancel_futures=True)
        raise
    pool.shutdown()


def _begin_work(initializer: Callable[[], None]) -> None:
    end_with_parent()
    initializer()


def end_with_parent() -> None:
    """Let this worker process end when its parent has, however that ended."""
    parent = multiprocessing.parent_process()

    def wait() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=wait, name="parent", daemon=True).start()


@contextlib.contextmanager
def noticing_a_full_disk(*folders: str | os.PathLike) -> Iterator[None]:
    """What the system refuses becomes one clear error, an ``InputError`` by ``what_failed``.

    Args:
      folders: what is written, where an error does not say which file it was.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        if not (words := what_failed(error, folders)):
            raise
        raise InputError(f"{words}; what was saved before is intact, and the same command resumes from it") from error


def what_failed(error: BaseException, folders: Iterable[str | os.PathLike] = ()) -> str | None:
    """What an error says of the system, in one line that names the file or the resource; None for other errors.

    Full disks and quotas, a small /dev/shm, read-only folders, files that are missing or may not be touched, too many
    of them open, no memory left, a process that was ended.

    Args:
      error: with those that it came from: where a disk is full, closing a file fails as well.
      folders: what is written, where the error does not say which file it was.
    """
    chain = [error]
    while (before := chain[-1].__cause__ or chain[-1].__context__) and before not in chain:
        chain.append(before)
    return next(filter(None, (_what_one_says(one, list(folders)) for one in chain)), None)


def _what_one_says(error: BaseException, folders: Sequence[str | os.PathLike]) -> str | None:
    text = " ".join(str(error).split())
    if isinstance(error, BrokenProcessPool):
        return "a worker process was ended, for want of memory perhaps: fewer workers need less"
    if found := _WORKER_ENDED.search(text):
        if int(found[1]) == -getattr(signal, "SIGBUS", 7):
            return _shared_memory_is_full()
        return f"a worker process was ended (exit code {found[1]}), for want of memory perhaps: fewer workers need less"
    if type(error).__name__ == "JaxRuntimeError" and text.startswith("RESOURCE_EXHAUSTED"):
        return f"not enough memory on the device ({text[:200]})"
    number, place = _number_and_place(error, text)
    if isinstance(error, MemoryError) or number == errno.ENOMEM:
        return f"not enough memory{f' ({text})' if text else ''}"
    if number in _FULL and _raised_in(error) in ("multiprocessing.synchronize", "multiprocessing.shared_memory"):
        return _shared_memory_is_full()
    if number in _FULL and not place:
        known: dict[int, float] = {}
        place = min(map(str, folders or [tempfile.gettempdir()]), key=lambda folder: _room(folder, known))
    if number in (errno.EMFILE, errno.ENFILE):
        return f"{place or 'this process'}: too many open files, of which `ulimit -n` says and raises the limit"
    if not (number and place) or number == errno.EPIPE:
        return None
    said = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the quota of this disk is used up"}
    return f"{place}: {said.get(number, os.strerror(number))}"


def _number_and_place(error: BaseException, text: str) -> tuple[int, str]:
    """The system's number of an error, 0 for none, and the file that it names, "" for none."""
    if isinstance(error, OSError):
        number = error.errno or 0
        if not number and re.search(r"\d+ requested and \d+ written", text):
            number = errno.ENOSPC  # NumPy's words
        name = error.filename2 or error.filename
        return number, os.fsdecode(name) if isinstance(name, str | bytes | os.PathLike) else ""
    # TensorStore's errors are text
    told = re.search(r"os_error_code='(\d+)'", text)
    number = int(told[1]) if told else next((full for full in _FULL if os.strerror(full) in text), 0)
    quoted = re.findall(r"""['"](/[^'"]+)['"]""", text.partition("[os_error_code")[0]) if number else []
    return number, quoted[-1].replace("\\x00", "/") if quoted else ""


def _raised_in(error: BaseException) -> str:
    """The module that an error comes from."""
    step = error.__traceback__
    while step and step.tb_next:
        step = step.tb_next
    return step.tb_frame.f_globals.get("__name__", "") if step else ""


def _room(place: str, known: dict[int, float]) -> float:
    """Bytes that are free where a file or folder is, or would be; each file system is asked once, into ``known``."""
    try:
        there = next(folder for folder in (Path(place), *Path(place).parents) if folder.exists())
        device, room = there.stat().st_dev, os.statvfs(there)
    except (OSError, StopIteration):
        return math.inf
    return known.setdefault(device, 0 if room.f_files and not room.f_favail else room.f_bavail * room.f_frsize)


def _shared_memory_is_full() -> str:
    return (
        "/dev/shm: the memory that worker processes share is full; fewer of them need less, and a container gets more "
        "by `docker run --shm-size=8g`"
    )
