"""One call of a job: flags in, results and clear errors out, and nothing left of it in the process."""

from __future__ import annotations

import contextlib
import faulthandler
import io
import logging as standard_logging
import os
import re
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn, Protocol

from absl import flags, logging
from absl.logging import converter

from glintiqa_jax.cli.flags import Flags
from glintiqa_jax.cli.results import flush_results, is_unread
from glintiqa_jax.errors import InputError, LostProcessError, named_fields, visible
from glintiqa_jax.interruptions import ending_on_signals, what_failed
from glintiqa_jax.progress import LOGGER, Log
from glintiqa_jax.recipes.flagfiles import expanded

ADVICE = "run the same command again"
_HELP = {"--help", "-help", "-h", "--helpshort", "--helpfull"}


class Job(Protocol):
    """A module of ``jobs``; its docstring is its help.

    ``ARGUMENTS``, if a job has it, names its positional arguments.
    """

    __doc__: str | None

    def define(self, values: Flags) -> None:
        """Define the job's flags, without importing what takes long."""

    def run(self, values: Flags, arguments: list[str]) -> int | None:
        """Do the job; gives the exit code, if another than 0."""


def run(load: Callable[[], Job], arguments: Sequence[str], command: str, *, ends_process: bool = True) -> None:
    """Parse the flags and do a job.

    A mistake of the user's, in the flags or found later, is one line on stderr and exit code 2, without a traceback. So
    is a failure of the system, such as a full disk. A signal ends the job and its children within seconds. When the
    results have no reader any more, as after ``| head -1``, the job ends silently.

    Args:
      load: gives the job; importing it may be interrupted, too.
      arguments: flags and what else follows the job's name.
      command: what was called, as reports show it.
      ends_process: whether the process has nothing else to do: a signal ends it then.

    Raises:
      SystemExit: with the exit code, where it is not 0.
    """
    if ends_process:
        _open_streams()
        faulthandler.enable()
    values = Flags(command)
    with ending_on_signals(ADVICE) if ends_process else contextlib.nullcontext():
        try:
            with _logging(values.log) as set_verbosity:
                _call(load(), values, arguments, set_verbosity)
        except BrokenPipeError as error:  # of --help
            if not is_unread(error):
                raise
        finally:
            with contextlib.suppress(OSError):
                flush_results()


def _call(job: Job, values: Flags, arguments: Sequence[str], set_verbosity: Callable[[int], None]) -> None:
    try:
        job.define(values)
        define_common(values)
        if _HELP & set(arguments):
            print(_help(job, values))
            return
        _, *rest = values(["", *expanded(arguments)])
        set_verbosity(values.verbosity)
        if rest and not hasattr(job, "ARGUMENTS"):
            raise InputError(expected="only --flags", found=" ".join(rest))
        code = job.run(values, rest)
        flush_results()
        if code:
            sys.exit(code)
    except flags.Error as error:
        _fail(re.sub(r"^flag (--\w+)=None: .*", r"\1: needed, found nothing", str(error)))
    except InputError as error:
        _fail(error.text(values.called))
    except LostProcessError as error:
        _fail(str(error), code=error.code)
    except KeyboardInterrupt as stopped:
        with contextlib.suppress(OSError):
            flush_results()  # the same Ctrl-C may have ended their reader
        notes = getattr(stopped, "__notes__", [])
        notes[:] = [named_fields(note, values.called) for note in notes]
        raise
    except Exception as error:
        if is_unread(error):
            _leave(128 + signal.SIGPIPE)
        if isinstance(error, BrokenPipeError) and error.filename:
            _fail(f"{error.filename}: nobody reads it any more", code=128 + signal.SIGPIPE)
        if isinstance(error, RuntimeError) and "home directory" in str(error):  # pathlib's words
            _fail(f"expected a home folder for a ~ in a path, found none ({error})")
        if words := what_failed(error, _named_by_flags(values)):
            _fail(words)
        if not _is_one_of_several():
            raise
        traceback.print_exc()
        _leave(1)


def define_common(values: flags.FlagValues) -> None:
    """Define the flags of every job."""
    title = "every job"
    flags.DEFINE_string("flagfile", None, "a file with a flag on a line, to stand here", values, module_name=title)
    flags.DEFINE_integer(
        "verbosity",
        -1,
        "messages: -1 warnings, 0 what happens, too, 1 all that libraries say",
        flag_values=values,
        module_name=title,
    )


def _help(job: Job, values: Flags) -> str:
    """The job's documentation, and its flags by what they are about."""
    lines = [(job.__doc__ or "").strip()]
    for title, defined in values.flags_by_module_dict().items():
        lines += ["", f"{title.rpartition('.')[2]}:"]
        for flag in defined:
            name = f"--{'[no]' * flag.boolean}{flag.name}"
            lines.append(
                flags.text_wrap(
                    f"{f'-{flag.short_name}, ' if flag.short_name else ''}{name}: {flag.help}"
                    f"{f' ({flag.parser.syntactic_help})' if flag.parser.syntactic_help and not flag.boolean else ''}"
                    f"{f' (default: {flag.default})' if flag.default not in (None, '', (), []) else ''}",
                    indent="    ",
                    firstline_indent="  ",
                )
            )
    return "\n".join(lines)


@contextlib.contextmanager
def _logging(log: Log) -> Iterator[Callable[[int], None]]:
    """Libraries' messages as absl shows them, warnings and the package's own by the log; sets how much is told."""

    class Handler(standard_logging.Handler):
        def emit(self, record: standard_logging.LogRecord) -> None:
            log.warn(record.getMessage())

    handler, root, matplotlib = Handler(), standard_logging.getLogger(), standard_logging.getLogger("matplotlib")
    verbosity, levels, handlers = logging.get_verbosity(), (LOGGER.level, matplotlib.level), list(root.handlers)
    propagate, LOGGER.propagate = LOGGER.propagate, False
    matplotlib.setLevel(standard_logging.ERROR)  # without a home it warns of its cache, while it is imported
    logging.use_absl_handler()
    LOGGER.addHandler(handler)

    def set_verbosity(told: int) -> None:
        # by default and at 0, libraries are heard in errors only: Orbax warns of a save that took seconds
        logging.set_verbosity(told if told > 0 else logging.ERROR)
        LOGGER.setLevel(converter.absl_to_standard(told))

    def show(message: Warning | str, *_: Any) -> None:
        log.warn(f"warning: {message}")

    set_verbosity(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = show  # type: ignore[assignment]
            yield set_verbosity
    finally:
        logging.set_verbosity(verbosity)
        LOGGER.setLevel(levels[0])
        matplotlib.setLevel(levels[1])
        LOGGER.propagate = propagate
        LOGGER.removeHandler(handler)
        root.handlers[:] = handlers


def _open_streams() -> None:
    """Open streams that can print any file name: a file in place of a closed stream would get its text."""
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


def _named_by_flags(values: Flags) -> list[str]:
    """The files and folders among the flags' values."""
    given = values.given(list(values)).values()
    return [value for value in given if isinstance(value, str) and (os.sep in value or _exists(value))]


def _exists(path: str) -> bool:
    try:
        return Path(path).exists()
    except (OSError, ValueError):  # no name that a file may have
        return False


def _fail(message: Any, code: int = 2) -> NoReturn:
    print(f"error: {visible(message)}", file=sys.stderr)
    _leave(code)


def _leave(code: int) -> NoReturn:
    with contextlib.suppress(OSError):
        flush_results()
    if _is_one_of_several():
        sys.stderr.flush()
        os._exit(code)  # at once, which the other processes notice: at exit JAX would wait minutes for them
    sys.exit(code)


def _is_one_of_several() -> bool:
    jax = sys.modules.get("jax")
    return jax is not None and jax.distributed.is_initialized()
