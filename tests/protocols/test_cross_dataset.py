"""Trained on all of one database, tested on all of the others, but for what the first one shows."""

import json
import shutil

import numpy as np
import pytest
from small_runs import SHORT, compiled_once, noise, one_device_mesh

from glintiqa_jax.data import from_arrays
from glintiqa_jax.datasets.config import Splitting
from glintiqa_jax.errors import InputError
from glintiqa_jax.evaluation.config import ReportOptions
from glintiqa_jax.evaluation.metrics import srocc
from glintiqa_jax.protocols import cross_dataset as module
from glintiqa_jax.protocols.cross_dataset import cross_dataset
from glintiqa_jax.protocols.runs import Running, Task

pytest_plugins = ["small_runs"]
pytestmark = pytest.mark.usefixtures("one_device")


@pytest.fixture(scope="module")
def tasks(small):
    """Two databases: twenty images of "one", and ten of "two", of which the last three are among the first."""
    experiment = small.change(**SHORT).experiment
    one = from_arrays(
        noise(20), small.source.index.raw_scores, groups=small.source.index.groups, score_range=(0, 100)
    ).named("one")
    pixels = noise(10, seed=9)[:7] + noise(20)[7:10]
    two = from_arrays(pixels, 0.9 - 0.1 * np.arange(10), score_range=(0, 1)).named("two")
    everything = Splitting(split_by="all", validation_fraction=0.3)
    return {source.name: Task(source, experiment, everything) for source in (one, two)}


@pytest.fixture(scope="module")
def running(small):
    return Running(small.execution, one_device_mesh(), ReportOptions(pictures=False, resamples=20))


def sources(tasks):
    return {name: task.source for name, task in tasks.items()}


@pytest.fixture(scope="module")
def matrix(tasks, running, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("across")
    with compiled_once():
        return workdir, cross_dataset(tasks, sources(tasks), workdir, running=running)


def test_every_network_is_tested_on_all_of_the_other_but_what_it_has_seen(matrix):
    workdir, cells = matrix
    assert [cell.title for cell in cells] == ["one on two", "two on one"]
    on_two, on_one = cells
    assert len(on_two.evaluated.predictions.names) == 7
    assert on_two.evaluated.left_out == 3
    # the twins' groups hold another image each; those that would validate are not trained on, but seen
    assert on_one.evaluated.left_out >= 3
    assert len(on_one.evaluated.predictions.names) == 20 - on_one.evaluated.left_out
    split = json.loads((workdir / "one" / "split.json").read_text())
    assert len(split["train"]) + len(split["validation"]) == 20
    said = "one on two: 3 images are left out, whose contents it was trained on."
    assert said in (workdir / "report.md").read_text()


def test_predictions_are_in_the_unit_of_the_database_that_is_tested(matrix):
    _, (on_two, _) = matrix
    np.testing.assert_allclose(on_two.evaluated.predictions.target, [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3])
    assert np.abs(on_two.evaluated.predictions.predicted).max() < 5  # 0 to 1, where the other's is 0 to 100


def test_the_report_has_the_matrix_and_baselines(matrix):
    workdir, cells = matrix
    text = (workdir / "report.md").read_text()
    for cell in cells:
        predictions = cell.evaluated.predictions
        judged = cell.evaluated.judged(cell.tested_on)
        assert f"{srocc(predictions.predicted, predictions.target):.3f}" in text
        assert f"| {cell.title} | {judged.images} |" in text
        assert f"| {cell.title}: constant: the training images' mean score | {judged.images} |" in text
        # on the same images
        assert f"| variance of the Laplacian, images of {cell.title} | {judged.images} |" in text
    assert "| SROCC, trained on | tested on one | tested on two |" in text
    assert "## Residuals, one on two" in text


def test_what_is_complete_is_not_done_again(matrix, tasks, running, monkeypatch):
    workdir, cells = matrix
    monkeypatch.setattr(module, "evaluate", None)
    again = cross_dataset(tasks, sources(tasks), workdir, running=running)
    for one, other in zip(again, cells, strict=True):
        np.testing.assert_allclose(one.evaluated.predictions.predicted, other.evaluated.predictions.predicted, 1e-6)
        assert one.evaluated.left_out == other.evaluated.left_out


def test_a_test_set_that_has_changed_is_tested_anew(matrix, tasks, running, small, tmp_path):
    workdir, cells = matrix
    again = shutil.copytree(workdir, tmp_path / "again")
    groups = small.source.index.groups[:17]
    fewer = from_arrays(noise(20)[:17], 100 - np.arange(17), groups=groups, score_range=(0, 100)).named("one")
    only = {"two": tasks["two"]}
    with pytest.raises(InputError, match=r"found another one's: tasks.one"):
        cross_dataset(only, {"one": fewer}, again, running=running)
    (again / "protocol.json").unlink()
    (again / "report.md").unlink()
    (cell,) = cross_dataset(only, {"one": fewer}, again, running=running)
    assert len(cell.evaluated.predictions.names) == len(cells[1].evaluated.predictions.names) - 3
    assert cell.evaluated.left_out == cells[1].evaluated.left_out


def test_a_test_set_inside_the_training_set_is_refused(tasks, running, tmp_path):
    """Its images have other names."""
    inside = from_arrays(noise(20)[:5], np.arange(5), score_range=(0, 9)).named("inside")
    with pytest.raises(InputError, match=r"expected images of inside whose contents .*, found none among 5: "):
        cross_dataset({"one": tasks["one"]}, {"inside": inside}, tmp_path / "across", running=running)
    assert not (tmp_path / "across").exists()


def test_one_database_is_no_matrix(tasks, tmp_path):
    with pytest.raises(InputError, match="test_on: expected another database than `train_on` names, found only one"):
        cross_dataset({"one": tasks["one"]}, {"one": tasks["one"].source}, tmp_path / "across")
