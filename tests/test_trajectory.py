"""Windows of signals: the points are those of the windows, frames keep their index, errors count memory."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal

from infoplane import DegenerateSampleError, fisher_shannon, windows
from infoplane.long_run import long_run_covariance
from infoplane.plane import mean_place

QUANTITIES = ("entropy", "entropy_power", "fisher_trace", "product")


def autoregression(rng, n, phi):
    """A stationary series of unit variance with correlation φ^k at lag k."""
    noise = rng.standard_normal(n + 500) * math.sqrt(1 - phi**2)
    return signal.lfilter([1], [1, -phi], noise)[500:]


def test_each_point_is_that_of_its_window():
    x = np.random.default_rng(0).standard_normal(700)
    path = windows(x, 300, 130, correlated=False)
    assert list(path.starts) == [0, 130, 260, 390]
    assert list(path.stops) == [300, 430, 560, 690]
    for start, point in zip(path.starts, path, strict=True):
        alone = fisher_shannon(x[start : start + 300])
        for name in QUANTITIES:
            here, there = getattr(point, name), getattr(alone, name)
            assert here == there
            assert here.standard_error == there.standard_error
            assert here.method == there.method


def test_windows_do_not_overlap_unless_asked_to():
    assert list(windows(np.random.default_rng(0).standard_normal(250), 100).starts) == [0, 100]


def test_channels_are_measured_one_by_one_or_as_one_vector():
    x = np.random.default_rng(1).standard_normal((240, 2)) @ [[1, 0.5], [0, 1]]
    apart = windows(x, 120, method="gaussian")
    assert sorted(apart) == [0, 1]
    assert apart[1][0].entropy == fisher_shannon(x[:120, 1], method="gaussian").entropy
    together = windows(x, 120, method="gaussian", jointly=True)
    assert together[1].entropy == fisher_shannon(x[120:], method="gaussian").entropy
    assert together[0].d == 2


def test_a_slice_is_a_trajectory():
    path = windows(np.random.default_rng(2).standard_normal(500), 100, method="gaussian")
    assert list(path[1:3].starts) == [100, 200]
    assert path[1:3][0] is path[1]
    assert repr(path) == "Trajectory(5 windows of 100 rows, d=1)"


def test_columns_hold_values_and_standard_errors():
    path = windows(np.random.default_rng(3).standard_normal(300), 150)
    columns = path.columns()
    assert list(columns) == [f"{name}{end}" for name in QUANTITIES for end in ("", "_se")]
    assert columns["product_se"][1] == path[1].product.standard_error


def test_a_frame_comes_out_with_its_index():
    days = pd.date_range("2020-01-01", periods=400, freq="D")
    x = np.random.default_rng(4).standard_normal((400, 2))
    frame = pd.DataFrame(x, index=days, columns=["left", "right"])
    found = windows(frame, 100, 50, method="gaussian")
    assert list(found.index) == [days[i - 1] for i in range(100, 401, 50)]
    assert found["right"]["entropy"].iloc[2] == windows(x[:, 1], 100, 50, method="gaussian")[2].entropy
    single = windows(frame["left"], 100, method="gaussian")
    assert list(single.columns) == [f"{name}{end}" for name in QUANTITIES for end in ("", "_se")]
    joint = windows(frame, 100, method="gaussian", jointly=True)
    assert joint["fisher_trace"].iloc[0] == fisher_shannon(x[:100], method="gaussian").fisher_trace


def test_trajectories_of_a_frame_keep_its_index_and_all_that_is_known():
    days = pd.date_range("2020-01-01", periods=400, freq="D")
    x = np.random.default_rng(4).standard_normal((400, 2))
    frame = pd.DataFrame(x, index=days, columns=["left", "right"])
    table = windows(frame, 100, 50, method="gaussian")
    paths = windows(frame, 100, 50, method="gaussian", as_frame=False)
    assert list(paths) == ["left", "right"]
    path = paths["right"]
    assert path[2].entropy.interval() == windows(x[:, 1], 100, 50, method="gaussian")[2].entropy.interval()
    assert path[2].entropy.method == "gaussian"
    pd.testing.assert_frame_equal(path.to_frame(), table["right"])
    assert list(path.index) == list(table.index)
    assert list(path[1:3].index) == list(table.index[1:3])
    assert list(path.defined.index) == list(table.index)
    single = windows(frame["left"], 100, 50, method="gaussian", as_frame=False)
    pd.testing.assert_frame_equal(single.to_frame(), table["left"])
    assert mean_place(single).entropy_power == pytest.approx(table["left"]["entropy_power"].mean())
    joint = windows(frame, 100, method="gaussian", jointly=True, as_frame=False)
    np.testing.assert_array_equal(
        joint[0].fisher_information, fisher_shannon(x[:100], method="gaussian").fisher_information
    )


def test_trajectories_of_arrays_become_frames_of_numbered_windows():
    path = windows(np.random.default_rng(4).standard_normal(300), 100, method="gaussian")
    assert path.index is None
    assert list(path.to_frame().index) == [0, 1, 2]


def test_processes_change_nothing():
    x = np.random.default_rng(5).standard_normal(600)
    assert np.array_equal(*(windows(x, 200, n_jobs=jobs).columns()["product"] for jobs in (1, 2)))


@pytest.mark.parametrize("phi", [0.0, 0.6, -0.6])
def test_the_long_run_variance_is_that_of_an_autoregression(phi):
    """Σ φ^|k| = (1 + φ)/(1 − φ). n = 10⁵: a lag of 50 to 100, so 4 standard errors of 2 √(lag/n)·⅔."""
    x = autoregression(np.random.default_rng(6), 100_000, phi)
    found = float(long_run_covariance(x[:, None])[0, 0])
    assert found == pytest.approx((1 + phi) / (1 - phi), rel=0.15)


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=20)
def test_a_long_run_covariance_is_positive_semidefinite_and_follows_units(seed):
    rng = np.random.default_rng(seed)
    terms = np.cumsum(rng.standard_normal((60, 2)), axis=0)
    terms -= terms.mean(axis=0)
    found = long_run_covariance(terms)
    assert np.linalg.eigvalsh(found).min() > -1e-9 * np.trace(found)
    # A power of two scales without rounding.
    np.testing.assert_allclose(
        long_run_covariance(terms * [4.0, 0.5]), found * [[16, 2], [2, 0.25]], rtol=1e-12
    )


def test_standard_errors_count_the_memory_of_the_signal():
    """60 windows with φ = 0.8: the spread, known to 9 %, is 1.7 to 2.1 times that of independent rows."""
    x = autoregression(np.random.default_rng(7), 60 * 600, 0.8)
    for name in ("entropy", "fisher_trace"):
        stated = {}
        for correlated in (True, False):
            columns = windows(x, 600, method="gaussian", correlated=correlated).columns()
            stated[correlated] = columns[name + "_se"].mean()
        spread = columns[name].std(ddof=1)
        assert stated[False] < 0.7 * spread
        assert 0.65 * spread < stated[True] < 1.35 * spread


def test_correlation_changes_no_value_and_shrinks_no_error():
    x = np.random.default_rng(8).standard_normal(1000)
    independent, correlated = (windows(x, 200, correlated=c).columns() for c in (False, True))
    for name in ("entropy", "fisher_trace"):
        assert np.array_equal(independent[name], correlated[name])
        assert (correlated[name + "_se"] >= independent[name + "_se"]).all()


def test_gaps_are_left_out_of_their_windows():
    x = np.random.default_rng(14).standard_normal(300)
    x[[3, 50, 99]] = np.nan
    path = windows(x, 100, degenerate="nan", correlated=False)
    here, alone = path[0].entropy, fisher_shannon(np.delete(x[:100], [3, 50, 99])).entropy
    assert here == alone
    assert here.n == 97


@pytest.mark.parametrize("broken", ["gap", "flat", "tied"])
def test_windows_without_a_density_are_errors_or_nan(broken):
    x = np.random.default_rng(9).standard_normal(500)
    if broken == "gap":
        x[130:181] = np.nan
    elif broken == "flat":
        x[100:200] = 3.0
    else:
        x[100:200:2] = x[101:200:2]
    with pytest.raises((DegenerateSampleError, ValueError)):
        windows(x, 100)
    path = windows(x, 100, degenerate="nan")
    assert [math.isnan(point.product) for point in path] == [False, True, False, False, False]
    assert [int(start) for start in path.defined.starts] == [0, 200, 300, 400]
    assert np.isnan(path.columns()["entropy_se"][1])


@pytest.mark.parametrize("gap", [False, True])
def test_frames_that_cannot_be_written_to_may_have_gaps(gap):
    x = pd.Series(np.random.default_rng(14).standard_normal(300))
    if gap:
        x[3] = np.nan
    path = windows(x, 100, degenerate="nan", method="gaussian", as_frame=False)
    assert path[0].n == 100 - gap


def test_masked_entries_are_gaps():
    x = np.ma.masked_array(np.random.default_rng(10).standard_normal(300), mask=np.arange(300) == 5)
    assert windows(x, 100, degenerate="nan")[0].n == 99
    with pytest.raises(TypeError, match="masked"):
        windows(x, 100)


def test_a_signal_without_any_density_says_why():
    with pytest.raises(DegenerateSampleError, match=r"no window of `x` has a density; the first one: .*vary"):
        windows(np.ones(300), 100, degenerate="nan")


def test_rounded_signals_are_dithered_at_the_step_of_the_whole():
    """Steps of 0.1 σ raise the entropy by δ²/24 = 0.0004: 4 standard errors of a window."""
    x = np.round(np.random.default_rng(11).standard_normal(2000), 1)
    with pytest.raises(DegenerateSampleError):
        windows(x, 1000)
    for point in windows(x, 1000, ties="dither", rng=0):
        assert abs(point.entropy - 0.5 * math.log(2 * math.pi * math.e)) < 4 * point.entropy.standard_error
    again, other = (windows(x, 1000, ties="dither", rng=seed)[0].entropy for seed in (0, 1))
    assert again == windows(x, 1000, ties="dither", rng=0)[0].entropy
    assert again != other


def test_a_constant_and_a_factor_move_a_trajectory_as_they_move_a_sample():
    """To 1e-6, as far as the fit of a log-spline is iterated."""
    x = np.random.default_rng(12).gamma(3.0, size=400)
    base, moved = windows(x, 200).columns(), windows(4 * x - 9, 200).columns()
    np.testing.assert_allclose(moved["entropy_power"], 16 * base["entropy_power"], rtol=1e-6)
    np.testing.assert_allclose(moved["fisher_trace"], base["fisher_trace"] / 16, rtol=1e-6)
    np.testing.assert_allclose(moved["product_se"], base["product_se"], rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 0}, "`width` must be a positive integer, got 0"),
        ({"width": 100, "step": -1}, "`step` must be a positive integer, got -1"),
        ({"width": 10.5}, "`width` must be a positive integer, got 10.5"),
        ({"width": 500}, "`x` must have at least `width` = 500 rows, got 300"),
        ({"width": 100, "degenerate": "drop"}, '`degenerate` must be "raise" or "nan", got \'drop\''),
        ({"width": 100, "method": "nearest"}, "`method` must be one of"),
        ({"width": 10}, "at least 20 rows"),
    ],
)
def test_bad_options_are_errors(options, message):
    with pytest.raises(ValueError, match=message):
        windows(np.random.default_rng(13).standard_normal(300), **options)


@pytest.mark.parametrize("scale", [2.0**332, 2.0**-332])  # 1e±100
def test_windows_of_data_in_large_or_small_units_keep_their_errors(scale):
    x = np.random.default_rng(0).standard_normal(400)
    one, other = windows(x, 200, method="gaussian"), windows(scale * x, 200, method="gaussian")
    for place, scaled in zip(one, other, strict=True):
        relative = place.fisher_trace.standard_error / place.fisher_trace
        assert scaled.fisher_trace.standard_error / scaled.fisher_trace == pytest.approx(relative, rel=1e-9)
        assert scaled.product.standard_error == pytest.approx(place.product.standard_error, rel=1e-9)


def test_windows_are_chosen_by_numbers_and_masks():
    trajectory = windows(np.random.default_rng(0).standard_normal(500), 100, method="gaussian")
    mask = np.array([True, False, True, False, True])
    for index in (mask, [0, 2, 4], np.array([0, 2, 4]), slice(None, None, 2)):
        chosen = trajectory[index]
        assert chosen.points == trajectory.points[::2]
        assert chosen.starts.tolist() == [0, 200, 400]
    assert trajectory[np.int64(-1)] is trajectory.points[-1]
    assert repr(trajectory[0:0]) == "Trajectory(0 windows of 100 rows)"
