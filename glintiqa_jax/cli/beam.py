"""Apache Beam's flags, for the jobs that can run on it."""

from __future__ import annotations

import contextlib
import importlib
import io
import logging as standard_logging
from collections.abc import Sequence
from typing import Any

from absl import flags, logging

from glintiqa_jax.cli.flags import Flags
from glintiqa_jax.errors import InputError
from glintiqa_jax.progress import quiet


def define_beam(values: Flags) -> None:
    """Define the flag that makes Beam do the work."""
    flags.DEFINE_multi_string(
        "beam_options",
        [],
        "a flag for Apache Beam, such as --runner=DirectRunner; runs the work on Beam; may be repeated",
        flag_values=values,
    )


def on_beam(module: str, options: Sequence[str]) -> Any:
    """The module that works on Beam, where that is asked for.

    Raises:
      InputError: Beam is not installed, has no such flags and would ignore them, or cannot use their values.
    """
    if not options:
        return None
    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)  # Beam warns about optional packages for Google's cloud
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise InputError(
            f"needs Apache Beam: pip install 'glintiqa-jax[beam]' ({error})", field="beam_options"
        ) from error
    finally:
        logging.set_verbosity(verbosity)
    _check_options(options)
    standard_logging.getLogger("apache_beam").setLevel(standard_logging.CRITICAL)  # it also logs what it raises
    return found


def _check_options(options: Sequence[str]) -> None:
    """``InputError`` for flags that Beam does not have and would ignore, and for values that it cannot use."""
    for option in options:
        if not option.startswith("--"):
            raise InputError(
                field="beam_options", value=option, expected="a flag of Beam's, which begins with two hyphens"
            )
    from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
    from apache_beam.runners import create_runner

    said = io.StringIO()
    try:
        with quiet("apache_beam"), contextlib.redirect_stderr(said):
            parsed = PipelineOptions(list(options))
            unknown = parsed.get_all_options(retain_unknown_options=True).keys() - parsed.get_all_options().keys()
            create_runner(parsed.view_as(StandardOptions).runner or "DirectRunner")
    except (ValueError, ImportError, AttributeError, SystemExit) as error:
        reason = said.getvalue().rstrip().rpartition("error: ")[2] or str(error)  # as argparse says it
        raise InputError(" ".join(reason.split()), field="beam_options", value=" ".join(options)) from error
    if unknown:
        raise InputError(field="beam_options", expected="flags of Beam's", found=", ".join(sorted(unknown)))
