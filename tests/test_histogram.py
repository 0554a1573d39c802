"""Histograms of streams: exact laws of merging, and the measures of what they have counted."""

import copy
import math
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infoplane import KDE, DegenerateSampleError, Histogram, entropy, fisher_trace
from infoplane.distributions import Logistic, Product, StudentT
from infoplane.estimators.grid_kernels import GridKernels

seeds = st.integers(0, 2**32 - 1)
NORMAL = np.random.default_rng(0).standard_normal(20_000)


def rows_of(seed, n, d):
    """Rows with a few far outliers and a large offset."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, d))
    x[: n // 100] *= 10.0 ** rng.uniform(0, 9, (n // 100, d))
    return x + rng.choice([0.0, 1e6])


def counted(x, d, **options):
    return Histogram(d, **options).update(x)


def slow(x, width):
    """Cells and counts by a dictionary."""
    counts = {}
    for row in x:
        cell = tuple(math.floor(value / w) for value, w in zip(row, width, strict=True))
        counts[cell] = counts.get(cell, 0) + 1
    cells = sorted(counts)
    return (np.array(cells) + 0.5) * width, np.array([counts[cell] for cell in cells])


@settings(max_examples=10)
@given(seed=seeds, d=st.integers(1, 2))
def test_counts_are_those_of_the_cells(seed, d):
    x = rows_of(seed, 3000, d)
    histogram = counted(x, d)
    values, counts = slow(x, histogram.spacing)
    np.testing.assert_array_equal(histogram.values, values)
    np.testing.assert_array_equal(histogram.counts, counts)
    assert histogram.n == counts.sum() == 3000


@settings(max_examples=20)
@given(seed=seeds, d=st.integers(1, 2), fine=st.booleans())
def test_merging_is_associative_and_commutative_and_knows_no_chunks(seed, d, fine):
    """To the last bit, also where cells had to be widened on the way."""
    spacing = 1e-5 if fine else 1.0
    a, b, c = (rows_of(seed + i, n, d) for i, n in enumerate((2500, 1, 4000)))
    make = lambda x: counted(x, d, spacing=spacing, most_cells=1000)  # noqa: E731
    whole = make(np.concatenate([a, b, c]))
    assert (make(a) + make(b)) + make(c) == make(a) + (make(b) + make(c)) == whole
    assert make(c) + make(a) + make(b) == whole
    assert Histogram(d, most_cells=1000) + whole == whole == whole + Histogram(d)
    chunks = Histogram(d, spacing=spacing, most_cells=1000)
    for chunk in np.array_split(np.concatenate([c, b, a]), 37):
        chunks.update(chunk)
    assert chunks == whole
    assert whole.counts.size <= 1000
    assert fine == bool((whole.spacing > spacing).all())


@settings(max_examples=10)
@given(seed=seeds, d=st.integers(1, 2))
def test_histograms_with_cells_of_other_widths_are_merged_without_loss(seed, d):
    a, b = rows_of(seed, 2000, d), 7 * rows_of(seed + 1, 1500, d)
    both = counted(a, d) + counted(b, d)
    assert both == counted(b, d) + counted(a, d)
    assert both == counted(np.concatenate([a, b]), d, spacing=both.spacing)


@pytest.mark.parametrize("d", [1, 2])
def test_few_rows_wait_until_the_scale_is_known(d):
    x = np.random.default_rng(0).standard_normal((1200, d))
    chunks = Histogram(d)
    for row in x:
        chunks.update(row[None])
    assert chunks == counted(x[:1000], d).update(x[1000:])
    assert pickle.loads(pickle.dumps(chunks)) == chunks
    early = pickle.loads(pickle.dumps(Histogram(d).update(x[:10])))
    assert early.n == 10
    assert early.update(x[10:]) == counted(x, d)
    assert Histogram(d).update(x[:10]).merge(chunks).n == 1210
    assert Histogram(d).merge(Histogram(d).update(x[:10])).n == 10


@pytest.mark.parametrize("d", [1, 2])
@pytest.mark.parametrize("before", [0, 1, 10, 600, 5000])
def test_an_update_is_counted_whole_or_not_at_all(before, d):
    """The last of its rows is 2⁶⁰ cells away, after others that fill several batches of counting."""
    rng = np.random.default_rng(before)
    good = rng.standard_normal((6000, d))
    bad = rng.standard_normal((600_000 if before == 5000 else 700, d))
    bad[-1, -1] = 1e300
    histogram = Histogram(d)
    if before:
        histogram.update(good[:before])
    with pytest.raises(ValueError, match=rf"within 2⁶⁰ cells .* got 1e\+300 in column {d - 1}: no"):
        histogram.update(bad)
    assert histogram.n == before
    expected = Histogram(d)
    if before:
        expected.update(good[:before])
    assert histogram.update(good[before:]) == expected.update(good[before:])
    assert histogram.counts.sum() == histogram.n == 6000


@pytest.mark.parametrize("replicate", [copy.copy, copy.deepcopy, lambda h: pickle.loads(pickle.dumps(h))])
@pytest.mark.parametrize("n", [10, 5000])
def test_a_copy_goes_its_own_way(n, replicate):
    original = Histogram().update(NORMAL[:n])
    twin = replicate(original)
    twin.update(NORMAL[n : n + 7])
    original.update(NORMAL[n + 7 :])
    assert twin == Histogram().update(NORMAL[:n]).update(NORMAL[n : n + 7])
    assert original == Histogram().update(NORMAL[:n]).update(NORMAL[n + 7 :])
    assert original.counts.sum() == original.n == 20_000 - 7
    assert twin.counts.sum() == twin.n == n + 7


def test_histograms_are_summed():
    parts = [counted(part, 1, spacing=1e-3) for part in np.split(NORMAL, 4)]
    total = sum(parts)
    assert total == counted(NORMAL, 1, spacing=1e-3)
    assert parts[0].n == 5000
    alone = sum(parts[:1])
    assert alone == parts[0]
    assert alone.update([1.0]) != parts[0]
    with pytest.raises(TypeError, match="unsupported operand"):
        3 + parts[0]


def test_a_merge_is_made_whole_or_not_at_all():
    few = Histogram().update([1e300, 1.0, 2.0])
    many = counted(NORMAL, 1)
    for one, other in ((many, few), (few, many)):
        with pytest.raises(ValueError, match="within 2⁶⁰ cells"):
            one.merge(other)
    assert many == counted(NORMAL, 1)
    assert few.n == 3
    assert few.spacing > 1e290


def test_first_rows_without_a_scale_are_refused_each_time_alike():
    histogram = Histogram().update([*NORMAL[:50], 1e300])
    for _ in range(2):
        with pytest.raises(ValueError, match="within 2⁶⁰ cells"):
            histogram.entropy()
    constant = Histogram().update(np.full(50, 0.1))
    for _ in range(2):
        with pytest.raises(DegenerateSampleError, match="must vary"):
            constant.entropy()
    assert constant.update(NORMAL) == Histogram().update(np.r_[np.full(50, 0.1), NORMAL])


@pytest.mark.parametrize("log10_scale", [-300, 150, 300])
def test_the_unit_of_a_stream_does_not_matter(log10_scale):
    moved = counted(NORMAL * 10.0**log10_scale, 1).entropy() - log10_scale * math.log(10)
    # Cells are other fractions of σ: δ²/24 = 6e-10, and the grid's choice of points.
    assert moved == pytest.approx(float(counted(NORMAL, 1).entropy()), abs=1e-4)


def test_a_repeated_update_of_nothing_changes_nothing():
    histogram = Histogram().update(np.arange(2000.0))
    assert histogram.update([]) == Histogram().update(np.arange(2000.0))


@pytest.mark.parametrize("d", [1, 2])
def test_the_measures_are_those_of_the_rows(d):
    """Beside kernels at all rows: 0.3 standard errors for cells, grid and the flat choice of a bandwidth."""
    x = Product(*[StudentT(6), Logistic()][:d]).sample(60_000, np.random.default_rng(1))
    histogram = counted(x, d)
    point = histogram.fisher_shannon()
    h, j = entropy(x, method="kde"), fisher_trace(x, method="logspline" if d == 1 else "kde")
    assert abs(point.entropy - h) < 0.3 * h.standard_error
    assert abs(point.fisher_trace - j) < 0.3 * j.standard_error
    assert point.entropy.standard_error == pytest.approx(h.standard_error, rel=0.02)
    assert point.fisher_trace.standard_error == pytest.approx(j.standard_error, rel=0.05)
    assert point.n == 60_000
    for found, expected in (
        (histogram.entropy(), point.entropy),
        (histogram.fisher_trace(), point.fisher_trace),
        (histogram.entropy_power(), point.entropy_power),
        (histogram.fisher_information(), point.fisher_information),
        (histogram.entropy(base=2) * math.log(2), point.entropy),
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert math.isnan(point.entropy.bias)
    gaussian = histogram.entropy(method="gaussian")
    assert gaussian == pytest.approx(float(entropy(x, method="gaussian")), abs=1e-3)


def test_the_error_of_cells_is_that_of_de_bruijn_and_a_richardson_step_takes_it_away():
    """Cells of σ/16 add δ² tr J/24 = 5.6e-4 nats; what is left has a deviation of 1e-4 at n = 10⁵."""
    x = np.random.default_rng(2).standard_normal((100_000, 2)) @ [[1.0, 0.4], [0.0, 0.7]]
    fine, wide = (counted(x, 2, spacing=1 / w)._sample() for w in (256, 16))
    exact = KDE(bandwidth=0.2).entropy(fine).value
    assert abs(KDE(bandwidth=0.2).entropy(wide).value - exact) < 3e-4
    log_density, variance = GridKernels(wide.whitened, 0.2, reference=0.2, mass=wide.mass).own_log_density()
    plain = wide.mass.share @ (-log_density - variance / 2) + wide.log_volume - exact
    expected = np.trace(np.linalg.inv(np.cov(x.T))) / 16**2 / 24 + 2 * (0.2 / 8) ** 2 / 24
    assert plain == pytest.approx(expected, abs=3e-4)
    assert plain > 3.5e-4


@pytest.mark.parametrize("scale", [0.9, 1.0, 1.13, 1.27, 1.6])
@pytest.mark.parametrize("d", [1, 2])
def test_cells_do_not_beat_with_the_grid(d, scale):
    """Whatever the ratio of cells and bandwidth; a grid of its own was off by 12 % in J at n = 10⁸."""
    x = scale * NORMAL[: 20_000 // d * d].reshape(-1, d) + 0.3
    method = KDE(bandwidth=0.25)
    cells = counted(x, d, spacing=[1 / 4096] if d == 1 else 1 / 32)
    for found, expected in (
        (cells.entropy(method=method), entropy(x, method=method)),
        (cells.fisher_trace(method=method), counted(x, d, spacing=1 / 2**16).fisher_trace(method=method)),
    ):
        assert abs(found - expected) < 0.2 * expected.standard_error


def test_the_stream_of_a_distribution_is_measured_to_its_errors():
    rng, truth = np.random.default_rng(3), Product(StudentT(5), Logistic())
    histogram = Histogram(2)
    for _ in range(20):
        histogram.update(truth.sample(10_000, rng))
    h, j = histogram.entropy(), histogram.fisher_trace()
    assert abs(h - truth.entropy()) < 4 * h.standard_error + 0.004
    assert abs(j / truth.fisher_trace() - 1) < 4 * j.standard_error / j + 0.02


def test_one_far_outlier_costs_one_cell():
    x = np.random.default_rng(4).standard_normal(50_000)
    clean, spoiled = counted(x, 1), counted(np.r_[x, 1e9], 1)
    assert spoiled.counts.size == clean.counts.size + 1
    assert spoiled.fisher_trace() == pytest.approx(float(clean.fisher_trace()), rel=0.02)


@pytest.mark.parametrize(
    "x",
    [
        np.random.default_rng(5).integers(0, 10, 20_000),
        np.round(np.random.default_rng(5).standard_normal(20_000), 1),
        np.where(np.arange(20_000) % 5, np.random.default_rng(5).standard_normal(20_000), 0.0),
    ],
    ids=["whole numbers", "rounded", "many zeros"],
)
def test_variables_without_density_are_refused(x):
    with pytest.raises(DegenerateSampleError, match="takes the same values again and again"):
        counted(x, 1).entropy()
    both = np.column_stack([np.random.default_rng(6).standard_normal(20_000), x])
    with pytest.raises(DegenerateSampleError, match="column 1 of the stream"):
        counted(both, 2).fisher_trace()


def test_smooth_variables_are_not_refused():
    rng = np.random.default_rng(7)
    for x in (
        rng.uniform(size=10**6),
        rng.laplace(size=10**6),
        rng.standard_cauchy(10**5),
        rng.normal(size=30),
    ):
        counted(x, 1)._sample()
        counted(x.astype(np.float32), 1)._sample()


@pytest.mark.parametrize(
    ("act", "error", "message"),
    [
        (lambda: Histogram(3), ValueError, "`d` must be 1 or 2, got 3"),
        (lambda: Histogram(spacing=0.0), ValueError, "`spacing` must be a positive number"),
        (lambda: Histogram(2, spacing=[1.0, 2.0, 3.0]), ValueError, "`spacing` must be a positive number"),
        (lambda: Histogram(most_cells=10), ValueError, "`most_cells` must be an integer of at least 1000"),
        (lambda: Histogram(2).update(np.ones(5)), ValueError, "`x` must have d = 2 columns, got shape"),
        (lambda: Histogram().update([1.0, np.nan]), ValueError, "`x` must be finite, got nan in row 1"),
        (lambda: Histogram().update(["a"]), TypeError, "`x` must hold real numbers"),
        (lambda: Histogram(spacing=1e-3).update([1e30]), ValueError, "within 2⁶⁰ cells"),
        (lambda: Histogram().merge(Histogram(2)), ValueError, "`other` must have d = 1, got d = 2"),
        (lambda: Histogram().merge(3), TypeError, "`other` must be a Histogram, got int"),
        (lambda: Histogram().entropy(), ValueError, "must hold rows"),
        (lambda: Histogram().update(np.ones(2000)).entropy(), DegenerateSampleError, "must vary"),
        (lambda: counted(np.arange(3.0), 1).entropy(), ValueError, "at least d \\+ 3 = 4 rows"),
        (lambda: Histogram().update(NORMAL).entropy(method="spacing"), ValueError, "takes no `counts`"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(act, error, message):
    with pytest.raises(error, match=message):
        act()
