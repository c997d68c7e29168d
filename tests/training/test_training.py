"""A whole run on twenty tiny images: deterministic, resumable, refusing what is another experiment's."""

import dataclasses
import gc
import html
import json
import re
import shutil
import tempfile

import numpy as np
import optax
import pytest
from small_runs import REPORT, noise, one_device_mesh, small_source, stop_after

from glintiqa_jax import settings
from glintiqa_jax.data import from_arrays
from glintiqa_jax.data.mixture import MixedSource
from glintiqa_jax.data.splits import Split
from glintiqa_jax.errors import InputError
from glintiqa_jax.scoring.files import load_model
from glintiqa_jax.training import training
from glintiqa_jax.training.description import begun_with
from glintiqa_jax.training.losses import Loss
from glintiqa_jax.training.metrics_log import read_metrics
from glintiqa_jax.training.result import Result

pytest_plugins = ["small_runs"]
pytestmark = [
    pytest.mark.compiled_for_users,
    pytest.mark.usefixtures("one_device"),
    pytest.mark.filterwarnings("ignore:.*is undefined"),  # four test images may all get one prediction
]


def test_a_run_leaves_what_it_promises(small, workdir, whole):
    assert {"step", "best_step", "selection", "validation", "test", "split_sha256", "params_sha256"} <= set(whole)
    assert {"srocc", "plcc", "krocc", "rmse", "images"} <= set(whole["test"])
    assert whole["test"]["images"] == whole["validation"]["images"] == 4
    assert whole["step"] == 8
    assert (workdir / "config.json").is_file()
    report = (workdir / "report.md").read_text()
    assert report.startswith("# glintiqa_tiny, tapped_blocks 0 on ")
    for plot in ("learning_curve", "predicted_against_true", "residuals", "best_and_worst"):
        assert f"({plot}.png)" in report
        assert (workdir / f"{plot}.png").stat().st_size > 5000
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "validation" in row] == [3, 6, 8]
    assert not list(workdir.rglob("*.partial"))
    # scores come back in the scores' own unit
    predictions = (workdir / "predictions_test.csv").read_text().splitlines()
    assert len(predictions) == 5
    assert whole["test"]["rmse"] > 1.5  # on the scale of 0 to 100, not of 0 to 1


def test_the_same_command_gives_the_same_figures(small, whole, tmp_path):
    assert small.train(tmp_path / "again") == whole


def test_another_seed_gives_others(small, tmp_path):
    other = small.train(tmp_path / "other", max_steps=1, seed=1)
    again = small.train(tmp_path / "one", max_steps=1)
    assert other["params_sha256"] != again["params_sha256"]


@pytest.mark.parametrize("stop_at", [2, 7])
def test_an_interrupted_run_ends_as_if_it_had_not_been(small, whole, tmp_path, monkeypatch, stop_at):
    with monkeypatch.context() as patch:
        stop_after(patch, stop_at)
        assert small.train(tmp_path / "part") is None
    assert not (tmp_path / "part" / "results.json").exists()
    assert small.train(tmp_path / "part") == whole
    rows = [json.loads(line) for line in (tmp_path / "part" / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "validation" in row] == [3, 6, 8]


@pytest.mark.slow
def test_every_option_resumes(small, tmp_path, monkeypatch):
    """The whole state comes back, whatever it is made of."""
    options = {
        "ema_decay": 0.9,
        "accumulate": 2,
        "clip_norm": 0.5,
        "optimizer": "adam_l2",
        "rates": (r"^clfe=0.5",),
        "frozen": (r"^vgfe\.patch_embed\.", r"^clfe\.bn1\."),
        "loss": "l1_plcc",
        "target": "quality",
        "compute_dtype": "bfloat16",
        "crops_per_image": 2,
        "ranked_levels": 1,
        "remat": True,
        "selection_metric": "rmse",
        "eval_random_crops": 3,
        "save_every": 2,
    }
    expected = small.train(tmp_path / "whole", **options)
    with monkeypatch.context() as patch:
        stop_after(patch, 5)
        assert small.train(tmp_path / "part", **options) is None
    assert small.train(tmp_path / "part", **options) == expected
    logs = [read_metrics(tmp_path / name, speed=False) for name in ("whole", "part")]
    assert logs[0] == logs[1]
    # RMSE is lower is better, and the step with the lowest is kept
    rows = [row for row in logs[0] if "validation" in row]
    assert expected["best_step"] == min(rows, key=lambda row: row["validation"]["rmse"])["step"]


@pytest.mark.slow
def test_max_steps_ends_early_and_can_go_on(small, whole, tmp_path):
    early = small.train(tmp_path / "early", max_steps=4)
    assert early["step"] == 4
    assert early["test"]["images"] == 4
    later = small.train(tmp_path / "early")
    # step 4 was evaluated and could be kept; the parameters are those of the uninterrupted run
    assert later["params_sha256"] == whole["params_sha256"]


def test_a_complete_run_is_not_run_again(small, workdir, whole, monkeypatch):
    monkeypatch.setattr(training, "Run", None)  # would raise
    assert small.train(workdir) == whole


def test_another_experiments_workdir_is_refused(small, workdir, whole, tmp_path):
    with pytest.raises(InputError, match=r"another one's: .*seed: 3 here, 0 there; .*learning_rate: 0.5 here, 0.001"):
        small.train(workdir, seed=3, learning_rate=0.5)
    assert small.train(workdir, num_workers=3, cache_megabytes=1) == whole


def test_changed_images_or_splits_are_refused(small, tmp_path):
    small.train(tmp_path / "run", max_steps=1)
    pixels = noise(20)
    pixels[0] = pixels[1]
    changed = from_arrays(
        pixels,
        small.source.index.raw_scores,
        names=small.source.index.names,
        groups=small.source.index.groups,
        score_range=(0, 100),
    )
    with pytest.raises(InputError, match="images or scores have changed"):
        small.train(tmp_path / "run", source=changed)
    swapped = Split(small.split.test, small.split.validation, small.split.train)  # trained images would be tested
    with pytest.raises(InputError, match="the split has changed since this run began"):
        small.train(tmp_path / "run", split=swapped)


def test_a_crop_larger_than_the_images_is_refused(small, tmp_path):
    with pytest.raises(InputError, match=r"crop_size: .* found 48 pixels and image00.png of 40x48"):
        small.train(tmp_path / "run", crop_size=48)
    assert not (tmp_path / "run").exists()


def test_images_that_train_and_are_tested_are_refused(small, tmp_path):
    with pytest.raises(InputError, match=r"^split.test: expected each image once, found image00.png, which is in 'tra"):
        small.train(tmp_path / "run", split=Split(range(20), [], range(20)))
    by_image = Split(range(0, 20, 2), [], range(1, 20, 2))
    with pytest.raises(InputError, match=r"^split: 10 content groups are on two sides"):
        small.train(tmp_path / "run", split=by_image)
    assert not (tmp_path / "run").exists()


def test_a_metric_that_the_data_cannot_have_is_refused(small, tmp_path):
    with pytest.raises(InputError, match=r"^selection_metric=outlier_ratio: expected standard deviations of the"):
        small.train(tmp_path / "run", selection_metric="outlier_ratio")
    assert not (tmp_path / "run").exists()


def huber(predicted, target):
    return optax.huber_loss(predicted, target).mean()


def test_a_loss_of_ones_own_resumes_and_is_no_other(small, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        stop_after(patch, 2)
        assert small.train(tmp_path / "run", loss=huber, steps=3) is None
    assert small.train(tmp_path / "run", loss=huber, steps=3)["step"] == 3
    with pytest.raises(InputError, match=r"objective.loss: 'test_training.huber@\w+' here, '[\w.]*huber@\w+' there"):
        small.train(tmp_path / "run", loss=Loss(huber, ranks=True), steps=3)
    stored = begun_with(tmp_path / "run").experiment
    with pytest.raises(InputError, match="training needs the function"):
        stored.objective.row(np.zeros(2), np.zeros(2))
    for wrong in ({"optimizer": "adam_l2@"}, {"selection": "test_best@x"}, {"optimizer": huber}):
        with pytest.raises(InputError, match="expected one of"):
            settings.replace(small.experiment, **wrong)


def test_a_loss_that_is_not_finite_stops_the_run(small, tmp_path):
    with pytest.raises(InputError, match="the loss or its gradient is not finite at step 2, on image"):
        small.train(tmp_path / "run", learning_rate=1e30, warmup_steps=0)


def test_without_validation_the_last_step_is_kept(small, tmp_path):
    split = dataclasses.replace(small.split, validation=np.zeros(0, np.int64))
    results = small.train(tmp_path / "run", max_steps=4, split=split, report=REPORT)
    assert "validation" not in results
    assert (results["step"], results["best_step"]) == (4, 4)
    assert "the last, as there is no validation split" in (tmp_path / "run" / "report.md").read_text()
    assert load_model(tmp_path / "run").score(noise(1)[0]).interval is None


def test_training_on_raw_scores_is_scored_in_their_unit(small, tmp_path):
    """As released: the network says the score itself, which starts near 0 and far from the middle of the range."""
    results = small.train(tmp_path / "run", max_steps=1, target="raw")
    assert results["test"]["rmse"] > 20
    model = load_model(tmp_path / "run")
    assert model.card.output == "raw"
    name, predicted, *_ = (tmp_path / "run" / "predictions_test.csv").read_text().splitlines()[1].split(",")
    image = small.source[small.source.index.names.index(name)]["image"]
    assert model.score(image).value == pytest.approx(float(predicted), rel=1e-4)


def test_a_run_over_two_databases_reports_each(small, tmp_path):
    other = small_source(10, score_range=(-100, 200), name="other")
    mixed = MixedSource([small.source, other], [1, 3])
    with pytest.raises(InputError, match="target: expected 'quality' for several databases"):
        small.train(tmp_path / "raw", source=mixed, target="raw")
    split = Split(np.r_[0:6, 10:14, 20:26], np.r_[14:16], np.r_[16:20, 26:30])
    with pytest.raises(InputError, match="target: expected 'quality' for several databases"):
        small.train(tmp_path / "run", source=mixed, split=split, target="raw")
    results = small.train(tmp_path / "run", max_steps=3, source=mixed, split=split, report=REPORT)
    each = [results[f"test on {part.name}"] for part in mixed.parts]
    assert [part["images"] for part in each] == [4, 4]
    assert results["test"]["images"] == 8
    assert results["test"]["rmse"] == pytest.approx(np.mean([part["rmse"] for part in each]))
    assert "| test, on other | 4 (" in (tmp_path / "run" / "report.md").read_text()


def test_a_result_has_its_model_and_its_report(small):
    """Without a folder of one's own, as in a notebook."""
    result = training.train(
        small.source,
        small.split,
        small.experiment,
        execution=dataclasses.replace(small.execution, max_steps=3),
        mesh=one_device_mesh(),
        report=REPORT,
    )
    assert isinstance(result, Result)
    assert np.isfinite(result.model.score(small.source[0]["image"]).value)
    assert "<html" in result.report.html
    frame = re.fullmatch('<iframe srcdoc="([^"]*)".*</iframe>', result.report._repr_html_())
    assert html.unescape(frame[1]) == result.report.html
    report, folder = result.report, result.workdir
    del result
    gc.collect()
    assert "SROCC" in str(report)
    del report
    gc.collect()
    assert not folder.exists()


def test_nothing_is_left_of_a_temporary_run_without_a_result(small, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(InputError, match="crop_size"):
        small.train(None, crop_size=48)
    with pytest.raises(InputError, match="not finite"):
        small.train(None, learning_rate=1e30, warmup_steps=0)
    stop_after(monkeypatch, 2)
    assert small.train(None) is None
    assert "stopped at step 2\nwithout a `workdir`, nothing of it is kept\n" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_a_run_without_a_report_has_none(workdir, whole, small, tmp_path):
    assert Result.load(workdir, small.source).report is not None
    (shutil.copytree(workdir, tmp_path / "copy") / "report.html").unlink()
    assert Result.load(tmp_path / "copy", small.source).report is None


def test_a_model_is_used_without_what_trained_it(small, workdir, whole, tmp_path):
    """The model's folder alone, and one checkpoint's alone: the same scores."""
    image = noise(1, size=(40, 60))[0]
    expected = load_model(workdir).score(image)
    model = load_model(shutil.copytree(workdir / "model", tmp_path / "model"))
    assert model.card.network == small.experiment.model
    assert model.card.scale.describe() == "MOS 0 to 100, higher is better"
    assert model.card.results["test"] == whole["test"]
    assert len(model.looks) == 16
    assert model.score(image) == expected
    checkpoint = shutil.copytree(workdir / "checkpoints" / str(whole["best_step"]), tmp_path / "checkpoint")
    assert load_model(checkpoint).score(image).value == expected.value
