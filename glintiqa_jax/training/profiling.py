"""A trace of some steps, by JAX's profiler."""

from __future__ import annotations

from pathlib import Path

import jax

FOLDER = "profile"
_SKIPPED = 3  # steps, the first of which compile


class Profile:
    """Records steps, after the first few, for TensorBoard's profiler or Perfetto.

    Args:
      folder: where the trace goes; each machine has a file of its own in it.
      steps: how many are recorded; 0 for none.
    """

    def __init__(self, folder: Path, steps: int):
        self._folder, self._steps, self._taken, self._records = folder, steps, 0, False

    def step(self) -> None:
        """Called after each step."""
        self._taken += 1
        if self._steps and self._taken == _SKIPPED:
            options = jax.profiler.ProfileOptions()
            options.python_tracer_level = 0  # its hook sits in every thread, of which readers and savers end meanwhile
            jax.profiler.start_trace(self._folder, profiler_options=options)
            self._records = True
        elif self._taken == _SKIPPED + self._steps:
            self.close()

    def close(self) -> None:
        """Write what was recorded."""
        if self._records:
            self._records = False
            jax.profiler.stop_trace()
