"""What the commands in ``experiments/`` share: flags in, results and clear errors out."""

from __future__ import annotations

import inspect
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from absl import app, flags, logging

from glintiqa_jax.errors import LostProcessError, UserError


def run(main: Callable[..., None]) -> None:
    """Parse the flags and call ``main``, with the remaining arguments if it takes any.

    A mistake of the user's, in the flags or found later, is one line on stderr and exit code 2, without a traceback.
    """

    def parse(argv: list[str]) -> list[str]:
        try:
            return flags.FLAGS(argv)
        except flags.Error as error:
            _fail(str(error))
        except OSError as error:
            _fail(f"--flagfile={error.filename}: expected a file of flags, found {error.strerror}")

    def call(argv: list[str]) -> None:
        if not flags.FLAGS["verbosity"].present:
            logging.set_verbosity(logging.WARNING)  # the libraries' progress reports: --verbosity=0
        takes_arguments = bool(inspect.signature(main).parameters)
        try:
            if len(argv) > 1 and not takes_arguments:
                raise UserError(f"expected only --flags, found {' '.join(argv[1:])}")
            main(*([argv[1:]] if takes_arguments else []))
        except UserError as error:
            _fail(str(error))
        except LostProcessError as error:
            _fail(str(error), code=1)
        except Exception:
            if not _is_one_of_several():
                raise
            traceback.print_exc()
            _leave(1)
        except KeyboardInterrupt:
            print("interrupted; run the same command again", file=sys.stderr)
            sys.exit(130)

    app.run(call, flags_parser=parse)


def check_output(path: str | None) -> None:
    """Refuse an ``--output`` that could not be written, before any long work."""
    if path and not Path(path).parent.is_dir():
        raise UserError(f"--output={path}: expected a file in an existing folder, found no folder {Path(path).parent}")


def print_metrics(results: dict[str, Any]) -> None:
    """One line per split: ``test: SROCC 0.7123  PLCC ...  (500 images)``."""
    for name, metrics in results.items():
        if isinstance(metrics, dict):
            values = "  ".join(
                f"{key.upper()} {'undefined' if value is None else format(value, '.4f')}"
                for key, value in metrics.items()
                if key != "images"
            )
            print(f"{name:>10}:  {values}  ({metrics['images']} images)")


def _fail(message: str, code: int = 2) -> NoReturn:
    print(f"error: {message}", file=sys.stderr)
    _leave(code)


def _leave(code: int) -> NoReturn:
    if _is_one_of_several():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)  # at once, which the others notice: on its way out JAX would wait minutes for them
    sys.exit(code)


def _is_one_of_several() -> bool:
    jax = sys.modules.get("jax")
    return jax is not None and jax.distributed.is_initialized()
