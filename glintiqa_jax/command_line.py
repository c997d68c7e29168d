"""What the commands in ``experiments/`` share: flags in, results and clear errors out."""

from __future__ import annotations

import contextlib
import inspect
import io
import logging as standard_logging
import multiprocessing
import os
import select
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from absl import app, flags, logging

from glintiqa_jax.errors import InputError, LostProcessError, UserError, visible
from glintiqa_jax.interruptions import ending_on_signals, what_failed
from glintiqa_jax.progress import RESULTS, result


def loading() -> contextlib.AbstractContextManager[None]:
    """Around imports that take seconds, before ``run``: a signal ends the command then, too, without a traceback."""
    _hush_matplotlib()
    if multiprocessing.parent_process() is not None:  # a worker, which imports the command and is ended by its parent
        return contextlib.nullcontext()
    return ending_on_signals("run the same command again")


def run(main: Callable[..., None], *, advice: str = "run the same command again") -> None:
    """Parse the flags and call ``main``, with the remaining arguments if it takes any.

    A mistake of the user's, in the flags or found later, is one line on stderr and exit code 2, without a traceback. So
    is what the system refuses, a full disk for one. A signal ends the command and its children within seconds; where
    nobody reads the results any more, as after ``| head -1``, it ends without a word.

    Args:
      main: the command.
      advice: how to go on after a signal; a note that is added to the exception, a ``KeyboardInterrupt``, replaces it.
    """

    def parse(argv: list[str]) -> list[str]:
        try:
            return flags.FLAGS([argv[0], *_with_files_of_flags(argv[1:])])
        except flags.Error as error:
            _fail(str(error))
        except InputError as error:
            _fail(error.text(_as_flag))

    def call(argv: list[str]) -> None:
        if not flags.FLAGS["verbosity"].present:
            logging.set_verbosity(logging.WARNING)  # the libraries' progress reports: --verbosity=0
        takes_arguments = bool(inspect.signature(main).parameters)
        try:
            if len(argv) > 1 and not takes_arguments:
                raise UserError(f"expected only --flags, found {' '.join(argv[1:])}")
            main(*([argv[1:]] if takes_arguments else []))
            _flush_results()
        except InputError as error:
            _fail(error.text(_as_flag))
        except LostProcessError as error:
            _fail(str(error), code=1)
        except KeyboardInterrupt:
            with contextlib.suppress(OSError):
                _flush_results()  # the same Ctrl-C may have ended who reads them
            raise
        except Exception as error:
            if _is_unread(error):
                _leave(128 + signal.SIGPIPE)
            if isinstance(error, BrokenPipeError) and error.filename:
                _fail(f"{error.filename}: nobody reads it any more", code=128 + signal.SIGPIPE)
            if isinstance(error, RuntimeError) and "home directory" in str(error):  # pathlib's words
                _fail(f"expected a home folder for a ~ in a path, found none ({error})")
            if words := what_failed(error, _named_by_flags()):
                _fail(words)
            if not _is_one_of_several():
                raise
            traceback.print_exc()
            _leave(1)

    _hush_matplotlib()
    _open_streams()
    with ending_on_signals(advice):
        try:
            app.run(call, flags_parser=parse)
        except BrokenPipeError as error:  # of --help
            if not _is_unread(error):
                raise
        finally:
            with contextlib.suppress(OSError):
                _flush_results()


def _as_flag(field: str) -> str:
    return f"--{field.rpartition('.')[2]}"


def print_metrics(results: dict[str, Any]) -> None:
    """One line per split: ``test: SROCC 0.7123  PLCC ...  (500 images)``."""
    from glintiqa_jax.evaluation.metrics import result_line  # SciPy, after the flags

    for name, metrics in results.items():
        if isinstance(metrics, dict):
            result(f"{name:>10}:  {result_line(metrics)}")


def _hush_matplotlib() -> None:
    """Without a home it warns of its cache, while it is imported."""
    standard_logging.getLogger("matplotlib").setLevel(standard_logging.ERROR)


def _open_streams() -> None:
    """Streams that take every name, and are there: a file opened in the place of a closed one would get its text."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "w" if number else "r", encoding="utf-8", closefd=False))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _with_files_of_flags(arguments: list[str], inside: tuple[Path, ...] = ()) -> list[str]:
    """Arguments, with the content of each ``--flagfile`` in its place: UTF-8, a flag on a line, # and // comments."""
    expanded: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        flag, equals, value = argument.partition("=")
        if flag not in ("--flagfile", "-flagfile"):
            expanded.append(argument)
            if argument == "--":
                break
            continue
        value = value if equals else next(rest, "")
        path = Path(os.path.expanduser(value.strip()))  # noqa: PTH111  # a ~ without a home stays one
        try:
            lines = path.read_text(encoding="utf-8-sig").split("\n")
        except (OSError, ValueError) as error:
            found = (error.strerror if isinstance(error, OSError) else "other bytes") if value else "nothing"
            raise UserError(f"--flagfile={value}: expected a text file of flags, in UTF-8, found {found}") from error
        if path.resolve() in inside:
            raise UserError(f"--flagfile={value}: expected a file of flags, found one that includes itself")
        given = [line.strip() for line in lines if line.strip() and not line.startswith(("#", "//"))]
        expanded += _with_files_of_flags(given, (*inside, path.resolve()))
    return [*expanded, *rest]


def _named_by_flags() -> list[str]:
    """The files and folders among the flags' values."""
    values = [flags.FLAGS[name].value for name in flags.FLAGS if flags.FLAGS[name].present]
    return [value for value in values if isinstance(value, str) and (os.sep in value or _exists(value))]


def _exists(path: str) -> bool:
    try:
        return Path(path).exists()
    except (OSError, ValueError):  # no name that a file may have
        return False


def _fail(message: str, code: int = 2) -> NoReturn:
    print(f"error: {visible(message)}", file=sys.stderr)
    _leave(code)


def _leave(code: int) -> NoReturn:
    with contextlib.suppress(OSError):
        _flush_results()
    if _is_one_of_several():
        sys.stderr.flush()
        os._exit(code)  # at once, which the others notice: on its way out JAX would wait minutes for them
    sys.exit(code)


def _flush_results() -> None:
    """Write what is still to be written; where that fails, nothing more is tried."""
    try:
        sys.stdout.flush()
    except OSError as error:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
        raise OSError(error.errno, error.strerror, RESULTS) from error


def _is_unread(error: Exception) -> bool:
    """Whether an error says that the results go to a pipe whose other end is closed, and not a worker's pipe."""
    if not isinstance(error, BrokenPipeError) or error.filename == RESULTS:
        return isinstance(error, BrokenPipeError)
    ready = select.poll()
    try:
        ready.register(sys.stdout.fileno(), 0)
    except (OSError, ValueError):
        return False
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in ready.poll(0))


def _is_one_of_several() -> bool:
    jax = sys.modules.get("jax")
    return jax is not None and jax.distributed.is_initialized()
