"""The log-spline: its slow version, closed forms, clusters and outliers, edges, laws, and its errors."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import gamma

from infoplane import (
    Histogram,
    InfoplaneWarning,
    entropy,
    fisher_information,
    fisher_shannon,
    fisher_trace,
    score,
)
from infoplane.estimators.edges import infinite_at_an_edge
from infoplane.estimators.logspline import LogSpline
from infoplane.estimators.spline_density import SplineDensity
from infoplane.mass import Mass
from infoplane.sample import Sample
from tests import naive_logspline

HALF_LOG = 0.5 * math.log(2 * math.pi * math.e)
METHOD = LogSpline()
seeds = st.integers(0, 2**32 - 1)


def two_normals(rng, n):
    return rng.standard_normal(n) + 1.5 * rng.choice([-1, 1], n)


def generalised_normal(rng, n):
    """Density ∝ exp(−x⁴)."""
    return rng.choice([-1, 1], n) * rng.gamma(0.25, size=n) ** 0.25


FAMILIES = {
    # name: (sampler, H, J, efficiency bound of the relative error of J times √n); exact, or by quadrature.
    "normal": (lambda r, n: r.standard_normal(n), HALF_LOG, 1.0, 1.41),
    "t5": (lambda r, n: r.standard_t(5, n), 1.6275026723871296, 0.75, 1.91),
    "logistic": (lambda r, n: r.logistic(size=n), 2.0, 1 / 3, 1.79),
    "exp(−x⁴)": (
        generalised_normal, 0.25 + math.log(0.5 * math.gamma(0.25)), 16 * gamma(1.75) / gamma(0.25), 2.03,
    ),
    "two normals": (two_normals, 1.9457158, 0.5562044, 2.63),
    "cauchy": (lambda r, n: r.standard_cauchy(n), math.log(4 * math.pi), 0.5, 3.54),
}  # fmt: skip


# --- Against the slow version -----------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 1])
def test_the_spline_density_equals_the_slow_one(seed):
    # The slow one integrates by a midpoint rule, to about 1e-5 of each quantity.
    rng = np.random.default_rng(seed)
    x = np.sort(rng.standard_normal(150) if seed else two_normals(rng, 150) / 1.5)
    for smoother in (False, True):
        fast, slow = SplineDensity(x, 12), naive_logspline.LogSpline(x, 12, smoother=smoother)
        np.testing.assert_allclose(fast._knots, slow.grid, atol=1e-10)
        field = fast.own_field(smoother=smoother)
        for name, found, expected in zip(field._fields, field, slow.field(), strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-3, atol=2e-4 * np.std(expected), err_msg=name)


@pytest.mark.parametrize("kind", ["weights", "counts"])
def test_the_spline_density_of_unequal_rows_equals_the_slow_one(kind):
    rng = np.random.default_rng(2)
    x = np.sort(two_normals(rng, 150) / 1.5)
    if kind == "weights":
        mass = Mass.of_weights(rng.exponential(size=150))
    else:
        mass = Mass.of_counts(rng.integers(1, 4, 150).astype(float))
    fast = SplineDensity(x, 12, mass)
    slow = naive_logspline.LogSpline(x, 12, share=mass.share, unit=mass.unit)
    np.testing.assert_allclose(fast._knots, slow.grid, atol=1e-10)
    field = fast.own_field()
    for name, found, expected in zip(field._fields, field, slow.field(), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=2e-4 * np.std(expected), err_msg=name)


def test_the_estimates_are_the_means_over_the_leave_one_out_field():
    x = 3.0 + 2.0 * two_normals(np.random.default_rng(2), 200)
    center = np.median(x)
    scale = min(x.std(ddof=1), np.subtract(*np.quantile(x, [0.75, 0.25])) / 1.349)
    t = (x - center) / scale
    log_density, leverage, s, slope, variance = naive_logspline.LogSpline(t, 16).field()
    _, _, smooth_s, smooth_slope, smooth_variance = naive_logspline.LogSpline(t, 16, smoother=True).field()
    terms = (-2 * slope - s**2) / scale**2
    noise = variance.mean() / scale**2
    rise = terms.mean() + noise - np.mean(smooth_variance - 2 * smooth_slope - smooth_s**2) / scale**2
    assert rise > 0
    assert terms.mean() + noise > 1 / x.var(), "Cramér–Rao is not in play"
    j, h = fisher_trace(x, method=LogSpline(knots=16)), entropy(x, method=LogSpline(knots=16))
    assert j == pytest.approx(terms.mean() + noise, rel=1e-4)
    assert j.standard_error == pytest.approx(math.hypot(terms.std(ddof=1) / 200**0.5, noise, rise), rel=1e-3)
    assert h == pytest.approx(math.log(scale) - np.mean(log_density + leverage / 2), abs=1e-5)
    np.testing.assert_allclose(score(x, method=LogSpline(knots=16))[:, 0], s / scale, atol=1e-4)


def test_leaving_a_point_out_to_first_order_is_close_to_refitting_without_it():
    # The next order is 1/n of the change itself, times a few for points with much leverage.
    x = np.random.default_rng(3).standard_normal(120)
    slow = naive_logspline.LogSpline(x, 8)
    penalty = 0.1 * np.eye(slow.theta.size)
    theta, hessian = slow.fit(slow.theta, slow.mean, penalty)
    for i in (0, 40, 80):
        others = (120 * slow.mean - slow.phi[0][i]) / 119
        refitted = slow.fit(theta, others, penalty)[0] - theta
        first_order = -np.linalg.solve(hessian, slow.phi[0][i] - slow.mean) / 120
        assert np.linalg.norm(refitted - first_order) < 0.1 * np.linalg.norm(refitted)


@pytest.mark.filterwarnings("ignore::infoplane.InfoplaneWarning")
@pytest.mark.parametrize("law", ["normal", "t", "lognormal", "cauchy"])
def test_gathering_many_points_into_cells_changes_nothing_that_matters(law):
    """A cell is 1/64 of a knot interval wide, about 0.004 sd: J moves by far less than its error of 1.4 %.

    In far tails, whose points are compressed, the cells are as narrow there.
    """
    rng = np.random.default_rng(4)
    x = {
        "normal": rng.standard_normal(10_000),
        "t": rng.standard_t(3, 10_000),
        "lognormal": rng.lognormal(size=10_000),
        "cauchy": rng.standard_cauchy(10_000),
    }[law]
    with pytest.MonkeyPatch.context() as patch:
        gathered = fisher_shannon(x, method=METHOD)
        patch.setattr("infoplane.estimators.spline_density._EXACT", 20_000)
        exact = fisher_shannon(x, method=METHOD)
    assert gathered.fisher_trace == pytest.approx(float(exact.fisher_trace), rel=1e-3)
    assert gathered.entropy == pytest.approx(float(exact.entropy), abs=1e-4)


# --- Closed forms -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_estimates_lie_within_four_errors_of_the_truth(family):
    sampler, h, j, _ = FAMILIES[family]
    point = fisher_shannon(sampler(np.random.default_rng(5), 4000), method=METHOD)
    assert abs(point.entropy - h) < 4 * point.entropy.standard_error
    assert abs(point.fisher_trace - j) < 4 * point.fisher_trace.standard_error


@pytest.mark.parametrize(("n", "repeats"), [(100, 60), (1000, 40)])
def test_gaussian_data_show_no_positive_bias(n, repeats):
    """The leak test: 4 errors of the mean; 2 % (n = 100) is the cost of J ≥ 1/σ̂², a maximum of two."""
    rng = np.random.default_rng(6)
    j = [fisher_trace(rng.standard_normal(n), method=METHOD) for _ in range(repeats)]
    assert np.mean(j) - 1 < 4 * np.std(j) / math.sqrt(repeats) + (0.02 if n == 100 else 0.005)
    assert np.mean(j) - 1 > -4 * np.std(j) / math.sqrt(repeats)


def test_the_score_is_that_of_the_density():
    x = np.random.default_rng(7).logistic(size=10_000)
    at = np.linspace(-4, 4, 33)
    # Pointwise standard deviation about (n f h³)^{-1/2}, 0.03 to 0.08; 4 of the largest.
    np.testing.assert_allclose(score(x, at, method=METHOD)[:, 0], -np.tanh(at / 2), atol=0.3)


def test_beyond_the_sample_the_score_stays_finite_and_points_back():
    x = np.random.default_rng(8).standard_normal(500)
    far = score(x, [-1e6, -50.0, 50.0, 1e6], method=METHOD)[:, 0]
    assert (far * [1, 1, -1, -1] > 1).all()
    assert (np.abs(far) < 20).all()


# --- Clusters, outliers, tails, edges ---------------------------------------------------------------------


@pytest.mark.parametrize("outlier", [6.0, 10.0, 30.0, 1e3, 1e9])
def test_one_outlier_changes_the_fisher_information_by_less_than_five_percent(outlier):
    x = np.random.default_rng(8).standard_normal(1000)
    without = float(fisher_trace(x, method=METHOD))
    assert fisher_trace(np.r_[x, outlier], method=METHOD) == pytest.approx(without, rel=0.05)


def test_scattered_outliers_are_recognised_one_by_one():
    x = np.random.default_rng(8).standard_normal(1000)
    both = np.r_[x, 1e3, 2e3, -500.0, 1e6]
    assert fisher_trace(both, method=METHOD) == pytest.approx(float(fisher_trace(x, method=METHOD)), rel=0.05)


def test_distant_clusters_of_any_width_add_up():
    """J = Σ π J_c and H = Σ π (H_c − log π_c): widths 1e-3, 1 and 100; 4 standard errors."""
    rng = np.random.default_rng(9)
    parts = [rng.standard_normal(m) * a + b for m, a, b in ((800, 1e-3, 0), (600, 1, 50), (600, 100, 1e4))]
    x = np.concatenate(parts)
    point = fisher_shannon(x, method=METHOD)
    assert abs(point.fisher_trace - 0.4e6) < 4 * point.fisher_trace.standard_error
    h = 0.4 * math.log(1e-3 / 0.4) + 0.3 * math.log(1 / 0.3) + 0.3 * math.log(100 / 0.3) + HALF_LOG
    assert abs(point.entropy - h) < 4 * point.entropy.standard_error
    s = score(x, [1e-3, 51.0, 9900.0], method=METHOD)[:, 0]
    np.testing.assert_allclose(s * [1e-3, 1.0, 100], [-1, -1, 1], atol=0.5)


def test_a_sample_of_nothing_but_small_groups_is_fitted_as_a_whole():
    x = np.concatenate([c + 0.01 * np.random.default_rng(c).standard_normal(7) for c in (0, 1, 2)])
    point = fisher_shannon(x, method=METHOD)
    assert math.isfinite(point.entropy)
    assert point.fisher_trace > 0


def test_a_score_far_from_normal_tails_is_continuous_through_the_compression():
    x = np.random.default_rng(10).standard_cauchy(4000)
    at = np.array([-20.0, -3.0, 3.0, 20.0])
    expected = -2 * at / (1 + at**2)
    np.testing.assert_allclose(score(x, at, method=METHOD)[:, 0], expected, atol=0.15)


@pytest.mark.parametrize("draw", ["random", "standard_exponential"])
def test_a_density_that_ends_in_a_jump_is_announced(draw):
    x = getattr(np.random.default_rng(11), draw)(size=4000)
    with pytest.warns(InfoplaneWarning, match="the density of `x` seems to end in a jump") as record:
        fisher_trace(x, method=METHOD)
    assert record[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        entropy(x, method=METHOD)


@pytest.mark.parametrize("family", FAMILIES)
def test_smooth_densities_raise_no_alarm(family):
    """None in 100 samples: at a true rate of 1 % that would have probability 0.37, of 5 % 0.006."""
    rng = np.random.default_rng(12)
    assert not any(infinite_at_an_edge(np.sort(FAMILIES[family][0](rng, 1000))) for _ in range(100))


# --- Laws -------------------------------------------------------------------------------------------------


@settings(max_examples=10)
@given(seed=seeds, shift=st.floats(-1e3, 1e3), log_scale=st.floats(-20, 20), sign=st.sampled_from([-1, 1]))
def test_translation_scale_and_reflection(seed, shift, log_scale, sign):
    rng = np.random.default_rng(seed)
    x = [rng.standard_normal, lambda m: rng.standard_t(2, m), lambda m: rng.gamma(3, size=m)][seed % 3](80)
    a = sign * math.exp(log_scale)
    one, other = fisher_shannon(x, method=METHOD), fisher_shannon(a * (x + shift), method=METHOD)
    # Rounding of x + shift, 1e-13, magnified by differences of nearby points and by the path of penalties.
    assert other.entropy == pytest.approx(one.entropy + log_scale, abs=1e-5)
    assert other.fisher_trace * a**2 == pytest.approx(float(one.fisher_trace), rel=1e-4)
    assert other.product.standard_error == pytest.approx(one.product.standard_error, rel=1e-2, abs=1e-4)


@settings(max_examples=8)
@given(seed=seeds)
def test_the_order_of_rows_does_not_matter(seed):
    rng = np.random.default_rng(seed)
    x = rng.standard_t(3, 90)
    order = rng.permutation(90)
    one, other = fisher_shannon(x, method=METHOD), fisher_shannon(x[order], method=METHOD)
    # Sums in another order differ by 1e-16, magnified by the path of penalties.
    assert other.entropy == pytest.approx(float(one.entropy), abs=1e-6)
    assert other.fisher_trace == pytest.approx(float(one.fisher_trace), rel=1e-5)
    np.testing.assert_allclose(
        score(x[order], method=METHOD), score(x, method=METHOD)[order], rtol=1e-5, atol=1e-5
    )


@settings(max_examples=10)
@given(seed=seeds, n=st.integers(20, 120))
def test_every_small_sample_gives_an_admissible_answer(seed, n):
    """J ≥ (n − 3)/(n − 1)/S, Cramér–Rao; the influences have mean zero and finite size."""
    x = np.random.default_rng(seed).standard_cauchy(n)
    sample = Sample.of(x)
    fit, shannon = METHOD.fisher(sample), METHOD.entropy(sample)
    assert fit.matrix[0, 0] >= (1 - 1e-12) * (n - 3) / (n - 1) / x.var(ddof=1)
    assert np.isfinite([fit.standard_error, shannon.value, shannon.standard_error]).all()
    assert abs(fit.influence.mean()) < 1e-9 * np.abs(fit.influence).max()
    assert abs(shannon.influence.mean()) < 1e-9 * np.abs(shannon.influence).max()


@pytest.mark.parametrize("log10_scale", [-200, 200])
def test_extreme_units(log10_scale):
    x = np.random.default_rng(13).standard_normal(300)
    moved = entropy(x * 10.0**log10_scale, method=METHOD) - log10_scale * math.log(10)
    assert moved == pytest.approx(float(entropy(x, method=METHOD)), abs=1e-5)
    relative = score(x * 10.0**log10_scale, method=METHOD) * 10.0**log10_scale
    np.testing.assert_allclose(relative, score(x, method=METHOD), atol=1e-4)
    with pytest.raises(OverflowError, match="rescale `x`"):
        fisher_information(x * 10.0**log10_scale, method=METHOD)


def test_what_cannot_be_measured_is_refused():
    x = np.random.default_rng(14).standard_normal((50, 2))
    with pytest.raises(ValueError, match=r"`x` must have one column for method 'logspline', got d = 2"):
        entropy(x, method=METHOD)
    with pytest.raises(ValueError, match="at least 20 rows for method 'logspline'"):
        fisher_trace(x[:19, 0], method=METHOD)
    with pytest.raises(ValueError, match="repeated rows"):
        fisher_trace(np.round(x[:, 0], 1), method=METHOD)
    with pytest.raises(ValueError, match="`knots` must be an integer of at least 6, got 5"):
        LogSpline(knots=5)


# --- Weights and counts -----------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::infoplane.InfoplaneWarning")
@pytest.mark.parametrize("law", ["normal", "two normals", "cauchy", "clusters", "many"])
def test_nearly_equal_weights_are_no_weights(law):
    """Weights apart by 1e-9 go the way of all weights; only knots are placed by another rule."""
    rng = np.random.default_rng(20)
    x = {
        "normal": rng.standard_normal(1000),
        "two normals": two_normals(rng, 1000),
        "cauchy": rng.standard_cauchy(1000),
        "clusters": np.r_[rng.standard_normal(600), 1e4 + 100 * rng.standard_normal(400), 1e7],
        "many": rng.logistic(size=6000),
    }[law]
    one = fisher_shannon(x, method=METHOD)
    other = fisher_shannon(x, method=METHOD, weights=1 + 1e-9 * rng.random(x.size))
    for name in ("entropy", "fisher_trace"):
        a, b = getattr(one, name), getattr(other, name)
        assert abs(a - b) < 0.02 * a.standard_error, name
        assert b.standard_error == pytest.approx(a.standard_error, rel=0.02)
    assert other.product.standard_error == pytest.approx(one.product.standard_error, rel=0.05)


@pytest.mark.filterwarnings("ignore::infoplane.InfoplaneWarning")
@pytest.mark.parametrize("law", ["standard_normal", "standard_cauchy", "laplace", "logistic"])
def test_a_histogram_has_the_fisher_information_of_its_rows(law):
    x = getattr(np.random.default_rng(21), law)(size=20_000)
    counted, whole = Histogram().update(x).fisher_trace(), fisher_trace(x)
    assert counted.method == whole.method == "logspline"
    assert abs(counted - whole) < 0.02 * whole.standard_error
    assert counted.standard_error == pytest.approx(whole.standard_error, rel=0.02)


@pytest.mark.parametrize(
    ("law", "step"), [("normal", 0.1), ("normal", 0.25), ("cauchy", 0.1), ("cauchy", 0.25), ("cauchy", 0.5)]
)
def test_counts_are_repeated_rows(law, step):
    """Noise that tells those apart takes as much from J as rounding does, δ²/12 E[(log f)″²] each.

    At 200,000 rows cells would show: knots closer than two of them gave J = 1262 for Cauchy's at half a unit.
    Left is 1.5 % of J for the next order in δ.
    """
    rng = np.random.default_rng(22)
    x, truth, rate = {
        "normal": (rng.standard_normal(200_000), 1.0, 1.0),
        "cauchy": (rng.standard_cauchy(200_000), 0.5, 0.875),
    }[law]
    cells, counts = np.unique(np.rint(x / step), return_counts=True)
    found = fisher_trace(cells * step, counts=counts)
    repeated = fisher_trace(np.repeat(cells * step, counts), ties="dither", rng=0)
    assert found.method == "logspline"
    assert found.n == repeated.n == 200_000
    assert found - repeated == pytest.approx(rate * step**2 / 12, abs=0.015 * truth)
    assert found == pytest.approx(truth - rate * step**2 / 12, abs=4 * found.standard_error + 0.015 * truth)
    assert found.standard_error == pytest.approx(repeated.standard_error, rel=0.1)


def test_weighted_rows_tell_of_the_law_they_are_weighted_to():
    """Laplace draws weighted to the normal law: 60 repeats tell a deviation to 9 %, 4 errors of it."""
    rng = np.random.default_rng(23)
    points = []
    for _ in range(60):
        x = rng.laplace(scale=1.2, size=800)
        weights = np.exp(np.abs(x) / 1.2 - x**2 / 2)
        points.append(fisher_shannon(x, method=METHOD, weights=weights))
    for name, truth in (("entropy", HALF_LOG), ("fisher_trace", 1.0)):
        values = [getattr(point, name) for point in points]
        spread = np.std(values)
        assert abs(np.mean(values) - truth) < 4 * spread / math.sqrt(60) + 0.01 * truth
        assert 0.65 < np.mean([value.standard_error for value in values]) / spread < 1.5
    assert fisher_trace(x, weights=weights).method == "logspline"


@pytest.mark.parametrize("draw", ["random", "standard_exponential"])
@pytest.mark.parametrize("kind", ["weights", "histogram"])
def test_jumps_are_announced_of_unequal_rows_too(draw, kind):
    rng = np.random.default_rng(24)
    x = getattr(rng, draw)(size=20_000)
    measure = Histogram().update(x).fisher_trace
    if kind == "weights":
        measure = lambda: fisher_trace(x, weights=0.5 + rng.random(x.size))  # noqa: E731
    with pytest.warns(InfoplaneWarning, match="seems to end in a jump"):
        measure()


@pytest.mark.parametrize("family", ["normal", "logistic", "cauchy"])
def test_smooth_densities_raise_no_alarm_by_weights(family):
    rng = np.random.default_rng(25)
    for _ in range(60):
        x = np.sort(FAMILIES[family][0](rng, 1000))
        assert not infinite_at_an_edge(x, Mass.of_weights(0.5 + rng.random(1000)))


# --- Standard errors --------------------------------------------------------------------------------------


def test_standard_errors_match_the_spread_over_repeats():
    """80 repeats tell a standard deviation to 8 %: the ratio lies within 4 of these of 1."""
    rng = np.random.default_rng(15)
    points = [fisher_shannon(rng.logistic(size=400), method=METHOD) for _ in range(80)]
    for field in ("entropy", "fisher_trace"):
        values = [getattr(p, field) for p in points]
        ratio = np.mean([v.standard_error for v in values]) / np.std(values)
        assert 0.68 < ratio < 1.4, (field, ratio)


@pytest.mark.slow
@pytest.mark.filterwarnings(
    "ignore:the Fisher information of `x` still rises"
)  # one sample in five of exp(−x⁴)
@pytest.mark.parametrize("family", FAMILIES)
def test_accuracy_and_coverage_at_a_thousand(family):
    """200 repeats: relative error of J within 1.5 efficiency bounds, coverage 95 % − 4 errors − 2 %."""
    sampler, h, j, bound = FAMILIES[family]
    rng = np.random.default_rng(16)
    inside, errors = np.zeros(2), []
    for _ in range(200):
        point = fisher_shannon(sampler(rng, 1000), method=METHOD)
        for i, (estimate, truth) in enumerate(((point.entropy, h), (point.fisher_trace, j))):
            low, high = estimate.interval()
            inside[i] += low <= truth <= high
        errors.append(point.fisher_trace / j - 1)
    assert (inside / 200 > 0.95 - 4 * 0.0154 - 0.02).all(), inside / 200
    assert math.sqrt(np.mean(np.square(errors))) < 1.5 * bound / math.sqrt(1000)


@pytest.mark.parametrize("law", ["laplace", "gamma3", "triangular"])
def test_a_warning_tells_where_the_information_still_rises_with_the_resolution(law):
    """Documented: all samples at n = 20 000."""
    rng = np.random.default_rng(40)
    draw = {
        "laplace": lambda n: rng.laplace(size=n),
        "gamma3": lambda n: rng.gamma(3, size=n),
        "triangular": lambda n: rng.triangular(-1, 0, 1, size=n),
    }[law]
    warned = 0
    for _ in range(3):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            LogSpline().fisher(Sample.of(draw(20_000)))
        warned += any("still rises with the resolution" in str(w.message) for w in caught)
    assert warned >= 2


@pytest.mark.parametrize("law", ["standard_normal", "logistic"])
@pytest.mark.parametrize("n", [1000, 5000])
def test_few_warnings_disturb_smooth_densities(law, n):
    """Found in none of 350 samples of each law."""
    rng = np.random.default_rng(41)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(8):
            LogSpline().fisher(Sample.of(getattr(rng, law)(size=n)))
    assert not caught


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::infoplane.InfoplaneWarning")
@pytest.mark.parametrize(("law", "least"), [("laplace", 0.85), ("gamma3", 0.8)])
def test_conservative_intervals_cover_where_there_is_no_root_n_law(law, least):
    """Where 95 % intervals cover 0.5 (Laplace) and 0.1 (gamma(3)): 60 samples, binomial error 0.04."""
    rng, covered, normal = np.random.default_rng(42), 0, 0
    for _ in range(60):
        x = rng.laplace(size=1000) if law == "laplace" else rng.gamma(3, size=1000)
        j = fisher_trace(x)
        low, high = j.interval(method="conservative")
        covered += low <= 1 <= high
        normal += j.interval()[0] <= 1 <= j.interval()[1]
    assert covered / 60 >= least
    assert normal / 60 < 0.8


@pytest.mark.parametrize("step", [0.2, 0.5])
def test_the_cells_of_rounded_data_are_not_resolved(step):
    """J falls by the factor 1 − δ²/6 of rounding; one error at n = 10⁴ is 1.4 %, and 5 % are allowed."""
    x = np.round(np.random.default_rng(43).standard_normal(10_000) / step) * step
    j = fisher_trace(x, method="logspline", ties="dither", rng=0)
    assert j == pytest.approx(1 - step**2 / 6, abs=0.05)
