"""Sums over pairs of many points in three and more dimensions: as precise as asked for, and no more."""

import math

import numpy as np
import pytest

from infoplane import KDE, KNN, entropy, entropy_power, fisher_information, fisher_shannon, fisher_trace
from infoplane.estimators import kernel_density
from infoplane.estimators.kernel_density import PairKernels
from infoplane.mass import Mass

X = np.random.default_rng(0).standard_normal((12_000, 3))


@pytest.mark.parametrize("rtol", [0.02, 0.04])
def test_the_standard_error_is_what_was_asked_for(rtol):
    """At most it, and at least 70 %: a thousand points know a variance to 5 %, and the number has 20 % more.

    A thousand points are enough for N at 4 %.
    """
    power = entropy_power(X, method="kde", rtol=rtol)
    assert (0.5 if rtol == 0.04 else 0.7) * rtol < power.standard_error / power < 1.02 * rtol
    trace = fisher_trace(X, method="kde", rtol=rtol)
    assert 0.7 * rtol < trace.standard_error / trace < 1.05 * rtol


def test_few_points_are_within_their_errors_of_all():
    for measure in (entropy, fisher_trace):
        every, some = measure(X, method="kde"), measure(X, method="kde", rtol=0.04)
        assert abs(every - some) < 4 * some.standard_error


def test_points_are_drawn_by_the_seed_whatever_the_order_of_rows():
    first = entropy(X, method="kde", rtol=0.04, rng=1)
    assert first == pytest.approx(float(entropy(X[::-1], method="kde", rtol=0.04, rng=1)), rel=1e-12)
    assert first != entropy(X, method="kde", rtol=0.04, rng=2)
    assert first == entropy(X, method="kde", rtol=0.04, rng=np.random.default_rng(1))
    point = fisher_shannon(X, method="kde", rtol=0.04, rng=1)
    assert point.entropy == first
    np.testing.assert_allclose(
        np.trace(fisher_information(X, method="kde", rtol=0.04, rng=1)), point.fisher_trace, rtol=1e-12
    )


def test_no_more_than_all_points_are_used():
    assert entropy(X[:1500], method="kde", rtol=1e-6) == pytest.approx(float(entropy(X[:1500], method="kde")))


def test_only_sums_over_pairs_have_a_precision():
    for method in ("auto", "knn", KNN()):
        with pytest.raises(ValueError, match="`rtol` is for method 'kde', got method"):
            entropy(X, method=method, rtol=0.1)
    for rtol in (0.0, math.nan):
        with pytest.raises(ValueError, match="`rtol` must be a positive number"):
            KDE(rtol=rtol)


def test_neighbours_in_a_thinned_sample_give_the_bandwidths_and_leave_no_trace(monkeypatch):
    """Each distance is known to 1/(d √k) = 4 % of those in all; points that helped are counted out."""
    z = X[:6000]
    exact = PairKernels(z, 0.5)
    monkeypatch.setattr(kernel_density, "_REFERENCE_ROWS", 500)
    thinned = PairKernels(z, 0.5)
    ratio = np.sqrt(thinned._precision / exact._precision)
    assert np.std(np.log(ratio)) < 0.1
    assert (thinned._precision_loo < thinned._precision).mean() > 0.99
    order = np.argsort((z**2).sum(axis=1), kind="stable")[::12]
    inside, other = order[3], np.flatnonzero(~np.isin(np.arange(6000), order))[5]
    for j in (inside, other):
        distance = np.sort(np.linalg.norm(z[order[order != j]] - z[j], axis=1))
        k = max(round(77 / 12), 10)
        assert math.sqrt(thinned._reach[j]) == pytest.approx(distance[k - 1], rel=1e-8)


def test_the_error_at_some_of_counted_rows_is_that_of_the_rows():
    """Of 2000 rows seen 50 times, 100 are looked at: their mean is as uncertain as that of 100 numbers."""
    rng = np.random.default_rng(1)
    terms = rng.standard_normal(100)
    found = Mass.of_counts(np.full(2000, 50.0)).average(terms, rng.permutation(2000)[:100])
    assert found.standard_error == pytest.approx(terms.std(ddof=1) / 10)
