"""Score images with a trained model.

    glintiqa score --checkpoint=runs/quickstart photo.jpg folder/ --output=scores.csv

Prints one line per image: its score, in the unit and direction the first line names, and its path. When a signal ends
it, ``--output`` holds the images scored so far.
"""

from __future__ import annotations

import collections
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags

from glintiqa_jax.cli.flags import Flags
from glintiqa_jax.cli.results import result
from glintiqa_jax.data.files import Output, descriptor, open_output, write_csv
from glintiqa_jax.data.images import BAD_IMAGE_POLICIES, MAX_PIXELS
from glintiqa_jax.data.pixels import BadImageError
from glintiqa_jax.data.walk import find_images
from glintiqa_jax.errors import InputError

if TYPE_CHECKING:
    from glintiqa_jax.scoring.model import Model

ARGUMENTS = "PATH..."


def define(values: Flags) -> None:
    """The job's flags."""
    flags.DEFINE_string("checkpoint", None, "a run's workdir or one checkpoint's folder", values, required=True)
    flags.DEFINE_string("output", None, "also write the scores to this CSV file", values)
    flags.DEFINE_enum(
        "on_bad_image",
        "fail",
        BAD_IMAGE_POLICIES,
        "an image that cannot be scored stops the run or is left out",
        values,
    )
    flags.DEFINE_integer(
        "max_pixels",
        MAX_PIXELS,
        "the largest width times height that an image may have; 0: no limit",
        lower_bound=0,
        flag_values=values,
    )
    values.names["model"] = "checkpoint"


def run(values: Flags, arguments: list[str]) -> None:
    """The job; ``arguments`` are images and folders."""
    if not arguments:
        raise InputError(expected="images or folders to score", found="none", hint="score --checkpoint=DIR PATH...")
    found = find_images(arguments)
    if note := found.note():
        values.log.warn(note)
    with open_output("output", values.output, inputs=found.images) as output:
        from glintiqa_jax.scoring.files import load_model

        model = load_model(values.checkpoint)
        model.max_pixels = values.max_pixels
        scoring = _Scoring(model, found.images, output, values)
        try:
            if output is None:
                collections.deque(scoring.rows(), maxlen=0)
            else:
                write_csv(output, ["image", "score"], scoring.rows())
        except KeyboardInterrupt as stopped:
            said = f"{scoring.scored} of {len(found.images)} images were scored"
            if output is not None and scoring.scored:
                output.keep()
                said += f" and are in {output}"
            stopped.add_note(f"{said}; the same command scores all of them anew")
            raise
    if scoring.skipped:
        values.log.warn(f"{scoring.skipped} of {len(found.images)} images were left out")


class _Scoring:
    """Scores one image after the other, and prints each.

    Args:
      model: what scores.
      images: the files.
      output: where the rows also go; None to print them only.
      values: the flags.

    Attributes:
      scored: how many have a score.
      skipped: how many could not be scored.
    """

    def __init__(self, model: Model, images: list[Path], output: Output | None, values: Flags):
        self._model, self._images = model, images
        self._skips, self._log = values.on_bad_image == "skip", values.log
        self._must_print = output is None
        self._prints = output is None or descriptor(str(output)) != 1  # rows that go to stdout are not printed twice
        self.scored = self.skipped = 0

    def rows(self) -> Iterator[tuple[Path, str]]:
        """Path and score of each image."""
        self._print(f"   score  image ({self._model.card.scale.describe()})")
        for path in self._log.progress(
            self._images, desc="scoring", unit="image", hidden=len(self._images) < 20, leave=False
        ):
            try:
                score = float(self._model.score(path))
            except BadImageError as error:
                if not self._skips:
                    raise BadImageError(f"{error}; `on_bad_image='skip'` leaves such images out") from error
                self._log.warn(f"skipped: {error}")
                self.skipped += 1
                continue
            self._print(f"{score:8.3f}  {path}")
            yield path, f"{score:.6g}"
            self.scored += 1

    def _print(self, line: str) -> None:
        if not self._prints:
            return
        try:
            result(line)
        except BrokenPipeError:
            if self._must_print:
                raise
            self._prints = False  # as after `| head -1`; the file is still to be written
