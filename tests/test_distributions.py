"""Exact figures against scipy, quadrature and Monte Carlo; densities against their scores and samples."""

import itertools
import math
import pickle

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import integrate, special, stats

from infoplane import Estimate
from infoplane.distributions import (
    Affine,
    Beta,
    Exponential,
    Gamma,
    GaussianMixture,
    GeneralizedNormal,
    Gumbel,
    Laplace,
    Logistic,
    LogNormal,
    Mixture,
    MultivariateNormal,
    MultivariateT,
    Normal,
    Product,
    StudentT,
    Uniform,
    Weibull,
    convolution,
)
from tests import compositions as made

# Ours, and scipy's with the same arguments.
LINES = {
    "normal": (Normal(1, 2), stats.norm(1, 2)),
    "laplace": (Laplace(1, 2), stats.laplace(1, 2)),
    "logistic": (Logistic(1, 2), stats.logistic(1, 2)),
    "t 5": (StudentT(5, 1, 2), stats.t(5, 1, 2)),
    "t 1": (StudentT(1), stats.t(1)),
    "t 0.7": (StudentT(0.7), stats.t(0.7)),
    "generalised normal 4": (GeneralizedNormal(4, 1, 2), stats.gennorm(4, 1, 2)),
    "generalised normal 0.8": (GeneralizedNormal(0.8), stats.gennorm(0.8)),
    "generalised normal 0.4": (GeneralizedNormal(0.4), stats.gennorm(0.4)),
    "gumbel": (Gumbel(1, 2), stats.gumbel_r(1, 2)),
    "gamma 4": (Gamma(4, 1, 2), stats.gamma(4, 1, 2)),
    "gamma 2": (Gamma(2), stats.gamma(2)),
    "gamma 0.5": (Gamma(0.5), stats.gamma(0.5)),
    "exponential": (Exponential(1, 2), stats.expon(1, 2)),
    "weibull 3": (Weibull(3, 1, 2), stats.weibull_min(3, 1, 2)),
    "weibull 12": (Weibull(12), stats.weibull_min(12)),
    "weibull 0.8": (Weibull(0.8), stats.weibull_min(0.8)),
    "log-normal 1": (LogNormal(1, 1, 2), stats.lognorm(1, 1, 2)),
    "log-normal 0.1": (LogNormal(0.1), stats.lognorm(0.1)),
    "beta 3, 4": (Beta(3, 4, 1, 2), stats.beta(3, 4, 1, 2)),
    "beta 30, 3": (Beta(30, 3), stats.beta(30, 3)),
    "beta 0.5, 0.5": (Beta(0.5, 0.5), stats.beta(0.5, 0.5)),
    "uniform": (Uniform(1, 2), stats.uniform(1, 2)),
}
SMOOTH = [name for name, (x, _) in LINES.items() if math.isfinite(x.fisher_trace()) and name != "t 0.7"]
ROTATION = np.array([[0.8, -0.6], [0.6, 0.8]])
SHEAR = np.array([[2.0, 0.0], [0.7, 0.8]])
SCATTER = np.array([[2.0, 0.9], [0.9, 1.0]])
COMPOSED = {
    "normal": MultivariateNormal([1.0, -1.0], SCATTER),
    "t": MultivariateT([1.0, -1.0], SCATTER, 7.0),
    "product": Product(Laplace(), Gamma(7)),
    "rotated": ROTATION @ Product(Laplace(), Logistic()),
    "sheared and shifted": SHEAR @ Product(Logistic(), Gumbel()) + [3.0, 0.0],
    "normal mixture": GaussianMixture([0.3, 0.7], [[-1, 0], [2, 1]], [SCATTER, np.eye(2)]),
    "normal mixture, d = 3": GaussianMixture([0.3, 0.7], [[-1, 0, 0], [2, 1, 0]], [1.0, 0.5]),
    "mixture": Mixture(
        [ROTATION @ Product(Laplace(), Logistic()), Product(Normal(2), Logistic())], [0.4, 0.6]
    ),
    "mixture on the line": Mixture([Laplace(-1.0), Gamma(6), StudentT(4, 2, 0.3)], [0.3, 0.3, 0.4]),
    "reflected": -2 * Gamma(7) + 1,
    "sum": convolution(Laplace(), Gamma(4)),
    "smoothed uniform": convolution(Uniform(), Normal(scale=0.3)),
}


# --- Closed forms -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LINES)
def test_densities_entropies_and_moments_are_those_of_scipy(name):
    x, frozen = LINES[name]
    points = frozen.rvs(200, random_state=1)
    np.testing.assert_allclose(x.logpdf(points), frozen.logpdf(points), rtol=1e-9, atol=1e-9)
    assert x.entropy() == pytest.approx(float(frozen.entropy()), abs=1e-8)
    mean, variance = frozen.stats("mv")
    if math.isfinite(variance):
        np.testing.assert_allclose(x.mean(), [mean], rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(x.covariance(), [[variance]], rtol=1e-9)
    else:
        assert not np.isfinite(x.covariance())
    outside = frozen.support()[0] - 1
    if math.isfinite(outside):
        assert x.logpdf([outside])[0] == -math.inf
        assert math.isnan(x.score([outside])[0, 0])


@pytest.mark.parametrize("name", [name for name in LINES if name != "beta 0.5, 0.5"])
def test_entropies_agree_with_quadrature(name):
    """Adaptive quadrature over quantiles, H = −∫ log f(F⁻¹(u)) du, to 1e-6, as its ends are singular."""
    x, frozen = LINES[name]
    h, _ = integrate.quad(
        lambda u: -float(frozen.logpdf(frozen.ppf(u))), 0, 1, epsabs=1e-9, epsrel=1e-9, limit=500,
        points=[1e-6, 1e-3, 0.5, 1 - 1e-3],
    )  # fmt: skip
    assert x.entropy() == pytest.approx(h, abs=2e-6)


@pytest.mark.parametrize("name", SMOOTH)
def test_fisher_informations_agree_with_quadrature(name):
    """∫ f′²/f of scipy's density over its bulk, by parts that end at the kink; its own derivative: 1e-8."""
    x, frozen = LINES[name]
    middle = float(x._landmarks()[-1]) if name.startswith(("log", "gamma", "weibull", "beta")) else x.loc

    def term(t):
        s = x.score([t])[0, 0]
        return math.exp(x.logpdf([t])[0]) * s * s

    low, high = frozen.support()
    tails = [frozen.ppf(q) for q in (1e-4, 1 - 1e-4)]
    marks = sorted({low, tails[0], middle, tails[1], high})
    j = sum(
        integrate.quad(term, a, b, epsabs=1e-13, epsrel=1e-11, limit=400)[0]
        for a, b in itertools.pairwise(marks)
    )
    assert x.fisher_trace() == pytest.approx(j, rel=1e-8)


def test_information_is_infinite_where_the_density_jumps_or_is_steep():
    for x in (
        Uniform(), Exponential(), Gamma(1), Gamma(2), Gamma(1.5), Beta(2, 5), Beta(5, 2), Beta(1, 3),
        Weibull(2), Weibull(1), GeneralizedNormal(0.5),
    ):  # fmt: skip
        assert x.fisher_trace() == math.inf
    for x in (Gamma(2.01), Beta(2.01, 2.01), Weibull(2.01), GeneralizedNormal(0.51), LogNormal(2)):
        assert math.isfinite(x.fisher_trace())


def test_families_contain_each_other():
    """Of each pair both are closed forms: 1e-10, and 1e-6 for Student's at ν = 1e7, which is 1/ν off."""
    for one, other in (
        (GeneralizedNormal(2, scale=math.sqrt(2)), Normal()),
        (GeneralizedNormal(1), Laplace()),
        (Gamma(1), Exponential()),
        (Weibull(1), Exponential()),
        (Beta(1, 1), Uniform()),
        (MultivariateT([0], [[4]], 3), StudentT(3, 0, 2)),
        (MultivariateNormal([1], [[4]]), Normal(1, 2)),
    ):
        assert one.entropy() == pytest.approx(other.entropy(), abs=1e-10)
        assert one.fisher_trace() == pytest.approx(other.fisher_trace(), rel=1e-10)
        np.testing.assert_allclose(one.logpdf([0.2, 0.7]), other.logpdf([0.2, 0.7]), atol=1e-10)
    for d in (1, 2, 5):
        far, normal = (
            MultivariateT(np.zeros(d), np.eye(d), 1e7),
            MultivariateNormal(np.zeros(d), np.eye(d)),
        )
        assert far.entropy() == pytest.approx(normal.entropy(), abs=1e-6)


@pytest.mark.parametrize("d", [1, 2, 3, 6])
@pytest.mark.parametrize("df", [0.5, 3.0, 199.0, 201.0])
def test_multivariate_t_agrees_with_scipy(d, df):
    """scipy's own entropy is good to about 1e-10 here."""
    root = np.random.default_rng(d).standard_normal((d, d)) + 2 * np.eye(d)
    x, frozen = (
        MultivariateT(np.arange(d), root @ root.T, df),
        stats.multivariate_t(np.arange(d), root @ root.T, df),
    )
    points = frozen.rvs(20, random_state=0).reshape(20, d)
    np.testing.assert_allclose(x.logpdf(points), frozen.logpdf(points), rtol=1e-10)
    assert x.entropy() == pytest.approx(float(frozen.entropy()), abs=1e-8)


# --- All of them --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", COMPOSED)
def test_figures_agree_with_the_mean_over_a_sample(name):
    """H, J and moments within 4 standard errors of n = 40,000 terms (and of Monte Carlo, where used)."""
    x = COMPOSED[name]
    rows = x.sample(40_000, 1)
    score = x.score(rows)
    products = np.einsum("na,nb->nab", score, score)
    for terms, truth in (
        (-x.logpdf(rows), x.entropy()),
        (np.sum(score**2, axis=1), x.fisher_trace()),
        (products, x.fisher_information()),
        (rows, x.mean()),
        (np.einsum("na,nb->nab", rows - x.mean(), rows - x.mean()), x.covariance()),
        (score, np.zeros(x.d)),
        # Stein's identity E[s (x − μ)ᵀ] = −1 ties the score to the sampler.
        (np.einsum("na,nb->nab", score, rows - x.mean()), -np.eye(x.d)),
    ):
        error = terms.std(axis=0) / math.sqrt(len(rows))
        own = truth.standard_error if isinstance(truth, Estimate) else 0.0
        if "mixture" in name and x.d > 1:
            own = np.maximum(own, error * math.sqrt(40_000 / 45_000))  # of the matrix of Monte Carlo
        assert (np.abs(terms.mean(axis=0) - truth) <= 4 * np.hypot(error, own) + 1e-9).all()


@pytest.mark.parametrize("name", [*COMPOSED, *LINES])
def test_scores_are_the_slopes_of_the_log_density(name):
    """Central differences of step 1e-5: 1e-6 of the score's size."""
    x = COMPOSED[name] if name in COMPOSED else LINES[name][0]
    rows = x.sample(50, 3)
    rows = rows[np.abs(x.score(rows)).max(axis=1) < 50]
    step = 1e-5
    for a in range(x.d):
        e = np.zeros(x.d)
        e[a] = step
        slope = (x.logpdf(rows + e) - x.logpdf(rows - e)) / (2 * step)
        kept = np.isfinite(slope) & (np.abs(rows).min(axis=1) > 2 * step)
        np.testing.assert_allclose(x.score(rows)[kept, a], slope[kept], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", LINES)
def test_samples_have_the_distribution(name):
    """Kolmogorov and Smirnov at a level of 1e-4."""
    x, frozen = LINES[name]
    rows = x.sample(2000, 0)
    assert rows.shape == (2000, 1)
    assert stats.kstest(rows[:, 0], frozen.cdf).pvalue > 1e-4
    np.testing.assert_array_equal(rows, x.sample(2000, np.random.default_rng(0)))


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(x=made.distributions, seed=st.integers(0, 1000))
def test_affine_images_follow_the_rules(x, seed):
    """H + log|det A|, N|A|^{2/d}, A⁻ᵀ J A⁻¹, log f − log|det A|; 1e-7, or 5 errors of Monte Carlo."""
    d = x.d
    a = np.random.default_rng(seed).standard_normal((d, d)) + 2 * np.eye(d)
    b = np.arange(d)
    if np.linalg.cond(a) > 30:
        a = np.linalg.qr(a)[0]
    y, inverse, log_volume = a @ x + b, np.linalg.inv(a), np.linalg.slogdet(a)[1]
    error = y.entropy().standard_error if isinstance(y.entropy(), Estimate) else 0.0
    assert y.entropy() == pytest.approx(x.entropy() + log_volume, abs=1e-7 + 5 * error)
    if error == 0:
        scale = x.fisher_trace() * np.linalg.norm(inverse, 2) ** 2
        expected = inverse.T @ x.fisher_information() @ inverse
        np.testing.assert_allclose(y.fisher_information(), expected, atol=1e-6 * scale)
        assert y.fisher_trace() == pytest.approx(np.trace(expected), rel=1e-6)
        assert y.entropy_power() == pytest.approx(math.exp(2 * y.entropy() / d - 1) / (2 * math.pi))
    rows = x.sample(20, seed)
    images = rows @ a.T + b
    np.testing.assert_allclose(y.logpdf(images), x.logpdf(rows) - log_volume, rtol=1e-6, atol=1e-6)


def test_affine_images_of_families_stay_in_the_family():
    assert 2 * Normal(1, 3) + 1 == Normal(3, 6)
    assert -Laplace(1) / 2 == Laplace(-0.5, 0.5)
    assert 1 - Normal(0, 2) == Normal(1, 2)
    assert 3 * Gamma(4) - 1 == Gamma(4, -1, 3)
    assert isinstance(-Gamma(4), Affine)
    assert isinstance(SHEAR @ MultivariateT([0, 0], SCATTER, 3), MultivariateT)
    twice = SHEAR @ (ROTATION @ Product(Laplace(), Logistic()) + [1, 2])
    assert isinstance(twice, Affine)
    assert isinstance(twice.distribution, Product)
    np.testing.assert_allclose(twice.shift, SHEAR @ [1, 2])
    assert isinstance(np.diag([2.0, 3.0]) @ Product(Laplace(), Gamma(3)), Product)


def test_infinite_information_survives_linear_maps():
    x = Product(Uniform(), Normal())
    np.testing.assert_array_equal(x.fisher_information(), [[math.inf, 0], [0, 1]])
    turned = ROTATION @ x
    assert turned.fisher_trace() == math.inf
    assert np.isinf(np.diag(turned.fisher_information())).all()
    assert np.isnan(turned.fisher_information()[0, 1])
    # y = (x₁, x₁ + x₂) with x₁ normal: of y₂ alone J is infinite, and by it all that touches it.
    along = np.array([[1.0, 0.0], [1.0, 1.0]]) @ Product(Normal(), Uniform())
    assert np.isinf(along.fisher_information()[1, 1])
    # y = (x₁ + x₂, x₁): along y₂ at fixed y₁ both move.
    upper = np.array([[1.0, 1.0], [0.0, 1.0]]) @ Product(Normal(), Normal(scale=2.0))
    np.testing.assert_allclose(upper.fisher_information(), [[1, -1], [-1, 1.25]])


# --- Mixtures -----------------------------------------------------------------------------------------------


def test_mixtures_on_the_line_agree_with_adaptive_quadrature():
    """Laplace, gamma and Student parts of very different size: 1e-8."""
    x = Mixture([Laplace(3.0, 0.1), Gamma(4.0, -2.0, 0.7), StudentT(3.0, -4.0)], [0.3, 0.5, 0.2])

    def terms(t):
        log_f, s = x.logpdf([t])[0], x.score([t])[0, 0]
        return math.exp(log_f), log_f, s

    marks = [-math.inf, -400, -4, -2, 0.8, 2.5, 3, 3.5, 400, math.inf]
    h = j = 0.0
    for a, b in itertools.pairwise(marks):
        options = {"epsabs": 1e-12, "epsrel": 1e-11, "limit": 400}
        h -= integrate.quad(lambda t: (f := terms(t))[0] * f[1], a, b, **options)[0]
        j += integrate.quad(lambda t: (f := terms(t))[0] * f[2] ** 2, a, b, **options)[0]
    assert x.entropy() == pytest.approx(h, abs=1e-8)
    assert x.fisher_trace() == pytest.approx(j, rel=1e-8)


def test_two_quadratures_of_normal_mixtures_agree():
    """Trapezoids and the double-exponential rule, to 1e-8; 1e-7 if one part is a hundredth as wide."""
    for variances, error in (([1.0, 0.3, 2.0], 1e-8), ([1.0, 1e-4, 2.0], 1e-7)):
        means = [-4.0, 0.0, 3.0]
        one = GaussianMixture([0.5, 0.3, 0.2], means, variances)
        other = Mixture(
            [Normal(m, math.sqrt(v)) for m, v in zip(means, variances, strict=True)], [0.5, 0.3, 0.2]
        )
        assert one.entropy() == pytest.approx(other.entropy(), abs=error)
        assert one.fisher_trace() == pytest.approx(other.fisher_trace(), rel=error)


def test_monte_carlo_agrees_with_quadrature_in_the_plane():
    """H and tr J of the same mixture both ways: 4 standard errors; and with its fisher_information."""
    exact = COMPOSED["normal mixture"]
    drawn = Mixture(exact.parts, exact.weights, draws=20_000, seed=3)
    for name in ("entropy", "fisher_trace", "entropy_power"):
        found, truth = getattr(drawn, name)(), getattr(exact, name)()
        assert isinstance(found, Estimate)
        assert not isinstance(truth, Estimate)
        assert abs(found - truth) < 4 * found.standard_error
        assert found.standard_error < 0.05 * abs(truth)
    assert np.trace(drawn.fisher_information()) == pytest.approx(float(drawn.fisher_trace()))


def test_unresolvable_normal_mixtures_fall_back_on_monte_carlo():
    x = GaussianMixture([0.5, 0.5], [[0, 0], [1, 1]], [1.0, 1e-8])
    assert isinstance(x.entropy(), Estimate)
    # Far apart in scale, the parts barely overlap: H = Σ w (H_k − log w) to 1e-3.
    apart = sum(0.5 * (float(part.entropy()) + math.log(2)) for part in x.parts)
    assert abs(x.entropy() - apart) < 4 * x.entropy().standard_error + 1e-3


def test_information_of_mixtures_with_edges_is_not_known():
    """½ exponential and its mirror image are Laplace's distribution: J = 1, not infinite."""
    x = Mixture([Exponential(), -Exponential()])
    assert x.entropy() == pytest.approx(Laplace().entropy(), abs=1e-9)
    assert math.isnan(x.fisher_trace())


def test_mixtures_of_far_parts_add_up():
    """Parts that do not overlap: H = Σ w (H_k − log w_k), J = Σ w J_k, to 1e-8."""
    parts, w = [Laplace(-200.0), Logistic(0.0, 0.5), StudentT(40, 300.0)], np.array([0.2, 0.3, 0.5])
    x = Mixture(parts, w)
    assert x.entropy() == pytest.approx(w @ [p.entropy() for p in parts] - w @ np.log(w), abs=1e-8)
    assert x.fisher_trace() == pytest.approx(w @ [p.fisher_trace() for p in parts], rel=1e-8)


def test_conditional_normal_mixtures_are_slices_of_the_joint_density():
    x = GaussianMixture(
        [0.3, 0.7], [[-1, 0, 1], [2, 1, 0]], np.array([[2, 0.5, 0.1], [0.5, 1, 0.3], [0.1, 0.3, 1]])
    )
    slice_ = x.conditional([1], [0.4])
    rest = np.random.default_rng(0).standard_normal((5, 2))
    whole = x.logpdf(np.insert(rest, 1, 0.4, axis=1))
    np.testing.assert_allclose(slice_.logpdf(rest), whole - x.marginal([1]).logpdf([0.4]), rtol=1e-10)


# --- Sums ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other", "truth"),
    [
        (Gamma(3), Gamma(4), Gamma(7)),
        (Gamma(1.5, 1), Gamma(2.5, -2), Gamma(4, -1)),
        (StudentT(1), StudentT(1, 0, 2), StudentT(1, 0, 3)),
        (Exponential(), -Exponential(), Laplace()),
        (Gumbel(), -Gumbel(), Logistic()),
    ],
)
def test_sums_agree_with_closed_forms(one, other, truth):
    """Entropy, density and, where J is finite for a part, information: 1e-7."""
    x = convolution(one, other)
    points = truth.sample(20, 0)
    np.testing.assert_allclose(x.logpdf(points), truth.logpdf(points), atol=1e-7)
    assert x.entropy() == pytest.approx(truth.entropy(), abs=1e-7)
    np.testing.assert_allclose(x.mean(), truth.mean())
    if not math.isnan(x.fisher_trace()):
        assert x.fisher_trace() == pytest.approx(truth.fisher_trace(), rel=1e-7)
        np.testing.assert_allclose(x.score(points), truth.score(points), atol=1e-6)


def test_a_uniform_and_a_normal_make_a_difference_of_distribution_functions():
    x = convolution(Uniform(), Normal(scale=0.2))
    points = np.linspace(-1, 2, 31)
    expected = special.ndtr(points / 0.2) - special.ndtr((points - 1) / 0.2)
    np.testing.assert_allclose(np.exp(x.logpdf(points)), expected, atol=1e-9)


def test_the_heat_flow_goes_on_where_it_was():
    """X + √s Z + √t Z is X + √(s + t) Z, without a sum of three: to rounding."""
    once = convolution(convolution(Uniform(), Normal(scale=0.3)), Normal(scale=0.4))
    for again in (once, convolution(Normal(scale=0.4), convolution(Normal(scale=0.3), Uniform()))):
        assert again.entropy() == pytest.approx(
            convolution(Uniform(), Normal(scale=0.5)).entropy(), abs=1e-12
        )


def test_sums_find_closed_forms():
    assert convolution(Normal(1, 3), Normal(1, 4)) == Normal(2, 5)
    plane = MultivariateNormal([0, 0], np.eye(2))
    assert isinstance(convolution(plane, COMPOSED["normal mixture"]), GaussianMixture)
    assert isinstance(convolution(Product(Laplace(), Normal()), plane), Product)
    turned = convolution(ROTATION @ Product(Laplace(), Logistic()), plane)
    assert isinstance(turned, Affine)
    both = convolution(SHEAR @ Product(Laplace(), Normal()), SHEAR @ Product(Normal(), Normal()))
    assert isinstance(both, Affine)
    mixed = convolution(Mixture([Product(Laplace(), Normal()), Product(Normal(), Normal())]), plane)
    assert isinstance(mixed, Mixture)
    with pytest.raises(NotImplementedError):
        convolution(SHEAR @ Product(Laplace(), Logistic()), ROTATION @ Product(Laplace(), Logistic()))
    with pytest.raises(NotImplementedError):
        convolution(MultivariateT([0, 0], np.eye(2), 3), plane)


# --- Parts --------------------------------------------------------------------------------------------------


def test_marginals_are_the_distributions_of_the_columns():
    """Kolmogorov and Smirnov would be weak here: the mean of the log density, 4 errors of n = 20,000."""
    three = np.array([[2, 0.5, 0.1], [0.5, 1, 0.3], [0.1, 0.3, 1]])
    for x in (
        MultivariateNormal([0, 1, 2], three),
        MultivariateT([0, 1, 2], three, 4),
        Product(Laplace(), MultivariateNormal([0, 1], SCATTER)),
        GaussianMixture([0.3, 0.7], [[-1, 0, 1], [2, 1, 0]], three),
        Mixture([Product(Laplace(), Normal(), Normal()), Product(Logistic(), Normal(), Gumbel())]),
    ):
        for columns in ([0], [2, 1], [0, 1]):
            part = x.marginal(columns)
            rows = x.sample(20_000, 0)[:, columns]
            terms = -part.logpdf(rows)
            own = part.entropy().standard_error if isinstance(part.entropy(), Estimate) else 0.0
            assert abs(terms.mean() - part.entropy()) < 4 * math.hypot(terms.std() / math.sqrt(20_000), own)
    assert Product(Laplace(), Normal()).marginal([1, 0]).parts == (Normal(), Laplace())
    with pytest.raises(NotImplementedError):
        (SHEAR @ Product(Laplace(), Normal())).marginal([0])


# --- Messages -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Normal(0, 0), "`scale` must be positive and finite, got 0"),
        (lambda: Normal(math.nan), "`loc` must be finite, got nan"),
        (lambda: StudentT(-1), "`df` must be positive and finite, got -1"),
        (lambda: Gamma("a"), "`a` must be a number, got 'a'"),
        (lambda: MultivariateNormal([0, 0], [[1, 2], [2, 1]]), "`cov` must be positive definite"),
        (lambda: MultivariateNormal([0, 0], [[1, 1], [0, 1]]), "`cov` must be finite and symmetric"),
        (lambda: MultivariateNormal([0, 0], [np.eye(2)]), r"`cov` must have shape \(d, d\), got \(1, 2, 2\)"),
        (lambda: GaussianMixture([1], [[0, 0]], [[1, 2], [2, 1]]), "`covariances` must be positive definite"),
        (lambda: MultivariateNormal([0, 0, 0], np.eye(2)), r"`mean` must be finite and have shape \(2,\)"),
        (lambda: MultivariateT([0, 0], np.eye(2), 0), "`df` must be positive and finite, got 0"),
        (lambda: np.ones((2, 2)) @ Product(Normal(), Normal()), "`matrix` must be invertible"),
        (lambda: np.eye(3) @ Product(Normal(), Normal()), r"have shape \(2, 2\), got shape \(3, 3\)"),
        (lambda: 0 * Normal(), "`matrix` must be invertible"),
        (lambda: Normal() + Normal(), "is `convolution"),
        (lambda: Mixture([Normal(), Product(Normal(), Normal())]), r"dimensions, got \[1, 2\]"),
        (lambda: Mixture([Normal(), Laplace()], [1, -1]), "`weights` must be positive"),
        (lambda: Mixture([1.0]), "`parts` must be a sequence of distributions"),
        (lambda: GaussianMixture([1, 1], [0, 1], [1, 2, 3]), "`covariances` must have shape"),
        (Product, "`parts` must hold at least one distribution"),
        (lambda: Product(Normal(), 3), "`parts` must be distributions, got 3"),
        (lambda: Normal().logpdf([[1, 2]]), r"`x` must have shape \(n,\) or \(n, 1\), got \(1, 2\)"),
        (lambda: Product(Normal(), Normal()).score([1, 2]), r"`x` must have shape \(n, 2\), got \(2,\)"),
        (lambda: Normal().logpdf([math.inf]), "`x` must be finite"),
        (lambda: Normal().sample(0, 1), "`n` must be at least 1, got 0"),
        (lambda: Normal().marginal([1]), r"`columns` must be different numbers from 0 to 0, got \[1\]"),
        (lambda: convolution(Normal(), Product(Normal(), Normal())), "got 1 and 2"),
    ],
)
def test_errors_say_what_was_demanded(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()


@pytest.mark.parametrize("name", COMPOSED)
def test_distributions_can_be_pickled_and_shown(name):
    x = COMPOSED[name]
    again = pickle.loads(pickle.dumps(x))
    np.testing.assert_array_equal(again.logpdf(x.sample(3, 0)), x.logpdf(x.sample(3, 0)))
    assert type(x).__name__ in repr(x) or "convolution" in repr(x)


def test_the_density_is_that_of_its_logarithm_also_at_a_number():
    x = Normal(1.0, 2.0)
    np.testing.assert_allclose(x.pdf([1.0, 3.0]), stats.norm(1, 2).pdf([1.0, 3.0]), rtol=1e-14)
    assert x.pdf(3.0) == pytest.approx(stats.norm(1, 2).pdf(3.0), rel=1e-14)
    assert x.logpdf(3.0).shape == ()
    assert Uniform().pdf([-1.0, 0.5]).tolist() == [0.0, 1.0]
    with pytest.raises(ValueError, match="must have shape"):
        MultivariateNormal([0, 0], np.eye(2)).logpdf(0.0)


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_fisher_information_out_of_range_is_called_that(scale):
    for law in (Normal(0, scale), Laplace(0, scale)):
        with pytest.raises(OverflowError, match="outside the range of float64"):
            law.fisher_trace()
    assert Uniform(0, scale).fisher_trace() == math.inf


def test_arguments_of_a_multivariate_t_in_the_wrong_order_are_told():
    with pytest.raises(TypeError, match="`df` must be a number, after `loc` and `shape`"):
        MultivariateT(3, [0, 0], np.eye(2))
