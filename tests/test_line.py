"""What one variable shares: one sort, moments without arrays, and influences in the order of its values."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infoplane import LogSpline, Spacing, entropy, fisher_shannon, score
from infoplane.errors import DegenerateSampleError
from infoplane.estimators import logspline
from infoplane.estimators.base import covariance
from infoplane.estimators.robust_units import compress, expand
from infoplane.estimators.spacing import spacing_terms
from infoplane.kernels.exp import log
from infoplane.kernels.jit import kernel
from infoplane.kernels.moments import central_moments, count_close
from infoplane.kernels.spacings import gaps_beyond, log_spacings, moments_of_log_spacings
from infoplane.mass import Mass
from infoplane.sample import Sample
from infoplane.ties import well_apart
from infoplane.whitening import Whitening

seeds = st.integers(0, 2**32 - 1)


# --- Kernels ----------------------------------------------------------------------------------------------


@kernel
def _logs(x, out):
    for i in range(x.size):
        out[i] = log(x[i])


def test_the_logarithm_is_right_to_four_units_in_the_last_place_of_every_float():
    rng = np.random.default_rng(0)
    edges = [5e-324, 2.0**-1022, np.sqrt(0.5), np.sqrt(2), 1.0, np.finfo(float).max]
    x = np.r_[10 ** rng.uniform(-323, 308, 50_000), 1 + 1e-3 * rng.standard_normal(50_000), edges]
    out = np.empty_like(x)
    _logs(x, out)
    expected = np.log(x)
    assert np.all(np.abs(out - expected) <= 4 * np.spacing(np.abs(expected)))


@settings(max_examples=30)
@given(seed=seeds, n=st.integers(3, 4000), order=st.integers(1, 60))
def test_moments_of_log_spacings_are_those_of_the_logarithms(seed, n, order):
    ordered = np.sort(np.random.default_rng(seed).standard_cauchy(n))
    order = min(order, n - 1)
    expected, found = np.log(ordered[order:] - ordered[:-order]), np.empty(n - order)
    log_spacings(ordered, order, 0.25, found)
    np.testing.assert_allclose(found, expected + 0.25, rtol=1e-14, atol=1e-14)
    mean, squares = moments_of_log_spacings(ordered, order)
    assert mean == pytest.approx(expected.mean(), rel=1e-12, abs=1e-12)
    assert squares == pytest.approx(np.square(expected - expected.mean()).sum(), rel=1e-10, abs=1e-20)


@settings(max_examples=30)
@given(
    seed=seeds, n=st.integers(2, 5000), offset=st.sampled_from([0.0, 1.0, -1e6, 1e15]), weighted=st.booleans()
)
def test_central_moments_keep_their_digits_beside_a_large_offset(seed, n, offset, weighted):
    rng = np.random.default_rng(seed)
    x = offset + rng.standard_normal(n)
    share = rng.dirichlet(np.full(n, 3.0)) if weighted else np.full(n, 1 / n)
    mean, first, second = central_moments(x, share if weighted else None)
    # From the first number on, every difference is exact.
    apart = x - x[0]
    assert x[0] - mean == pytest.approx(first - share @ apart, abs=1e-12)
    variance = share @ np.square(apart - share @ apart)
    assert second - first**2 == pytest.approx(variance, rel=1e-11)


@given(seed=seeds, n=st.integers(3, 60), order=st.integers(1, 12), shift=st.floats(-3, 3))
def test_gaps_beyond_are_those_that_exceed_the_spacing_on_their_inner_side(seed, n, order, shift):
    x = np.sort(np.random.default_rng(seed).standard_cauchy(n) + shift)
    found = gaps_beyond(x, order, 2.0)
    for i in range(n - 1):
        inner = math.nan
        if i >= order and x[i - order] >= 0:
            inner = x[i] - x[i - order]
        elif i + 1 + order < n and x[i + 1 + order] < 0:
            inner = x[i + 1 + order] - x[i + 1]
        assert found[i] == (math.isnan(inner) or x[i + 1] - x[i] > 2 * inner), i


def test_close_neighbors_are_counted():
    assert count_close(np.array([0.0, 1.0, 1.0, 3.0, 4.0]), 1.0) == 3
    assert count_close(np.array([0.0, 1.0]), 0.5) == 0


# --- The shared sort --------------------------------------------------------------------------------------


@given(seed=seeds, log_scale=st.floats(-600, 600), offset=st.sampled_from([0.0, 30.0, -1e9]))
@settings(max_examples=30)
def test_the_whitening_of_one_variable_is_increasing_and_exact(seed, log_scale, offset):
    x = math.exp(log_scale) * (offset + np.random.default_rng(seed).standard_normal(300))
    sample = Sample.of(x)
    z = sample.whitened[:, 0]
    np.testing.assert_array_equal(sample.whitening(sample.ordered[:, None])[:, 0], np.sort(z))
    np.testing.assert_array_equal(np.argsort(z), sample.order)
    assert abs(z.mean()) < 1e-13
    assert z.var(ddof=1) == pytest.approx(1, rel=1e-12)
    # Differences from a number of the sample are exact.
    apart = (x - x[0]) / math.exp(log_scale)
    assert sample.log_volume == pytest.approx(log_scale + math.log(apart.std(ddof=1)), rel=1e-12, abs=1e-12)


def test_one_variable_and_several_are_whitened_alike():
    rng = np.random.default_rng(1)
    x, weights = 7 + rng.standard_normal((400, 2)), rng.uniform(0.5, 2, 400)
    for mass in (Mass.equal(400), Mass.of_weights(weights)):
        one, two = Whitening.of(x[:, :1], mass), Whitening.of(x, mass)
        assert one.center[0] == pytest.approx(two.center[0], rel=1e-14)
        assert one.spread[0] == pytest.approx(two.spread[0] * 2.0 ** two.exponent[0], rel=1e-13)


def test_masses_that_are_alike_are_those_of_equal_weights():
    alike, weighted = Mass.equal(7), Mass.of_weights(np.ones(7))
    for name in ("share", "unit", "equal_units", "has_repeats", "alike", "effective_n", "observations"):
        np.testing.assert_array_equal(getattr(alike, name), getattr(weighted, name), err_msg=name)
    rows = np.array([1, 4, 5])
    np.testing.assert_allclose(alike.part(rows).share, weighted.part(rows).share, rtol=1e-15)


@pytest.mark.parametrize(
    ("gap", "apart", "resolved"), [(1e-5, True, True), (1e-8, False, True), (1e-10, False, False)]
)
def test_values_that_centring_might_join_are_looked_at_one_by_one(gap, apart, resolved):
    """About a mean of 2e7 the last place is 4e-9; beside an extent of 1e9 it might have been 1e-7."""
    x = np.r_[1e9, np.random.default_rng(2).standard_normal(40), 3.0, 3.0 + gap]
    assert well_apart(np.sort(x)) == apart
    if resolved:
        entropy(x)
    else:
        with pytest.raises(DegenerateSampleError, match="1 rows coincide once it is centred"):
            entropy(x)


def test_what_a_method_derives_from_a_sample_is_derived_once(monkeypatch):
    made = []
    mixture = logspline._Mixture
    monkeypatch.setattr(logspline, "_Mixture", lambda *arguments: made.append(1) or mixture(*arguments))
    x = np.random.default_rng(3).standard_normal(300)
    fisher_shannon(x, method="logspline")
    assert len(made) == 1
    sample = Sample.of(x)
    LogSpline().entropy(sample), LogSpline(knots=20).entropy(sample), LogSpline().fisher(sample)
    assert len(made) == 3


# --- Estimates --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [20, 500, 5000])
def test_the_entropy_and_its_error_are_the_moments_of_the_terms(n):
    x = np.random.default_rng(n).standard_t(3, n)
    fit, (terms, noise, variance) = Spacing().entropy(Sample.of(x)), spacing_terms(x)
    assert fit.value == pytest.approx(terms.mean(), abs=1e-13)
    error = math.sqrt((max(terms.var(ddof=1) - noise, 0) + variance) / n)
    assert fit.standard_error == pytest.approx(error, rel=1e-11)
    np.testing.assert_allclose(fit.influence, terms - fit.value, atol=1e-12)


@pytest.mark.parametrize("power", [-1000, -950, 950, 1020])
def test_exact_powers_of_two_move_the_entropy_by_their_logarithm(power):
    x = np.random.default_rng(9).standard_normal(500)
    one, other = Spacing().entropy(Sample.of(x)), Spacing().entropy(Sample.of(np.ldexp(x, power)))
    assert other.value == pytest.approx(one.value + power * math.log(2), rel=1e-14)
    assert other.standard_error == pytest.approx(one.standard_error, rel=1e-12)


@pytest.mark.parametrize("fit", [Spacing().entropy, LogSpline().entropy, LogSpline().fisher])
@pytest.mark.parametrize("n", [200, 6000])
def test_influences_by_value_are_those_of_the_rows_in_order(fit, n):
    x = np.random.default_rng(4).standard_normal(n)
    influences = fit(Sample.of(x)).influences
    np.testing.assert_array_equal(influences.by_row[np.argsort(x)], influences.by_value)
    assert abs(influences.by_row.sum()) < 1e-9 * n


@pytest.mark.parametrize("n", [200, 6000])
def test_the_error_of_the_product_counts_influences_row_by_row(n):
    x = np.random.default_rng(5).standard_normal(n)
    sample = Sample.of(x)
    h, j = Spacing().entropy(sample), LogSpline().fisher(sample)
    shared = covariance(h.influence, j.influence)
    trace = float(j.matrix[0, 0])
    relative = (2 * h.standard_error) ** 2 + (j.standard_error / trace) ** 2 + 4 * shared / trace
    relative = max(relative, 0.0) + (2 * h.standard_error * j.standard_error / trace) ** 2
    product = fisher_shannon(x).product
    assert product.standard_error == pytest.approx(product * math.sqrt(relative), rel=1e-6)


@pytest.mark.parametrize("kind", ["normal", "clusters", "far"])
def test_scores_of_the_rows_are_those_of_the_values(kind):
    rng = np.random.default_rng(6)
    x = {
        "normal": rng.standard_normal(5000),
        "clusters": rng.choice([-40.0, 0.0, 90.0], 600) + rng.standard_normal(600),
        "far": np.r_[rng.standard_cauchy(5000), 1e7],
    }[kind]
    x, order = np.sort(x), rng.permutation(x.size)
    ordered, shuffled = score(x, method="logspline"), score(x[order], method="logspline")
    np.testing.assert_allclose(shuffled, ordered[order], rtol=1e-4, atol=1e-4 * np.abs(ordered).max())


def test_clusters_begin_where_the_compressed_points_have_gaps():
    """The gaps written out for all points; the kernel only spares those that cannot be cut at."""
    rng = np.random.default_rng(7)
    found = 0
    for _ in range(300):
        parts = [rng.normal(center, 0.1, rng.integers(5, 40)) for center in rng.normal(0, 5, 3)]
        t = np.sort(rng.standard_cauchy(60) ** 3 if rng.random() < 0.5 else np.concatenate(parts))
        y, expected = compress(t), []
        for i in range(t.size - 1):
            before = y[i] - y[i - 10] if i >= 10 else 0.0
            beyond = y[i + 11] - y[i + 1] if i + 11 < t.size else 0.0
            if y[i + 1] - y[i] > 5 * max(before, beyond):
                expected.append(i + 1)
        assert logspline._cuts(t).tolist() == expected
        found += len(expected)
    assert found > 100


def test_expansion_undoes_compression():
    x = np.r_[0.0, np.random.default_rng(8).standard_cauchy(100) ** 3]
    np.testing.assert_allclose(expand(compress(x)), x, rtol=1e-13)
