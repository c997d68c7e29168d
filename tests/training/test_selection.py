"""Which step is kept, on what, and how crops are taken to evaluate."""

import csv
import dataclasses
import json

import numpy as np
import pytest
from small_runs import REPORT, noise, one_device_mesh, small_source

from glintiqa_jax.data import from_arrays
from glintiqa_jax.data.splits import Split
from glintiqa_jax.errors import InputError
from glintiqa_jax.evaluation.evaluating import evaluate
from glintiqa_jax.scoring.files import load_model

pytest_plugins = ["small_runs"]
pytestmark = [
    pytest.mark.compiled_for_users,
    pytest.mark.usefixtures("one_device"),
    pytest.mark.filterwarnings("ignore:.*is undefined"),
]


@pytest.fixture(scope="module")
def released(small, tmp_path_factory):
    """A run that keeps the step with the best test figures, on 25 crops at random, as released."""
    workdir = tmp_path_factory.mktemp("released")
    split = Split(np.arange(14), np.zeros(0, np.int64), np.arange(14, 20))
    options = {"selection": "test_best", "eval_random_crops": 25}
    return workdir, small.train(workdir, split=split, report=REPORT, **options)


def rows(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def test_the_released_way_keeps_what_is_best_on_the_test_split(released):
    workdir, results = released
    history = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    seen = {row["step"]: row["test"]["srocc"] for row in history if "test" in row}
    assert list(seen) == [3, 6, 8]
    assert results["test"]["srocc"] == max(seen.values()) == seen[results["best_step"]]
    assert results["selection"] == "test_best"
    assert "validation" not in results


def test_the_released_way_is_labelled_in_its_report(released):
    workdir, _ = released
    assert "these figures flatter" in (workdir / "report.md").read_text()


def test_crops_at_random_are_the_same_ones_each_time(small, released):
    workdir, _ = released
    model, tested = load_model(workdir), np.arange(14, 20)
    again = evaluate(model, small.source, tested, trained_here=True, mesh=one_device_mesh()).predictions
    written = rows(workdir / "predictions_test.csv")
    assert [row["name"] for row in written] == again.names
    np.testing.assert_allclose([float(row["predicted"]) for row in written], again.predicted, rtol=1e-6)
    assert (again.crop_deviation > 0).all()
    view = dataclasses.replace(model.card.view, random_crops=0)
    model.card = dataclasses.replace(model.card, view=view)
    grid = evaluate(model, small.source, tested, trained_here=True, mesh=one_device_mesh()).predictions
    assert (grid.predicted != again.predicted).all()


def test_the_default_looks_at_the_test_split_once(workdir, whole):
    assert whole["selection"] == "validation"
    assert '"test"' not in (workdir / "metrics.jsonl").read_text()
    assert "flatter" not in (workdir / "report.md").read_text()


def test_what_selected_is_no_test_either(small, released):
    """The test split itself, where it says which step is kept: all images of the database are known then."""
    workdir, _ = released
    with pytest.raises(InputError, match=r"found none among 20: image00\.png"):
        evaluate(load_model(workdir), small.source, mesh=one_device_mesh())


def test_checkpoints_elsewhere_say_what_they_were_trained_on(small, tmp_path):
    small.train(tmp_path / "run", max_steps=1, checkpoint_dir=str(tmp_path / "elsewhere"))
    for place in (tmp_path / "run", tmp_path / "elsewhere"):
        assert len(load_model(place).looks) == 16
    ungrouped = from_arrays(noise(20), small.source.index.raw_scores, score_range=(0, 100))
    evaluated = evaluate(load_model(tmp_path / "elsewhere"), ungrouped, mesh=one_device_mesh())
    assert (len(evaluated.predictions.names), evaluated.left_out) == (4, 16)


def test_without_a_test_split_there_is_none_to_report(small, tmp_path):
    split = Split(np.arange(16), np.arange(16, 20), np.zeros(0, np.int64))
    results = small.train(tmp_path / "run", max_steps=1, split=split, report=REPORT)
    assert "test" not in results
    assert "There is no test split." in (tmp_path / "run" / "report.md").read_text()
    assert json.loads((tmp_path / "run" / "split.json").read_text())["test"] == []
    with pytest.raises(InputError, match=r"selection=test_best: expected a test split to select on, found none"):
        small.train(tmp_path / "other", split=split, selection="test_best")


def test_what_was_trained_on_is_no_test(small, workdir):
    """Refused by what it shows: the names and the scores are others."""
    model, pixels, tested = load_model(workdir), noise(20), list(small.split.test)
    order = [*small.split.train, *tested]
    renamed = from_arrays(
        [pixels[position] for position in order],
        np.arange(len(order)),
        names=[f"other{number}.png" for number in range(len(order))],
        score_range=(0, 100),
    )
    evaluated = evaluate(model, renamed, mesh=one_device_mesh())
    first = len(small.split.train)
    assert evaluated.predictions.names == [f"other{first + number}.png" for number in range(len(tested))]
    with pytest.raises(
        InputError, match=f"contents the model was not trained on, found none among {first}: other0.png"
    ):
        evaluate(model, renamed, np.arange(first))


def test_another_scale_is_brought_to_that_of_the_source(small, workdir):
    """A model of MOS 0 to 100, asked of DMOS 0 to 10, answers in DMOS."""
    model = load_model(workdir)
    inverse = small_source(lower_is_better=True, score_range=(0, 100))
    own, other = (
        evaluate(model, source, small.split, trained_here=True, mesh=one_device_mesh()).predictions.predicted
        for source in (small.source, inverse)
    )
    np.testing.assert_allclose(other, 100 - own, rtol=1e-6)
