"""An Estimate is a float that knows how sure it is."""

import copy
import math
import pickle

import numpy as np
import pytest

from infoplane import Estimate, FisherShannonPoint
from infoplane.estimate import power_of_entropy

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
    assert relative == pytest.approx(math.hypot(0.02, 0.05))
    assert opposed.product.standard_error / opposed.product == pytest.approx(0.05 - 0.02)
    assert independent.product.method == "knn+kde"
    assert (independent.d, independent.n) == (2, 400)
    assert "N·tr J/d" in repr(independent)
