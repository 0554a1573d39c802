"""The plane: what is admissible, its curves, means of points and comparisons of groups."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from infoplane import Estimate, fisher_shannon, windows
from infoplane.distributions import GeneralizedNormal, Laplace, Normal, Product, StudentT, Uniform
from infoplane.plane import Place, admissible, compare, constant_product, mean_place, reference_curve
from infoplane.plot import plane
from tests import compositions as made


@settings(max_examples=50)
@given(x=made.lines)
def test_every_distribution_is_admissible(x):
    place = Place.of(x)
    assert admissible(place)
    assert place.product >= 1 - 1e-9
    # Its path under scaling is the curve of its product.
    scaled = Place.of(3 * x)
    np.testing.assert_allclose(constant_product(scaled.information, place.product), scaled.entropy_power)


def test_points_of_normal_samples_are_admissible_within_their_errors():
    """Products of 40 samples fall on either side of 1, none by more than happens once in 10⁵."""
    points = [fisher_shannon(Normal().sample(300, seed)) for seed in range(40)]
    assert any(point.product < 1 for point in points)
    assert all(admissible(point, level=0.99999) for point in points)
    assert not admissible(Place(0.5, 1.0, d=1))


def test_errors_of_independent_coordinates_are_put_together():
    """Product 0.8 with relative errors of 5 % each: 3.2 errors below 1."""
    n = Estimate(0.8, standard_error=0.04, method="x", n=9, d=1)
    t = Estimate(1.0, standard_error=0.05, method="x", n=9, d=1)
    assert admissible(Place(n, t, 1), level=0.9995)
    assert not admissible(Place(n, t, 1), level=0.999)


@pytest.mark.parametrize("fixed", ["variance", "power", "information"])
def test_reference_curves_keep_what_is_fixed(fixed):
    for place in reference_curve(StudentT, [3, 5, 30], fixed=fixed, value=2.5):
        if fixed == "power":
            assert place.entropy_power == pytest.approx(2.5)
        if fixed == "information":
            assert place.information == pytest.approx(2.5)
        assert place.product > 1
    for df, place in zip([3, 5], reference_curve(StudentT, [3, 5], value=2.5), strict=True):
        x = StudentT(df, scale=math.sqrt(2.5 * (df - 2) / df))
        assert place.fisher_trace == pytest.approx(x.fisher_trace())


def test_reference_curves_pass_through_the_normal_distribution():
    """Products fall towards 1 and rise again; Student's tend to 1 like 1/ν."""
    betas = reference_curve(GeneralizedNormal, [1.0, 1.5, 2.0, 3.0, 5.0])
    products = [place.product for place in betas]
    assert products[2] == pytest.approx(1.0)
    assert products[0] > products[1] > products[2] < products[3] < products[4]
    assert reference_curve(StudentT, [1e4])[0].product == pytest.approx(1, abs=1e-3)
    with pytest.raises(ValueError, match="variance of StudentT"):
        reference_curve(StudentT, [1.5])


def test_means_of_points_on_the_boundary_lie_above_it():
    powers = np.exp(np.random.default_rng(0).normal(0, 0.5, 400))
    mean = mean_place([Place(n, 1 / n, 1) for n in powers])
    # E N · E 1/N = exp σ² for a log-normal N; 4 errors.
    assert mean.product == pytest.approx(math.exp(0.25), rel=4 * 0.5 / 20)
    assert mean.entropy_power.standard_error == pytest.approx(powers.std(ddof=1) / 20)
    assert mean.entropy_power.n == 400


def test_sampling_errors_of_means_add_in_quadrature():
    values = [Estimate(v, standard_error=e, method="x", n=9, d=2) for v, e in ((1.0, 0.3), (3.0, 0.4))]
    mean = mean_place([Place(v, v, 2) for v in values], error="sampling")
    assert mean.entropy_power == 2.0
    assert mean.fisher_trace.standard_error == pytest.approx(0.25)
    assert mean.information == 1.0


@pytest.fixture(scope="module")
def broken():
    """Six windows, the second of which has no density."""
    x = np.random.default_rng(0).standard_normal(600)
    x[100:200] = 3.0
    return windows(x, 100, method="gaussian", degenerate="nan")


def test_undefined_points_do_not_count(broken):
    mean, defined = mean_place(broken), mean_place(broken.defined)
    assert (mean.entropy_power, mean.entropy_power.n) == (defined.entropy_power, 5)
    other = broken.defined[1:]
    assert compare(broken, other) == compare(broken.defined, other)
    with pytest.raises(
        ValueError, match=r"at least 3 points of one dimension, got 2 of \[1\] and 1 undefined"
    ):
        compare(broken[:3], broken)
    with pytest.raises(ValueError, match=r"got 0 of \[\] and 1 undefined"):
        mean_place(broken[1:2], error="sampling")


def test_infinite_points_are_refused_by_statistics():
    edges = [Place.of(Uniform())] * 3
    with pytest.raises(ValueError, match="`points` must have positive, finite N and tr J"):
        mean_place(edges)
    with pytest.raises(ValueError, match="`second` must have positive, finite N and tr J"):
        compare([Place(1, 1, 1)] * 3, edges)


def test_what_nothing_can_tell_is_admissible(broken):
    assert admissible(broken[1])
    assert admissible(Place.of(Uniform()))
    x = np.random.default_rng(1).laplace(size=400)
    assert math.isnan((bounds := fisher_shannon(x, method="bound")).product.standard_error)
    assert admissible(bounds)

    def uncertain(value, error, bound=None):
        return Estimate(value, standard_error=error, method="x", n=9, d=1, bound=bound)

    assert admissible(Place(uncertain(0.5, math.nan), 1.0, 1))
    assert admissible(Place(uncertain(0.5, 0.01, "lower"), 1.0, 1))
    assert not admissible(Place(uncertain(0.5, 0.01, "upper"), 1.0, 1)), "the truth is lower still"


@pytest.mark.parametrize("numbers", [(0, 2, 1), (1, 0, 1), (-1, 2, 1), (1, math.nan, 1), (1, 1, 0)])
def test_places_are_positive(numbers):
    with pytest.raises(ValueError, match="must be positive, got"):
        Place(*numbers)


def groups(seed, shift, sizes=(12, 30)):
    rng = np.random.default_rng(seed)
    scatter = np.array([[0.3, 0.0], [-0.2, 0.1]])
    first, second = (rng.standard_normal((n, 2)) @ scatter.T for n in sizes)
    return [[Place(math.exp(a), 2 * math.exp(b), 2) for a, b in g] for g in (first + shift, 2 * second)]


def test_comparisons_agree_with_welchs_test():
    one, other = groups(0, 0.2)
    found = compare(one, other)
    for values, difference, p in (
        (lambda p: math.log(p.entropy_power), found.log_power, found.p_values[0]),
        (lambda p: math.log(p.information), found.log_information, found.p_values[1]),
        (lambda p: math.log(p.product), found.log_product, found.p_values[2]),
    ):
        a, b = [values(p) for p in one], [values(p) for p in other]
        expected = stats.ttest_ind(a, b, equal_var=False)
        assert p == pytest.approx(expected.pvalue, rel=1e-10)
        assert difference == pytest.approx(np.mean(a) - np.mean(b))
        assert abs(difference / difference.standard_error) == pytest.approx(abs(expected.statistic))


def test_the_joint_test_keeps_its_level_and_has_power():
    """Of 1000 pairs of equal groups 5 % ± 4·0.7 % are rejected at 0.05; of shifted ones most."""
    none = [compare(*groups(seed, 0.0)).p_value < 0.05 for seed in range(1000)]
    assert 0.022 < np.mean(none) < 0.078
    some = [compare(*groups(seed, np.array([0.3, 0.3]))).p_value < 0.05 for seed in range(100)]
    assert np.mean(some) > 0.9


@settings(max_examples=30)
@given(seed=st.integers(0, 1000), log_unit=st.floats(-5, 5))
def test_comparisons_do_not_depend_on_units(seed, log_unit):
    one, other = groups(seed, 0.1)
    scale = math.exp(log_unit)
    scaled = [[Place(p.entropy_power * scale, p.fisher_trace / scale, 2) for p in g] for g in (one, other)]
    found, again = compare(one, other), compare(*scaled)
    assert again.p_value == pytest.approx(found.p_value, rel=1e-6)
    assert again.log_power == pytest.approx(found.log_power, abs=1e-9)
    assert compare(other, one).log_product == pytest.approx(-found.log_product)


def test_places_can_be_drawn():
    points = {"laplace": Place.of(Laplace()), "mean": mean_place([Place.of(Normal()), Place.of(StudentT(3))])}
    ax = plane(points, trajectories=[reference_curve(StudentT, [2.5, 3, 5, 10])])
    assert len(ax.collections) >= 3


def test_errors_say_what_was_demanded():
    with pytest.raises(ValueError, match="`product` must be at least 1"):
        constant_product(1.0, 0.5)
    with pytest.raises(ValueError, match="`information` must be positive"):
        constant_product([-1.0])
    with pytest.raises(ValueError, match=r"`points` must hold at least 2 points of one dimension, got 1"):
        mean_place([Place(1, 1, 1)])
    with pytest.raises(ValueError, match=r"got 2 of \[1, 2\]"):
        mean_place([Place.of(Normal()), Place.of(Product(Normal(), Normal()))])
    with pytest.raises(ValueError, match="`first` must hold at least 3"):
        compare([Place(1, 1, 1)] * 2, [Place(1, 1, 1)] * 3)
    with pytest.raises(ValueError, match="`fixed` must be"):
        reference_curve(StudentT, [3], fixed="mode")
    with pytest.raises(ValueError, match="`level` must lie"):
        admissible(Place(1, 1, 1), level=1)
