"""A whole run on twenty tiny images: deterministic, resumable, refusing what is another experiment's."""

import dataclasses
import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from small_runs import make_config, stop_after

from glintiqa_jax import settings
from glintiqa_jax.data.builder import prepare
from glintiqa_jax.data.databases import read_database
from glintiqa_jax.errors import UserError
from glintiqa_jax.evaluation.metrics import METRICS
from glintiqa_jax.models.glintiqa import variant_config
from glintiqa_jax.scoring.scorer import Scorer
from glintiqa_jax.sharding import make_mesh
from glintiqa_jax.training import loop
from glintiqa_jax.training.checkpoints import load_model

pytest_plugins = ["small_runs"]
pytestmark = [
    pytest.mark.compiled_for_users,
    pytest.mark.usefixtures("one_device"),
    pytest.mark.filterwarnings("ignore:.*is undefined"),  # four test images may all get one prediction
]


def test_a_run_leaves_what_it_promises(workdir, whole):
    results = whole
    assert set(results) == {
        "step", "best_step", "selection", "validation", "test", "split_sha256", "params_sha256", "commit",
    }  # fmt: skip
    assert set(results["test"]) == {*METRICS, "images"} - {"outlier_ratio"}
    assert results["test"]["images"] == results["validation"]["images"] == 4
    assert results["step"] == 8
    assert (workdir / "config.json").is_file()
    report = (workdir / "report.md").read_text()
    for plot in ("learning_curve", "predicted_against_true", "residuals", "best_and_worst"):
        assert f"({plot}.png)" in report
        assert (workdir / f"{plot}.png").stat().st_size > 5000
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "validation" in row] == [3, 6, 8]
    assert not list(workdir.rglob("*.partial"))
    # scores come back in the scores' own unit
    predictions = (workdir / "predictions_test.csv").read_text().splitlines()
    assert len(predictions) == 5
    assert results["test"]["rmse"] > 1.5  # on the scale of 0 to 100, not of 0 to 1


def test_the_same_command_gives_the_same_figures(config, whole, tmp_path):
    assert loop.train_and_evaluate(config, tmp_path / "again") == whole


def test_another_seed_gives_others(config, whole, tmp_path):
    other = loop.train_and_evaluate(dataclasses.replace(config, seed=1), tmp_path / "other", max_steps=1)
    again = loop.train_and_evaluate(config, tmp_path / "one", max_steps=1)
    assert other["params_sha256"] != again["params_sha256"]


@pytest.mark.parametrize("stop_at", [2, 7])
def test_an_interrupted_run_ends_as_if_it_had_not_been(config, whole, tmp_path, monkeypatch, stop_at):
    with monkeypatch.context() as patch:
        stop_after(patch, stop_at)
        assert loop.train_and_evaluate(config, tmp_path / "part") is None
    assert not (tmp_path / "part" / "results.json").exists()
    assert loop.train_and_evaluate(config, tmp_path / "part") == whole
    rows = [json.loads(line) for line in (tmp_path / "part" / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "validation" in row] == [3, 6, 8]


@pytest.mark.slow
def test_max_steps_ends_early_and_can_go_on(config, whole, tmp_path):
    early = loop.train_and_evaluate(config, tmp_path / "early", max_steps=4)
    assert early["step"] == 4
    assert early["test"]["images"] == 4
    later = loop.train_and_evaluate(config, tmp_path / "early")
    # step 4 was evaluated and could be kept; the parameters are those of the uninterrupted run
    assert later["params_sha256"] == whole["params_sha256"]


def test_a_complete_run_is_not_run_again(config, workdir, whole, monkeypatch):
    monkeypatch.setattr(loop, "Run", None)  # would raise
    assert loop.train_and_evaluate(config, workdir) == whole


def test_another_experiments_workdir_is_refused(config, workdir, whole, tmp_path):
    other = dataclasses.replace(config, seed=3, learning_rate=0.5)
    with pytest.raises(UserError, match=r"another one's: learning_rate: 0.5 here, 0.001 there; seed: 3 here, 0 there"):
        loop.train_and_evaluate(other, workdir)
    moved = dataclasses.replace(config, data=settings.replace(config.data, data_dir=str(tmp_path / "elsewhere")))
    assert loop.train_and_evaluate(moved, workdir) == whole


def test_changed_images_are_refused(tmp_path):
    config = make_config(tmp_path)
    loop.train_and_evaluate(config, tmp_path / "run", max_steps=1)
    image = tmp_path / "images" / "image00.png"
    image.write_bytes((tmp_path / "images" / "image01.png").read_bytes())
    with pytest.raises(UserError, match="images or scores have changed"):
        loop.train_and_evaluate(config, tmp_path / "run")


def test_a_crop_larger_than_the_images_is_refused(config, tmp_path):
    large = dataclasses.replace(config, model=variant_config("glintiqa_tiny", crop_size=48))
    with pytest.raises(UserError, match=r"crop_size: .* found 48 pixels and image00.png of 40x48"):
        loop.train_and_evaluate(large, tmp_path / "run")


def test_a_loss_that_is_no_number_stops_the_run(config, tmp_path):
    wild = dataclasses.replace(config, learning_rate=1e30, warmup_steps=0)
    with pytest.raises(UserError, match="the loss or its gradient is no number at step 2, on image"):
        loop.train_and_evaluate(wild, tmp_path / "run")


def test_a_checkpoint_alone_is_enough(config, workdir, whole, tmp_path):
    best = workdir / "checkpoints" / str(whole["best_step"])
    moved = shutil.copytree(best, tmp_path / "moved")
    mesh = make_mesh(devices=jax.devices()[:1])
    loaded = load_model(moved, mesh)
    assert loaded.description.config == config
    scorer = Scorer(moved)
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    assert np.isfinite(scorer.score(image))
    assert scorer.scale.describe() == "MOS 0 to 100, higher is better"


def test_without_validation_the_last_step_is_kept(config, tmp_path, reported):
    data = settings.replace(config.data, split_column="", split_by="drawn", validation_fraction=0.0)
    results = loop.train_and_evaluate(dataclasses.replace(config, data=data), tmp_path / "run", max_steps=4)
    assert "validation" not in results
    assert (results["step"], results["best_step"]) == (4, 4)
    assert "the last, as there is no validation split" in (tmp_path / "run" / "report.md").read_text()
    assert Scorer(tmp_path / "run").scale.high == 100


def test_training_on_raw_scores_is_scored_in_their_unit(config, tmp_path):
    """As released: the network says the score itself, which starts near 0 and far from the middle of the range."""
    raw = dataclasses.replace(config, target="raw")
    results = loop.train_and_evaluate(raw, tmp_path / "run", max_steps=1)
    assert results["test"]["rmse"] > 20
    scorer = Scorer(tmp_path / "run")
    assert scorer.config.target == "raw"
    name, predicted, *_ = (tmp_path / "run" / "predictions_test.csv").read_text().splitlines()[1].split(",")
    image = Path(config.data.own.images) / name
    assert scorer.score_file(image) == pytest.approx(float(predicted), rel=1e-4)


def test_a_run_over_two_databases_reports_each(config, tmp_path, reported):
    names = [f"image{number:02d}.png" for number in range(20)]
    rows = "".join(f"{name},0.{number:02d},,\n" for number, name in enumerate(names))
    folder = tmp_path / "biq" / "Images"
    shutil.copytree(config.data.own.images, folder)
    for file, part in (("Train", rows.splitlines()[:14]), ("Test", rows.splitlines()[14:])):
        (tmp_path / "biq" / f"{file} (Images and MOS).csv").write_text("\n".join(["Images,MOS,,", *part]) + "\n")
    prepare(read_database("biq2021", tmp_path / "biq"), config.data.data_dir, merge_near_duplicates=False)
    data = settings.replace(config.data, dataset="csv:1,biq2021:3")
    results = loop.train_and_evaluate(dataclasses.replace(config, data=data), tmp_path / "run", max_steps=3)
    each = [results[f"test on {name}"] for name in ("csv", "biq2021")]
    assert [part["images"] for part in each] == [4, 6]
    assert results["test"]["images"] == 10
    assert results["test"]["rmse"] == pytest.approx(np.mean([part["rmse"] for part in each]))
    assert "| test, on biq2021 | 6 (" in (tmp_path / "run" / "report.md").read_text()


def test_a_split_can_be_used_again(config, workdir, whole, tmp_path):
    data = settings.replace(config.data, split_by=str(workdir / "split.json"))
    results = loop.train_and_evaluate(dataclasses.replace(config, data=data), tmp_path / "run", max_steps=1)
    assert results["split_sha256"] == whole["split_sha256"]
    kept = [(folder / "split.json").read_text() for folder in (workdir, tmp_path / "run")]
    assert kept[0] == kept[1]


def test_a_run_does_not_go_on_with_another_split(config, tmp_path):
    """What it has trained on would be tested."""
    content = {"database": "csv", "train": [f"image{i:02d}.png" for i in range(12)], "validation": ["image16.png"]}
    file = tmp_path / "split.json"
    config = dataclasses.replace(config, data=settings.replace(config.data, split_by=str(file)))
    file.write_text(json.dumps(content | {"test": ["image18.png", "image19.png"]}))
    loop.train_and_evaluate(config, tmp_path / "run", max_steps=1)
    file.write_text(json.dumps(content | {"train": content["train"][2:], "test": ["image00.png", "image01.png"]}))
    with pytest.raises(UserError, match="who trains and who is tested has changed since this run began"):
        loop.train_and_evaluate(config, tmp_path / "run")


@pytest.mark.parametrize("kind", ["nothing", "file", "empty folder"])
def test_what_is_no_checkpoint_is_refused(tmp_path, kind):
    path = tmp_path / "place"
    if kind == "file":
        path.write_text("")
    elif kind == "empty folder":
        path.mkdir()
    with pytest.raises(UserError, match=r"--checkpoint=.*place: expected a training run's --workdir or"):
        load_model(path, make_mesh())
