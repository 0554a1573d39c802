"""Blocks of plain and of dask arrays: what they average, what they may use, and data larger than memory."""

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from infoplane import (
    Blocks,
    DegenerateSampleError,
    Histogram,
    InfoplaneWarning,
    conditional_entropy,
    conditional_mutual_information,
    entropy,
    entropy_power,
    fisher_information,
    fisher_shannon,
    fisher_trace,
    mutual_information,
    score,
    windows,
)
from infoplane.dask_arrays import DaskSample
from infoplane.inequalities import stam
from infoplane.sample import Sample

NORMAL = 0.5 * math.log(2 * math.pi * math.e)


def parts(x, count, seed=0):
    order = Sample.of(x).radial_order[np.random.default_rng(seed).permutation(len(x))]
    return [x[rows] for rows in np.array_split(order, count)]


def test_blocks_are_averaged_by_their_rows():
    x = np.random.default_rng(0).standard_normal((3001, 3))
    method = Blocks(4, method="kde")
    h, j = entropy(x, method=method), fisher_trace(x, method=method)
    share = np.array([len(part) for part in parts(x, 4)]) / 3001
    for found, measure in ((h, entropy), (j, fisher_trace)):
        each = [measure(part, method="kde") for part in parts(x, 4)]
        assert found == pytest.approx(share @ [float(e) for e in each], rel=1e-12)
        assert found.standard_error == pytest.approx(math.hypot(*(share * [e.standard_error for e in each])))
        assert found.method == "kde, 4 blocks"
        assert found.n == 3001
    matrix = fisher_information(x, method=method)
    expected = sum(s * fisher_information(p, method="kde") for s, p in zip(share, parts(x, 4), strict=True))
    np.testing.assert_allclose(matrix, expected, rtol=1e-10)


def test_blocks_do_not_depend_on_jobs_or_the_order_of_rows():
    x = np.random.default_rng(1).standard_normal((900, 2))
    expected = repr(fisher_shannon(x, method=Blocks(3, method="knn")))
    assert repr(fisher_shannon(x[::-1], method=Blocks(3, method="knn"))) == expected
    from joblib import parallel_config

    with parallel_config(backend="threading", n_jobs=2):
        assert repr(fisher_shannon(x, method=Blocks(3, method="knn"))) == expected


def test_the_bias_of_blocks_is_that_of_blocks_of_half_the_size():
    """Kernels in five dimensions are high by 0.14 nats at 500 rows, six standard errors; to half of that."""
    x = np.random.default_rng(2).standard_normal((4000, 5))
    h = entropy(x, method=Blocks(8, method="kde"))
    error = h - 5 * NORMAL
    assert error > 5 * h.standard_error
    assert 0.5 * error < h.bias < 1.5 * error
    low, high = h.interval(method="conservative")
    assert low < 5 * NORMAL < high


def test_the_bias_of_blocks_of_a_given_size_is_found_from_smaller_ones():
    """Halves of the sample would hold blocks of the same 500 rows, and leave noise about zero.

    The rate n^{−2/d} of neighbours is a little slower than that of kernels: half as much again at 500 rows.
    """
    x = np.random.default_rng(2).standard_normal((8000, 5))
    method = Blocks(8, method="kde", rows=500)
    h, j = entropy(x, method=method), fisher_trace(x, method=method)
    assert h - 5 * NORMAL < h.bias < 2 * (h - 5 * NORMAL)
    smaller = Blocks(8, method="kde", rows=250)
    halves = [fisher_trace(half.values, method=smaller) for half in Sample.of(x).halves()]
    assert j.bias == pytest.approx((np.mean(halves) - j) / (2**0.2 - 1))


def test_the_errors_of_blocks_match_the_spread():
    """60 repeats tell a standard deviation to 9 %: 0.7 is 3.5 such errors below."""
    rng = np.random.default_rng(3)
    found = [fisher_shannon(rng.standard_normal((600, 2)), method=Blocks(3, method="kde")) for _ in range(60)]
    for name in ("entropy", "fisher_trace"):
        values = [getattr(point, name) for point in found]
        assert 0.7 < np.mean([v.standard_error for v in values]) / np.std(values) < 1.5, name


def test_blocks_of_rounded_data_do_not_resolve_the_cells():
    """J of normal data rounded to 0.4 is 0.97; a block that took the cells for structure had 1.66."""
    x = np.random.default_rng(9).standard_normal(40_000)
    rounded = np.round(x * 2.5) / 2.5
    for method in ("kde", "logspline"):
        whole, blocks = (
            fisher_trace(rounded, method=m, ties="dither", rng=0) for m in (method, Blocks(4, method=method))
        )
        assert whole == pytest.approx(0.97, abs=0.03)
        assert blocks == pytest.approx(float(whole), abs=0.05)
    one, four = (entropy(rounded, method=m, ties="dither", rng=0) for m in ("kde", Blocks(4, method="kde")))
    assert four == pytest.approx(float(one), abs=0.005)


def test_some_rows_may_be_enough():
    x = np.random.default_rng(4).standard_normal((5000, 2))
    h = entropy(x, method=Blocks(4, method="kde", rows=250))
    assert abs(h - 2 * NORMAL) < 4 * h.standard_error + 0.02
    assert h.standard_error > 1.8 * entropy(x, method="kde").standard_error


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: Blocks(1), "`count` must be an integer of at least 2, got 1"),
        (lambda: Blocks(2.5), "`count` must be an integer of at least 2, got 2.5"),
        (lambda: Blocks(3, rows=0), "`rows` must be a positive integer, got 0"),
        (lambda: Blocks(3, method="nonsense"), "`method` must be one of"),
        (
            lambda: entropy(np.arange(30.0) ** 1.1, method=Blocks(20)),
            "at least two rows for each of 20 blocks",
        ),
        (lambda: score(np.arange(30.0) ** 1.1, method=Blocks(2)), "blocks give no score"),
    ],
)
def test_blocks_that_make_no_sense_are_refused(act, message):
    with pytest.raises(ValueError, match=message):
        act()


# --- dask arrays ------------------------------------------------------------------------------------------

da = pytest.importorskip("dask.array")


@pytest.fixture(autouse=True)
def in_this_thread():
    import dask

    with dask.config.set(scheduler="synchronous"):
        yield


@pytest.mark.parametrize("d", [1, 2])
def test_a_dask_array_is_counted_chunk_by_chunk(d):
    # A robust scale of 1.4 is far from a power of two: all rows and some call for the same cells.
    x = 1.4 * np.random.default_rng(5).standard_normal((40_000, d))
    chunked = da.from_array(x, chunks=(3000, 1))
    if d == 1:
        chunked = chunked[:, 0]
    counted = Histogram(d).update(x)
    assert Histogram(d).update(chunked) == counted
    assert repr(fisher_shannon(chunked)) == repr(counted.fisher_shannon())
    assert entropy(chunked, base=2) == counted.entropy(base=2)
    assert entropy_power(chunked) == counted.entropy_power()
    assert fisher_trace(chunked) == counted.fisher_trace()
    np.testing.assert_array_equal(fisher_information(chunked), counted.fisher_information())
    assert entropy(chunked, method="gaussian") == counted.entropy(method="gaussian")


@pytest.mark.parametrize(
    ("chunks", "constant"),
    [((1, 9999, 10_000), None), ((5000, 5000, 10_000), slice(5000)), (100, None), (4000, slice(12_000))],
    ids=["one row", "equal rows", "few rows each", "equal rows in all chunks but one"],
)
@pytest.mark.parametrize("d", [1, 2])
def test_the_first_chunks_need_not_tell_the_scale(chunks, constant, d):
    x = 1.4 * np.random.default_rng(9).standard_normal((20_000, d))
    if constant:
        x[constant] = x[16_000:] = 0.25
    chunked = da.from_array(x, chunks=(chunks, d))
    if constant is None:
        assert fisher_trace(chunked) == Histogram(d).update(x).fisher_trace()
    histogram = DaskSample(chunked, "kde")._histogram()
    assert histogram == Histogram(d, spacing=histogram.spacing).update(x)
    assert (histogram.spacing < 1.4 / 2**7).all()


def test_sorted_chunks_call_for_the_cells_of_all_rows():
    x = np.sort(1.4 * np.random.default_rng(9).standard_normal(40_000))
    histogram = DaskSample(da.from_array(x, chunks=2000), "kde")._histogram()
    wide = Histogram().update(x).spacing
    assert wide / 2 <= histogram.spacing <= 2 * wide


def test_constant_chunks_are_refused_as_constant_rows_are():
    with pytest.raises(DegenerateSampleError, match="must vary in every column"):
        entropy(da.ones(5000, chunks=500))


def test_chunks_of_unknown_size_are_counted():
    x = np.random.default_rng(6).standard_normal(20_000)
    chunked = da.from_array(x, chunks=4000)
    some = chunked[chunked > -1]
    assert Histogram().update(some).n == int((x > -1).sum())
    assert entropy(some).n == int((x > -1).sum())


@pytest.mark.filterwarnings("ignore::infoplane.InfoplaneWarning")
def test_a_dask_array_of_many_dimensions_is_measured_in_blocks():
    """Sorted rows, so that chunks differ: each block must be drawn from all of them."""
    x = np.random.default_rng(7).standard_normal((12_000, 3))
    x = x[np.argsort(x[:, 0])]
    chunked = da.from_array(x, chunks=(1700, 2))
    point = fisher_shannon(chunked, method=Blocks(4, method="kde", rows=1500), rng=0)
    assert abs(point.entropy - 3 * NORMAL) < 4 * point.entropy.standard_error + 0.03
    assert abs(point.fisher_trace - 3) < 4 * point.fisher_trace.standard_error + 0.1
    assert point.entropy.n == 6000
    assert math.isfinite(point.entropy.bias)
    assert math.isfinite(point.fisher_trace.bias)
    assert point.product.standard_error < 0.1
    again = entropy(chunked, method=Blocks(4, method="kde", rows=1500), rng=0)
    assert again == point.entropy
    np.testing.assert_allclose(
        np.trace(fisher_information(chunked, method=Blocks(4, method="kde", rows=1500), rng=0)),
        point.fisher_trace,
        rtol=1e-12,
    )
    every = entropy(chunked, method=Blocks(3, method="knn"))
    assert every.n == 12_000
    assert abs(every - 3 * NORMAL) < 4 * every.standard_error + 0.02
    assert entropy(chunked, method="knn").method == "knn, 2 blocks"
    assert entropy_power(chunked, method="knn") > 0.9


@pytest.mark.parametrize(
    ("act", "error", "message"),
    [
        (lambda x: entropy(x[:, :, None]), ValueError, "`x` must have shape"),
        (lambda x: entropy(x, weights=np.ones(100)), ValueError, "are not taken with a dask array"),
        (lambda x: entropy(x, ties="dither", rng=0), ValueError, "are not taken with a dask array"),
        (lambda x: entropy(x[:0]), ValueError, "`x` must not be empty"),
        (score, TypeError, "must be an array in memory for a score"),
    ],
)
def test_what_dask_arrays_cannot_do_is_refused(act, error, message):
    x = da.from_array(np.random.default_rng(8).standard_normal((100, 2)), chunks=30)
    with pytest.raises(error, match=message):
        act(x)


@pytest.mark.parametrize(
    ("act", "name"),
    [
        (lambda x: mutual_information(x[:, 0], NUMBERS), "x"),
        (lambda x: conditional_entropy(NUMBERS, given=x[:, 1]), "given"),
        (lambda x: conditional_mutual_information(NUMBERS, NUMBERS, given=x[:, 1]), "given"),
        (lambda x: windows(x, 10), "x"),
        (lambda x: windows(x, 10, degenerate="nan"), "x"),
        (stam, "x"),
        (lambda x: entropy(NUMBERS, weights=x[:, 0]), "weights"),
        (lambda x: score(NUMBERS, points=x[:, 0]), "points"),
        (lambda x: entropy(x[:, 0].to_dask_dataframe()), "x"),
        (lambda x: Histogram().update(x[:, 0].to_dask_dataframe()), "x"),
    ],
)
def test_no_function_loads_a_dask_array_unasked(act, name):
    """Its chunks fail to be computed."""
    x = da.from_array(np.ones((100, 2)), chunks=(30, 2)).map_blocks(_fail, dtype=float, meta=np.empty((0, 2)))
    with pytest.raises(TypeError, match=f"`{name}` must be in memory, got .* of dask: pass `{name}.compute"):
        act(x)


@pytest.mark.parametrize("method", ["auto", Blocks(2)], ids=repr)
def test_dask_arrays_of_many_dimensions_warn_once(method):
    x = da.from_array(np.random.default_rng(11).standard_normal((300, 11)), chunks=150)
    with pytest.warns(InfoplaneWarning, match="in d = 11 > 10 dimensions") as record:
        fisher_shannon(x, method=method)
    assert len(record) == 1
    assert record[0].filename == __file__


NUMBERS = np.random.default_rng(10).standard_normal(100)


def _fail(_):
    raise AssertionError("a chunk was computed")


@pytest.mark.slow
def test_two_workers_measure_data_larger_than_their_memory():
    script = Path(__file__).parent.parent / "examples" / "larger_than_memory.py"
    command = [sys.executable, str(script), "--rows", "100000000", "--memory", "700MB"]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "1.60 GB of data" in output
    assert "2.40 GB of data" in output
    assert "1.40 GB of memory" in output
