"""Neighbours calibrated on a mixture: the bootstrap written out, bias beside plain weights, error, laws."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infoplane import WeightedKNN, entropy
from infoplane.estimators.best_entropy import BestEntropy
from infoplane.estimators.mixture import Mixture, MixtureScore
from infoplane.estimators.mixture_neighbors import MixtureCalibratedKNN
from infoplane.sample import Sample

seeds = st.integers(0, 2**32 - 1)
DISTANT = 7.0
CLUSTERS = math.log(3)


def clusters(rng, n, d):
    """Three normal clusters so far apart that H = log 3 + the mean of theirs, with sizes ½, 1 and 0.3."""
    label = rng.integers(3, size=n)
    center = DISTANT * np.eye(3, d)
    return center[label] + rng.standard_normal((n, d)) * np.array([0.5, 1.0, 0.3])[label, None]


def entropy_of_clusters(d):
    return CLUSTERS + 0.5 * d * math.log(2 * math.pi * math.e) + d * np.log([0.5, 1.0, 0.3]).mean()


def test_rows_of_a_mixture_have_its_moments_and_its_log_density():
    """20,000 rows: 4 standard errors of each mean and second moment, and of the mean surprise."""
    roots = np.array([[[1.0, 0.0], [0.5, 2.0]], [[0.7, 0.0], [-0.3, 1.0]]])
    mixture = Mixture(np.log([0.3, 0.7]), np.array([[0.0, 3.0], [-2.0, 0.0]]), roots, background=1e-4)
    n = 20_000
    rows = mixture.sample(n, np.random.default_rng(0))
    weights = np.exp(mixture.log_weights)
    mean = weights @ mixture.means
    second = sum(
        w * (np.linalg.inv(root @ root.T) + np.outer(m, m))
        for w, m, root in zip(weights, mixture.means, roots, strict=True)
    )
    np.testing.assert_allclose(rows.mean(0), mean, atol=4 * rows.std(0).max() / math.sqrt(n))
    products = rows[:, :, None] * rows[:, None, :]
    np.testing.assert_allclose(products.mean(0), second, atol=4 * products.std(0).max() / math.sqrt(n))
    again = mixture.sample(n, np.random.default_rng(1))
    surprise = [-mixture.log_density(a) for a in (rows, again)]
    assert abs(surprise[0].mean() - surprise[1].mean()) < 4 * surprise[0].std() * math.sqrt(2 / n)


def test_the_background_of_a_mixture_is_drawn_too():
    mixture = Mixture(np.zeros(1), np.full((1, 2), 50.0), np.eye(2)[None], background=0.25)
    rows = mixture.sample(4000, np.random.default_rng(0))
    share = (np.linalg.norm(rows, axis=1) < 25).mean()
    assert abs(share - 0.25) < 4 * math.sqrt(0.25 * 0.75 / 4000)


def test_it_is_the_bootstrap_written_out():
    x = clusters(np.random.default_rng(0), 500, 4)
    sample = Sample.of(x)
    rng = np.random.default_rng(5)
    rows = sample.whitened[sample.radial_order]
    sums = rng.standard_normal((4, 500)) @ rows
    axes = np.linalg.solve(np.linalg.cholesky(sums @ sums.T), sums).T  # Gram–Schmidt
    np.testing.assert_allclose(axes.T @ axes, np.eye(4), atol=1e-10)
    mixture = MixtureScore().fit(rng.permutation(rows @ axes), rng)
    assert len(mixture.means) == 3
    biases = []
    for _ in range(3):
        drawn = mixture.sample(500, rng)
        biases.append(float(entropy(drawn, method=WeightedKNN())) + mixture.log_density(drawn).mean())
    expected = float(entropy(x, method=WeightedKNN())) - np.mean(biases)
    assert entropy(x, method=MixtureCalibratedKNN(draws=3, seed=5)) == pytest.approx(expected, abs=1e-7)


def test_of_one_normal_it_is_the_estimate_of_weighted_neighbours():
    x = np.random.default_rng(1).standard_normal((600, 4))
    plain, calibrated = (entropy(x, method=m) for m in (WeightedKNN(), MixtureCalibratedKNN()))
    assert calibrated == plain
    assert calibrated.standard_error == plain.standard_error


@given(seeds)
@settings(max_examples=5)
def test_affine_maps_and_the_order_of_rows_change_nothing_else(seed):
    """To 1e-6: rounding in the fit of the mixture, less than a ten-thousandth of the standard error."""
    rng = np.random.default_rng(seed)
    x, a = clusters(rng, 400, 4), rng.standard_normal((4, 4)) + 2 * np.eye(4)
    value = float(entropy(x, method=MixtureCalibratedKNN()))
    mapped = entropy(rng.permutation(x) @ a.T - 7, method=MixtureCalibratedKNN())
    assert mapped == pytest.approx(value + np.linalg.slogdet(a)[1], abs=1e-6)


def test_clusters_are_measured_without_the_bias_of_weighted_neighbours():
    """12 samples: the mean error within 4 of its standard errors, that of plain weights beyond."""
    rng = np.random.default_rng(3)
    truth = entropy_of_clusters(5)
    samples = [clusters(rng, 2500, 5) for _ in range(12)]
    errors = {
        method: np.array([entropy(x, method=method) - truth for x in samples])
        for method in (WeightedKNN(), MixtureCalibratedKNN())
    }
    plain, calibrated = errors.values()
    assert abs(calibrated.mean()) < 4 * calibrated.std(ddof=1) / math.sqrt(12)
    assert plain.mean() < -4 * plain.std(ddof=1) / math.sqrt(12)


@pytest.mark.slow
def test_the_standard_error_is_the_spread_over_samples():
    """60 repeats give a standard deviation to 9 %; 0.7 to 1.4 is 3.5 of these."""
    rng = np.random.default_rng(4)
    fits = [MixtureCalibratedKNN().entropy(Sample.of(clusters(rng, 2500, 5))) for _ in range(60)]
    spread = np.std([fit.value for fit in fits], ddof=1)
    assert 0.7 < np.mean([fit.standard_error for fit in fits]) / spread < 1.4


def test_entropy_takes_it_where_rows_suffice():
    few, many = (Sample.of(np.random.default_rng(5).standard_normal((n, 4))) for n in (1599, 1600))
    assert BestEntropy().candidates(few)[0] == WeightedKNN()
    assert BestEntropy().candidates(many)[0] == MixtureCalibratedKNN()


def test_no_draw_at_all_is_an_error():
    with pytest.raises(ValueError, match="`draws` must be at least 1, got 0"):
        MixtureCalibratedKNN(draws=0)
