"""Spacings against the formula written out, exact laws of uniform spacings, closed forms and their errors."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from infoplane import entropy, entropy_power
from infoplane.distributions import GaussianMixture
from infoplane.errors import DegenerateSampleError
from infoplane.estimators.spacing import Spacing, spacing_terms
from infoplane.kernels.spacings import gaps_apart
from infoplane.sample import Sample

seeds = st.integers(0, 2**32 - 1)
HALF_LOG = 0.5 * math.log(2 * math.pi * math.e)
EULER = 0.5772156649015329


def slow_entropy(x, m):
    x, n = sorted(x), len(x)
    total = 0.0
    for i in range(1, n + 1):
        low, high = max(i - m, 1), min(i + m, n)
        total += math.log(x[high - 1] - x[low - 1]) - special.digamma(high - low)
    return total / n + special.digamma(n + 1)


def generalised_normal(rng, n, beta=4.0):
    return rng.gamma(1 / beta, size=n) ** (1 / beta) * rng.choice([-1, 1], n)


FAMILIES = {
    # A sampler and the entropy by name.
    "normal": (lambda r, n: r.standard_normal(n), HALF_LOG),
    "t3": (lambda r, n: r.standard_t(3, n), math.log(math.sqrt(3) * math.pi / 2) + 4 * math.log(2) - 2),
    "laplace": (lambda r, n: r.laplace(size=n), 1 + math.log(2)),
    "logistic": (lambda r, n: r.logistic(size=n), 2.0),
    "uniform": (lambda r, n: r.uniform(size=n), 0.0),
    "exponential": (lambda r, n: r.exponential(size=n), 1.0),
    "gamma(2)": (lambda r, n: r.gamma(2.0, size=n), 1 + EULER),
    "lognormal": (lambda r, n: r.lognormal(size=n), HALF_LOG),
    "generalised normal": (
        generalised_normal, 0.25 - math.log(4 / (2 * math.gamma(0.25))),
    ),
}  # fmt: skip


@pytest.mark.parametrize("m", [1, 2, 7, 19])
def test_the_entropy_equals_the_slow_one(m):
    x = np.random.default_rng(m).gamma(2.0, size=40)
    assert entropy(x, method=Spacing(m=m)) == pytest.approx(slow_entropy(x, m), abs=1e-12)


def slow_clustered_entropy(x):
    """The same for clusters: those left of and right of every gap, each with an m and ends of its own."""
    x, n = sorted(float(value) for value in x), len(x)
    q = max(6, round(math.log(n) / 2))
    starts = [0]
    for i in range(q, n - q - 1):
        if x[i + 1] - x[i] > 3 * max(x[i] - x[i - q], x[i + 1 + q] - x[i + 1]):
            starts.append(i + 1)
    total = 0.0
    for start, stop in itertools.pairwise([*starts, n]):
        m = min(max(2, round((stop - start) ** (1 / 3) / 2.5)), (stop - start - 1) // 2)
        for i in range(start, stop):
            low, high = max(i - m, start), min(i + m, stop - 1)
            total += math.log(x[high] - x[low]) - special.digamma(high - low) + 1 / (stop - start)
    return total / n + special.digamma(n)


@pytest.mark.parametrize(("n", "modes", "apart"), [(300, 2, 8.0), (1000, 20, 10.0), (200, 1, 0.0)])
def test_the_entropy_of_clusters_equals_the_slow_one(n, modes, apart):
    rng = np.random.default_rng(n)
    x = rng.standard_normal(n) + apart * rng.integers(modes, size=n)
    x *= 1e250  # and a unit whose squares are out of range
    assert entropy(x, method=Spacing()) == pytest.approx(slow_clustered_entropy(x), abs=1e-10)


@pytest.mark.parametrize(("n", "modes"), [(1000, 20), (10_000, 50), (1000, 5)])
def test_separated_clusters_are_unbiased(n, modes):
    """Of 25 samples; the mean error is below half a standard error, where it was 2 to 13 of them."""
    law = GaussianMixture(np.ones(modes), 10.0 * np.arange(modes), 1.0)
    h = [entropy(law.sample(n, rng=seed), method=Spacing()) for seed in range(25)]
    assert abs(np.mean(h) - law.entropy()) < 0.5 * h[0].standard_error


def test_uniform_clusters_are_unbiased_however_few_their_points():
    """ψ(n) + K/n: with 25 clusters of 20 points the last term is 0.05 nats, and the mean known to 0.005."""
    rng, errors = np.random.default_rng(0), []
    for _ in range(60):
        x = rng.uniform(size=500) + 1e4 * rng.integers(25, size=500)
        starts = np.flatnonzero(np.diff(np.sort(x)) > 100) + 1
        # Clusters of so few points that a gap is not seen would be joined with others.
        if np.diff(np.r_[0, starts, 500]).min() > 6:
            errors.append(entropy(x, method=Spacing()) - math.log(25))
    assert len(errors) > 10
    assert abs(np.mean(errors)) < 4 * np.std(errors) / math.sqrt(len(errors)) + 0.01


def test_smooth_densities_have_no_gaps():
    """Each of 5·10⁵ gaps passes for one with probability 6e-6: below 12 of them but once in 10⁴ draws."""
    rng, found = np.random.default_rng(0), 0
    for draw in (rng.standard_normal, rng.standard_cauchy, rng.exponential, rng.uniform, rng.laplace):
        for _ in range(10):
            apart = np.empty(9_987, dtype=np.bool_)
            gaps_apart(np.sort(draw(size=10_000)), 6, 3.0, apart)
            found += int(apart.sum())
    assert found < 12


def test_weighted_clusters_are_those_of_equal_weights():
    x = np.random.default_rng(0).standard_normal(400) + 12.0 * np.arange(4).repeat(100)
    plain = entropy(x, method=Spacing())
    weighted = entropy(x, method=Spacing(), weights=np.r_[1 + 1e-12, np.ones(399)])
    assert weighted == pytest.approx(float(plain), abs=1e-9)
    assert weighted.standard_error == pytest.approx(plain.standard_error, rel=1e-6)


def test_a_lattice_with_many_rows_on_each_place_is_no_set_of_clusters():
    x = np.random.default_rng(0).permutation(np.repeat(np.arange(100.0), 8))
    assert np.isfinite(spacing_terms(x, 10)[0]).all()


def test_the_conservative_interval_tells_of_clusters_too_small_to_be_seen():
    """6 points a mode: 0.6 nats too high. 20 samples, of which the plain interval covers none."""
    law, covered = GaussianMixture(np.ones(50), 10.0 * np.arange(50), 1.0), 0
    for seed in range(20):
        low, high = entropy(law.sample(300, rng=seed)).interval(method="conservative")
        covered += low < law.entropy() < high
    assert covered >= 8


@pytest.mark.parametrize(("n", "m"), [(20, 2), (64, 2), (1000, 4), (10_000, 9)])
def test_the_default_order_grows_as_the_cube_root_of_n(n, m):
    x = np.random.default_rng(0).standard_normal(n)
    assert entropy(x, method=Spacing()) == entropy(x, method=Spacing(m=m))


def test_uniform_data_on_their_own_range_are_unbiased_at_every_order_and_size():
    """E log of a spacing of n uniform points is ψ(o) − ψ(n + 1) exactly; tolerance 4 errors of the mean."""
    rng = np.random.default_rng(1)
    for n, m in ((20, 1), (20, 9), (50, 3)):
        values = [entropy(rng.uniform(size=n), method=Spacing(m=m)) for _ in range(600)]
        assert abs(np.mean(values)) < 4 * np.std(values) / math.sqrt(600), (n, m)


@pytest.mark.parametrize("m", [1, 2, 5])
def test_the_noise_of_uniform_spacings_is_that_of_cressie(m):
    """log f has no variance there, so all of it is the spacings'; 600 repeats tell an sd to 3 %.

    The ends, m of 600 points each, are noisier than the formula: 10 % covers them at m = 5.
    """
    rng = np.random.default_rng(2)
    fits = [Spacing(m=m).entropy(Sample.of(rng.uniform(size=600))) for _ in range(600)]
    spread = np.std([fit.value for fit in fits])
    stated = math.sqrt(spacing_terms(rng.uniform(size=600), m)[2] / 600)
    assert stated == pytest.approx(spread, rel=0.15)
    assert stated <= np.mean([fit.standard_error for fit in fits]) < 1.3 * spread


@pytest.mark.parametrize("family", FAMILIES)
def test_estimates_lie_within_their_errors_of_the_truth(family):
    """4 standard errors at n = 20 000; the bias, of the order of (m/n)^{1} at edges, is below one."""
    sampler, h = FAMILIES[family]
    estimate = entropy(sampler(np.random.default_rng(3), 20_000), method=Spacing())
    assert abs(estimate - h) < 4 * estimate.standard_error


def test_gaussian_data_are_measured_at_the_efficient_error():
    """sd(log f)/√n = 0.0224 at n = 1000; 200 repeats tell an RMSE to 5 %, tolerance 3 of these."""
    rng = np.random.default_rng(4)
    errors = [entropy(rng.standard_normal(1000), method=Spacing()) - HALF_LOG for _ in range(200)]
    assert math.sqrt(np.mean(np.square(errors))) < 1.15 * 0.0224 * 1.05


def test_a_far_outlier_hardly_matters():
    # Of its 2m + 1 neighbours' spacings each grows by log 1e6, which is 13.8·(2m + 1)/n = 0.12 at n = 1000.
    x = np.random.default_rng(5).standard_normal(1000)
    assert abs(entropy(np.r_[x, 1e6], method=Spacing()) - entropy(x, method=Spacing())) < 0.13


@settings(max_examples=25)
@given(
    seed=seeds,
    n=st.integers(20, 200),
    shift=st.floats(-1e3, 1e3),
    log_scale=st.floats(-600, 600),
    sign=st.sampled_from([-1, 1]),
)
def test_shifts_scales_reflections_and_the_order_of_rows(seed, n, shift, log_scale, sign):
    """Rounding of x + shift moves a spacing by 1e3·2⁻⁵³ of about 1/n: relative 1e-10."""
    rng = np.random.default_rng(seed)
    x, a = rng.standard_t(3, n), sign * math.exp(log_scale)
    one = Spacing().entropy(Sample.of(x))
    other = Spacing().entropy(Sample.of(a * (x + shift)))
    assert other.value == pytest.approx(one.value + log_scale, abs=1e-7)
    assert other.standard_error == pytest.approx(one.standard_error, rel=1e-6)
    order = rng.permutation(n)
    permuted = Spacing().entropy(Sample.of(x[order]))
    assert permuted.value == pytest.approx(one.value, abs=1e-12)
    np.testing.assert_allclose(permuted.influence, one.influence[order], atol=1e-12)


def test_the_influence_is_that_of_the_entropy():
    """−log f(x) − H within the noise of a spacing, √ψ₁(2m) = 0.24 at m = 9."""
    x = np.random.default_rng(6).standard_normal(10_000)
    fit = Spacing().entropy(Sample.of(x))
    assert abs(fit.influence.mean()) < 1e-12
    noise = fit.influence - (0.5 * x**2 - 0.5)
    assert np.std(noise[np.abs(x) < 2]) == pytest.approx(math.sqrt(special.polygamma(1, 18)), rel=0.1)


@pytest.mark.parametrize("family", ["normal", "laplace", "uniform", "gamma(2)"])
def test_standard_errors_match_the_spread_over_repeats(family):
    """200 repeats tell a standard deviation to 5 %: 0.82 to 1.2 is 3.5 of these."""
    rng = np.random.default_rng(7)
    fits = [Spacing().entropy(Sample.of(FAMILIES[family][0](rng, 500))) for _ in range(200)]
    ratio = np.mean([fit.standard_error for fit in fits]) / np.std([fit.value for fit in fits])
    assert 0.82 < ratio < 1.2


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_intervals_cover_the_truth(family):
    """Nominal 95 % over 400 repeats at n = 1000, binomial error 1.1 %: 4 errors."""
    rng, (sampler, h) = np.random.default_rng(8), FAMILIES[family]
    inside = 0
    for _ in range(400):
        low, high = entropy(sampler(rng, 1000), method=Spacing()).interval()
        inside += low <= h <= high
    assert inside / 400 > 0.906, inside / 400


def test_entropy_power_follows():
    x = np.random.default_rng(9).normal(scale=3.0, size=5000)
    power = entropy_power(x, method=Spacing())
    assert power == pytest.approx(9, abs=4 * power.standard_error)
    assert power.method == "spacing"


def test_bad_options_and_samples_are_refused():
    for m in (0, 1.5):
        with pytest.raises(ValueError, match="`m` must be a positive integer"):
            Spacing(m=m)
    rng = np.random.default_rng(10)
    with pytest.raises(ValueError, match="measures one variable, got d = 2 columns in `x`"):
        entropy(rng.standard_normal((50, 2)), method=Spacing())
    with pytest.raises(ValueError, match="must have at least 61 rows"):
        entropy(rng.standard_normal(60), method=Spacing(m=30))
    with pytest.raises(DegenerateSampleError, match="1 repeated rows"):
        entropy(np.r_[rng.standard_normal(50), 1.0, 1.0], method=Spacing())
    with pytest.raises(DegenerateSampleError, match="repeats a value more than 2 times"):
        spacing_terms(np.r_[rng.standard_normal(50), np.ones(5)], 2)


def test_only_entropy_is_offered():
    sample = Sample.of(np.random.default_rng(11).standard_normal(50))
    with pytest.raises(ValueError, match="method 'spacing' measures entropy only, not Fisher information"):
        Spacing().fisher(sample)
    with pytest.raises(ValueError, match="method 'spacing' measures entropy only, not the score"):
        Spacing().score(sample, None)
