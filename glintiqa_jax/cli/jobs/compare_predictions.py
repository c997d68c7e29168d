"""Compare files of predictions, of whatever models, with people's scores: intervals, paired differences, one page.

    glintiqa compare_predictions --scores=FILE.csv --workdir=runs/comparison \\
      --predictions=full=runs/full/predictions_test.csv,cnn=runs/cnn/predictions_test.csv

Higher predictions mean higher scores, in any unit. All models predict the same images; the scores may have more.
"""

from pathlib import Path

from absl import flags

from glintiqa_jax.cli.flags import Flags
from glintiqa_jax.cli.results import result
from glintiqa_jax.data.lock import sole_user
from glintiqa_jax.data.paths import local_path
from glintiqa_jax.errors import InputError, visible


def define(values: Flags) -> None:
    """The job's flags."""
    flags.DEFINE_list(
        "predictions",
        None,
        "NAME=FILE.csv, comma-separated; the first is the one that others are compared with",
        values,
        required=True,
    )
    flags.DEFINE_string("scores", None, "CSV file with the opinion score of each image", values, required=True)
    flags.DEFINE_string("workdir", None, "folder for the report", values, required=True)
    flags.DEFINE_string("image_column", "image", "column of the image names in --scores", values)
    flags.DEFINE_string("score_column", "mos", "column of the scores in --scores", values)
    flags.DEFINE_string("group_column", "", "column of the contents in --scores; none: each image is one", values)
    flags.DEFINE_string("std_column", "", "column of the opinions' standard deviations; none: not known", values)
    flags.DEFINE_string("name_column", "name", "column of the image names in --predictions", values)
    flags.DEFINE_string("predicted_column", "predicted", "column of the predictions", values)
    flags.DEFINE_bool("same_unit", False, "predictions are in the unit of the scores: give their errors, too", values)
    flags.DEFINE_integer("resamples", 1000, "resamples of the bootstrap intervals", lower_bound=1, flag_values=values)
    flags.DEFINE_bool("latex", False, "write the tables for LaTeX, too, to tables.tex", values)


def run(values: Flags, arguments: list[str]) -> None:
    """The job."""
    predictions = _predictions(values.predictions)
    from glintiqa_jax.evaluation.config import ReportOptions
    from glintiqa_jax.evaluation.metrics import METRICS
    from glintiqa_jax.evaluation.tables import in_words
    from glintiqa_jax.protocols.comparison import Columns, compare

    columns = Columns(
        image=values.image_column,
        score=values.score_column,
        group=values.group_column,
        std=values.std_column,
        name=values.name_column,
        predicted=values.predicted_column,
    )
    if not values.workdir:
        raise InputError(field="workdir", expected="a folder for the report", found="nothing")
    workdir = local_path("workdir", values.workdir)
    scores = local_path("scores", values.scores)
    report = ReportOptions(latex=values.latex, resamples=values.resamples, command=values.command)
    with sole_user(workdir, "workdir"):
        judged = compare(predictions, scores, workdir, columns=columns, same_unit=values.same_unit, report=report)
    for name, one in judged.items():
        srocc = in_words(METRICS["srocc"], one.interval("srocc", resamples=values.resamples))
        result(f"{visible(name):>10}:  SROCC {srocc}  ({len(one.target)} images)")
    result("")
    result(f"report:  {workdir}/report.html")


def _predictions(texts: list[str]) -> dict[str, Path]:
    """The files by name."""
    found: dict[str, Path] = {}
    for text in texts or [""]:
        name, equals, path = text.partition("=")
        if not (name and equals and path) or name in found:
            raise InputError(
                field="predictions",
                expected="NAME=FILE.csv, each name once",
                found=repr(text),
                hint='one with a comma in it stands in double quotes: "NAME=FILE.csv"',
            )
        found[name] = local_path("predictions", path)
    return found
