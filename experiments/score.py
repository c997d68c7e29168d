"""Score images with a trained checkpoint.

    python experiments/score.py --checkpoint=runs/quickstart photo.jpg folder/ --output=scores.csv

Prints one line per image: its score, in the unit and direction the first line names, and its path. Ended by a signal,
it leaves what it has scored in ``--output``.
"""

import collections
from collections.abc import Iterator
from pathlib import Path

from absl import flags

from glintiqa_jax import command_line
from glintiqa_jax.data.files import Output, descriptor, open_output, write_csv
from glintiqa_jax.data.images import BAD_IMAGE_POLICIES, MAX_PIXELS
from glintiqa_jax.data.pixels import BadImageError
from glintiqa_jax.data.walk import find_images
from glintiqa_jax.errors import UserError
from glintiqa_jax.progress import progress_bar, result, warn

_CHECKPOINT = flags.DEFINE_string("checkpoint", None, "a run's workdir or one checkpoint's folder", required=True)
_OUTPUT = flags.DEFINE_string("output", None, "also write the scores to this CSV file")
_ON_BAD_IMAGE = flags.DEFINE_enum(
    "on_bad_image", "fail", BAD_IMAGE_POLICIES, "an image that cannot be scored stops the run or is left out"
)
_MAX_PIXELS = flags.DEFINE_integer(
    "max_pixels", MAX_PIXELS, "the largest width times height that an image may have; 0: no limit", lower_bound=0
)


def main(paths: list[str]) -> None:
    """The command; ``paths`` are images and folders."""
    if not paths:
        raise UserError("expected images or folders to score, found none: score.py --checkpoint=DIR PATH...")
    found = find_images(paths)
    if note := found.note():
        warn(note)
    with open_output("output", _OUTPUT.value, inputs=found.images) as output:
        from glintiqa_jax.scoring.scorer import Scorer

        scorer = Scorer(_CHECKPOINT.value, max_pixels=_MAX_PIXELS.value)
        scoring = _Scoring(scorer, found.images, output)
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
        warn(f"{scoring.skipped} of {len(found.images)} images were left out")


class _Scoring:
    """Scores one image after the other, and prints each.

    Args:
      scorer: what scores.
      images: the files.
      output: where the rows go, too; None where they are printed only.

    Attributes:
      scored: how many have a score.
      skipped: how many cannot have one.
    """

    def __init__(self, scorer, images: list[Path], output: Output | None):
        self._scorer, self._images = scorer, images
        self._must_print = output is None
        self._prints = output is None or descriptor(str(output)) != 1  # where the rows go to stdout, they are enough
        self.scored = self.skipped = 0

    def rows(self) -> Iterator[tuple[Path, str]]:
        """Path and score of each image."""
        self._print(f"   score  image ({self._scorer.scale.describe()})")
        for path in progress_bar(
            self._images, desc="scoring", unit="image", hidden=len(self._images) < 20, leave=False
        ):
            try:
                score = self._scorer.score_file(path)
            except BadImageError as error:
                if _ON_BAD_IMAGE.value == "fail":
                    raise BadImageError(f"{error}; --on_bad_image=skip leaves such images out") from error
                warn(f"skipped: {error}")
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
            self._prints = False  # as after `| head -1`; the file is what is asked for, too


if __name__ == "__main__":
    command_line.run(main)
