"""Tables show figures as they are, with what makes them sure or not."""

import numpy as np
import pytest

from glintiqa_jax.evaluation.metrics import (
    METRICS,
    Metric,
    all_metrics,
    outlier_ratio,
    result_line,
    rmse,
    srocc,
)
from glintiqa_jax.evaluation.significance import bootstrap_interval, paired_bootstrap
from glintiqa_jax.evaluation.tables import (
    Judged,
    comparison_table,
    differences_table,
    in_words,
    metrics_table,
    summary,
    summary_table,
    types_table,
)

RNG = np.random.default_rng(0)
TARGET = RNG.normal(50, 10, 60)
CLOSE, FAR = TARGET + RNG.normal(0, 3, 60), TARGET + RNG.normal(0, 20, 60)


SROCC, RMSE = METRICS["srocc"], METRICS["rmse"]


def cells(table, row):
    return dict(zip(table.columns, next(cells for cells in table.rows if cells[0] == row), strict=True))


def test_figures_have_the_intervals_of_their_images():
    table = metrics_table({"model": Judged(CLOSE, TARGET)}, more={"kept step": ["7"]}, resamples=50)
    row = cells(table, "model")
    assert row["SROCC"] == in_words(SROCC, bootstrap_interval(srocc, CLOSE, TARGET, resamples=50))
    assert row["RMSE"] == in_words(RMSE, bootstrap_interval(rmse, CLOSE, TARGET, resamples=50))
    assert (row["images"], row["kept step"]) == ("60", "7")
    assert "50 resamples" in table.caption
    assert "outlier ratio" not in table.columns


def test_whole_contents_are_resampled_where_there_are_any():
    groups = np.arange(60) // 15
    table = metrics_table({"model": Judged(CLOSE, TARGET, groups=groups)}, resamples=20)
    expected = bootstrap_interval(srocc, CLOSE, TARGET, groups=groups, resamples=20)
    assert cells(table, "model")["SROCC"] == in_words(SROCC, expected)
    assert cells(table, "model")["images"] == "60 (4 contents)"
    assert "as few as 4 contents says little" in table.caption


def test_outliers_are_counted_where_deviations_are_known():
    row = cells(
        metrics_table({"model": Judged(TARGET, TARGET + 1, target_std=np.full(60, 2.0))}, resamples=20), "model"
    )
    assert row["outlier ratio"].startswith(f"{outlier_ratio(TARGET, TARGET, np.full(60, 2.0)):.3f} (")


def test_another_unit_has_no_errors_of_its_own():
    judged = {"sharpness": Judged(1000 * CLOSE, TARGET, same_unit=False)}
    assert not {"RMSE", "MAE"} & set(metrics_table(judged, resamples=20).columns)
    row = cells(metrics_table(judged | {"model": Judged(CLOSE, TARGET)}, resamples=20), "sharpness")
    assert row["RMSE"] == row["MAE"] == "-"
    assert float(row["RMSE mapped"].split()[0]) < 5


def test_what_is_undefined_is_said_without_a_warning():
    row = cells(metrics_table({"constant": Judged(np.full(60, 50.0), TARGET)}, resamples=20), "constant")
    assert row["SROCC"] == row["PLCC mapped"] == "undefined"
    assert float(row["RMSE"].split()[0]) == pytest.approx(rmse(np.full(60, 50.0), TARGET), abs=5e-4)


def test_a_worse_model_is_less_than_the_one_it_is_compared_with():
    table = comparison_table("close", Judged(CLOSE, TARGET), {"far": Judged(FAR, TARGET)}, resamples=20)
    row = table.rows[0]
    expected = paired_bootstrap(srocc, FAR, CLOSE, TARGET, resamples=20)
    assert row[1] == in_words(SROCC, expected, sign="+")
    assert row[1].startswith("-")
    assert row[5].startswith("close (ratio ")


def test_types_have_the_median_of_the_runs_that_tested_them():
    kinds = np.array(["1 blur"] * 4 + ["2 noise"] * 4 + ["1 blur"] * 4)
    right, wrong = np.arange(4.0), np.arange(4.0)[::-1]
    runs = [Judged(np.r_[right, right], np.r_[right, wrong]), Judged(right, np.array([0.0, 1.0, 3.0, 2.0]))]
    table = types_table(kinds, runs, "distortion")
    assert table.rows[0][:3] == ["1 blur", "8", "0.9000"]  # of 1.0 and 0.8
    assert table.rows[1][:3] == ["2 noise", "4", "-1.0000"]


def test_rounds_have_their_median_mean_and_deviation():
    rounds = [Judged(order, np.arange(4.0)) for order in (np.arange(4.0), np.array([0, 1, 3, 2.0]))]
    assert cells(summary_table({"model": rounds}), "model")["SROCC"] == "0.9000 (0.9000 ± 0.1414)"
    assert summary(SROCC, [0.5]) == "0.5000 (0.5000)"
    assert summary(SROCC, [0.5, float("nan")]) == "undefined"


def test_differences_of_rounds_have_their_sign_and_their_pair():
    order, reverse = np.arange(6.0), np.arange(6.0)[::-1]
    one_off = np.array([1, 0, 2, 3, 4, 5.0])
    full = [Judged(order, order), Judged(one_off, order), Judged(order, order)]
    other = [Judged(one_off, order), Judged(order, order), Judged(reverse, order)]
    less = 1 - srocc(one_off, order)
    (row,) = differences_table("full", full, {"other": other}).rows
    assert row[:4] == ["other", f"{-less:+.4f}", f"-2.0000 to {less:+.4f}", "1 of 3"]
    other[0] = Judged(np.ones(6), order)
    (row,) = differences_table("full", full, {"other": other}).rows
    assert row[:4] == ["other", "undefined", "undefined", "undefined"]


def test_a_metric_of_ones_own_is_in_every_table(monkeypatch):
    """One row in one place; it is an error in the scores' unit, lower is better, by which models are compared."""

    def bias(predicted, target):
        return float(np.abs(np.mean(predicted - target)))

    own = Metric("bias", bias, higher_is_better=False, in_unit=True, decimals=2, note="Bias is what a mean hides.")
    monkeypatch.setitem(METRICS, "bias", own)
    model, other = Judged(TARGET + 3, TARGET), Judged(TARGET + 1, TARGET)
    table = metrics_table({"model": model}, resamples=20)
    assert cells(table, "model")["bias"] == "3.0 (3.0 to 3.0)"
    assert "Bias is what a mean hides." in table.caption
    assert "bias: lower is better" in table.caption
    kinds = np.array(["1 blur"] * 60)
    assert cells(types_table(kinds, [model], "type"), "1 blur")["bias"] == "3.00"
    assert cells(summary_table({"model": [model, other]}), "model")["bias"] == "2.00 (2.00 ± 1.41)"
    assert cells(comparison_table("model", model, {"other": other}, resamples=20), "other")["Δ bias"].startswith(
        "-2.0 ("
    )
    (row,) = differences_table("model", [model], {"other": [other]}).rows
    assert row[-3:] == ["-2.00", "-2.00 to -2.00", "1 of 1"]
    assert "  bias 3.00  (60 images)" in result_line(all_metrics(TARGET + 3, TARGET))
    sharpness = Judged(CLOSE, TARGET, same_unit=False)
    assert "bias" not in metrics_table({"sharpness": sharpness}, resamples=20).columns
    assert "Δ bias" not in comparison_table("model", model, {"sharpness": sharpness}, resamples=20).columns


def test_a_figure_is_worth_more_by_its_direction_and_undefined_ones_least():
    assert SROCC.worth(0.9) > SROCC.worth(0.8)
    assert RMSE.worth(0.8) > RMSE.worth(0.9)
    for metric in METRICS.values():
        assert metric.worth(1e300) > metric.worth(None) == metric.worth(float("nan"))
