"""Kernel sums on a grid against those over pairs: equal for rounded data, else within O(h²/64)."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infoplane import KDE, entropy, fisher_trace, score
from infoplane.distributions import Laplace, Logistic, Product, StudentT
from infoplane.estimators import grid_kernels, kde
from infoplane.estimators.grid_kernels import GridKernels
from infoplane.estimators.kernel_density import PairKernels
from infoplane.kernels.binning import GridSample, GridTooLargeError
from infoplane.mass import Mass
from infoplane.sample import Sample

seeds = st.integers(0, 2**32 - 1)
ORDERS = {1: [(0,), (1,), (2,)], 2: [(0, 0), (1, 0), (0, 1), (2, 0), (1, 1), (0, 2)]}


def direct_sums(at, sources, weights, h, order):
    """Products of Hermite functions, one an axis."""
    total = np.ones((len(at), len(sources)))
    for axis, r in enumerate(order):
        u = (at[:, axis, None] - sources[None, :, axis]) / h
        polynomial = {0: 1.0, 1: -u / h, 2: (u**2 - 1) / h**2}[r]
        total *= polynomial * np.exp(-0.5 * u**2) / (h * math.sqrt(2 * math.pi))
    return total @ weights


@settings(max_examples=20)
@given(
    seed=seeds, d=st.integers(1, 2), h=st.floats(0.05, 1.0), outlier=st.sampled_from([0.0, 30.0, 1e9]),
    coarseness=st.integers(1, 2),
)  # fmt: skip
def test_grid_sums_equal_direct_ones_of_the_rounded_data(seed, d, h, outlier, coarseness):
    rng = np.random.default_rng(seed)
    x, weights = rng.standard_normal((60, d)), rng.uniform(0.5, 2, 60)
    x[0] += outlier
    grid = GridSample(x, h / 4, reach=9 * h, weights=weights, coarseness=coarseness)
    rounded = grid.values[grid.inverse]
    assert np.abs(rounded - x).max() <= coarseness * h / 8 * (1 + 1e-6) + 1e-15 * outlier
    for order, found in zip(ORDERS[d], grid.kernel_sums(h, tuple(ORDERS[d])), strict=True):
        expected = direct_sums(grid.values, rounded, weights, h, order)
        height = weights.sum() / h ** (d + sum(order))
        np.testing.assert_allclose(found, expected, atol=1e-12 * height)
    other = rng.uniform(size=60)
    found = grid.kernel_sums(h, (ORDERS[d][0],), other)[0]
    expected = direct_sums(grid.values, rounded, other, h, ORDERS[d][0])
    np.testing.assert_allclose(found, expected, atol=1e-12 * 60 / h**d)


def test_a_grid_lies_along_the_axes_of_the_tails():
    """Rotated by half a right angle, heavy tails along one axis would take a square instead of a strip."""
    x = np.random.default_rng(4).standard_normal((5000, 2)) * [20.0, 1.0]
    angle = np.array([[1.0, -1.0], [1.0, 1.0]]) / math.sqrt(2)
    shape = GridKernels(x @ angle, 0.3, reference=0.3)._grid._shape
    assert math.prod(shape) < 1.5 * math.prod(GridKernels(x, 0.3, reference=0.3)._grid._shape)


def test_a_sample_that_reaches_too_far_for_a_grid_is_refused():
    x = np.random.default_rng(0).standard_cauchy((20_000, 2))
    with pytest.raises(GridTooLargeError):
        GridSample(x, 0.01, reach=1.0)


def masses(kind, n):
    rng = np.random.default_rng(7)
    if kind == "weights":
        return Mass.of_weights(rng.uniform(0.3, 3.0, n))
    return Mass.of_counts(rng.integers(1, 4, n).astype(float)) if kind == "counts" else Mass.equal(n)


@pytest.mark.parametrize("kind", ["equal", "weights", "counts"])
@pytest.mark.parametrize("d", [1, 2])
def test_the_grid_gives_the_density_and_the_score_field_of_the_rounded_data(d, kind):
    """One row lies far out, where sums are rounding noise and only the background is left."""
    n, h = 500, 0.4
    z, mass = np.random.default_rng(d).standard_normal((n, d)), masses(kind, n)
    z[0] = 25.0
    kernels = GridKernels(z, h, reference=h, mass=mass)
    rounded = np.ascontiguousarray(kernels._grid.values[kernels._grid.inverse])
    pairs, rows = PairKernels(rounded, mass=mass), np.arange(n)
    field, found = pairs.field(rounded, rows, h), kernels.own_field()
    np.testing.assert_allclose(found.score, field.score, atol=1e-6)
    np.testing.assert_allclose(found.jacobian, field.jacobian, atol=1e-5)
    np.testing.assert_allclose(found.variance, field.variance, rtol=1e-5, atol=1e-7)
    logs = pairs.log_density(rounded, rows, np.array([h]))[:, 0]
    np.testing.assert_allclose(kernels.own_log_density().value, logs, atol=1e-6)


def test_the_variance_of_the_density_is_that_of_its_kernels():
    z, h = np.random.default_rng(3).standard_normal((300, 2)), 0.4
    kernels = GridKernels(z, h, reference=h)
    at = kernels._grid.values[kernels._grid.inverse]
    for i in (0, 17, 200):
        others = np.delete(at, i, axis=0)
        squared = ((at[i] - others) ** 2).sum(axis=1)
        k = np.exp(-0.5 * squared / h**2) / (2 * math.pi * h**2)
        density = math.exp(kernels.own_log_density().value[i])
        expected = (1 - 1 / 300) ** 2 * np.sum(k**2) / 299**2 / density**2
        assert kernels.own_log_density().variance[i] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("d", [1, 2])
def test_the_error_of_a_grid_falls_with_the_square_of_its_step(d, monkeypatch):
    """Means over 12 samples; their random part shrinks as a step does, and is 4 standard errors of the mean.

    δ = h/4 and h/2 differ by 3 c δ², δ = h/8 and h/4 by a quarter of that: the ratio is 4.
    """
    changes = []
    for seed in range(12):
        z = np.random.default_rng(seed).standard_normal((3000, d))
        pairs = PairKernels(z).log_density(z, np.arange(3000), np.array([0.35]))[:, 0].mean()
        means = []
        for steps in (8.0, 4.0, 2.0):
            monkeypatch.setattr(grid_kernels, "_STEPS_AT_LAST", (steps, steps))
            means.append(GridKernels(z, 0.35, reference=0.35).own_log_density().value.mean() - pairs)
        changes.append(means)
    mean, error = np.mean(changes, axis=0), np.std(changes, axis=0) / math.sqrt(12)
    # −E log f̂ grows by δ² tr J/24 for the rounded place and again for the rounded sources, less smoothing.
    assert 0 < -mean[2] < 2 * d * 0.175**2 / 24 + 4 * error[2]
    assert abs(mean[2] / 4 - mean[1]) < 4 * error[1] + 0.2 * abs(mean[1])
    assert abs((4 * mean[0] - mean[1]) / 3) < 4 * error[0]


SHAPES = {
    "plane": Product(Laplace(), Logistic()),
    "tails": Product(StudentT(5), StudentT(8)),
    "line": Product(Logistic()),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_what_the_grid_and_the_pairs_say_differs_by_a_small_part_of_the_standard_error(shape, monkeypatch):
    """At the same bandwidth and n = 4000: 0.3 standard errors (2 to 12 % measured); equal kernels in both."""
    x = SHAPES[shape].sample(4000, np.random.default_rng(5))
    sample = Sample.of(x)
    z, rows = sample.whitened, np.arange(4000)
    h = 0.25
    monkeypatch.setattr(kde, "_GRID_ROWS", 0)
    on_grid = KDE(bandwidth=h).entropy(sample)
    logs = PairKernels(z).log_density(z, rows, np.array([h]))[:, 0]
    variance = GridKernels(z, h, reference=h).own_log_density().variance.mean()
    expected = -logs.mean() - variance / 2 + sample.log_volume
    assert abs(on_grid.value - expected) < 0.3 * on_grid.standard_error
    if sample.d == 2:
        on_grid = KDE(bandwidth=h).fisher(sample)
        monkeypatch.setattr(kde, "_GRID_ROWS", 10**9)
        by_pairs = KDE(bandwidth=h).fisher(sample)
        assert abs(np.trace(on_grid.matrix - by_pairs.matrix)) < 0.3 * by_pairs.standard_error
        assert on_grid.standard_error == pytest.approx(by_pairs.standard_error, rel=0.1)


TRUTHS = {
    # name: (distribution, allowed bias of H in nats, allowed relative bias of J)
    "normal": (Product(StudentT(50), StudentT(50)), 0.002, 0.02),
    "t5 and logistic": (Product(StudentT(5), Logistic()), 0.008, 0.03),
}


@pytest.mark.parametrize("name", TRUTHS)
def test_many_points_in_the_plane_are_measured_to_their_errors(name):
    truth, of_h, of_j = TRUTHS[name]
    x = truth.sample(60_000, np.random.default_rng(1)) @ [[1.0, 0.3], [0.0, 0.5]]
    h, j = entropy(x, method="kde"), fisher_trace(x, method="kde")
    law = np.array([[1.0, 0.0], [0.3, 0.5]]) @ truth
    assert abs(h - law.entropy()) < 4 * h.standard_error + of_h
    assert abs(j / law.fisher_trace() - 1) < 4 * j.standard_error / j + of_j


def test_the_score_of_many_points_is_the_same_by_grid_and_pairs():
    x = np.random.default_rng(2).standard_normal((6000, 2))
    at = np.random.default_rng(3).uniform(-2, 2, size=(40, 2))
    found = score(x, at, method="kde")
    assert np.corrcoef(found.ravel(), -at.ravel())[0, 1] > 0.98
    own = score(x, method="kde")
    assert own.shape == (6000, 2)
    assert np.corrcoef(own.ravel(), -x.ravel())[0, 1] > 0.97


def test_counts_of_a_lattice_and_repeated_rows_give_the_same():
    rng = np.random.default_rng(6)
    x = np.rint(rng.standard_normal((40_000, 2)) * 64) / 64
    rows, counts = np.unique(x, axis=0, return_counts=True)
    assert len(rows) > 5000
    counted = entropy(rows, counts=counts, method="kde")
    assert abs(counted - 2 * 1.4189385) < 4 * counted.standard_error + 0.003
    j = fisher_trace(rows, counts=counts, method="kde")
    assert abs(j - 2) < 4 * j.standard_error + 0.03


def test_distant_narrow_clusters_are_resolved():
    """Each cluster has J = 2e4; the overall scale is fifty times their width."""
    rng = np.random.default_rng(7)
    x = 1e-2 * rng.standard_normal((8000, 2)) + rng.integers(0, 2, (8000, 2))
    j = fisher_trace(x, method="kde")
    assert j == pytest.approx(2e4, abs=4 * j.standard_error + 0.05e4)


def test_tails_too_far_for_a_grid_are_left_to_pairs():
    x = np.random.default_rng(8).standard_cauchy((6000, 2))
    with pytest.raises(GridTooLargeError):
        GridKernels(Sample.of(x).whitened, reference=0.2)
    h = entropy(x, method=KDE(max_points=500))
    assert abs(h - 2 * math.log(4 * math.pi)) < 4 * h.standard_error + 0.4


def test_a_point_that_only_the_faintest_kernel_reaches_has_a_variance():
    """At 30 bandwidths the square of a kernel is below the least number."""
    z = np.array([[0.0, 0.0], [0.1, 0.2], [0.3, 0.0], [30.0, 0.0]])
    field = PairKernels(z).field(z, np.arange(4), 1.0)
    assert np.isfinite(field.variance).all()
