"""Which step is kept, on what, and how crops are taken to evaluate."""

import csv
import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from glintiqa_jax import settings
from glintiqa_jax.errors import UserError
from glintiqa_jax.scoring.evaluate import evaluate_checkpoint
from glintiqa_jax.training import loop
from glintiqa_jax.training.workdir import trained_on

pytest_plugins = ["small_runs"]
pytestmark = [pytest.mark.compiled_for_users, pytest.mark.usefixtures("one_device")]


@pytest.fixture(scope="module")
def released(config, tmp_path_factory):
    """A run that keeps the step with the best test figures, on 25 crops at random, as released."""
    workdir = tmp_path_factory.mktemp("released")
    data = settings.replace(config.data, validation_fraction=0.0, split_column="", test_fraction=0.3)
    changed = dataclasses.replace(config, data=data, selection="test_best", eval_random_crops=25)
    return workdir, loop.train_and_evaluate(changed, workdir)


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


def test_the_released_way_is_labelled_wherever_its_figures_are(released):
    workdir, _ = released
    assert "these figures flatter" in (workdir / "report.md").read_text()
    name, _ = evaluate_checkpoint(workdir)
    assert "these figures flatter" in name


def test_crops_at_random_are_the_same_ones_each_time(released):
    workdir, _ = released
    _, again = evaluate_checkpoint(workdir)
    written = rows(workdir / "predictions_test.csv")
    assert [row["name"] for row in written] == again.predictions.names
    np.testing.assert_allclose([float(row["predicted"]) for row in written], again.predictions.predicted, rtol=1e-6)
    assert (again.predictions.crop_deviation > 0).all()
    _, grid = evaluate_checkpoint(workdir, random_crops=0)
    assert (grid.predictions.predicted != again.predictions.predicted).all()


def test_the_default_looks_at_the_test_split_once(workdir, whole):
    assert whole["selection"] == "validation"
    assert '"test"' not in (workdir / "metrics.jsonl").read_text()
    assert "flatter" not in (workdir / "report.md").read_text()


def test_what_selected_is_no_test_either(released, config):
    """The test split itself, where it says which step is kept: all images of the database are known then."""
    workdir, _ = released
    with pytest.raises(UserError, match="it was trained on the contents of all 20 images of csv"):
        evaluate_checkpoint(workdir, settings.replace(config.data, group_column=""))


def test_checkpoints_elsewhere_say_what_they_were_trained_on(config, tmp_path):
    loop.train_and_evaluate(config, tmp_path / "run", max_steps=1, checkpoint_dir=str(tmp_path / "elsewhere"))
    data = settings.replace(config.data, group_column="")
    for checkpoint in (tmp_path / "run", tmp_path / "elsewhere"):
        assert len(trained_on(checkpoint)) == 16
    _, evaluated = evaluate_checkpoint(tmp_path / "elsewhere", data)
    assert (len(evaluated.predictions.names), evaluated.left_out) == (4, 16)


def test_without_a_test_split_there_is_none_to_report(config, tmp_path, reported):
    data = settings.replace(config.data, split_by="all")
    results = loop.train_and_evaluate(dataclasses.replace(config, data=data), tmp_path, max_steps=1)
    assert "test" not in results
    assert "There is no test split." in (tmp_path / "report.md").read_text()
    assert json.loads((tmp_path / "split.json").read_text())["test"] == []
    with pytest.raises(UserError, match="--split=test: expected images to evaluate, found none"):
        evaluate_checkpoint(tmp_path)
    with pytest.raises(UserError, match="--selection=test_best: needs a test split, found --split_by=all"):
        dataclasses.replace(config, data=data, selection="test_best")


def test_what_was_trained_on_is_no_test(config, workdir, tmp_path):
    """Refused by what it shows: the names are others."""
    images = tmp_path / "images"
    images.mkdir()
    split = json.loads((workdir / "split.json").read_text())
    table = ["image,mos"]
    for number, name in enumerate(split["train"] + split["test"]):
        shutil.copy(Path(config.data.own.images, name), images / f"other{number}.png")
        table.append(f"other{number}.png,{number}")
    data = settings.replace(
        config.data, images=str(images), scores=str(tmp_path / "s.csv"), group_column="", split_column=""
    )
    (tmp_path / "s.csv").write_text("\n".join(table))
    _, evaluated = evaluate_checkpoint(workdir, data)
    first = len(split["train"])
    assert evaluated.predictions.names == [f"other{first + number}.png" for number in range(len(split["test"]))]
    (tmp_path / "s.csv").write_text("\n".join(table[: first + 1]))
    checkpoints = workdir / "checkpoints"
    for checkpoint in (workdir, checkpoints, *(path for path in checkpoints.iterdir() if path.name.isdigit())):
        with pytest.raises(UserError, match=f"contents of all {first} images .* tested on: other0.png, other1.png"):
            evaluate_checkpoint(checkpoint, data)
