"""Compare files of predictions, of whatever models, with people's scores: intervals, paired differences, one page.

    python experiments/compare.py --scores=FILE.csv --workdir=runs/comparison \
      --predictions=full=runs/full/predictions_test.csv,cnn=runs/cnn/predictions_test.csv

Higher predictions mean higher scores, in any unit. All models predict the same images; the scores may have more.
"""

from pathlib import Path

from absl import flags

from glintiqa_jax import command_line
from glintiqa_jax.data.lock import sole_user
from glintiqa_jax.data.paths import local_path
from glintiqa_jax.errors import UserError, visible
from glintiqa_jax.progress import result

_PREDICTIONS = flags.DEFINE_list(
    "predictions",
    None,
    "NAME=FILE.csv, comma-separated; the first is the one that others are compared with",
    required=True,
)
_SCORES = flags.DEFINE_string("scores", None, "CSV file with the opinion score of each image", required=True)
_WORKDIR = flags.DEFINE_string("workdir", None, "folder for the report", required=True)
_IMAGE_COLUMN = flags.DEFINE_string("image_column", "image", "column of the image names in --scores")
_SCORE_COLUMN = flags.DEFINE_string("score_column", "mos", "column of the scores in --scores")
_GROUP_COLUMN = flags.DEFINE_string("group_column", "", "column of the contents in --scores; none: each image is one")
_STD_COLUMN = flags.DEFINE_string("std_column", "", "column of the opinions' standard deviations; none: not known")
_NAME_COLUMN = flags.DEFINE_string("name_column", "name", "column of the image names in --predictions")
_PREDICTED_COLUMN = flags.DEFINE_string("predicted_column", "predicted", "column of the predictions")
_SAME_UNIT = flags.DEFINE_bool("same_unit", False, "predictions are in the unit of the scores: give their errors, too")
_RESAMPLES = flags.DEFINE_integer("resamples", 1000, "resamples of the bootstrap intervals", lower_bound=1)
_LATEX = flags.DEFINE_bool("latex", False, "write the tables for LaTeX, too, to tables.tex")


def main() -> None:
    """The command."""
    if not _PREDICTIONS.value:
        raise UserError("--predictions: expected NAME=FILE.csv, found nothing")
    predictions: dict[str, Path] = {}
    for text in _PREDICTIONS.value:
        name, equals, path = text.partition("=")
        if not (name and equals and path) or name in predictions:
            raise UserError(
                f"--predictions: expected NAME=FILE.csv, each name once, found {text!r}; one with a comma in it stands "
                'in double quotes: "NAME=FILE.csv"'
            )
        predictions[name] = local_path("predictions", path)
    from glintiqa_jax.evaluation.metrics import METRICS  # after the flags, as in train.py
    from glintiqa_jax.evaluation.tables import in_words
    from glintiqa_jax.protocols.comparison import Columns, compare

    columns = Columns(
        image=_IMAGE_COLUMN.value,
        score=_SCORE_COLUMN.value,
        group=_GROUP_COLUMN.value,
        std=_STD_COLUMN.value,
        name=_NAME_COLUMN.value,
        predicted=_PREDICTED_COLUMN.value,
    )
    if not _WORKDIR.value:
        raise UserError("--workdir: expected a folder for the report, found nothing")
    workdir = local_path("workdir", _WORKDIR.value)
    scores = local_path("scores", _SCORES.value)
    with sole_user(workdir, "workdir"):
        judged = compare(
            predictions,
            scores,
            workdir,
            columns=columns,
            same_unit=_SAME_UNIT.value,
            latex=_LATEX.value,
            resamples=_RESAMPLES.value,
        )
    for name, one in judged.items():
        srocc = in_words(METRICS["srocc"], one.interval("srocc", resamples=_RESAMPLES.value))
        result(f"{visible(name):>10}:  SROCC {srocc}  ({one.images} images)")
    result("")
    result(f"report:  {workdir}/report.html")


if __name__ == "__main__":
    command_line.run(main)
