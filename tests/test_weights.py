"""Weighted and counted rows: exact against slow versions, right on importance samples, refused elsewhere."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infoplane import KDE, KNN, DegenerateSampleError, Gaussian
from infoplane.estimators import Copula, LogSpline, Spacing, Stack, WeightedKNN
from infoplane.estimators.base import covariance
from infoplane.estimators.kernel_density import LineKernels, PairKernels
from infoplane.mass import Mass
from infoplane.sample import Sample
from tests import naive

seeds = st.integers(0, 2**32 - 1)
HALF_LOG = 0.5 * math.log(2 * math.pi * math.e)
WEIGHTED = [Gaussian(), KDE(), Spacing()]
# Log-splines place knots a little otherwise for weighted rows: their laws are in test_logspline.
ALL_WEIGHTED = [*WEIGHTED, LogSpline()]
shapes = st.sampled_from([(60, 1), (80, 2), (90, 3)])


def applicable(estimator, d):
    return d == 1 or estimator.name not in ("spacing", "logspline")


def numbers(estimator, sample):
    """Everything an estimator says, in one array."""
    h = estimator.entropy(sample)
    found = [h.value, h.standard_error, h.influence]
    if estimator.name != "spacing":
        j = estimator.fisher(sample)
        found += [j.matrix.ravel(), j.standard_error, j.influence, estimator.score(sample, None).ravel()]
        found += [estimator.score(sample, sample.whitened[:5] + 0.1).ravel()]
    return np.concatenate([np.atleast_1d(part) for part in found])


def draw(seed, shape):
    rng = np.random.default_rng(seed)
    return rng.standard_t(5, shape) @ rng.standard_normal((shape[1], shape[1])), rng.gamma(3.0, size=shape[0])


def importance_sample(rng, n, d, scale=1.5):
    """Points of N(0, scale² I) with the weights that make them a sample of N(0, I)."""
    x = scale * rng.standard_normal((n, d))
    return x, np.exp(-0.5 * (1 - scale**-2) * np.sum(x**2, axis=1))


# --- The mass of rows -------------------------------------------------------------------------------------


def test_the_mean_and_its_error_are_those_of_self_normalised_importance_sampling():
    rng = np.random.default_rng(0)
    w, terms = rng.gamma(2.0, size=50), rng.standard_normal(50)
    p = w / w.sum()
    mean, error, influence = Mass.of_weights(w).average(terms)
    assert mean == pytest.approx(p @ terms, abs=1e-15)
    variance = np.sum(p**2 * (terms - p @ terms) ** 2)
    assert error == pytest.approx(math.sqrt(variance / (1 - p @ p)), rel=1e-13)
    assert covariance(influence, influence) == pytest.approx(variance, rel=1e-12)
    assert Mass.of_weights(w).effective_n == pytest.approx(w.sum() ** 2 / (w @ w), rel=1e-13)


def test_counted_rows_average_like_repeated_ones():
    rng = np.random.default_rng(1)
    counts, terms = rng.integers(1, 6, 40), rng.standard_normal(40)
    repeated = np.repeat(terms, counts)
    mass = Mass.of_counts(counts.astype(float))
    mean, error, influence = mass.average(terms)
    assert mean == pytest.approx(repeated.mean(), abs=1e-15)
    assert error == pytest.approx(repeated.std(ddof=1) / math.sqrt(repeated.size), rel=1e-13)
    assert covariance(influence, influence) == pytest.approx(repeated.var() / repeated.size, rel=1e-12)
    assert mass.effective_n == mass.observations == counts.sum()
    levels = np.linspace(0, 1, 23)
    np.testing.assert_allclose(mass.quantiles(terms, levels), np.quantile(repeated, levels), atol=1e-12)


def test_weighted_quantiles_of_equal_weights_are_the_usual_ones():
    x, levels = np.random.default_rng(2).standard_normal(30), np.linspace(0, 1, 17)
    nearly = 1 + 1e-14 * np.arange(30)
    expected = np.quantile(x, levels)
    np.testing.assert_allclose(Mass.of_weights(nearly).quantiles(x, levels), expected, atol=1e-12)
    skewed = Mass.of_weights(np.arange(1.0, 31.0))
    np.testing.assert_allclose(skewed.quantiles(-x, levels), -skewed.quantiles(x, 1 - levels), atol=1e-12)


@settings(max_examples=25)
@given(seed=seeds, shape=shapes)
def test_weighted_whitening_gives_unit_weighted_covariance(seed, shape):
    x, w = draw(seed, shape)
    sample = Sample.of(x, weights=w)
    p, z = sample.mass.share, sample.whitened
    np.testing.assert_allclose(p @ z, 0, atol=1e-12)
    np.testing.assert_allclose((z.T * p) @ z / (1 - p @ p), np.eye(shape[1]), atol=1e-10)
    expected = np.atleast_2d(np.cov(x.T, aweights=w))
    assert sample.log_volume == pytest.approx(0.5 * np.linalg.slogdet(expected)[1], abs=1e-9)


# --- Laws -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("estimator", WEIGHTED, ids=lambda e: e.name)
@settings(max_examples=10)
@given(seed=seeds, shape=shapes, log_scale=st.floats(-600, 600))
def test_only_the_ratios_of_weights_matter(estimator, seed, shape, log_scale):
    x, w = draw(seed, shape)
    if applicable(estimator, shape[1]):
        one = numbers(estimator, Sample.of(x, weights=w))
        other = numbers(estimator, Sample.of(x, weights=w * math.exp(log_scale)))
        np.testing.assert_allclose(other, one, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("estimator", WEIGHTED, ids=lambda e: e.name)
@settings(max_examples=10)
@given(seed=seeds, shape=shapes)
def test_equal_weights_and_single_counts_change_nothing(estimator, seed, shape):
    x, _ = draw(seed, shape)
    if applicable(estimator, shape[1]):
        expected = numbers(estimator, Sample.of(x))
        for options in ({"weights": np.full(len(x), 0.3)}, {"counts": np.ones(len(x), dtype=int)}):
            np.testing.assert_allclose(numbers(estimator, Sample.of(x, **options)), expected, rtol=1e-12)


@pytest.mark.parametrize("estimator", WEIGHTED, ids=lambda e: e.name)
@settings(max_examples=10)
@given(seed=seeds, shape=shapes)
def test_nearly_equal_weights_change_nearly_nothing(estimator, seed, shape):
    """The weighted formulas, which equal weights do not reach, tend to the others."""
    x, w = draw(seed, shape)
    if applicable(estimator, shape[1]):
        found = numbers(estimator, Sample.of(x, weights=1 + 1e-13 * w))
        np.testing.assert_allclose(found, numbers(estimator, Sample.of(x)), rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("estimator", WEIGHTED, ids=lambda e: e.name)
@settings(max_examples=10)
@given(seed=seeds, shape=shapes)
def test_the_order_of_weighted_rows_does_not_matter(estimator, seed, shape):
    x, w = draw(seed, shape)
    if applicable(estimator, shape[1]):
        order = np.random.default_rng(seed).permutation(len(x))
        one = estimator.entropy(Sample.of(x, weights=w))
        other = estimator.entropy(Sample.of(x[order], weights=w[order]))
        assert other.value == pytest.approx(one.value, abs=1e-9)
        np.testing.assert_allclose(other.influence, one.influence[order], rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("estimator", WEIGHTED, ids=lambda e: e.name)
@settings(max_examples=10)
@given(seed=seeds, shape=shapes, log_scale=st.floats(-20, 20), shift=st.floats(-100, 100))
def test_weighted_estimates_follow_scale_and_translation(estimator, seed, shape, log_scale, shift):
    x, w = draw(seed, shape)
    if not applicable(estimator, shape[1]):
        return
    a = math.exp(log_scale)
    one, other = Sample.of(x, weights=w), Sample.of(a * (x + shift), weights=w)
    change = estimator.entropy(other).value - estimator.entropy(one).value
    assert change == pytest.approx(shape[1] * log_scale, abs=1e-6)
    if estimator.name != "spacing":
        # Binning moves points of a line by up to a four-hundredth of a standard deviation.
        tolerance = 0.05 if shape[1] == 1 else 1e-6
        expected, found = estimator.fisher(one).matrix, a**2 * estimator.fisher(other).matrix
        np.testing.assert_allclose(found, expected, atol=tolerance * np.trace(expected))


# --- Against slow versions --------------------------------------------------------------------------------


@pytest.mark.parametrize("d", [1, 3])
def test_counts_give_the_gaussian_estimates_of_the_repeated_rows(d):
    rng = np.random.default_rng(d)
    x, counts = rng.standard_normal((30, d)), rng.integers(1, 5, 30)
    counted, repeated = Sample.of(x, counts=counts), Sample.of(np.repeat(x, counts, axis=0))
    for measure, figure in ((Gaussian().entropy, "value"), (Gaussian().fisher, "matrix")):
        one, other = measure(counted), measure(repeated)
        np.testing.assert_allclose(getattr(one, figure), getattr(other, figure), rtol=1e-12)
        assert one.standard_error == pytest.approx(other.standard_error, rel=1e-12)
    np.testing.assert_allclose(
        np.repeat(Gaussian().score(counted, None), counts, axis=0),
        Gaussian().score(repeated, None),
        rtol=1e-9,
    )


@pytest.mark.parametrize("m", [1, 2, 5])
def test_the_weighted_spacing_entropy_equals_the_slow_one(m):
    rng = np.random.default_rng(m)
    x, w = rng.gamma(2.0, size=40), rng.gamma(2.0, size=40)
    found = Spacing(m=m).entropy(Sample.of(x, weights=w)).value
    assert found == pytest.approx(naive.weighted_spacing_entropy(x, w, m), abs=1e-12)


@pytest.mark.parametrize(("d", "power"), [(1, 0.0), (2, 0.5), (3, 0.0)])
@pytest.mark.parametrize("kind", ["weights", "counts"])
def test_kernel_densities_of_massed_rows_equal_the_slow_ones(kind, d, power):
    rng = np.random.default_rng(d)
    z, h = rng.standard_normal((24, d)), 0.6
    if kind == "weights":
        mass = Mass.of_weights(rng.gamma(2.0, size=24))
    else:
        mass = Mass.of_counts(rng.integers(1, 4, 24).astype(float))
    p, u = mass.share, mass.unit
    kernels = PairKernels(z, power, mass=mass)
    own = np.array([0, 11, 23])
    found = kernels.log_density(z[own], own, np.array([h]))[:, 0]
    expected = [math.log(naive.massed_density(z, z[i], h, power, p, u, i)) for i in own]
    np.testing.assert_allclose(found, expected, atol=1e-11)
    at = np.full((1, d), 0.3)
    found = kernels.log_density(at, None, np.array([h]))[0, 0]
    assert found == pytest.approx(math.log(naive.massed_density(z, at[0], h, power, p, u)), abs=1e-11)

    field = kernels.field(z[own], own, h)
    for row, i in enumerate(own):
        bandwidths = naive.massed_bandwidths(z, power, i)

        def density(point, i=i, bandwidths=bandwidths):
            b, left = h * bandwidths, p - u * (np.arange(24) == i)
            terms = np.exp(-0.5 * np.sum((point - z) ** 2, axis=1) / b**2) / (b * math.sqrt(2 * math.pi)) ** d
            return (1 - p @ u) * (left @ terms) / left.sum() + p @ u * naive.background(point)

        np.testing.assert_allclose(field.score[row], naive.log_gradient(density, z[i]), atol=1e-8)
        np.testing.assert_allclose(field.jacobian[row], naive.log_hessian(density, z[i]), atol=1e-4)
    if kind == "counts":
        variances = [naive.massed_score_variance(z, i, h, power, p, u) for i in own]
        np.testing.assert_allclose(field.variance, np.average(variances, axis=0, weights=p[own]), rtol=1e-9)


@pytest.mark.parametrize("kind", ["weights", "counts"])
def test_the_binned_field_of_massed_points_equals_the_direct_one(kind):
    rng = np.random.default_rng(3)
    z = rng.standard_normal(300)
    if kind == "weights":
        mass = Mass.of_weights(rng.gamma(2.0, size=300))
    else:
        mass = Mass.of_counts(rng.integers(1, 4, 300).astype(float))
    line = LineKernels(z, bandwidth=0.3, mass=mass)
    field = line.own_field()
    rounded = line._binned.values[line._binned.inverse][:, None]
    # Kernels of equal width take rows that coincide.
    direct = PairKernels(rounded, mass=mass).field(rounded, np.arange(300), 0.3).in_units_of(line.scale)
    np.testing.assert_allclose(field.score, direct.score, atol=1e-6)
    np.testing.assert_allclose(field.jacobian, direct.jacobian, atol=1e-5)
    np.testing.assert_allclose(field.variance, direct.variance, rtol=1e-6)


def test_counts_on_a_line_give_the_field_of_the_repeated_points_exactly():
    rng = np.random.default_rng(4)
    z = np.round(rng.standard_normal(400), 1)
    values, counts = np.unique(z, return_counts=True)
    for bandwidth in (0.3, None):
        counted = LineKernels(values, bandwidth, mass=Mass.of_counts(counts.astype(float)), rounding=0.1)
        repeated = LineKernels(np.repeat(values, counts), bandwidth, rounding=0.1)
        assert counted.bandwidth == pytest.approx(repeated.bandwidth, rel=1e-9)
        one, other = counted.own_field(), repeated.own_field()
        np.testing.assert_allclose(np.repeat(one.score, counts, axis=0), other.score, rtol=1e-8, atol=1e-9)
        np.testing.assert_allclose(one.variance, other.variance, rtol=1e-8)


# --- Truth ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("d", [1, 2])
@pytest.mark.parametrize("estimator", ALL_WEIGHTED, ids=lambda e: e.name)
def test_importance_weights_recover_the_target(estimator, d):
    """N(0, 1.5² I) weighted to N(0, I): within 4 errors and the bias of unweighted data, .01 d and 4 %."""
    if not applicable(estimator, d):
        return
    x, w = importance_sample(np.random.default_rng(5), 3000, d)
    sample = Sample.of(x, weights=w)
    h = estimator.entropy(sample)
    assert abs(h.value - d * HALF_LOG) < 4 * h.standard_error + 0.01 * d
    proposal = d * (HALF_LOG + math.log(1.5))
    assert abs(h.value - proposal) > 8 * h.standard_error, "the test tells target and proposal apart"
    if estimator.name != "spacing":
        j = estimator.fisher(sample)
        assert abs(np.trace(j.matrix) - d) < 4 * j.standard_error + 0.04 * d


def test_a_target_of_another_shape_is_recovered():
    """Student's t (ν = 4, doubled) weighted to the logistic: H = 2, J = 1/3; tolerances as above."""
    x = 2 * np.random.default_rng(6).standard_t(4, 4000)
    log_weights = -x - 2 * np.logaddexp(0, -x) + 2.5 * np.log1p((x / 2) ** 2 / 4)
    sample = Sample.of(x, weights=np.exp(log_weights))
    for estimator in (KDE(), Spacing(), LogSpline()):
        h = estimator.entropy(sample)
        assert abs(h.value - 2) < 4 * h.standard_error + 0.01
    for estimator in (KDE(), LogSpline()):
        j = estimator.fisher(sample)
        assert abs(j.matrix[0, 0] - 1 / 3) < 4 * j.standard_error + 0.04 / 3


@pytest.mark.parametrize("estimator", ALL_WEIGHTED, ids=lambda e: e.name)
def test_the_stated_error_is_the_spread_over_repeats(estimator):
    """200 samples tell a standard deviation to 5 %; tolerance 4 of that, as for the unweighted methods."""
    rng = np.random.default_rng(7)
    # Pair sums cost n².
    n = 300 if estimator.name == "kde" else 1000
    fits = [
        estimator.entropy(Sample.of(x, weights=w))
        for x, w in (importance_sample(rng, n, 1) for _ in range(200))
    ]
    spread = np.std([fit.value for fit in fits], ddof=1)
    assert np.mean([fit.standard_error for fit in fits]) == pytest.approx(spread, rel=0.2)
    if estimator.name == "gaussian":
        fits = [
            estimator.fisher(Sample.of(x, weights=w))
            for x, w in (importance_sample(rng, n, 1) for _ in range(200))
        ]
        spread = np.std([fit.matrix[0, 0] for fit in fits], ddof=1)
        assert np.mean([fit.standard_error for fit in fits]) == pytest.approx(spread, rel=0.2)


@pytest.mark.parametrize(("d", "step"), [(1, 0.1), (1, 0.4), (2, 0.25)])
def test_counts_of_rounded_data_give_the_density_between_them(d, step):
    """N(0, I) rounded: H + d δ²/24 to d δ²/12, J (1 − δ²/6); 4 errors, and .01 d and 4 % as for exact data.

    The likelihood of a bandwidth grows without bound below the step, and must not be followed there.
    """
    x = step * np.rint(np.random.default_rng(8).standard_normal((2000, d)) / step)
    values, counts = np.unique(x, axis=0, return_counts=True)
    sample = Sample.of(values, counts=counts)
    h, j = KDE().entropy(sample), KDE().fisher(sample)
    assert abs(h.value - d * (HALF_LOG + step**2 / 16)) < 4 * h.standard_error + 0.01 * d + d * step**2 / 48
    assert abs(np.trace(j.matrix) - d * (1 - step**2 / 6)) < 4 * j.standard_error + 0.04 * d


@pytest.mark.parametrize("steps", [16, 40.3])
def test_many_rows_on_a_lattice_show_no_waves_between_its_steps(steps):
    """Kernels are then as narrow as a step: J (1 − δ²/6) of N(0, 1), a thousandth of bias, 3 errors."""
    x = np.round(np.random.default_rng(0).standard_normal(10**6) * steps) / steps
    values, counts = np.unique(x, return_counts=True)
    fit = KDE().fisher(Sample.of(values, counts=counts))
    assert fit.standard_error < 0.005
    assert abs(fit.matrix[0, 0] - (1 - 1 / (6 * steps**2))) < 3 * fit.standard_error + 1e-3


def test_weights_that_vanish_in_the_tails_break_nothing():
    x = np.random.default_rng(9).normal(scale=4.0, size=3000)
    w = np.exp(-7.5 * x**2 / 16)
    assert w.min() < 1e-30
    sample = Sample.of(x, weights=w)
    for estimator in ALL_WEIGHTED:
        h = estimator.entropy(sample)
        assert abs(h.value - HALF_LOG) < 4 * h.standard_error + 0.02, estimator
    j = KDE().fisher(sample)
    assert abs(j.matrix[0, 0] - 1) < 4 * j.standard_error + 0.05


# --- Faults -----------------------------------------------------------------------------------------------

X = np.random.default_rng(10).standard_normal(100)
ONES = np.ones(100)


@pytest.mark.parametrize(
    ("weights", "error", "message"),
    [
        (np.r_[ONES[1:], 0], ValueError, r"`weights` must be positive, got 0.0 in row 99 \(1 such rows"),
        (-ONES, ValueError, "`weights` must be positive, got -1.0 in row 0"),
        (np.r_[ONES[1:], np.nan], ValueError, "`weights` must be finite, got nan in row 99"),
        (np.r_[ONES[1:], np.inf], ValueError, "`weights` must be finite"),
        (ONES[:50], ValueError, r"`weights` must have shape \(100,\), one a row, got \(50,\)"),
        (ONES[:, None], ValueError, r"`weights` must have shape \(100,\)"),
        (1.0, ValueError, r"`weights` must have shape \(100,\), one a row, got \(\)"),
        (np.r_[1e9, ONES[1:]], ValueError, r"100 weighted as unequally as 1 equal ones \(1/Σ w²\)"),
        (np.r_[1e-320, ONES[1:]], ValueError, "`weights` must be positive"),
        (np.full(100, "a"), TypeError, "`weights` must hold real numbers"),
    ],
)
def test_faulty_weights_are_refused(weights, error, message):
    with pytest.raises(error, match=message):
        Sample.of(X, weights=weights)


@pytest.mark.parametrize(
    ("counts", "error", "message"),
    [
        (np.r_[ONES[1:], 0], ValueError, "`counts` must be positive, got 0.0 in row 99"),
        (1.5 * ONES, ValueError, "`counts` must be whole numbers, got 1.5 in row 0"),
        (ONES[:50], ValueError, r"`counts` must have shape \(100,\)"),
    ],
)
def test_faulty_counts_are_refused(counts, error, message):
    with pytest.raises(error, match=message):
        Sample.of(X, counts=counts)


def test_weights_and_counts_exclude_each_other():
    with pytest.raises(ValueError, match="`weights` and `counts` must not be given together"):
        Sample.of(X, weights=ONES, counts=ONES)


UNWEIGHTED = [KNN(), WeightedKNN(), Stack(), Copula(), Copula(axes="independent")]


@pytest.mark.parametrize("estimator", UNWEIGHTED, ids=lambda e: str(e)[:24])
@pytest.mark.parametrize("options", [{"weights": np.arange(1.0, 101)}, {"counts": np.arange(1, 101)}])
def test_methods_without_weights_say_so(estimator, options):
    sample = Sample.of(np.random.default_rng(11).standard_normal((100, 2)), **options)
    (kind,) = options
    for measure in (estimator.entropy, estimator.fisher, lambda s: estimator.score(s, None)):
        with pytest.raises(ValueError, match=f"takes no `{kind}`|measures? .* only"):
            measure(sample)


def test_spacings_take_no_counts():
    with pytest.raises(ValueError, match=r"method 'spacing' takes no `counts`.*np.repeat\(x, counts"):
        Spacing().entropy(Sample.of(np.round(X, 6), counts=np.arange(1, 101)))


def test_kernels_refuse_counts_of_values_that_are_not_rounded():
    sample = Sample.of(X, counts=np.arange(1, 101))
    with pytest.raises(DegenerateSampleError, match=r"column 0 of `x` lies on no lattice.*take `weights`"):
        KDE().entropy(sample)
    coarse = Sample.of([0.0, 1.0, 2.0], counts=[30, 40, 30])
    with pytest.raises(DegenerateSampleError, match="discrete"):
        KDE().fisher(coarse)
    assert math.isfinite(Gaussian().entropy(coarse).value)


def test_too_unequal_weights_are_too_few_rows():
    sample = Sample.of(X, weights=np.exp(np.linspace(0, 20, 100)))
    with pytest.raises(
        ValueError, match=r"at least 20 rows for method 'kde'.*100 weighted as unequally as 9.9"
    ):
        KDE().entropy(sample)
