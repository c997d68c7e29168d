"""Score images with a trained checkpoint.

    python experiments/score.py --checkpoint=runs/quickstart photo.jpg folder/ --output=scores.csv

Prints one line per image: its score, in the unit and direction the first line names, and its path.
"""

import sys
from pathlib import Path

from absl import flags
from tqdm import tqdm

from glintiqa_jax import command_line
from glintiqa_jax.data.files import write_csv
from glintiqa_jax.data.images import BAD_IMAGE_POLICIES, BadImageError, find_images
from glintiqa_jax.errors import UserError

_CHECKPOINT = flags.DEFINE_string("checkpoint", None, "a run's workdir or one checkpoint's folder", required=True)
_OUTPUT = flags.DEFINE_string("output", None, "also write the scores to this CSV file")
_ON_BAD_IMAGE = flags.DEFINE_enum(
    "on_bad_image", "fail", BAD_IMAGE_POLICIES, "an image that cannot be scored stops the run or is left out"
)


def main(paths: list[str]) -> None:
    """The command; ``paths`` are images and folders."""
    if not paths:
        raise UserError("expected images or folders to score, found none: score.py --checkpoint=DIR PATH...")
    command_line.check_output(_OUTPUT.value)
    from glintiqa_jax.scoring.scorer import Scorer

    images = find_images(paths)
    scorer = Scorer(_CHECKPOINT.value)
    print(f"   score  image ({scorer.scale.describe()})")
    rows: list[tuple[str, float]] = []
    skipped = 0
    for path in tqdm(images, desc="scoring", unit="image", disable=len(images) < 20, leave=False):
        try:
            score = scorer.score_file(path)
        except BadImageError as error:
            if _ON_BAD_IMAGE.value == "fail":
                raise BadImageError(f"{error}; --on_bad_image=skip leaves such images out") from error
            tqdm.write(f"skipped: {error}", file=sys.stderr)
            skipped += 1
            continue
        rows.append((str(path), score))
        tqdm.write(f"{score:8.3f}  {path}")
    if skipped:
        print(f"{skipped} of {len(images)} images were left out", file=sys.stderr)
    if _OUTPUT.value:
        write_csv(Path(_OUTPUT.value), ["image", "score"], ([path, f"{score:.6g}"] for path, score in rows))


if __name__ == "__main__":
    command_line.run(main)
