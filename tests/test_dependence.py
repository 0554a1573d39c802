"""Mutual information, alone and conditioned: slow versions, closed forms, laws, errors and refusals."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import digamma, gammaln

from infoplane import KDE, KNN, DegenerateSampleError, InfoplaneWarning, WeightedKNN, entropy
from infoplane.dependence import conditional_entropy, conditional_mutual_information, mutual_information
from infoplane.estimators.copula import normal_scores, rank_bias
from infoplane.estimators.copula_information import copula_information
from infoplane.estimators.entropy_sums import collapse
from infoplane.estimators.nearest_balls import normal_bias
from infoplane.estimators.shared_balls import shared_ball_information
from infoplane.estimators.weighted_knn import neighbor_weights
from infoplane.kernels.ranges import box_counts
from infoplane.sample import Sample
from tests import naive

seeds = st.integers(0, 2**32 - 1)
HALF_LOG = 0.5 * math.log(2 * math.pi * math.e)
RNG = np.random.default_rng(0)
X, Y, Z = RNG.standard_normal((3, 300))


def normal_pair(rng, n, rho, d=1):
    """X and Y whose d columns are correlated pairwise; I = −(d/2) log(1 − ρ²)."""
    x, noise = rng.standard_normal((2, n, d))
    return x, rho * x + math.sqrt(1 - rho**2) * noise


def student_pair(rng, n, nu=3.0):
    """Uncorrelated but dependent: H of the two-dimensional t is not the sum of its marginals'."""
    z = rng.standard_normal((n, 2)) / np.sqrt(rng.chisquare(nu, (n, 1)) / nu)
    return z[:, 0], z[:, 1]


def student_information(nu=3.0):
    def h(d):
        constant = gammaln((nu + d) / 2) - gammaln(nu / 2) - 0.5 * d * math.log(nu * math.pi)
        return -constant + 0.5 * (nu + d) * (digamma((nu + d) / 2) - digamma(nu / 2))

    return 2 * h(1) - h(2)


def noisy_pair(rng, n, width):
    """A uniform variable, and it with uniform noise: I = w/2 − log w."""
    x = rng.uniform(size=n)
    return x, x + width * rng.uniform(size=n)


# --- Slow, obvious versions -------------------------------------------------------------------------------


def largest(a, b):
    return float(np.max(np.abs(a - b)))


@pytest.mark.parametrize(("d_x", "d_y", "k"), [(1, 1, 3), (1, 2, 4), (2, 3, 1)])
def test_ksg_is_kraskovs_equation_nine(d_x, d_y, k):
    n = 60
    x, y = RNG.standard_normal((n, d_x)), RNG.standard_normal((n, d_y))
    total = 0.0
    for i in range(n):
        others = [j for j in range(n) if j != i]
        others.sort(key=lambda j: max(largest(x[i], x[j]), largest(y[i], y[j])))
        for block in (x, y):
            extent = max(largest(block[i], block[j]) for j in others[:k])
            total += digamma(sum(largest(block[i], block[j]) <= extent for j in others))
    expected = digamma(k) - 1 / k + digamma(n) - total / n
    assert shared_ball_information(x, y, k=k).value == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize(("d_z", "k"), [(1, 3), (2, 5)])
def test_conditional_ksg_is_frenzel_and_pompes_equation_eight(d_z, k):
    n = 60
    x, y, z = RNG.standard_normal((n, 1)), RNG.standard_normal((n, 1)), RNG.standard_normal((n, d_z))
    total = 0.0
    for i in range(n):
        others = [j for j in range(n) if j != i]
        apart = {j: [largest(a[i], a[j]) for a in (x, y, z)] for j in others}
        radius = sorted(max(apart[j]) for j in others)[k - 1]
        for sign, blocks in ((1, (0, 2)), (1, (1, 2)), (-1, (2,))):
            total += sign * digamma(1 + sum(all(apart[j][b] < radius for b in blocks) for j in others))
    expected = digamma(k) - total / n
    assert shared_ball_information(x, y, z, k=k).value == pytest.approx(expected, abs=1e-10)


def test_auto_of_two_variables_is_the_weighted_sum_of_plain_neighbours():
    n, k = 60, 6
    scores = normal_scores(np.column_stack(normal_pair(RNG, n, 0.6)))
    weights, h = neighbor_weights(k, 2, 1), 0.0
    for j, w in enumerate(weights, start=1):
        h += w * (naive.knn_entropy(scores, j) - normal_bias(n, 2, j) - rank_bias(n, 2, j))
    found = copula_information(scores[:, :1], scores[:, 1:]).value
    assert found == pytest.approx(2 * HALF_LOG - h, abs=1e-10)


@settings(max_examples=20)
@given(seed=seeds, d=st.integers(1, 3))
def test_counts_in_boxes_equal_the_slow_ones_and_hold_the_boundary(seed, d):
    points = np.random.default_rng(seed).integers(0, 9, (40, d)).astype(float)
    radius = np.random.default_rng(seed + 1).integers(0, 5, 40).astype(float)
    slow = [sum(largest(p, q) <= r for q in points) - 1 for p, r in zip(points, radius, strict=True)]
    assert box_counts(points, radius).tolist() == slow


# --- Closed forms -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("rho", [0.0, 0.6, 0.9, 0.99])
def test_normal_pairs_of_any_correlation_are_measured_without_bias(rho):
    """20 repeats at n = 500: 4 errors of the mean, and 0.02 for ranks at the strongest dependence."""
    rng, truth = np.random.default_rng(1), -0.5 * math.log(1 - rho**2)
    errors = [mutual_information(*normal_pair(rng, 500, rho)) - truth for _ in range(20)]
    assert abs(np.mean(errors)) < 4 * np.std(errors, ddof=1) / math.sqrt(20) + (0.02 if rho > 0.9 else 0)


@pytest.mark.parametrize("method", ["auto", "ksg"])
def test_uncorrelated_dependence_is_seen(method):
    # 12 repeats at n = 1000, 4 errors of their mean, and 0.01 of smoothing.
    rng = np.random.default_rng(2)
    errors = [mutual_information(*student_pair(rng, 1000), method=method) for _ in range(12)]
    errors = np.array(errors) - student_information()
    assert abs(errors.mean()) < 4 * errors.std(ddof=1) / math.sqrt(12) + 0.01


@pytest.mark.parametrize(("width", "bias"), [(0.5, 0.08), (0.001, 0.1)])
def test_uniform_noise_is_measured_even_where_ksg_saturates(width, bias):
    """Edges cost the documented bias at n = 1000; I = 6.9 is close to log n, which stops counts and ranks."""
    x, y = noisy_pair(np.random.default_rng(3), 1000, width)
    truth = width / 2 - math.log(width)
    i = mutual_information(x, y)
    assert abs(i - truth) < 4 * i.standard_error + bias
    if width < 0.01:
        assert mutual_information(x, y, method="ksg") < truth - 1


@pytest.mark.parametrize("method", ["auto", "gaussian", "entropies"])
def test_vectors_are_taken_jointly(method):
    """I = d times that of a pair, whatever rotations mix the columns of each side; 4 errors, d = 2 + 2."""
    rng = np.random.default_rng(4)
    x, y = normal_pair(rng, 1000, 0.8, d=2)
    turn = np.linalg.qr(rng.standard_normal((2, 2)))[0]
    i = mutual_information(x @ turn, y, method=method)
    assert i.d == 4
    assert abs(i + math.log(1 - 0.8**2)) < 4 * i.standard_error + 0.02


@pytest.mark.parametrize(("d_x", "d_y"), [(1, 1), (2, 3)])
def test_the_gaussian_method_is_unbiased_and_knows_its_error_at_independence(d_x, d_y):
    """200 repeats at n = 40: 4 errors of the mean; the error is of second order, and
    its statement, which follows the value, between once and twice the spread.
    """
    rng = np.random.default_rng(5)
    fits = [
        mutual_information(rng.standard_normal((40, d_x)), rng.standard_normal((40, d_y)), method="gaussian")
        for _ in range(200)
    ]
    spread = np.std(fits, ddof=1)
    assert abs(np.mean(fits)) < 4 * spread / math.sqrt(200)
    assert 0.8 < np.mean([i.standard_error for i in fits]) / spread < 2


@pytest.mark.parametrize("method", ["auto", "ksg"])
def test_blocks_hard_to_measure_share_nothing_when_they_are_independent(method):
    """Clustered and curved blocks: 10 repeats at n = 500, 4 errors of the mean; entropies are off by 0.1."""
    rng, found = np.random.default_rng(6), []
    for _ in range(10):
        blocks = rng.standard_normal((2, 500, 2)) + 3 * rng.integers(0, 2, (2, 500, 1))
        blocks[:, :, 1] += 0.7 * blocks[:, :, 0] ** 2
        found.append(mutual_information(*blocks, method=method))
    assert abs(np.mean(found)) < 4 * np.std(found, ddof=1) / math.sqrt(10) + 0.01


@pytest.mark.parametrize("method", ["auto", "ksg", "gaussian", "entropies"])
def test_what_a_common_cause_explains_is_not_shared_beyond_it(method):
    """I(X; Y | Z) = 0 but I(X; Y) = −½ log(1 − ¼) for X = Z + noise, Y = Z + noise: 4 errors and 0.02.

    The four entropies of "entropies" are lowest choices, each low by a third of an error: 0.08 in all.
    """
    rng = np.random.default_rng(7)
    z, a, b = rng.standard_normal((3, 1000))
    i = conditional_mutual_information(z + a, z + b, given=z, method=method)
    assert abs(i) < 4 * i.standard_error + (0.08 if method == "entropies" else 0.02)
    assert mutual_information(z + a, z + b) > 0.08


@pytest.mark.parametrize("method", ["auto", "gaussian"])
def test_a_condition_does_not_hide_what_is_shared_beyond_it(method):
    rng = np.random.default_rng(8)
    z = rng.standard_normal((1000, 2))
    x, y = normal_pair(rng, 1000, 0.9)
    i = conditional_mutual_information(x + z[:, :1], y - z[:, 1:], given=z, method=method)
    # 4 errors, and 0.06 of smoothing in four dimensions.
    assert abs(i + 0.5 * math.log(1 - 0.9**2)) < 4 * i.standard_error + 0.06


def test_conditional_entropy_of_a_sum_is_that_of_the_noise():
    # 4 errors; Laplace noise of unit scale has H = 1 + log 2.
    rng = np.random.default_rng(9)
    x, noise = rng.normal(scale=2, size=1000), rng.laplace(size=1000)
    for method in ("auto", "ksg", "entropies", "knn"):
        h = conditional_entropy(x + noise, given=x, method=method)
        assert abs(h - 1 - math.log(2)) < 4 * h.standard_error + 0.02, method


# --- Laws -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["auto", "ksg"])
@settings(max_examples=8)
@given(seed=seeds, d=st.integers(1, 2), log_scale=st.floats(-20, 20))
def test_increasing_maps_and_units_of_the_marginals_change_nothing(method, seed, d, log_scale):
    rng = np.random.default_rng(seed)
    x, y = normal_pair(rng, 100, 0.5, d)
    z = rng.standard_normal(100)
    moved = math.exp(log_scale) * x, np.exp(y) + y
    assert mutual_information(x, y, method=method) == mutual_information(*moved, method=method)
    one = conditional_mutual_information(x, y, given=z, method=method)
    assert one == conditional_mutual_information(*moved, given=z**3, method=method)


@pytest.mark.parametrize("method", ["gaussian", "entropies", "knn"])
def test_units_do_not_matter_to_sums_of_entropies_either(method):
    x, y = normal_pair(np.random.default_rng(10), 200, 0.6, 2)
    one, other = mutual_information(x, y, method=method), mutual_information(1000 * x, y, method=method)
    assert other == pytest.approx(float(one), abs=1e-9)
    assert other.standard_error == pytest.approx(one.standard_error, rel=1e-6)


@pytest.mark.parametrize("method", ["auto", "ksg", "gaussian", "knn"])
@settings(max_examples=8)
@given(seed=seeds, d_x=st.integers(1, 2), d_y=st.integers(1, 2))
def test_sides_and_rows_may_be_exchanged(method, seed, d_x, d_y):
    rng = np.random.default_rng(seed)
    x, y = rng.gamma(3.0, size=(101, d_x)), rng.gamma(3.0, size=(101, d_y))
    y[:, 0] += x[:, 0]
    z, rows = rng.standard_normal(101), rng.permutation(101)
    one = mutual_information(x, y, method=method)
    conditional = conditional_mutual_information(x, y, given=z, method=method)
    for a, b, c in ((y, x, z), (x[rows], y[rows], z[rows])):
        other = mutual_information(a, b, method=method)
        assert other == pytest.approx(float(one), abs=1e-8)
        assert other.standard_error == pytest.approx(one.standard_error, rel=1e-5)
        other = conditional_mutual_information(a, b, given=c, method=method)
        assert other == pytest.approx(float(conditional), abs=1e-8)


@pytest.mark.parametrize("method", [KNN(k=4), WeightedKNN(), KDE(), "gaussian", "entropies"])
def test_chain_rules_hold_exactly_for_one_estimator(method):
    """I(X; (Y, Z)) = I(X; Z) + I(X; Y | Z); I = H(X) − H(X | Y) = H(X) + H(Y) − H(X, Y)."""
    yz = np.column_stack([Y, Z])
    whole = mutual_information(X + Y, yz, method=method)
    rest = conditional_mutual_information(X + Y, Y, given=Z, method=method)
    assert whole == pytest.approx(mutual_information(X + Y, Z, method=method) + rest, abs=1e-9)
    names = {"entropies": "auto"}
    own, other, joint = (
        entropy(a, method=names.get(method, method) if isinstance(method, str) else method)
        for a in (X + Y, Y, np.column_stack([X + Y, Y]))
    )
    i = mutual_information(X + Y, Y, method=method)
    assert i == pytest.approx(own + other - joint, abs=1e-9)
    assert i == pytest.approx(own - conditional_entropy(X + Y, given=Y, method=method), abs=1e-9)


def test_auto_is_the_difference_of_entropy_and_conditional_entropy():
    difference = entropy(X + Y) - conditional_entropy(X + Y, given=Y)
    assert mutual_information(X + Y, Y) == pytest.approx(difference, abs=1e-12)


def test_a_column_is_a_vector_and_base_two_gives_bits():
    nats, bits = mutual_information(X, X + Y), mutual_information(X[:, None], X + Y, base=2)
    assert bits == pytest.approx(nats / math.log(2))
    assert bits.standard_error == pytest.approx(nats.standard_error / math.log(2))
    assert conditional_entropy(X, given=Y, base=2) == pytest.approx(
        conditional_entropy(X, given=Y) / math.log(2)
    )


# --- Errors -----------------------------------------------------------------------------------------------

FAMILIES = {
    "independent": (lambda rng, n: normal_pair(rng, n, 0.0), 0.0),
    "normal": (lambda rng, n: normal_pair(rng, n, 0.6), -0.5 * math.log(1 - 0.6**2)),
    "strong": (lambda rng, n: normal_pair(rng, n, 0.95), -0.5 * math.log(1 - 0.95**2)),
    "student": (student_pair, student_information()),
}


@pytest.mark.parametrize("method", ["auto", "ksg", "knn", "gaussian"])
@pytest.mark.parametrize("family", ["independent", "normal", "strong"])
def test_standard_errors_match_the_spread_over_repeats(family, method):
    """60 repeats at n = 400 tell a standard deviation to 9 %: 0.7 to 1.4 is 3.5 of these.

    "gaussian" at independence is χ²/(2n), whose stated error depends on the value: up to twice the spread.
    """
    rng = np.random.default_rng(11)
    fits = [mutual_information(*FAMILIES[family][0](rng, 400), method=method) for _ in range(60)]
    ratio = np.mean([i.standard_error for i in fits]) / np.std(fits, ddof=1)
    assert 0.7 < ratio < (3.0 if (family, method) == ("independent", "gaussian") else 1.4)


@pytest.mark.slow
@pytest.mark.parametrize("n", [300, 1000])
@pytest.mark.parametrize("family", FAMILIES)
def test_intervals_cover_the_truth(family, n):
    """Nominal 95 % over 300 repeats, binomial error 1.3 %: at least 90 %, or 3.5 errors less."""
    rng, (draw, truth) = np.random.default_rng(12), FAMILIES[family]
    inside = 0
    for _ in range(300):
        low, high = mutual_information(*draw(rng, n)).interval()
        inside += low <= truth <= high
    assert inside / 300 > 0.9, inside / 300


@pytest.mark.slow
@pytest.mark.parametrize("rho", [0.0, 0.6])
@pytest.mark.parametrize("d", [2, 3])
def test_intervals_of_vectors_cover_the_truth(d, rho):
    """100 repeats at n = 500, binomial error 2 %: at least 86 %."""
    rng, inside = np.random.default_rng(13), 0
    for _ in range(100):
        low, high = mutual_information(*normal_pair(rng, 500, rho, d)).interval()
        inside += low <= -0.5 * d * math.log(1 - rho**2) <= high
    assert inside / 100 > 0.86, inside / 100


# --- Functions of each other, and refusals ----------------------------------------------------------------


@pytest.mark.parametrize(
    "function", [np.exp, lambda x: x**3, lambda x: -np.arctan(x), np.cos, lambda x: np.sin(4 * x)]
)
def test_a_function_of_the_other_variable_is_warned_of(function):
    with pytest.warns(InfoplaneWarning, match="the 300 rows of `x` and `y` seem to lie on a curve") as record:
        i = mutual_information(X, function(X))
    assert record[0].filename == __file__
    assert i > 1


def test_a_linear_function_is_refused_as_infinite():
    for y in (X, 3 * X - 1, np.column_stack([Y, X + 2 * Y])):
        with pytest.raises(DegenerateSampleError, match="`x and y` must have linearly independent columns"):
            mutual_information(X, y)
    with pytest.raises(DegenerateSampleError, match="shared information infinite"):
        conditional_mutual_information(X, Y, given=X - Y)


def test_points_on_a_curve_collapse_and_densities_do_not():
    """Entropy rises by (d/m − 1) log k where points fill m of d dimensions; chance stays below 0.1."""
    assert abs(collapse(Sample.of(np.column_stack([X, Y])))) < 0.1
    assert collapse(Sample.of(np.column_stack([X, np.cos(X)]))) == pytest.approx(1, abs=0.2)
    assert collapse(Sample.of(np.column_stack([X, Y, X * Y]))) == pytest.approx(0.5, abs=0.15)


@pytest.mark.parametrize("method", ["auto", "ksg", "entropies", "knn"])
@pytest.mark.parametrize(
    "measure",
    [
        mutual_information,
        lambda x, y, **options: conditional_entropy(x, given=y, **options),
        lambda x, y, **options: conditional_mutual_information(Z[: len(x)], x, given=y, **options),
    ],
)
def test_ties_and_discrete_variables_are_refused(measure, method):
    for x, y in ((np.round(X, 1), Y), (X, np.sign(Y)), (np.tile(X[:150], 2), Y)):
        with pytest.raises(DegenerateSampleError, match="repeated rows"):
            measure(x, y, method=method)


def test_the_gaussian_method_bears_ties():
    # Rounding to a tenth adds 1/1200 to the variance.
    one, other = (mutual_information(a, X + Y, method="gaussian") for a in (X, np.round(X, 1)))
    assert other == pytest.approx(float(one), abs=0.02)


def test_rows_are_pairs():
    with pytest.raises(ValueError, match=r"`x` and `y` must have the same number of rows .* got 300 and 299"):
        mutual_information(X, Y[:-1])
    with pytest.raises(ValueError, match="`x` and `given` must have the same number of rows"):
        conditional_entropy(X, given=Y[:-1])
    with pytest.raises(ValueError, match=r"`x`, `y` and `given` must have .* got 300 and 300 and 299"):
        conditional_mutual_information(X, Y, given=Z[:-1])


def test_faults_are_named_by_argument():
    with pytest.raises(ValueError, match="`y` must be finite, got nan in row 0"):
        mutual_information(X[:50], np.r_[np.nan, Y[:49]])
    with pytest.raises(TypeError, match="`given` must hold real numbers"):
        conditional_entropy(X, given=Y + 1j)
    with pytest.raises(DegenerateSampleError, match="`y` must vary"):
        mutual_information(X, np.ones(300))
    with pytest.raises(ValueError, match="`x and y` must have at least 20 rows for method 'auto'"):
        mutual_information(X[:15], Y[:15])


@pytest.mark.parametrize("bad", ["mine", "AUTO", ""])
def test_unknown_methods_are_listed(bad):
    with pytest.raises(ValueError, match=r"`method` must be one of \['auto', 'ksg', 'entropies', 'gaussian'"):
        mutual_information(X, Y, method=bad)


def test_methods_that_measure_no_joint_entropy_or_only_bound_it_are_refused():
    with pytest.raises(ValueError, match="'spacing' measures one variable, got d = 2 columns in `x and y`"):
        mutual_information(X, Y, method="spacing")
    with pytest.raises(ValueError, match="measures Fisher information only"):
        mutual_information(X, Y, method="stack")
    with pytest.raises(ValueError, match="estimates of entropy, got a bound"):
        mutual_information(X, Y, method="bound")


def test_things_that_are_no_estimator_and_bad_bases_are_refused():
    with pytest.raises(TypeError, match=r"`method` must be a name or an estimator such as KNN\(k=3\)"):
        conditional_entropy(X, given=Y, method=KNN)
    with pytest.raises(ValueError, match="`base` must be a number above 1, got 1"):
        mutual_information(X, Y, base=1)


def test_auto_warns_where_no_method_can_be_trusted():
    x = RNG.standard_normal((300, 10))
    with pytest.warns(InfoplaneWarning, match="in d = 11 > 10 dimensions taken together") as record:
        mutual_information(x, Y)
    assert record[0].filename == __file__
    mutual_information(x, Y, method="ksg")
