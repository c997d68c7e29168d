"""How a benchmark runs: its flags are absl's global ones, and its errors are told as a job's."""

import sys
from collections.abc import Callable

from absl import flags

from glintiqa_jax.cli.flags import Flags
from glintiqa_jax.cli.run import run


def run_script(main: Callable[[], None]) -> None:
    """Run a script whose flags are absl's global ones, as a job is run."""

    class Script:
        __doc__ = sys.modules["__main__"].__doc__

        def define(self, values: Flags) -> None:
            for flag in flags.FLAGS.get_key_flags_for_module(sys.argv[0]):
                if flag.name not in values:
                    flags.DEFINE_flag(flag, values, "flags")

        def run(self, values: Flags, arguments: list[str]) -> None:
            flags.FLAGS.mark_as_parsed()
            main()

    run(Script, sys.argv[1:], "")
