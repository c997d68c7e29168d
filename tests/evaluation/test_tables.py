"""Tables show figures as they are, with what makes them sure or not."""

import numpy as np
import pytest

from glintiqa_jax.evaluation import tables
from glintiqa_jax.evaluation.metrics import outlier_ratio, rmse, srocc
from glintiqa_jax.evaluation.significance import bootstrap_interval, paired_bootstrap
from glintiqa_jax.evaluation.tables import Judged, comparison_table, in_words, metrics_table, types_table

RNG = np.random.default_rng(0)
TARGET = RNG.normal(50, 10, 60)
CLOSE, FAR = TARGET + RNG.normal(0, 3, 60), TARGET + RNG.normal(0, 20, 60)


def cells(table, row):
    return dict(zip(table.columns, next(cells for cells in table.rows if cells[0] == row), strict=True))


def test_figures_have_the_intervals_of_their_images(monkeypatch):
    monkeypatch.setattr(tables, "RESAMPLES", 50)
    table = metrics_table({"model": Judged(CLOSE, TARGET)}, more={"kept step": ["7"]})
    row = cells(table, "model")
    assert row["SROCC"] == in_words(bootstrap_interval(srocc, CLOSE, TARGET, resamples=50))
    assert row["RMSE"] == in_words(bootstrap_interval(rmse, CLOSE, TARGET, resamples=50))
    assert (row["images"], row["kept step"]) == ("60", "7")
    assert "50 resamples" in table.caption
    assert "outlier ratio" not in table.columns


def test_whole_contents_are_resampled_where_there_are_any():
    groups = np.arange(60) // 15
    table = metrics_table({"model": Judged(CLOSE, TARGET, groups=groups)})
    expected = bootstrap_interval(srocc, CLOSE, TARGET, groups=groups, resamples=tables.RESAMPLES)
    assert cells(table, "model")["SROCC"] == in_words(expected)
    assert cells(table, "model")["images"] == "60 (4 contents)"
    assert "as few as 4 contents says little" in table.caption


def test_outliers_are_counted_where_deviations_are_known():
    row = cells(metrics_table({"model": Judged(TARGET, TARGET + 1, target_std=np.full(60, 2.0))}), "model")
    assert row["outlier ratio"].startswith(f"{outlier_ratio(TARGET, TARGET, np.full(60, 2.0)):.3f} (")


def test_another_unit_has_no_errors_of_its_own():
    row = cells(metrics_table({"sharpness": Judged(1000 * CLOSE, TARGET, same_unit=False)}), "sharpness")
    assert row["RMSE"] == row["MAE"] == "-"
    assert float(row["RMSE mapped"].split()[0]) < 5


def test_what_is_undefined_is_said_without_a_warning():
    row = cells(metrics_table({"constant": Judged(np.full(60, 50.0), TARGET)}), "constant")
    assert row["SROCC"] == row["PLCC mapped"] == "undefined"
    assert float(row["RMSE"].split()[0]) == pytest.approx(rmse(np.full(60, 50.0), TARGET), abs=5e-4)


def test_a_worse_model_is_less_than_the_one_it_is_compared_with():
    table = comparison_table("close", Judged(CLOSE, TARGET), {"far": Judged(FAR, TARGET)})
    row = table.rows[0]
    expected = paired_bootstrap(srocc, FAR, CLOSE, TARGET, resamples=tables.RESAMPLES)
    assert row[1] == in_words(expected, "+.3f")
    assert row[1].startswith("-")
    assert row[5].startswith("close (ratio ")


def test_types_have_the_median_of_the_runs_that_tested_them():
    kinds = np.array(["1 blur"] * 4 + ["2 noise"] * 4 + ["1 blur"] * 4)
    right, wrong = np.arange(4.0), np.arange(4.0)[::-1]
    runs = [(np.r_[right, right], np.r_[right, wrong]), (right, np.array([0.0, 1.0, 3.0, 2.0]))]
    table = types_table(kinds, runs, "distortion")
    assert table.rows[0][:3] == ["1 blur", "8", "0.9000"]  # of 1.0 and 0.8
    assert table.rows[1][:3] == ["2 noise", "4", "-1.0000"]
