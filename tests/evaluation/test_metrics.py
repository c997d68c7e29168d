"""Metrics against their definitions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from glintiqa_jax.evaluation.metrics import all_metrics, krocc, mae, outlier_ratio, plcc, rmse, srocc

few_values = arrays(np.float64, 12, elements=st.integers(0, 6).map(float)).filter(lambda a: np.ptp(a) > 0)


def ranks(values: np.ndarray) -> np.ndarray:
    """Mean rank of each value, by counting."""
    return np.array([(values < v).sum() + ((values == v).sum() + 1) / 2 for v in values])


def pearson(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a - a.mean(), b - b.mean()
    return (a @ b) / np.sqrt((a @ a) * (b @ b))


@given(few_values, few_values)
def test_correlations_by_definition_with_ties(predicted, target):
    assert plcc(predicted, target) == pytest.approx(pearson(predicted, target), abs=1e-9)
    assert srocc(predicted, target) == pytest.approx(pearson(ranks(predicted), ranks(target)), abs=1e-9)
    signs = [np.sign(np.subtract.outer(values, values))[np.triu_indices(12, 1)] for values in (predicted, target)]
    tau_b = (signs[0] @ signs[1]) / np.sqrt((signs[0] @ signs[0]) * (signs[1] @ signs[1]))
    assert krocc(predicted, target) == pytest.approx(tau_b, abs=1e-9)


@given(few_values)
def test_order_is_all_that_rank_correlations_see(target):
    assert srocc(np.exp(target), target) == pytest.approx(1)
    assert krocc(-(target**3), target) == pytest.approx(-1)


def test_rmse_has_the_unit_of_the_scores():
    assert rmse(np.array([1.0, 2.0]), np.array([4.0, 6.0])) == pytest.approx(np.sqrt(12.5))


def test_mae_has_the_unit_of_the_scores():
    assert mae(np.array([1.0, 2.0, 3.0]), np.array([4.0, 0.0, 3.0])) == pytest.approx(5 / 3)


def test_outliers_err_by_more_than_two_deviations_of_their_own_score():
    errors, deviations = np.array([1.0, -1.0, 0.9, 0.0, -3.0]), np.array([0.5, 0.4, 0.4, 0.0, 2.0])
    target = np.zeros(5)
    assert outlier_ratio(errors, target, deviations) == pytest.approx(2 / 5)
    assert outlier_ratio(errors, target, np.full(5, 10.0)) == 0


def test_outlier_ratio_refuses_deviations_that_are_none():
    with pytest.raises(ValueError, match="1 standard deviations of scores are negative"):
        outlier_ratio(np.zeros(2), np.zeros(2), np.array([1.0, -1.0]))
    with pytest.raises(ValueError, match="1 of 2 images have values that are not finite"):
        outlier_ratio(np.zeros(2), np.zeros(2), np.array([1.0, np.nan]))


@given(few_values, few_values, st.permutations(range(12)))
def test_the_order_of_images_does_not_matter(predicted, target, order):
    for metric in (srocc, plcc, krocc, rmse, mae):
        assert metric(predicted[order], target[order]) == pytest.approx(metric(predicted, target), abs=1e-9)


def test_correlations_of_a_tool():
    # scipy 1.17.1: spearmanr, pearsonr, kendalltau
    predicted, target = np.array([2.1, 3.4, 1.0, 4.8, 3.4, 2.7]), np.array([2.0, 3.0, 1.5, 4.5, 4.0, 3.0])
    assert srocc(predicted, target) == pytest.approx(0.9558823529, abs=1e-9)
    assert plcc(predicted, target) == pytest.approx(0.9473309334, abs=1e-9)
    assert krocc(predicted, target) == pytest.approx(0.9285714286, abs=1e-9)


@pytest.mark.parametrize("metric", [srocc, plcc, krocc])
def test_constant_predictions_are_undefined_and_say_so(metric):
    with pytest.warns(UserWarning, match="3 predictions are all equal"):
        assert np.isnan(metric(np.ones(3), np.arange(3.0)))
    with pytest.warns(UserWarning, match="3 scores are all equal"):
        assert np.isnan(metric(np.arange(3.0), np.ones(3)))


def test_shapes_that_would_broadcast_are_refused():
    with pytest.raises(ValueError, match=r"\(3,\) and \(3, 1\)"):
        srocc(np.arange(3), np.arange(3)[:, None])


@pytest.mark.parametrize("metric", [srocc, plcc, krocc, rmse, mae])
def test_values_that_are_not_finite_are_refused(metric):
    with pytest.raises(ValueError, match="2 of 3 images have values that are not finite"):
        metric(np.array([1.0, np.nan, 2.0]), np.array([1.0, 2.0, np.inf]))


@pytest.mark.parametrize("metric", [rmse, mae])
def test_no_images_have_no_error(metric):
    with pytest.warns(UserWarning, match="there are no images"):
        assert np.isnan(metric(np.array([]), np.array([])))


def test_all_metrics_count_the_images():
    predicted, target = np.array([1.0, 2.0, 4.0]), np.array([1.0, 2.0, 3.0])
    found = all_metrics(predicted, target)
    assert list(found) == ["srocc", "plcc", "krocc", "rmse", "mae", "plcc_mapped", "rmse_mapped", "images"]
    assert found["images"] == 3
    assert "outlier_ratio" in all_metrics(predicted, target, np.ones(3))


@given(
    st.lists(st.floats(-1e3, 1e3).map(lambda x: round(x, 3)), min_size=3, max_size=12, unique=True),
    st.integers(-100, 100),
)
def test_units_of_a_power_of_two_change_nothing(values, power):
    """As large or small as single precision has them."""
    predicted, target = np.asarray(values), np.arange(len(values), dtype=float)
    scaled = np.ldexp(predicted, power)
    assert srocc(scaled, target) == srocc(predicted, target)
    assert krocc(scaled, target) == krocc(predicted, target)
    assert plcc(scaled, target) == pytest.approx(plcc(predicted, target), abs=1e-12)
    assert rmse(scaled, scaled[::-1]) == pytest.approx(np.ldexp(rmse(predicted, predicted[::-1]), power), rel=1e-12)
