"""The report says what was measured, for people, and stands alone."""

import dataclasses
import re

import numpy as np
import pytest
from conftest import write_images, write_scores
from PIL import Image

from glintiqa_jax.data.builder import prepare
from glintiqa_jax.data.mixture import MixedSource
from glintiqa_jax.data.own import read_csv
from glintiqa_jax.data.records import RecordSource
from glintiqa_jax.evaluation.config import ReportOptions
from glintiqa_jax.evaluation.prediction import Predictions
from glintiqa_jax.evaluation.report import Evaluated, Provenance, Training, write_report

PART = {"srocc": -1.0, "plcc": -1.0, "krocc": -1.0, "rmse": 12.345678, "images": 9}
HISTORY = [{"step": 1, "loss": 0.5}, {"step": 2, "loss": 0.25}, {"step": 2, "validation": PART, "test": PART}]
TRAINING = Training("glintiqa_tiny", "l1", HISTORY, np.arange(3), "5a11", step=2, best_step=2)


def predictions_of(source: RecordSource, predicted: np.ndarray) -> Predictions:
    return Predictions.of(source, np.arange(len(predicted)), predicted, np.zeros(len(predicted)))


def report(folder, source, predicted, *, training=TRAINING, options=ReportOptions()):
    evaluated = Evaluated(source, predictions_of(source, predicted))
    provenance = Provenance([("commit", "c0ffee")], "python experiments/train.py --seed=7")
    write_report(folder, training, {"validation": evaluated, "test": evaluated}, provenance, options=options)
    return (folder / "report.md").read_text()


@pytest.fixture
def source(rated_folder, tmp_path):
    return RecordSource(prepare(read_csv(*rated_folder(9), score_range=(0, 100)), tmp_path / "data"))


@pytest.mark.parametrize("constant", [False, True])
def test_a_report_has_its_table_and_plots(source, tmp_path, constant):
    scores = source.index.raw_scores
    text = report(tmp_path, source, np.full(9, 50.0) if constant else scores[::-1] / 2)
    assert re.search(r"\| test \| 9 \| " + ("undefined" if constant else r"-1\.000 \|"), text)
    assert "MOS 0 to 100, higher is better" in text
    # the mean of the three that were trained on, of the scores 100, 87.5, ... 0
    assert f"{np.sqrt(np.mean((scores - scores[:3].mean()) ** 2)):.3f} |" in text.split("constant")[1]
    assert "variance of the Laplacian | 9 |" in text
    for name in ("learning_curve", "predicted_against_true", "residuals", "best_and_worst"):
        assert np.asarray(Image.open(tmp_path / f"{name}.png").convert("L")).std() > 5
    assert not (tmp_path / "tables.tex").exists()


def test_a_report_says_how_it_was_made(source, tmp_path):
    text = report(tmp_path, source, source.index.raw_scores)
    for fact in (
        "python experiments/train.py --seed=7",
        "c0ffee",
        "split.json, SHA-256 5a11",
        "best on validation by SROCC",
    ):
        assert fact in text
    assert "flatter" not in text


def test_the_page_needs_no_other_file(source, tmp_path):
    report(tmp_path, source, source.index.raw_scores)
    page = (tmp_path / "report.html").read_text()
    found = re.findall(r'(?:src|href)="([^"]{0,30})', page)
    assert len(found) == 4
    assert all(start.startswith("data:image/png;base64") for start in found)
    assert "http" not in page


def test_pictures_are_left_out_on_request_and_named_all_the_same(source, tmp_path):
    text = report(tmp_path, source, source.index.raw_scores[::-1], options=ReportOptions(pictures=False, latex=True))
    assert not (tmp_path / "best_and_worst.png").exists()
    # the middle one of nine is predicted as it is scored, the first and the last are furthest
    assert "| best 1 | image04.png | 50.000 | 50.000 |" in text
    assert "| worst 1 | image08.png | 100.000 | 0.000 |" in text
    assert r"\begin{tabular}{lrr" in (tmp_path / "tables.tex").read_text()


def test_what_was_selected_on_the_test_split_is_labelled(source, tmp_path):
    text = report(
        tmp_path, source, source.index.raw_scores, training=dataclasses.replace(TRAINING, selection="test_best")
    )
    assert text.count("selected on the test split itself, as released: these figures flatter") == 2
    assert "used once" not in text


def test_simple_measures_follow_the_direction_of_the_scores(tmp_path):
    """Sharper images have the lower DMOS: the measure, which is higher for them, still agrees."""
    names = write_images(tmp_path / "images", 9)  # each noisier than the one before, so of a larger variance
    scores = write_scores(tmp_path / "dmos.csv", [{"image": n, "mos": 90 - 10 * i} for i, n in enumerate(names)])
    collection = read_csv(tmp_path / "images", scores, lower_is_better=True)
    source = RecordSource(prepare(collection, tmp_path / "data"))
    text = report(tmp_path, source, source.index.raw_scores)
    assert "| variance of the Laplacian | 9 | 1.000 |" in text


def test_resolutions_are_those_of_the_images_not_of_what_the_network_saw(rated_folder, tmp_path):
    folder = prepare(read_csv(*rated_folder(4)), tmp_path / "data")
    source = RecordSource(folder).resized(20)
    ways = Evaluated(source, predictions_of(source, source.index.raw_scores)).sorted_by()
    assert set(ways["resolution"]) == {"  0.002 MP"}  # 40x48 pixels, of which it saw 20x24
    assert set(source.sizes().prod(axis=1)) == {480}


def test_photographs_beside_distorted_images_are_called_so(rated_folder, tmp_path):
    """Not undistorted ones, which a database of distortions may have."""
    collection = read_csv(*rated_folder(5), score_range=(0, 100))
    photos, synthetic = (
        RecordSource(prepare(dataclasses.replace(collection, name=name), tmp_path / "data"))
        for name in ("photos", "synthetic")
    )
    synthetic.distortions = {1: "blur"}
    source = MixedSource([photos, synthetic], [1, 1])
    object.__setattr__(source.index, "distortion_types", np.array([0] * 5 + [1, 2, 1, 2, 1], np.int32))
    kinds = Evaluated(source, predictions_of(source, source.index.raw_scores)).kinds()
    assert sorted(set(kinds)) == ["photos as it was taken", "synthetic  1 blur", "synthetic  2"]


def test_an_image_of_which_a_measure_says_nothing_is_not_among_its_images(source, tmp_path, monkeypatch):
    said = np.r_[np.nan, np.arange(8.0)]
    monkeypatch.setattr("glintiqa_jax.evaluation.report.baseline_values", lambda *_, **__: {"laplacian_variance": said})
    text = report(tmp_path, source, source.index.raw_scores)
    assert "| variance of the Laplacian | 8 | -1.000 |" in text
    assert "less the network" not in text  # whose images are others


def test_figures_of_each_type_of_distortion(source, tmp_path):
    types = np.array([1, 1, 1, 1, 2, 2, 2, 0, 0], np.int32)
    object.__setattr__(source.index, "distortion_types", types)
    predicted = source.index.raw_scores.copy()
    predicted[4:7] = predicted[6:3:-1]  # the second type's are in the wrong order
    source.distortions = {1: "blur"}
    text = report(tmp_path, source, predicted)
    rows = [line for line in text.splitlines() if re.match(r"\| ( ?[012]( |$)|\d)", line)]
    assert [row.split(" | ")[0].strip("| ") for row in rows] == ["0 not distorted", "1 blur", "2"]
    assert [row.split(" | ")[2] for row in rows] == ["1.0000", "1.0000", "-1.0000"]


def test_a_name_means_nothing_to_markdown_or_html(tmp_path):
    name = "a_*b*_<b>$x$[y](z)|.png"
    write_images(tmp_path / "images", 3)
    (tmp_path / "images" / "image01.png").rename(tmp_path / "images" / name)
    rows = [{"image": n, "mos": i} for i, n in enumerate(("image00.png", name, "image02.png"))]
    source = RecordSource(
        prepare(read_csv(tmp_path / "images", write_scores(tmp_path / "s.csv", rows)), tmp_path / "d")
    )
    text = report(tmp_path, source, np.array([0.0, 1.0, 9.0]))
    assert r"| best 2 | a\_\*b\*\_\<b\>\$x\$\[y\](z)\|.png |" in text
    assert "a_*b*_&lt;b&gt;$x$[y](z)|.png" in (tmp_path / "report.html").read_text()
