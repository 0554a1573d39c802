"""The copula route and its axes against versions written out, closed forms, and their equivariance."""

import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate

from infoplane import KNN, entropy
from infoplane.errors import DegenerateSampleError
from infoplane.estimators import independent_axes as axes
from infoplane.estimators.copula import Copula, normal_scores, rank_bias
from infoplane.estimators.nearest_balls import normal_bias
from infoplane.sample import Sample
from tests import naive
from tests.test_spacing import slow_entropy

seeds = st.integers(0, 2**32 - 1)
HALF_LOG = 0.5 * math.log(2 * math.pi * math.e)


def equicorrelated(rng, n, d, rho):
    """Normal data of equal correlations, and their entropy."""
    sigma = rho * np.ones((d, d)) + (1 - rho) * np.eye(d)
    x = rng.standard_normal((n, d)) @ np.linalg.cholesky(sigma).T
    return x, d * HALF_LOG + 0.5 * np.linalg.slogdet(sigma)[1]


def rotation(seed, d):
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((d, d)))[0]


# --- Ranks ------------------------------------------------------------------------------------------------


def test_normal_scores_equal_the_slow_ones_and_ties_share_their_mean_rank():
    x = np.random.default_rng(0).integers(0, 12, size=(40, 2)).astype(float)
    for j in range(2):
        column = x[:, j]
        for i, value in enumerate(column):
            below, equal = sum(column < value), sum(column == value)
            expected = NormalDist().inv_cdf((below + (equal + 1) / 2 - 0.5) / 40)
            assert normal_scores(x)[i, j] == pytest.approx(expected, abs=1e-12)


@settings(max_examples=20)
@given(seed=seeds, n=st.integers(5, 60))
def test_normal_scores_do_not_change_under_increasing_maps(seed, n):
    x = np.random.default_rng(seed).standard_normal((n, 2))
    np.testing.assert_array_equal(normal_scores(x), normal_scores(np.exp(x) + x**3))


@pytest.mark.parametrize(
    ("n", "d", "k", "rho"),
    [(300, 2, 3, 0.0), (300, 2, 3, 0.8), (150, 3, 3, 0.6), (200, 5, 3, 0.4), (300, 2, 5, 0.0)],
)
def test_the_entropy_of_normal_scores_exceeds_the_truth_by_the_rank_bias(n, d, k, rho):
    """Whatever the Gaussian copula: its balls are as wide in every marginal.

    4 errors of the mean of 150 repeats, 0.003 of the fit, and 15 % of it for k other than 3.
    """
    rng, differences = np.random.default_rng(1), []
    for _ in range(150):
        x, h = equicorrelated(rng, n, d, rho)
        differences.append(KNN(k=k).entropy(Sample.of(normal_scores(x))).value - h)
    allowed = 0.003 + (0.15 * rank_bias(n, d, k) if k != 3 else 0.0)
    error = np.std(differences) / math.sqrt(150)
    assert abs(np.mean(differences) - rank_bias(n, d, k)) < 4 * error + allowed


# --- Copula -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("d", "k"), [(2, 3), (3, 1), (5, 4)])
def test_the_entropy_equals_the_slow_one(d, k):
    n = 60
    x = np.random.default_rng(d).gamma(2.0, size=(n, d)) @ (np.eye(d) + 0.3)
    scores = np.empty_like(x)
    for j in range(d):
        for i in range(n):
            scores[i, j] = NormalDist().inv_cdf((sum(x[:, j] <= x[i, j]) - 0.5) / n)
    joint = naive.knn_entropy(scores, k) - normal_bias(n, d, k)
    expected = sum(slow_entropy(column, 2) for column in x.T) + joint - rank_bias(n, d, k) - d * HALF_LOG
    assert entropy(x, method=Copula(k=k)) == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("d", [2, 5])
@pytest.mark.parametrize("family", ["uniform", "exponential", "lognormal"])
def test_marginals_of_any_shape_cost_no_bias(family, d):
    """12 repeats at n = 1000, tolerance 4 errors of their mean; plain neighbours are off by 0.5 at d = 5."""
    rng, h = np.random.default_rng(2), {"uniform": 0.0, "exponential": 1.0, "lognormal": HALF_LOG}[family]
    draw = getattr(rng, family)
    errors = [entropy(draw(size=(1000, d)), method=Copula()) - d * h for _ in range(12)]
    assert abs(np.mean(errors)) < 4 * np.std(errors, ddof=1) / math.sqrt(12) + 0.01


@pytest.mark.parametrize("axis", ["given", "independent"])
def test_gaussian_data_are_measured_without_bias(axis):
    """30 repeats at n = 500, d = 3: 4 errors, 0.02 for the spacings, and 0.03 that chosen axes overfit."""
    rng, errors = np.random.default_rng(3), []
    for _ in range(30):
        x, h = equicorrelated(rng, 500, 3, 0.5)
        errors.append(entropy(x, method=Copula(axes=axis)) - h)
    allowed = 0.02 + (0.03 if axis == "independent" else 0.0)
    assert abs(np.mean(errors)) < 4 * np.std(errors) / math.sqrt(30) + allowed


@settings(max_examples=15)
@given(seed=seeds, d=st.integers(2, 4), shift=st.floats(-100, 100), log_scale=st.floats(-20, 20))
def test_shifts_scales_and_permutations(seed, d, shift, log_scale):
    rng = np.random.default_rng(seed)
    x = rng.gamma(3.0, size=(80, d)) @ (np.eye(d) + 0.2)
    rows, columns = rng.permutation(80), rng.permutation(d)
    scales = np.exp(log_scale * rng.uniform(-1, 1, d)) * rng.choice([-1, 1], d)
    one = Copula().entropy(Sample.of(x))
    other = Copula().entropy(Sample.of((scales * (x + shift))[rows][:, columns]))
    assert other.value == pytest.approx(one.value + np.log(np.abs(scales)).sum(), abs=1e-8)
    assert other.standard_error == pytest.approx(one.standard_error, rel=1e-7)
    np.testing.assert_allclose(other.influence, one.influence[rows], atol=1e-7)


@settings(max_examples=15)
@given(seed=seeds, d=st.integers(2, 4))
def test_independent_axes_make_it_equivariant_under_linear_maps(seed, d):
    rng = np.random.default_rng(seed)
    x = rng.gamma(2.0, size=(90, d))
    a = rng.standard_normal((d, d)) + 2 * np.eye(d)
    if np.linalg.cond(a) > 50:
        a = np.linalg.qr(a)[0]
    one = Copula(axes="independent").entropy(Sample.of(x))
    other = Copula(axes="independent").entropy(Sample.of(x @ a.T))
    assert other.value == pytest.approx(one.value + np.linalg.slogdet(a)[1], abs=1e-7)
    assert other.standard_error == pytest.approx(one.standard_error, rel=1e-6)


@pytest.mark.parametrize("family", ["normal", "exponential", "correlated"])
def test_standard_errors_match_the_spread_over_repeats(family):
    """60 repeats at n = 1000 tell a standard deviation to 9 %: 0.73 to 1.4 is 3.5 of these."""
    rng, fits = np.random.default_rng(4), []
    for _ in range(60):
        x = {
            "normal": lambda: rng.standard_normal((1000, 2)),
            "exponential": lambda: rng.exponential(size=(1000, 3)),
            "correlated": lambda: np.exp(equicorrelated(rng, 1000, 3, 0.7)[0]),
        }[family]()
        fits.append(Copula().entropy(Sample.of(x)))
    stated = np.mean([fit.standard_error for fit in fits])
    assert 0.73 < stated / np.std([fit.value for fit in fits], ddof=1) < 1.4
    assert abs(fits[0].influence.mean()) < 1e-12


@pytest.mark.slow
@pytest.mark.parametrize("d", [2, 3])
@pytest.mark.parametrize("family", ["normal", "exponential", "lognormal"])
def test_intervals_cover_the_truth(family, d):
    """Nominal 95 % over 200 repeats at n = 1000, binomial error 1.5 %: 4 errors."""
    rng, h = np.random.default_rng(5), {"normal": HALF_LOG, "exponential": 1.0, "lognormal": HALF_LOG}[family]
    draw = getattr(rng, "standard_" + family if family == "normal" else family)
    inside = 0
    for _ in range(200):
        low, high = entropy(draw(size=(1000, d)), method=Copula()).interval()
        inside += low <= d * h <= high
    assert inside / 200 > 0.89, inside / 200


def test_bad_options_and_samples_are_refused():
    rng = np.random.default_rng(6)
    with pytest.raises(ValueError, match="`k` must be a positive integer, got 0"):
        Copula(k=0)
    with pytest.raises(ValueError, match='`axes` must be "given" or "independent", got \'ica\''):
        Copula(axes="ica")
    with pytest.raises(ValueError, match="needs two or more columns, got d = 1 in `x`"):
        entropy(rng.standard_normal(50), method=Copula())
    with pytest.raises(ValueError, match="measures entropy only"):
        Copula().fisher(Sample.of(rng.standard_normal((50, 2))))


def test_a_function_of_another_column_and_a_point_mass_have_no_density():
    rng = np.random.default_rng(7)
    x = rng.standard_normal(100)
    with pytest.raises(DegenerateSampleError, match="normal scores of x"):
        entropy(np.column_stack([x, np.exp(x)]), method=Copula())
    y = np.where(np.arange(100) < 9, 0.0, rng.standard_normal(100))
    with pytest.raises(DegenerateSampleError, match="repeats a value more than"):
        entropy(np.column_stack([x, y]), method=Copula())


# --- Independent axes -------------------------------------------------------------------------------------


def test_the_contrast_is_zero_for_normal_data_and_its_slope_is_the_derivative():
    def integrand(t):
        return math.log(math.cosh(t)) * math.exp(-0.5 * t * t) / math.sqrt(2 * math.pi)

    assert integrate.quad(integrand, -30, 30)[0] == pytest.approx(axes._NORMAL_CONTRAST, abs=1e-9)
    y = np.random.default_rng(8).gamma(2.0, size=(500, 3))
    y = Sample.of(y).whitened
    slope = axes._newton_angles(y, axes._contrast(y))[1]
    for a, b in ((0, 1), (0, 2), (1, 2)):
        sums = []
        for angle in (1e-5, -1e-5):
            turned = y.copy()
            turned[:, a] = math.cos(angle) * y[:, a] + math.sin(angle) * y[:, b]
            turned[:, b] = math.cos(angle) * y[:, b] - math.sin(angle) * y[:, a]
            sums.append(np.sum(axes._contrast(turned) ** 2))
        assert slope[a, b] == pytest.approx((sums[0] - sums[1]) / 2e-5, abs=1e-7)


@pytest.mark.parametrize("family", ["uniform", "laplace", "gamma"])
def test_mixed_independent_variables_are_found(family):
    """Every axis lies within 0.15 rad of a source at n = 2000, 0.3 for skewed ones.

    An even contrast sees those less: each of an axis' four angles errs by 0.03 (uniform) to 0.1 (gamma).
    """
    rng = np.random.default_rng(9)
    sources = rng.gamma(2.0, size=(2000, 5)) if family == "gamma" else getattr(rng, family)(size=(2000, 5))
    sample = Sample.of(sources @ rotation(10, 5))
    gains = np.abs(axes.independent_axes(sample.whitened) @ sample.whitener.T @ rotation(10, 5).T)
    gains /= np.linalg.norm(gains, axis=1, keepdims=True)
    assert sorted(gains.argmax(axis=1)) == [0, 1, 2, 3, 4]
    assert (gains.max(axis=1) > math.cos(0.3 if family == "gamma" else 0.15)).all()


@settings(max_examples=15)
@given(seed=seeds, d=st.integers(2, 6))
def test_the_axes_turn_with_the_data(seed, d):
    """Up to order and signs, even for normal data, where they are noise."""
    z = Sample.of(np.random.default_rng(seed).standard_normal((100, d))).whitened
    q = rotation(seed + 1, d)
    one, other = axes.independent_axes(z), axes.independent_axes(z @ q.T) @ q
    overlap = np.abs(one @ other.T)
    np.testing.assert_allclose(one @ one.T, np.eye(d), atol=1e-10)
    np.testing.assert_allclose(overlap, np.round(overlap), atol=1e-6)


def test_chosen_axes_overfit_normal_data_by_the_documented_amount():
    # 0.02 d³/n = 0.07 at n = 300, d = 10: 20 repeats, 4 errors of the mean difference, and as much again.
    rng, differences = np.random.default_rng(13), []
    for _ in range(20):
        x = rng.standard_normal((300, 10))
        differences.append(entropy(x, method=Copula(axes="independent")) - entropy(x, method=Copula()))
    assert abs(np.mean(differences) + 0.07) < 4 * np.std(differences) / math.sqrt(20) + 0.07


def test_rotated_uniform_data_are_measured_where_given_axes_fail():
    # 8 repeats at n = 1000, d = 5, H = 0: 4 errors, and 0.1 for the angles' noise; given axes are off by 0.5.
    rng = np.random.default_rng(11)
    x = [rng.uniform(size=(1000, 5)) @ rotation(12, 5) for _ in range(8)]
    found = [entropy(a, method=Copula(axes="independent")) for a in x]
    assert abs(np.mean(found)) < 4 * np.std(found) / math.sqrt(8) + 0.1
    assert np.mean([entropy(a, method=Copula()) for a in x]) > 0.3
