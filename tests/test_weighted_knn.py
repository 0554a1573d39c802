"""Weighted neighbours against the weights' definition and sums written out; bias, error, equivariance."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, special

from infoplane import KNN, entropy
from infoplane.estimators.nearest_balls import normal_bias
from infoplane.estimators.weighted_knn import WeightedKNN, neighbor_weights
from infoplane.sample import Sample
from tests import naive

seeds = st.integers(0, 2**32 - 1)
HALF_LOG = 0.5 * math.log(2 * math.pi * math.e)


def slow_weights(k, d, terms):
    """Minimise the variance of Σ w_j log E_j, E_j a sum of j exponential variables, under the constraints."""
    rows = [[math.gamma(j + 2 * t / d) / math.gamma(j) for j in range(1, k + 1)] for t in range(terms + 1)]
    covariance = [[special.polygamma(1, max(i, j)) for j in range(1, k + 1)] for i in range(1, k + 1)]
    system = np.zeros((k + terms + 1, k + terms + 1))
    system[:k, :k], system[k:, :k], system[:k, k:] = covariance, rows, np.transpose(rows)
    return np.linalg.solve(system, np.r_[np.zeros(k), 1.0, np.zeros(terms)])[:k]


@pytest.mark.parametrize(("k", "d", "terms"), [(1, 3, 0), (5, 2, 1), (10, 4, 1), (20, 5, 2), (12, 9, 3)])
def test_the_weights_equal_the_slow_ones(k, d, terms):
    np.testing.assert_allclose(neighbor_weights(k, d, terms), slow_weights(k, d, terms), rtol=1e-6, atol=1e-8)


def test_no_other_weights_under_the_constraints_have_less_variance():
    k, d = 15, 4
    rows = np.array([[math.gamma(j + 2 * t / d) / math.gamma(j) for j in range(1, k + 1)] for t in (0, 1)])
    masses = np.cumsum(np.random.default_rng(0).exponential(size=(100_000, k)), axis=1)
    covariance = np.cov(np.log(masses).T)  # known to 1/√(100 000) = 0.3 %
    found = optimize.minimize(
        lambda w: w @ covariance @ w, np.full(k, 1 / k), method="SLSQP",
        constraints={"type": "eq", "fun": lambda w: rows @ w - [1, 0]},
    )  # fmt: skip
    weights = neighbor_weights(k, d, 1)
    np.testing.assert_allclose(rows @ weights, [1, 0], atol=1e-9)
    assert weights @ covariance @ weights == pytest.approx(found.fun, rel=0.02)


@pytest.mark.parametrize(("d", "k", "terms"), [(1, 4, 1), (3, 6, 1), (5, 8, 2)])
@pytest.mark.parametrize("calibrate", [False, True])
def test_the_entropy_equals_the_slow_one(d, k, terms, calibrate):
    x = np.random.default_rng(d).gamma(2.0, size=(60, d)) @ (np.eye(d) + 0.3)
    expected = 0.0
    for j, weight in enumerate(slow_weights(k, d, terms), start=1):
        bias = normal_bias(60, d, j) if calibrate else 0.0
        expected += weight * (naive.knn_entropy(x, j) - bias)
    found = entropy(x, method=WeightedKNN(k=k, terms=terms, calibrate=calibrate))
    assert found == pytest.approx(expected, abs=1e-7)


def test_without_terms_and_with_one_neighbour_it_is_the_plain_estimate():
    x = np.random.default_rng(1).standard_normal((200, 3))
    assert entropy(x, method=WeightedKNN(k=1, terms=0)) == pytest.approx(float(entropy(x, method=KNN(k=1))))


def test_a_second_term_is_cancelled_only_where_its_noise_is_small():
    rng = np.random.default_rng(2)
    for n, d, terms in ((200, 5, 1), (1000, 5, 2), (1000, 20, 1)):
        x = rng.standard_normal((n, d))
        k = min(max(n // 25, 10), 40)
        chosen = entropy(x, method=WeightedKNN())
        assert chosen == entropy(x, method=WeightedKNN(k=k, terms=terms))
        assert chosen.standard_error < 0.05 * d


@pytest.mark.parametrize(("n", "d"), [(400, 2), (500, 4), (1000, 5)])
def test_gaussian_data_are_measured_without_bias_and_with_the_stated_error(n, d):
    """40 repeats: 4 errors of the mean; a standard deviation to 11 %: 0.65 to 1.6 is 3.5 of these."""
    rng = np.random.default_rng(3)
    fits = [WeightedKNN().entropy(Sample.of(rng.standard_normal((n, d)))) for _ in range(40)]
    errors = np.array([fit.value for fit in fits]) - d * HALF_LOG
    assert abs(errors.mean()) < 4 * errors.std() / math.sqrt(40)
    assert 0.65 < np.mean([fit.standard_error for fit in fits]) / errors.std() < 1.6
    assert abs(fits[0].influence.mean()) < 1e-12


@pytest.mark.parametrize("family", ["uniform", "lognormal"])
def test_the_bias_is_less_than_half_that_of_plain_neighbours(family):
    """At n = 1000, d = 5 those are off by 0.5 nats, 10 errors of a single run."""
    rng, h = np.random.default_rng(4), {"uniform": 0.0, "lognormal": 5 * HALF_LOG}[family]
    x = [getattr(rng, family)(size=(1000, 5)) for _ in range(6)]
    plain, weighted = (np.mean([entropy(a, method=m) for a in x]) - h for m in (KNN(k=3), WeightedKNN()))
    assert plain > 0.35
    assert abs(weighted) < 0.6 * plain


@settings(max_examples=15)
@given(seed=seeds, d=st.integers(1, 4))
def test_linear_maps_and_the_order_of_rows(seed, d):
    rng = np.random.default_rng(seed)
    x = rng.standard_t(4, size=(90, d))
    a = rng.standard_normal((d, d)) + 2 * np.eye(d)
    if np.linalg.cond(a) > 50:
        a = np.linalg.qr(a)[0]
    order = rng.permutation(90)
    one, other = WeightedKNN().entropy(Sample.of(x)), WeightedKNN().entropy(Sample.of((x @ a.T + 3)[order]))
    assert other.value == pytest.approx(one.value + np.linalg.slogdet(a)[1], abs=1e-6)
    assert other.standard_error == pytest.approx(one.standard_error, rel=1e-6)
    np.testing.assert_allclose(other.influence, one.influence[order], atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("family", "d"), [("normal", 2), ("normal", 4), ("laplace", 2), ("gamma", 2)])
def test_intervals_cover_the_truth(family, d):
    """Nominal 95 % over 200 repeats at n = 1000, binomial error 1.5 %: 4 errors, and 2 % for the bias."""
    rng = np.random.default_rng(5)
    h, draw = {
        "normal": (HALF_LOG, rng.standard_normal),
        "laplace": (1 + math.log(2), lambda size: rng.laplace(size=size)),
        "gamma": (1.5772156649015329, lambda size: rng.gamma(2.0, size=size)),
    }[family]
    inside = 0
    for _ in range(200):
        low, high = entropy(draw(size=(1000, d)), method=WeightedKNN()).interval()
        inside += low <= d * h <= high
    assert inside / 200 > 0.87, inside / 200


def test_bad_options_and_samples_are_refused():
    for options, message in (
        ({"k": 0}, "`k` must be an integer of at least 1, got 0"),
        ({"terms": -1}, "`terms` must be an integer of at least 0, got -1"),
        ({"k": 2, "terms": 2}, "`k` must exceed `terms`, got k = 2 and terms = 2"),
    ):
        with pytest.raises(ValueError, match=message):
            WeightedKNN(**options)
    x = np.random.default_rng(6).standard_normal((30, 2))
    with pytest.raises(ValueError, match="at least 42 rows"):
        entropy(x, method=WeightedKNN(k=40))
    with pytest.raises(ValueError, match="measures entropy only"):
        WeightedKNN().score(Sample.of(x), None)
