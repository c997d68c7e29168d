"""Files of predictions join the scores by name, or are refused by name."""

import functools
import re

import numpy as np
import pytest

from glintiqa_jax.errors import InputError
from glintiqa_jax.evaluation.config import ReportOptions
from glintiqa_jax.evaluation.metrics import METRICS, srocc
from glintiqa_jax.evaluation.significance import paired_bootstrap
from glintiqa_jax.evaluation.tables import in_words
from glintiqa_jax.protocols import comparison
from glintiqa_jax.protocols.comparison import Columns

compare = functools.partial(comparison.compare, report=ReportOptions(resamples=20))
NAMES = [f"photo {number}.jpg" for number in range(12)]
SCORES = np.array([3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8.0])
GOOD, BAD = SCORES + np.tile([0.5, -0.4, 0.1], 4), SCORES[::-1] * 100


def write(path, header, names, values):
    path.write_text(header + "\n" + "".join(f"{name},{value}\n" for name, value in zip(names, values, strict=True)))
    return path


@pytest.fixture
def files(tmp_path):
    scores = write(tmp_path / "scores.csv", "image,mos", [*NAMES, "another.jpg"], [*SCORES, 7])
    good = write(tmp_path / "good.csv", "name,predicted", NAMES, GOOD)
    bad = write(tmp_path / "bad.csv", "name,predicted", NAMES[::-1], BAD[::-1])  # in another order
    return {"good": good, "bad": bad}, scores, tmp_path / "report"


def test_models_are_joined_by_name_and_compared(files):
    judged = compare(*files, report=ReportOptions(latex=True, resamples=20))
    np.testing.assert_array_equal(judged["bad"].predicted, BAD)
    np.testing.assert_array_equal(judged["good"].target, SCORES)
    text = (files[2] / "report.md").read_text()
    assert "12 of the 13 images in scores.csv." in text
    assert f"| good | 12 | {srocc(GOOD, SCORES):.3f} (" in text
    assert "| RMSE |" not in text  # in a unit of its own, for all that is known
    difference = paired_bootstrap(srocc, BAD, GOOD, SCORES, resamples=20)
    assert in_words(METRICS["srocc"], difference, sign="+") in text
    compare(*files, same_unit=True)
    assert "| KROCC | RMSE | MAE |" in (files[2] / "report.md").read_text()
    assert (files[2] / "report.html").is_file()
    assert (files[2] / "tables.tex").is_file()


def test_contents_and_deviations_are_taken_where_they_are_named(files, tmp_path):
    predictions, _, workdir = files
    rows = "".join(f"{name};{score};{i // 3};1,5\n" for i, (name, score) in enumerate(zip(NAMES, SCORES, strict=True)))
    (tmp_path / "more.csv").write_text("file;dmos;scene;sd\n" + rows)
    columns = Columns(image="file", score="dmos", group="scene", std="sd")
    judged = compare(predictions, tmp_path / "more.csv", workdir, columns=columns)
    assert judged["good"].groups.tolist() == ["0"] * 3 + ["1"] * 3 + ["2"] * 3 + ["3"] * 3
    assert (judged["good"].target_std == 1.5).all()
    assert "outlier ratio" in (workdir / "report.md").read_text()


def test_deviations_below_zero_are_refused(files, tmp_path):
    predictions, _, workdir = files
    rows = "".join(f"{name},{score},-1\n" for name, score in zip(NAMES, SCORES, strict=True))
    (tmp_path / "more.csv").write_text("image,mos,sd\n" + rows)
    with pytest.raises(InputError, match=r"more.csv, column 'sd': standard deviations below 0, of photo 0.jpg, "):
        compare(predictions, tmp_path / "more.csv", workdir, columns=Columns(std="sd"))


def test_predictions_without_scores_are_named(files, tmp_path):
    predictions, scores, workdir = files
    strange = [f"strange{number}.jpg" for number in range(7)]
    write(predictions["bad"], "name,predicted", NAMES + strange, [*BAD, *range(7)])
    with pytest.raises(
        InputError, match=r"bad.csv: 7 of its 19 images have no score in .*scores.csv: strange0.jpg, .*"
    ):
        compare(predictions, scores, workdir)
    assert not workdir.exists()


def test_models_of_different_images_are_refused(files):
    predictions, scores, workdir = files
    write(predictions["bad"], "name,predicted", NAMES[2:], BAD[2:])
    with pytest.raises(InputError, match=r"bad.csv: lacks 2 of the images of .*good.csv: photo 0.jpg, photo 1.jpg$"):
        compare(predictions, scores, workdir)


def test_a_name_twice_is_refused(files):
    predictions, scores, workdir = files
    write(scores, "image,mos", [*NAMES, NAMES[3]], [*SCORES, 7])
    with pytest.raises(InputError, match=r"scores.csv, line 14: 'photo 3.jpg' is named a second time, first in line 5"):
        compare(predictions, scores, workdir)


def test_two_reports_do_not_share_a_folder(files):
    predictions, scores, workdir = files
    compare(predictions, scores, workdir)
    before = (workdir / "report.md").read_bytes()
    compare(predictions, scores, workdir)  # the same one again
    assert (workdir / "report.md").read_bytes() == before
    write(scores, "image,mos", NAMES, SCORES + 1)
    with pytest.raises(InputError, match=r"workdir=.*found another one's: files"):
        compare(predictions, scores, workdir)
    assert (workdir / "report.md").read_bytes() == before


@pytest.mark.parametrize("unit", [1e30, 1e-30])
def test_predictions_in_any_unit_have_the_same_figures(files, unit):
    """As large or small as single precision has them; the figures of ordinary ones are the reference."""
    predictions, scores, workdir = files
    ordinary = compare(predictions, scores, workdir)
    write(predictions["bad"], "name,predicted", NAMES, [repr(float(value)) for value in BAD * unit])
    extreme = compare(predictions, scores, workdir / "extreme")
    for key in ordinary["bad"].columns:
        interval, found = (judged["bad"].interval(key, resamples=20) for judged in (ordinary, extreme))
        expected = [interval.estimate, interval.low, interval.high]
        np.testing.assert_allclose([found.estimate, found.low, found.high], expected, rtol=1e-4)
    assert "inf" not in (workdir / "extreme" / "report.md").read_text().split("Provenance")[0]


def test_numbers_beyond_single_precision_are_refused(files):
    predictions, scores, workdir = files
    write(predictions["bad"], "name,predicted", NAMES, [repr(float(value)) for value in BAD * 1e300])
    with pytest.raises(InputError, match=r"bad.csv: expected numbers whose largest is 1e-38 to 1e\+38 in size, found"):
        compare(predictions, scores, workdir)


def test_constant_predictions_and_two_images_are_reported_as_undefined(files):
    predictions, scores, workdir = files
    write(predictions["bad"], "name,predicted", NAMES, [1] * 12)
    compare(predictions, scores, workdir)
    assert re.search(r"\| bad \| 12 \| undefined \|", (workdir / "report.md").read_text())
    for name in predictions:
        write(predictions[name], "name,predicted", NAMES[:2], [1, 2])
    judged = compare(predictions, scores, workdir / "two")
    assert in_words(METRICS["srocc"], judged["good"].interval("srocc")) == "-1.000"  # without an interval
    text = (workdir / "two" / "report.md").read_text()
    assert "none of fewer than 10 images" in text
    assert " to " not in text.split("95 % bootstrap")[0]


def test_names_join_in_any_spelling(files):
    predictions, scores, workdir = files
    write(predictions["good"], "name,predicted", [f"./{name}" for name in NAMES], GOOD)
    write(predictions["bad"], "name,predicted", [f"x\\..\\{name}" for name in NAMES], BAD)
    np.testing.assert_array_equal(compare(predictions, scores, workdir)["good"].predicted, GOOD)


def test_files_that_moved_are_the_same_files(files, tmp_path):
    predictions, scores, workdir = files
    compare(predictions, scores, workdir)
    moved = {name: path.rename(tmp_path / f"moved_{name}.csv") for name, path in predictions.items()}
    compare(moved, scores.rename(tmp_path / "moved.csv"), workdir)
