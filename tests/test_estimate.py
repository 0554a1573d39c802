"""An Estimate is a float that knows how sure it is."""

import copy
import math
import pickle

import numpy as np
import pytest

from infoplane import (
    Estimate,
    FisherShannonPoint,
    entropy,
    fisher_shannon,
    fisher_trace,
    mutual_information,
)
from infoplane.estimate import power_of_entropy
from infoplane.limits import one_sided_reach
from infoplane.sample import Sample

H = Estimate(1.42131, standard_error=0.00712, method="knn", n=10_000, d=1)
J = Estimate(2.0, standard_error=0.1, method="kde", n=400, d=2, positive=True)


def test_it_prints_its_error_method_and_size():
    assert str(H) == repr(H) == f"{H}" == "1.4213 ± 0.0071 (knn, n=10000)"


@pytest.mark.parametrize(
    ("value", "error", "shown"),
    [
        (12345.6, 230.0, "12346 ± 230"),
        (1.4e-25, 2e-27, "1.400e-25 ± 2.0e-27"),
        (0.0, 0.5, "0.00 ± 0.50"),
        (1.5, math.nan, "1.5 ± nan"),
        (2.0, 0.0, "2 ± 0"),
        (-3.21e12, 4e9, "-3.2100e+12 ± 4.0e+09"),
    ],
)
def test_the_digits_follow_the_error(value, error, shown):
    estimate = Estimate(value, standard_error=error, method="m", n=5, d=1)
    assert str(estimate) == f"{shown} (m, n=5)"


def test_it_is_a_float_in_arithmetic_formats_and_arrays():
    assert isinstance(H, float)
    assert type(H + 1) is float
    assert f"{H:.2f}" == "1.42"
    assert np.array([H]).dtype == np.float64
    assert H == 1.42131
    assert hash(H) == hash(1.42131)
    assert math.exp(H) == math.exp(1.42131)
    assert round(H, 1) == 1.4


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda e: pickle.loads(pickle.dumps(e))])
def test_copies_keep_everything(duplicate):
    twin = duplicate(J)
    assert twin == J
    assert type(twin) is Estimate
    fields = ("standard_error", "method", "n", "d", "positive")
    assert [getattr(twin, f) for f in fields] == [getattr(J, f) for f in fields] == [0.1, "kde", 400, 2, True]


def test_it_cannot_be_changed():
    with pytest.raises(AttributeError):
        H.standard_error = 0.0
    with pytest.raises(AttributeError):
        H.note = "x"


def test_intervals_are_normal_or_log_normal():
    low, high = H.interval(0.95)
    assert high - float(H) == pytest.approx(1.959964 * 0.00712, rel=1e-6)
    assert float(H) - low == pytest.approx(high - float(H))
    low, high = J.interval(0.9)
    assert low * high == pytest.approx(4.0)
    assert math.log(high / 2) == pytest.approx(1.644854 * 0.05, rel=1e-6)


def test_a_level_outside_the_unit_interval_is_refused():
    with pytest.raises(ValueError, match=r"`level` must lie in \(0, 1\), got 95"):
        H.interval(95)


def test_the_entropy_power_of_an_uncertain_entropy_is_unbiased():
    # exp of a normal variable with known spread: the correction is exact, the tolerance 4 Monte Carlo errors.
    rng = np.random.default_rng(0)
    draws = rng.normal(1.0, 0.3, size=20_000)
    powers = [float(power_of_entropy(Estimate(h, standard_error=0.3, method="m", n=9, d=2))) for h in draws]
    truth = math.exp(1.0) / (2 * math.pi * math.e)
    assert abs(np.mean(powers) - truth) < 4 * np.std(powers) / math.sqrt(len(powers))


def test_an_entropy_power_outside_the_range_of_floats_is_an_error():
    with pytest.raises(OverflowError, match="outside the range of float64"):
        power_of_entropy(Estimate(-500.0, standard_error=0.1, method="m", n=9, d=1))


def test_a_point_combines_the_errors_with_their_covariance():
    entropy = Estimate(0.5, standard_error=0.02, method="knn", n=400, d=2)
    independent = FisherShannonPoint.from_estimates(entropy, np.eye(2), J)
    opposed = FisherShannonPoint.from_estimates(entropy, np.eye(2), J, covariance=-0.02 * 0.1)
    assert independent.product == pytest.approx(independent.entropy_power * 2.0 / 2)
    relative = independent.product.standard_error / independent.product
    assert relative == pytest.approx(math.hypot(0.02, 0.05, 0.02 * 0.05))
    # What is left where the errors cancel is the product of the two.
    assert opposed.product.standard_error / opposed.product == pytest.approx(math.hypot(0.03, 0.02 * 0.05))
    assert independent.product.method == "knn+kde"
    assert (independent.d, independent.n) == (2, 400)
    assert "N·tr J/d" in repr(independent)


# --- Bias and bounds ----------------------------------------------------------------------------------------


def test_a_conservative_interval_is_wider_by_the_bias():
    biased = Estimate(2.0, standard_error=0.1, method="knn", n=100, d=1, bias=-0.3)
    low, high = biased.interval(0.9, method="conservative")
    assert 2.0 - low == pytest.approx(high - 2.0) == pytest.approx(1.644854 * 0.1 + 0.3)
    positive = Estimate(2.0, standard_error=0.1, method="kde", n=100, d=1, positive=True, bias=0.3)
    low, high = positive.interval(0.9, method="conservative")
    assert math.log(high / 2) == math.log(2 / low) == pytest.approx((1.644854 * 0.1 + 0.3) / 2)


def test_the_bias_is_found_when_first_asked_for_and_only_once():
    asked = []
    estimate = Estimate(2.0, standard_error=0.1, method="m", n=9, d=1, bias=lambda: asked.append(1) or 0.25)
    assert not asked
    assert estimate.bias == estimate.bias == 0.25
    assert asked == [1]
    assert pickle.loads(pickle.dumps(estimate)).bias == 0.25


def test_a_pickle_does_not_carry_the_sample_of_a_bias_not_asked_for():
    estimate = entropy(np.random.default_rng(0).standard_normal(10_000))
    data = pickle.dumps(estimate)
    assert len(data) < 1000
    with pytest.raises(ValueError, match="stayed behind when the estimate was pickled"):
        pickle.loads(data).interval(method="conservative")


def test_an_unknown_kind_of_interval_is_refused():
    with pytest.raises(ValueError, match=r"`method` must be 'normal' or 'conservative', got 'bootstrap'"):
        H.interval(method="bootstrap")


def test_the_bias_of_an_entropy_comes_from_its_halves():
    x = np.random.default_rng(0).standard_normal((400, 3))
    estimate = entropy(x, method="knn", base=2)
    halves = [entropy(half.values, method="knn", base=2) for half in Sample.of(x).halves()]
    assert estimate.bias == pytest.approx((np.mean(halves) - estimate) / (2 ** (2 / 3) - 1))
    trace = fisher_trace(x, method="knn")
    halves = [fisher_trace(half.values, method="knn") for half in Sample.of(x).halves()]
    assert trace.bias == pytest.approx((np.mean(halves) - trace) / (2**0.2 - 1))


def test_the_biases_of_entropy_power_and_product_follow_from_those_of_their_parts():
    entropy_ = Estimate(0.5, standard_error=0.02, method="knn", n=400, d=2, bias=0.03)
    trace = Estimate(2.0, standard_error=0.1, method="kde", n=400, d=2, positive=True, bias=-0.2)
    point = FisherShannonPoint.from_estimates(entropy_, np.eye(2), trace)
    assert point.entropy_power.bias == pytest.approx(point.entropy_power * 0.03)
    assert point.product.bias == pytest.approx(point.product * (0.03 + 0.1))


def test_halves_are_disjoint_and_alike():
    x = np.random.default_rng(0).standard_normal((501, 2))
    first, second = Sample.of(x).halves()
    assert {first.n, second.n} == {250, 251}
    assert len(np.unique(np.vstack([first.values, second.values]), axis=0)) == 501
    spread = [np.mean(half.values**2) for half in (first, second)]
    # Pairs of successive distance are split, so that the mean squares hardly differ.
    assert spread[0] == pytest.approx(spread[1], rel=0.02)


def test_the_interval_of_a_bound_is_one_sided():
    above = Estimate(1.0, standard_error=0.1, method="bound", n=1000, d=1, bound="upper", skewness=0.5)
    assert above.interval(0.95) == (-math.inf, 1.0 + one_sided_reach(0.1, 0.5, 1000, 0.95))
    below = Estimate(1.0, standard_error=0.1, method="bound", n=1000, d=1, bound="lower", skewness=0.5)
    assert below.interval(0.95) == (1.0 - one_sided_reach(0.1, -0.5, 1000, 0.95), math.inf)
    vague = Estimate(1.0, standard_error=3.0, method="bound", n=9, d=1, positive=True, bound="lower")
    assert vague.interval() == (0.0, math.inf)
    assert repr(above) == "1.00 ± 0.10 (upper bound, n=1000)"


def test_the_entropy_power_of_an_upper_bound_is_one():
    above = Estimate(1.0, standard_error=0.1, method="bound", n=1000, d=2, bound="upper", skewness=0.5)
    power = power_of_entropy(above)
    assert power.bound == "upper"
    assert float(power) == pytest.approx(math.exp(1.0) / (2 * math.pi * math.e))
    limit = math.exp(above.interval()[1]) / (2 * math.pi * math.e)
    assert power.interval() == (0.0, pytest.approx(limit))


def test_the_product_of_bounds_bounds_nothing():
    above = Estimate(1.0, standard_error=0.1, method="bound", n=1000, d=2, bound="upper")
    below = Estimate(2.0, standard_error=0.1, method="bound", n=1000, d=2, positive=True, bound="lower")
    product = FisherShannonPoint.from_estimates(above, np.eye(2), below).product
    assert product.bound is None
    assert math.isnan(product.standard_error)


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy])
def test_copies_keep_a_bias_that_was_not_asked_for(duplicate):
    x = np.random.default_rng(0).standard_normal(100)
    assert duplicate(entropy(x)).bias == entropy(x).bias
    point = duplicate(fisher_shannon(x))
    assert math.isfinite(point.product.bias)
    assert point.entropy.interval(method="conservative")[0] < point.entropy.interval()[0]


def test_the_message_gives_the_reason_for_which_a_bias_is_unknown():
    x, y = np.random.default_rng(0).standard_normal((2, 100))
    left = pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(entropy(x)))))
    assert math.isnan(left.bias)
    with pytest.raises(ValueError, match="stayed behind"):
        left.interval(method="conservative")
    with pytest.raises(ValueError, match="nothing tells of this one"):
        mutual_information(x, y).interval(method="conservative")


def test_a_negative_standard_error_is_refused():
    estimate = Estimate(1.0, standard_error=0.1, method="m", n=9, d=1)
    with pytest.raises(ValueError, match="`standard_error` must not be negative, got -3"):
        estimate.with_standard_error(-3)
    assert math.isnan(estimate.with_standard_error(math.nan).standard_error)
