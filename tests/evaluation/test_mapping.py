"""Mappings against their formulas and a general-purpose fit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from glintiqa_jax.evaluation.mapping import fit_line, fit_logistic4, line, logistic4
from glintiqa_jax.evaluation.metrics import plcc, rmse

any_values = arrays(np.float64, 12, elements=st.integers(-9, 9).map(float))

# Scores on a logistic curve, with a deviation that repeats on every machine.
PREDICTED = np.arange(40) / 4
DEVIATION = 0.3 * np.sin(37 * np.arange(40.0) ** 2)
TARGET4 = 1 + 4 / (1 + np.exp(-(PREDICTED - 4) / 1.2)) + DEVIATION


def mapped_plcc(predicted, target, fit=fit_logistic4):
    return plcc(fit(predicted, target)(predicted), target)


def mapped_rmse(predicted, target, fit=fit_logistic4):
    return rmse(fit(predicted, target)(predicted), target)


def test_formulas_as_published():
    x = np.linspace(-2, 3, 7)
    np.testing.assert_allclose(logistic4(x, 5, 1, 0.5, -0.7), (5 - 1) / (1 + np.exp(-(x - 0.5) / 0.7)) + 1)


def test_four_parameters_of_a_tool():
    # scipy 1.17.1: curve_fit of the published formula from (5, 1, 4, 1), with xtol = ftol = 1e-14
    found = fit_logistic4(PREDICTED, TARGET4)
    assert found.formula is logistic4
    assert found.parameters == pytest.approx((4.892182, 1.009662, 3.963748, 1.178277), abs=1e-5)
    assert mapped_rmse(PREDICTED, TARGET4) == pytest.approx(0.1918920770, abs=1e-9)
    assert mapped_plcc(PREDICTED, TARGET4) == pytest.approx(0.9906426773, abs=1e-9)


@pytest.mark.parametrize(("direction", "unit"), [(1, 1), (-1, 1), (1, 1e-6), (-1, 1e6)])
def test_a_curve_is_found_in_any_unit_and_direction(direction, unit):
    target = unit * (1 + 4 / (1 + np.exp(-(PREDICTED - 4.5) / 0.7)))
    predicted = direction * unit * PREDICTED + 3 * unit
    np.testing.assert_allclose(fit_logistic4(predicted, target)(predicted), target, atol=1e-4 * unit)


def test_a_part_of_a_curve_is_found():
    # An exponential is a logistic curve whose middle is far off.
    rng = np.random.default_rng(0)
    predicted = rng.normal(size=1000)
    target = np.exp(predicted) + 0.5 * rng.normal(size=1000)
    assert mapped_rmse(predicted, target) == pytest.approx(0.5, rel=0.05)
    assert mapped_rmse(predicted, target, fit=fit_line) > 1


def test_a_line_stays_a_line():
    found = fit_logistic4(PREDICTED, 2 * PREDICTED + 1)
    np.testing.assert_allclose(found(np.array([-1.0, 20.0])), [-1.0, 41.0], rtol=1e-2)


def test_fewer_images_than_parameters_get_a_line():
    predicted = np.arange(3.0)
    found = fit_logistic4(predicted, predicted**2)
    assert found == fit_line(predicted, predicted**2)
    assert found.formula is line
    assert found.parameters == pytest.approx(np.polyfit(predicted, predicted**2, 1))


@pytest.mark.parametrize("fit", [fit_line, fit_logistic4])
def test_constant_predictions_get_the_mean_score(fit):
    np.testing.assert_allclose(fit(np.full(6, 0.1), np.arange(6.0))(np.array([0.1, 7.0])), 2.5)


@given(any_values, any_values)
@settings(max_examples=50)
def test_no_fit_fails_or_is_worse_than_the_line(predicted, target):
    straight = rmse(fit_line(predicted, target)(predicted), target)
    assert mapped_rmse(predicted, target) <= straight


@given(any_values, any_values)
@settings(max_examples=30)
def test_four_parameters_are_monotone(predicted, target):
    steps = np.diff(fit_logistic4(predicted, target)(np.linspace(-12, 12, 200)))
    rounding = 1e-9 * (1 + np.abs(target).max())
    assert (steps >= -rounding).all() or (steps <= rounding).all()


@given(st.permutations(range(40)), st.floats(0.01, 100), st.floats(-50, 50))
@settings(max_examples=20)
def test_neither_order_nor_unit_of_predictions_matters(order, scale, shift):
    found = mapped_plcc(scale * PREDICTED[order] + shift, TARGET4[order])
    assert found == pytest.approx(mapped_plcc(PREDICTED, TARGET4), abs=1e-6)


def test_plcc_after_a_line_is_the_raw_one_without_its_sign():
    assert mapped_plcc(-PREDICTED, TARGET4, fit=fit_line) == pytest.approx(-plcc(-PREDICTED, TARGET4))


@pytest.mark.parametrize("fit", [fit_line, fit_logistic4])
def test_what_is_undefined_says_so(fit):
    with pytest.warns(UserWarning, match="6 predictions are all equal"):
        assert np.isnan(mapped_plcc(np.full(6, 0.1), np.arange(6.0), fit=fit))
    with pytest.warns(UserWarning, match="6 predictions are all equal"):
        assert np.isnan(mapped_plcc(np.arange(6.0), np.full(6, 0.1), fit=fit))
    with pytest.warns(UserWarning, match="6 predictions are all equal"):  # unrelated: the mapping is flat
        assert np.isnan(mapped_plcc(np.array([-1.0, 1, -1, 1, -1, 1]), np.array([0.0, 0, 1, 1, 2, 2]), fit=fit))
    with pytest.warns(UserWarning, match="there are no images"):
        assert np.isnan(mapped_rmse(np.array([]), np.array([]), fit=fit))
    with pytest.raises(ValueError, match="not finite"):
        mapped_plcc(np.array([1.0, np.nan]), np.arange(2.0), fit=fit)
