"""Trained on all of one database, tested on all of the others, but for what the first one shows."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import write_images
from small_runs import cheap_runs

from glintiqa_jax import settings
from glintiqa_jax.data.builder import prepare
from glintiqa_jax.data.databases import read_database
from glintiqa_jax.errors import UserError
from glintiqa_jax.evaluation.metrics import srocc
from glintiqa_jax.evaluation.report import ReportOptions
from glintiqa_jax.protocols import cross_dataset as module
from glintiqa_jax.protocols.cross_dataset import cross_dataset

pytest_plugins = ["small_runs"]
pytestmark = pytest.mark.usefixtures("one_device")


@pytest.fixture(scope="module")
def configs(config, tmp_path_factory):
    """Two databases: twenty images of "csv", and ten of "biq2021", of which the last three are among the first."""
    folder = tmp_path_factory.mktemp("biq")
    names = write_images(folder / "Images", 10, seed=9)
    for number in (7, 8, 9):
        shutil.copy(f"{config.data.own.images}/image{number:02d}.png", folder / "Images" / names[number])
    for file, part in (("Train", names[:7]), ("Test", names[7:])):
        rows = "".join(f"{name},0.{9 - int(name[5:7])},,\n" for name in part)
        (folder / f"{file} (Images and MOS).csv").write_text("Images,MOS,,\n" + rows)
    prepare(read_database("biq2021", folder), folder / "data")
    own = settings.replace(config.data, data_dir=str(folder / "data"), split_by="all", validation_fraction=0.3)
    biq = settings.replace(
        own, dataset="biq2021", images="", scores="", group_column="", split_column="", score_range=()
    )
    short = dataclasses.replace(config, steps=3, eval_every=3)
    return {name: dataclasses.replace(short, data=data) for name, data in (("csv", own), ("biq2021", biq))}


@pytest.fixture(scope="module")
def matrix(configs, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("across")
    with cheap_runs():
        tests = {name: one.data for name, one in configs.items()}
        return workdir, cross_dataset(configs, tests, workdir, report=ReportOptions(pictures=False))


def test_every_network_is_tested_on_all_of_the_other_but_what_it_has_seen(matrix):
    workdir, cells = matrix
    assert [cell.title for cell in cells] == ["csv on biq2021", "biq2021 on csv"]
    on_biq, on_csv = cells
    assert on_biq.evaluated.predictions.names == [f"image{number:02d}.png" for number in range(7)]
    assert on_biq.evaluated.left_out == 3
    # the twins' groups hold another image each; those that would validate are not trained on, but seen
    assert on_csv.evaluated.left_out >= 3
    assert len(on_csv.evaluated.predictions.names) == 20 - on_csv.evaluated.left_out
    split = json.loads((workdir / "csv" / "split.json").read_text())
    assert len(split["train"]) + len(split["validation"]) == 20
    assert (
        "csv on biq2021: 3 images are left out, whose contents it was trained on."
        in (workdir / "report.md").read_text()
    )


def test_predictions_are_in_the_unit_of_the_database_that_is_tested(matrix):
    _, (on_biq, _) = matrix
    np.testing.assert_allclose(on_biq.evaluated.predictions.target, [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3])
    assert np.abs(on_biq.evaluated.predictions.predicted).max() < 5  # 0 to 1, where the other's is 0 to 100


def test_the_report_has_the_matrix_and_simple_measures(matrix):
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
    assert "| SROCC, trained on | tested on csv | tested on biq2021 |" in text
    assert "## Residuals, csv on biq2021" in text


def test_what_is_complete_is_not_done_again(matrix, configs, monkeypatch):
    workdir, cells = matrix
    monkeypatch.setattr(module, "evaluate_checkpoint", None)
    again = cross_dataset(configs, {name: one.data for name, one in configs.items()}, workdir)
    for one, other in zip(again, cells, strict=True):
        np.testing.assert_allclose(one.evaluated.predictions.predicted, other.evaluated.predictions.predicted, 1e-6)
        assert one.evaluated.left_out == other.evaluated.left_out


def test_a_test_set_that_has_changed_is_tested_anew(matrix, configs, tmp_path):
    workdir, cells = matrix
    again = shutil.copytree(workdir, tmp_path / "again")
    rows = Path(configs["csv"].data.own.scores).read_text().splitlines()
    (tmp_path / "fewer.csv").write_text("\n".join(rows[:-3]) + "\n")
    tests = {"csv": settings.replace(configs["csv"].data, scores=str(tmp_path / "fewer.csv"))}
    only = {"biq2021": configs["biq2021"]}
    with pytest.raises(UserError, match=r"found another one's: configs.csv"):
        cross_dataset(only, tests, again)
    (again / "protocol.json").unlink()
    (again / "report.md").unlink()
    (cell,) = cross_dataset(only, tests, again)
    assert len(cell.evaluated.predictions.names) == len(cells[1].evaluated.predictions.names) - 3
    assert cell.evaluated.left_out == cells[1].evaluated.left_out


def test_what_cannot_be_trained_on_is_refused_before_anything_is(configs, tmp_path):
    missing = dataclasses.replace(configs["biq2021"], data=settings.replace(configs["biq2021"].data, dataset="bid"))
    with pytest.raises(UserError, match="--dataset=bid: expected a database prepared in"):
        cross_dataset(configs | {"bid": missing}, {"csv": configs["csv"].data}, tmp_path / "across")
    assert not (tmp_path / "across").exists()


def test_a_test_set_inside_the_training_set_is_refused(configs, tmp_path):
    """Its images have other names."""
    csv = configs["csv"]
    (tmp_path / "inside").mkdir()
    rows = ["image,mos"]
    for number in range(5):
        shutil.copy(f"{csv.data.own.images}/image{number:02d}.png", tmp_path / "inside" / f"new{number}.png")
        rows.append(f"new{number}.png,{number}")
    (tmp_path / "scores.csv").write_text("\n".join(rows))
    inside = dataclasses.replace(
        csv.data, images=str(tmp_path / "inside"), scores=str(tmp_path / "scores.csv"), group_column="", split_column=""
    )
    with pytest.raises(UserError, match=r"--train_on=csv: .* contents of all 5 images .*: new0.png, new1.png"):
        cross_dataset({"csv": csv}, {"inside": inside}, tmp_path / "across")
    assert not (tmp_path / "across").exists()


def test_one_database_is_no_matrix(configs, tmp_path):
    with pytest.raises(UserError, match="--test_on: expected another database than --train_on's, found only csv"):
        cross_dataset({"csv": configs["csv"]}, {"csv": configs["csv"].data}, tmp_path / "across")
