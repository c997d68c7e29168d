"""Metrics against their definitions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from glintiqa_jax.evaluation.metrics import all_metrics, krocc, logistic_mapping, plcc, rmse, srocc

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


@pytest.mark.parametrize("metric", [srocc, plcc, krocc])
def test_constant_predictions_are_undefined_and_say_so(metric):
    with pytest.warns(UserWarning, match="3 predictions are all equal"):
        assert np.isnan(metric(np.ones(3), np.arange(3.0)))
    with pytest.warns(UserWarning, match="3 scores are all equal"):
        assert np.isnan(metric(np.arange(3.0), np.ones(3)))


def test_shapes_that_would_broadcast_are_refused():
    with pytest.raises(ValueError, match=r"\(3,\) and \(3, 1\)"):
        srocc(np.arange(3), np.arange(3)[:, None])


def test_all_metrics_count_the_images():
    found = all_metrics(np.array([1.0, 2.0, 4.0]), np.array([1.0, 2.0, 3.0]))
    assert list(found) == ["srocc", "plcc", "krocc", "rmse", "images"]
    assert found["images"] == 3


def test_logistic_mapping_finds_the_curve():
    predicted = np.linspace(-3, 3, 60)
    target = 1 + 4 / (1 + np.exp(-(predicted - 0.5) / 0.7))
    np.testing.assert_allclose(logistic_mapping(predicted, target)(predicted), target, atol=1e-3)


def test_logistic_mapping_of_a_few_images_is_a_line():
    mapping = logistic_mapping(np.array([1.0, 2.0]), np.array([3.0, 5.0]))
    np.testing.assert_allclose(mapping(np.array([0.0, 3.0])), [1.0, 7.0])
