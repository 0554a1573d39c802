"""Every kernel equals its slow version, whatever the number of threads."""

import math
import os
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

import infoplane
from infoplane.estimators.kernel_density import LineKernels, PairKernels
from infoplane.kernels import brute_force, nearest, neighbors
from infoplane.kernels.binning import BinnedSample
from infoplane.kernels.exp import exp
from infoplane.kernels.jit import kernel, over_rows
from infoplane.kernels.neighbors import Neighbors, kth_distances
from tests import naive

seeds = st.integers(0, 2**32 - 1)


@kernel
def _exp_rows(start, stop, x, out):
    for i in range(start, stop):
        out[i] = exp(x[i])


def test_the_exponential_is_right_to_thirteen_digits():
    x = -np.random.default_rng(0).uniform(0, 700, 100_000)
    out = np.empty_like(x)
    over_rows(_exp_rows, x.size, x, out)
    np.testing.assert_allclose(out, np.exp(x), rtol=1.5e-13)
    edge = np.array([0.0, -1e-300, -1e300, -709.0])
    out = np.empty(4)
    over_rows(_exp_rows, 4, edge, out)
    np.testing.assert_allclose(out, [1.0, 1.0, 0.0, 0.0], atol=1e-300)


@settings(max_examples=30)
@given(seed=seeds, n=st.integers(6, 60), d=st.sampled_from([1, 2, 5, 13]), data=st.data())
def test_kth_distances_equal_the_slow_ones(seed, n, d, data):
    k = data.draw(st.integers(1, n - 2))
    x = np.random.default_rng(seed).standard_normal((n, d))
    found = kth_distances(x, k, k + 1)
    np.testing.assert_allclose(found[:, 0], naive.kth_distances(x, k), rtol=1e-12)
    np.testing.assert_allclose(found[:, 1], naive.kth_distances(x, k + 1), rtol=1e-12)


@pytest.mark.parametrize("d", [1, 3, 15])
def test_neighbors_come_in_order_of_distance(d):
    rng = np.random.default_rng(1)
    x, at = rng.standard_normal((400, d)), rng.standard_normal((70, d))
    distances, indices = Neighbors(x).query(at, 9)
    full = np.linalg.norm(at[:, None] - x[None], axis=2)
    np.testing.assert_array_equal(indices, np.argsort(full, axis=1)[:, :9])
    np.testing.assert_allclose(distances, np.sort(full, axis=1)[:, :9], rtol=1e-12)


@pytest.fixture(params=["tree", "tree by NumPy", "brute force"])
def way(request, monkeypatch):
    """All ways to find neighbours, whatever would be faster."""
    monkeypatch.setattr(neighbors, "tree_pays", lambda n, d: request.param != "brute force")
    monkeypatch.setattr(nearest, "_FEW", 0 if request.param == "tree" else 10**9)


def first_in_order(squared, k):
    """The k least of each row, those that are equal by their number."""
    indices = np.argsort(squared, axis=1, kind="stable")[:, :k]
    return np.sqrt(np.take_along_axis(squared, indices, axis=1)), indices


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("scale", [1.0, 2.0**-400, 2.0**400])
@pytest.mark.parametrize("n", [1, 31, 33, 129, 500])
@pytest.mark.parametrize("d", [1, 2, 3, 4, 7, 10])
def test_neighbors_at_the_same_distance_come_by_their_numbers(n, d, scale):
    rng = np.random.default_rng(n + d)
    x, at = rng.integers(0, 4, (n, d)) * scale, rng.integers(0, 4, (77, d)) * scale
    squared = (((at[:, None] - x[None]) / scale) ** 2).sum(axis=2)
    others = (((x[:, None] - x[None]) / scale) ** 2).sum(axis=2)
    np.fill_diagonal(others, np.inf)
    found = Neighbors(x)
    for k in {1, min(n, 3), min(n, 40), n}:
        distances, indices = first_in_order(squared, k)
        for a, b in zip(found.query(at, k), (distances * scale, indices), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12)
        if k < n:
            distances, indices = first_in_order(others, k)
            for a, b in zip(found.of_sources(x, k), (distances * scale, indices), strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-12)
            if d > 1:
                np.testing.assert_allclose(kth_distances(x, k)[:, 0], distances[:, -1] * scale, rtol=1e-12)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("k", [1, 5, 24, 25])
@pytest.mark.parametrize("d", [2, 5, 11])
def test_neighbors_in_tight_clusters_far_apart_are_the_exact_ones(d, k):
    """Distances of 1e-7 between points at 1e3: a difference of squares would lose all of their digits."""
    rng = np.random.default_rng(k)
    x = rng.integers(-1, 2, (700, d)) * 1e3 + 1e-7 * rng.standard_normal((700, d))
    squared = ((x[:, None] - x[None]) ** 2).sum(axis=2)
    np.fill_diagonal(squared, np.inf)
    expected, indices = first_in_order(squared, k)
    distances, found = Neighbors(x).of_sources(x, k)
    np.testing.assert_allclose(distances, expected, rtol=1e-12)
    np.testing.assert_array_equal(found, indices)


@pytest.mark.usefixtures("way")
def test_neighbors_whose_distances_differ_in_the_last_digits_come_in_order():
    """Keys that hold the place in the last bits of a distance cannot tell these apart."""
    step = np.arange(64) % 16
    x = np.zeros((65, 2))
    x[1:, 0] = 1 + np.random.default_rng(0).permutation(step) * 2.0**-51
    squared = (x[:1] - x[1:])[:, 0] ** 2
    distances, indices = Neighbors(x).of_sources(x, 40)
    expected = np.argsort(squared, kind="stable")[:40]
    np.testing.assert_array_equal(indices[0], 1 + expected)
    np.testing.assert_array_equal(distances[0], np.sqrt(squared[expected]))


@pytest.mark.parametrize("few", [0, 10**9])
@pytest.mark.parametrize("n", [1, 32, 33, 1000])
def test_a_tree_sorts_the_points_into_full_leaves_within_the_boxes_of_their_nodes(n, few, monkeypatch):
    monkeypatch.setattr(nearest, "_FEW", few)
    x = np.random.default_rng(n).integers(0, 9, (n, 3)).astype(float)
    tree = neighbors._Tree.of(x)
    np.testing.assert_array_equal(np.sort(tree.rows), np.arange(n))
    leaves = tree.blocks.reshape(-1, 3, 32).transpose(0, 2, 1).reshape(-1, 3)
    np.testing.assert_array_equal(leaves[:n], x[tree.rows])
    assert (leaves[n:] == np.inf).all()
    for (leaf, count), (least, most) in zip(tree.spans, tree.boxes.reshape(-1, 2, 3), strict=True):
        inside = x[tree.rows[32 * leaf : 32 * (leaf + count)]]
        np.testing.assert_array_equal(least, inside.min(axis=0))
        np.testing.assert_array_equal(most, inside.max(axis=0))


def test_candidates_too_many_for_memory_are_searched_in_parts(monkeypatch):
    x = np.random.default_rng(0).standard_normal((300, 12))
    at_once = Neighbors(x).of_sources(x, 30)
    monkeypatch.setattr(brute_force, "_CANDIDATES", 1000)
    for a, b in zip(at_once, Neighbors(x).of_sources(x, 30), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("panels", [1, 64, 65, 200, 5000])
def test_rounds_compare_every_pair_of_panels_once_and_meet_in_no_block(panels):
    met = np.zeros((min(panels, 200),) * 2, dtype=int)
    for tasks in brute_force._rounds(panels):
        blocks = [tuple(block) for a, b, c, e in tasks for block in {(a, b), (c, e)}]
        assert len(blocks) == len(set(blocks))
        for a, b, c, e in tasks:
            met[a:b, c:e] += 1
            if a != c:
                met[c:e, a:b] += 1
    assert (met == 1).all()


@settings(max_examples=20)
@given(seed=seeds, d=st.integers(1, 6), h=st.floats(0.01, 5), outlier=st.sampled_from([0.0, 40.0, 1e6]))
def test_symmetric_sums_equal_those_row_by_row(seed, d, h, outlier):
    z = np.random.default_rng(seed).standard_normal((600, d))
    z[0] += outlier
    kernels = PairKernels(z)
    rows = np.arange(600)
    squared = ((z[:, None] - z[None]) ** 2).sum(axis=2) / h**2
    np.fill_diagonal(squared, np.inf)
    slow = special.logsumexp(-0.5 * squared, axis=1) - math.log(600)
    np.testing.assert_allclose(kernels._symmetric_log_sums(h), slow, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(kernels._log_sums(z, rows, np.array([h]))[:, 0], slow, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("power", [0.0, 0.5])
@pytest.mark.parametrize("d", [1, 3, 6])
def test_scores_alone_equal_those_of_the_field(d, power):
    """To rounding: relative to the largest, as sums of terms of either sign cancel."""
    z = np.random.default_rng(d).standard_normal((700, d))
    z[0] += 30.0
    kernels = PairKernels(z, power)
    for at, own in ((z, np.arange(700)), (z[:50] + 0.1, None)):
        field = kernels.field(at, own, 0.5)
        score, divergence = kernels.score(at, own, 0.5)
        np.testing.assert_allclose(score, field.score, atol=1e-12 * np.abs(field.score).max())
        expected = np.einsum("maa->m", field.jacobian)
        np.testing.assert_allclose(divergence, expected, atol=1e-12 * np.abs(expected).max())


@settings(max_examples=10)
@given(seed=seeds, d=st.integers(1, 3), power=st.sampled_from([0.0, 0.5, 1.5]), h=st.floats(0.2, 2))
def test_pair_densities_equal_the_slow_ones(seed, d, power, h):
    z = np.random.default_rng(seed).standard_normal((24, d))
    at = np.random.default_rng(seed + 1).standard_normal((5, d)) * 3
    kernels = PairKernels(z, power)
    own = np.array([3, 17])
    left_out = kernels.log_density(z[own], own, np.array([h, 2 * h]))
    for row, i in enumerate(own):
        for column, bandwidth in enumerate((h, 2 * h)):
            expected = math.log(naive.density(z, z[i], bandwidth, power, skip=i))
            assert left_out[row, column] == pytest.approx(expected, abs=1e-11)
    elsewhere = kernels.log_density(at, None, np.array([h]))[:, 0]
    expected = [math.log(naive.density(z, point, h, power)) for point in at]
    np.testing.assert_allclose(elsewhere, expected, atol=1e-11)


@pytest.mark.parametrize(("d", "power"), [(1, 0.0), (2, 0.0), (3, 0.5)])
def test_the_score_field_is_the_derivative_of_the_density_and_leaves_no_trace(d, power):
    z = np.random.default_rng(d).standard_normal((24, d))
    kernels, h = PairKernels(z, power), 0.6
    own = np.array([0, 11, 23])
    field = kernels.field(z[own], own, h)
    for row, i in enumerate(own):
        bandwidths = naive.kernel_bandwidths(z, power, i)

        def density(at, i=i, bandwidths=bandwidths):
            b = h * bandwidths
            terms = np.exp(-0.5 * np.sum((at - z) ** 2, axis=1) / b**2) / (b * math.sqrt(2 * math.pi)) ** d
            return (1 - 1 / 24) * np.delete(terms, i).sum() / 23 + naive.background(at) / 24

        np.testing.assert_allclose(field.score[row], naive.log_gradient(density, z[i]), atol=1e-8)
        np.testing.assert_allclose(field.jacobian[row], naive.log_hessian(density, z[i]), atol=1e-4)
    expected = np.mean([naive.score_variance(z, i, h, power) for i in own], axis=0)
    np.testing.assert_allclose(field.variance, expected, rtol=1e-10)
    at = np.full((1, d), 0.3)
    elsewhere = kernels.field(at, None, h).score[0]
    gradient = naive.log_gradient(lambda p: naive.density(z, p, h, power), at[0])
    np.testing.assert_allclose(elsewhere, gradient, atol=1e-8)


@settings(max_examples=20)
@given(seed=seeds, h=st.floats(0.05, 1.0), outlier=st.sampled_from([0.0, 50.0, 1e6]))
def test_binned_sums_equal_direct_ones_of_the_rounded_data(seed, h, outlier):
    x = np.random.default_rng(seed).standard_normal(60)
    x[0] += outlier
    binned = BinnedSample(x, spacing=0.01, reach=16 * h)
    assert binned._size < 20_000
    rounded = binned.values[binned.inverse]
    assert np.abs(rounded - x).max() <= 0.005 * (1 + 1e-6)
    u = (binned.values[:, None] - rounded[None, :]) / h
    direct = np.exp(-0.5 * u**2) / (h * math.sqrt(2 * math.pi))
    value, slope, bend = binned.kernel_sums(h, (0, 1, 2))
    unit = 60 / h
    np.testing.assert_allclose(value, direct.sum(1), atol=1e-12 * unit)
    np.testing.assert_allclose(slope, (-u * direct / h).sum(1), atol=1e-12 * unit / h)
    np.testing.assert_allclose(bend, ((u**2 - 1) * direct / h**2).sum(1), atol=1e-11 * unit / h**2)


@pytest.mark.parametrize("outlier", [0.0, 200.0])
def test_the_binned_score_field_equals_the_direct_one_of_the_rounded_data(outlier):
    z = np.random.default_rng(3).standard_normal(300)
    z[0] += outlier
    line = LineKernels(z, bandwidth=0.3)
    field = line.own_field()
    rounded = line._binned.values[line._binned.inverse][:, None]
    assert np.abs(rounded[:, 0] - (z - line.center) / line.scale).max() < 0.0026
    direct = PairKernels(rounded).field(rounded, np.arange(300), 0.3).in_units_of(line.scale)
    np.testing.assert_allclose(field.score, direct.score, atol=1e-6)
    np.testing.assert_allclose(field.jacobian, direct.jacobian, atol=1e-5)
    np.testing.assert_allclose(field.variance, direct.variance, rtol=1e-6)


def test_results_do_not_depend_on_the_number_of_threads():
    z = np.random.default_rng(2).standard_normal((2100, 3))
    wide = np.random.default_rng(3).standard_normal((2100, 12))
    rows = np.arange(2100)

    def everything():
        return [
            *PairKernels(z, 0.5).field(z, rows, 0.5),
            *PairKernels(z, 0.5).score(z, rows, 0.5),
            PairKernels(z).log_density(z, rows, np.array([0.3])),
            *Neighbors(z).query(z, 30),
            kth_distances(z, 4),
            *Neighbors(wide).of_sources(wide, 5),
            *Neighbors(wide).query(wide + 0.1, 5),
        ]

    try:
        results = []
        for threads in (1, 2, 5):
            infoplane.set_num_threads(threads)
            assert infoplane.get_num_threads() == threads
            results.append(everything())
    finally:
        infoplane.set_num_threads(None)
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("threads", [0, -1, 1.5])
def test_a_number_of_threads_that_makes_no_sense_is_an_error(threads):
    with pytest.raises(ValueError, match="`threads` must be an integer of at least 1 or None, got "):
        infoplane.set_num_threads(threads)


def test_kernels_may_be_called_from_many_threads():
    z = np.random.default_rng(2).standard_normal((300, 2))
    rows = np.arange(300)
    expected = PairKernels(z).field(z, rows, 0.5).score
    results = []

    def work():
        results.append(PairKernels(z).field(z, rows, 0.5).score)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 8
    for result in results:
        np.testing.assert_array_equal(result, expected)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_kernels_work_in_a_forked_child():
    z = np.random.default_rng(2).standard_normal((300, 2))
    PairKernels(z).field(z, np.arange(300), 0.5)
    child = os.fork()
    if child == 0:
        try:
            PairKernels(z).field(z, np.arange(300), 0.5)
            os._exit(0)
        except BaseException:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
