"""Intervals and tests: against SciPy, by hand, and on data whose answer is known."""

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from glintiqa_jax.evaluation.mapping import fit_line, fit_logistic4
from glintiqa_jax.evaluation.metrics import krocc, mae, outlier_ratio, plcc, rmse, srocc
from glintiqa_jax.evaluation.significance import bootstrap_interval, paired_bootstrap, residual_f_test

METRICS = [srocc, plcc, krocc, rmse, mae]
seeds = st.integers(0, 10_000)


def model(rng: np.random.Generator, images: int, error: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    """Predictions with Gaussian errors, and Gaussian scores."""
    target = rng.normal(size=images)
    return target + error * rng.normal(size=images), target


def width(interval) -> float:
    return interval.high - interval.low


def test_interval_of_a_tool():
    # scipy 1.17.1: stats.bootstrap of spearmanr, paired, percentile, 9,999 resamples of default_rng(0)
    predicted = np.arange(40) / 4
    target = 1 + 4 / (1 + np.exp(-(predicted - 4) / 1.2)) + 0.3 * np.sin(37 * np.arange(40.0) ** 2)
    found = bootstrap_interval(srocc, predicted, target, resamples=9999)
    assert (found.low, found.high) == pytest.approx((0.9228268, 0.9889130), abs=2e-3)  # another generator's draws, too
    assert found.estimate == pytest.approx(0.9727954972, abs=1e-9)


def test_interval_agrees_with_fisher():
    predicted, target = model(np.random.default_rng(0), 500)
    found = bootstrap_interval(plcc, predicted, target)
    fisher = np.tanh(np.arctanh(plcc(predicted, target)) + np.array([-1.96, 1.96]) / np.sqrt(500 - 3))
    np.testing.assert_allclose([found.low, found.high], fisher, atol=0.01)


def test_95_of_100_intervals_hold_the_truth():
    rng = np.random.default_rng(0)
    held = 0
    for seed in range(300):
        predicted, target = model(rng, 80)
        found = bootstrap_interval(rmse, predicted, target, resamples=200, seed=seed)
        held += found.low <= 0.5 <= found.high
    assert 0.90 <= held / 300 <= 0.98


@given(seeds, st.sampled_from(METRICS))
@settings(max_examples=25)
def test_interval_holds_the_estimate(seed, metric):
    predicted, target = model(np.random.default_rng(seed), 60)
    found = bootstrap_interval(metric, predicted, target, resamples=200, seed=seed)
    assert found.low <= found.estimate <= found.high
    assert found.estimate == metric(predicted, target)
    assert found == bootstrap_interval(metric, predicted, target, resamples=200, seed=seed)


def test_what_belongs_to_an_image_is_drawn_with_it():
    predicted, target = model(np.random.default_rng(0), 60)
    deviation = np.abs(predicted - target) / 2  # nobody is an outlier, unless drawn with another's deviation
    found = bootstrap_interval(outlier_ratio, predicted, target, deviation, resamples=100)
    assert (found.low, found.high) == (0, 0)


@pytest.mark.parametrize("fit", [fit_line, fit_logistic4])
def test_interval_of_a_mapped_metric(fit):
    predicted, target = model(np.random.default_rng(0), 60)
    found = bootstrap_interval(lambda p, t: plcc(fit(p, t)(p), t), predicted, target, resamples=50)
    assert 0.7 < found.low < found.high < 1


@given(seeds)
@settings(max_examples=10)
def test_intervals_of_correlated_groups_are_wider(seed):
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(30), 20)
    shared = 0.5 * rng.normal(size=30)[groups]  # how wrong a content is judged in all its versions
    target = rng.normal(size=600)
    predicted = target + shared + 0.1 * rng.normal(size=600)
    independent = bootstrap_interval(rmse, predicted, target, resamples=200)
    grouped = bootstrap_interval(rmse, predicted, target, groups=groups, resamples=200)
    assert width(grouped) > 1.5 * width(independent)


@given(seeds)
@settings(max_examples=10)
def test_grouped_intervals_depend_on_neither_order_nor_type_of_groups(seed):
    rng = np.random.default_rng(seed)
    predicted, target = model(rng, 60)
    groups = rng.integers(10, 30, 60)
    order = rng.permutation(60)
    named = np.array([f"content {group}" for group in groups[order]])
    found = bootstrap_interval(plcc, predicted, target, groups=groups, resamples=50)
    again = bootstrap_interval(plcc, predicted[order], target[order], groups=named, resamples=50)
    assert (again.low, again.high) == pytest.approx((found.low, found.high))


def test_groups_of_one_image_are_images():
    predicted, target = model(np.random.default_rng(0), 60)
    assert bootstrap_interval(plcc, predicted, target, groups=np.arange(60)) == bootstrap_interval(
        plcc, predicted, target
    )


def test_undefined_resamples_are_left_out():
    predicted, target = np.repeat([0.0, 1.0, 2.0], 4), np.repeat([0.0, 1.0, 4.0], 4)
    groups = np.repeat(np.arange(3), 4)
    found = bootstrap_interval(srocc, predicted, target, groups=groups, resamples=2000)
    assert (found.low, found.high, found.estimate) == pytest.approx((1, 1, 1))


@pytest.mark.parametrize("groups", [None, np.arange(9)])
def test_few_images_have_no_interval(groups):
    predicted, target = np.arange(9.0), np.arange(9.0) ** 2
    with pytest.warns(UserWarning, match="interval is undefined"):
        found = bootstrap_interval(srocc, predicted, target, groups=groups, resamples=20)
    assert np.isnan([found.low, found.high]).all()
    assert found.estimate == 1
    with pytest.warns(UserWarning, match="interval is undefined"):
        assert np.isnan(paired_bootstrap(plcc, predicted, -predicted, target, groups=groups, resamples=20).p_value)


@pytest.mark.parametrize("unit", [1e30, 1e-30])
def test_an_f_test_knows_no_unit(unit):
    rng = np.random.default_rng(0)
    target = rng.normal(size=40)
    first, second = target + rng.normal(size=40) / 5, target + rng.normal(size=40)
    expected = residual_f_test(first, second, target)
    for found in (residual_f_test(first * unit, second, target), residual_f_test(first, second, target * unit)):
        assert found.better == expected.better == "first"
        assert found.ratio == pytest.approx(expected.ratio, rel=1e-3)


def test_an_undefined_figure_has_an_undefined_interval():
    with pytest.warns(UserWarning, match="5 predictions are all equal"):
        found = bootstrap_interval(srocc, np.ones(5), np.arange(5.0), resamples=20)
    assert np.isnan([found.low, found.high, found.estimate]).all()
    with pytest.warns(UserWarning, match="5 predictions are all equal"):
        assert np.isnan(paired_bootstrap(srocc, np.ones(5), np.arange(5.0), np.arange(5.0), resamples=20).p_value)


def test_one_content_has_no_interval():
    predicted, target = model(np.random.default_rng(0), 10)
    with pytest.warns(UserWarning, match="interval is undefined"):
        found = bootstrap_interval(rmse, predicted, target, groups=np.zeros(10), resamples=20)
    assert np.isnan([found.low, found.high]).all()
    assert found.estimate == rmse(predicted, target)
    with pytest.warns(UserWarning, match="interval is undefined"):
        bootstrap_interval(rmse, predicted[:1], target[:1], resamples=20)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match=r"of 3 images, found shape \(2,\)"):
        bootstrap_interval(rmse, np.arange(3.0), np.arange(3.0), groups=np.arange(2))
    with pytest.raises(ValueError, match=r"\(2,\) and \(3,\)"):
        paired_bootstrap(rmse, np.arange(3.0), np.arange(2.0), np.arange(3.0))
    with pytest.raises(ValueError, match="not finite"):
        residual_f_test(np.array([0.0, np.nan]), np.arange(2.0), np.arange(2.0))


@given(seeds, st.sampled_from(METRICS))
@settings(max_examples=10)
def test_a_model_does_not_differ_from_itself(seed, metric):
    predicted, target = model(np.random.default_rng(seed), 40)
    found = paired_bootstrap(metric, predicted, predicted, target, resamples=50)
    assert (found.estimate, found.low, found.high, found.p_value) == (0, 0, 0, 1)
    test = residual_f_test(predicted, predicted, target)
    assert (test.ratio, test.better) == (1, None)


@given(seeds)
@settings(max_examples=10)
def test_comparisons_know_no_first_model(seed):
    rng = np.random.default_rng(seed)
    first, target = model(rng, 60)
    second = target + 0.7 * rng.normal(size=60)
    one = paired_bootstrap(plcc, first, second, target, resamples=100)
    other = paired_bootstrap(plcc, second, first, target, resamples=100)
    assert (one.estimate, one.low, one.high) == pytest.approx((-other.estimate, -other.high, -other.low))
    assert one.p_value == other.p_value
    one, other = residual_f_test(first, second, target), residual_f_test(second, first, target)
    assert (one.ratio, one.p_value) == (other.ratio, other.p_value)
    assert {"first": "second", "second": "first", None: None}[one.better] == other.better


def test_a_clear_difference_is_found():
    rng = np.random.default_rng(0)
    first, target = model(rng, 300, 0.3)
    second = target + 0.6 * rng.normal(size=300)
    found = paired_bootstrap(srocc, first, second, target, resamples=500)
    assert 0 < found.low < found.estimate < found.high
    assert found.p_value == pytest.approx(2 / 501)
    assert residual_f_test(first, second, target).better == "first"
    assert residual_f_test(second, first, target).better == "second"


def test_equal_models_seldom_differ():
    rng = np.random.default_rng(0)
    p_values, better = [], []
    for seed in range(200):
        first, target = model(rng, 80)
        second = target + 0.5 * rng.normal(size=80)
        p_values.append(paired_bootstrap(rmse, first, second, target, resamples=200, seed=seed).p_value)
        better.append(residual_f_test(first, second, target).better)
    assert np.mean(np.array(p_values) < 0.05) <= 0.1
    assert np.mean(p_values) == pytest.approx(0.5, abs=0.07)
    # Twice the significance, as the larger variance is the one tested.
    assert np.mean([each is not None for each in better]) == pytest.approx(0.1, abs=0.05)


@given(seeds)
@settings(max_examples=20)
def test_f_test_by_hand(seed):
    rng = np.random.default_rng(seed)
    first, target = model(rng, 50)
    second = target + rng.uniform(0.3, 0.8) * rng.normal(size=50)
    residuals = [fit_logistic4(predicted, target)(predicted) - target for predicted in (first, second)]
    parameters = [len(fit_logistic4(predicted, target).parameters) for predicted in (first, second)]
    variances = [np.sum(each**2) / (50 - count) for each, count in zip(residuals, parameters, strict=True)]
    larger, smaller = np.argsort(variances)[::-1]
    found = residual_f_test(first, second, target)
    assert found.ratio == pytest.approx(max(variances) / min(variances))
    p_value = 1 - scipy.stats.f.cdf(found.ratio, 50 - parameters[larger], 50 - parameters[smaller])
    assert found.p_value == pytest.approx(p_value, abs=1e-9)
    assert (found.better is not None) == (p_value < 0.05)


def test_f_test_counts_the_parameters_of_each_mapping():
    rng = np.random.default_rng(0)
    good, target = model(rng, 50)
    found = residual_f_test(good, np.ones(50), target)  # the latter gets a line, of two parameters
    assert found.p_value == pytest.approx(scipy.stats.f.sf(found.ratio, 48, 46))
    assert found.better == "first"


@pytest.mark.parametrize(
    ("predicted", "target", "why"),
    [
        (np.arange(9.0), np.full(9, 0.1), "the scores are all equal"),
        (np.arange(2.0), np.arange(2.0), "no more images than parameters"),
        (np.arange(9.0), 2 * np.arange(9.0), "neither mapping leaves residuals"),
    ],
)
def test_an_f_test_without_residuals_is_undefined(predicted, target, why):
    with pytest.warns(UserWarning, match=why):
        found = residual_f_test(predicted, predicted + 1, target)
    assert np.isnan([found.ratio, found.p_value]).all()
    assert found.better is None
