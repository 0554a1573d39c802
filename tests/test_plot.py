"""The plane's picture: what is drawn where."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection

from infoplane import Estimate, FisherShannonPoint, fisher_shannon, windows
from infoplane.distributions import GeneralizedNormal, Uniform
from infoplane.plane import Place, compare, mean_place, reference_curve
from infoplane.plot import course, plane


def point(power, trace, d=1, error=0.05):
    def estimate(value):
        return Estimate(value, standard_error=error * value, method="knn", n=100, d=d, positive=True)

    h = 0.5 * d * np.log(2 * np.pi * np.e * power)
    entropy = Estimate(h, standard_error=error, method="knn", n=100, d=d)
    return FisherShannonPoint(
        entropy, estimate(power), np.eye(d), estimate(trace), estimate(power * trace / d)
    )


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def test_points_lie_at_information_per_dimension_and_power_with_intervals():
    here = point(2.0, 3.0, d=3)
    ax = plane(here)
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    (bar,) = ax.containers
    assert [float(v) for v in np.ravel(bar.lines[0].get_data())] == pytest.approx([1.0, 2.0])
    horizontal, vertical = (np.array(c.get_segments()[0]) for c in bar.lines[2])
    np.testing.assert_allclose(horizontal[:, 0], np.array(here.fisher_trace.interval()) / 3)
    np.testing.assert_allclose(vertical[:, 1], here.entropy_power.interval())


def test_the_boundary_and_the_curves_of_constant_product_are_drawn():
    ax = plane([point(1.0, 1.0), point(0.1, 30.0)], products=(1, 3))
    curves = [line for line in ax.lines if len(line.get_xdata()) == 2]
    products = sorted(float(np.prod(line.get_xydata()[0])) for line in curves)
    assert products == pytest.approx([1.0, 3.0])
    (x0, x1), (y0, y1) = ax.get_xlim(), ax.get_ylim()
    assert x0 < 1 < 30 < x1
    assert y0 < 1 / 30
    assert y1 > 1
    region = ax.collections[0].get_paths()[0].vertices
    assert (region[:, 0] * region[:, 1] <= 1 + 1e-9).all(), "the shaded region is N·tr J/d ≤ 1"


def test_a_mapping_names_the_points():
    ax = plane({"one": point(1.0, 1.0), "two": point(2.0, 2.0)})
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["one", "two"]
    ax = plane([point(1.0, 1.0)], labels=["here"])
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["here"]


def test_trajectories_are_coloured_by_time_with_one_bar():
    path = [point(1 / j, j) for j in (1.0, 2.0, 5.0)]
    ax = plane(trajectories={"a": path, "b": path[:2]}, time_label="epoch")
    lines = [c for c in ax.collections if isinstance(c, LineCollection)]
    assert len(lines[0].get_segments()) == 2
    np.testing.assert_array_equal(lines[0].get_array(), [2, 3])
    assert [other.get_ylabel() for other in ax.figure.axes if other is not ax] == ["epoch"]


def test_axes_are_taken_and_returned():
    ax = plt.subplots()[1]
    assert plane(point(1.0, 1.0), ax=ax) is ax


def test_points_without_errors_have_no_bars():
    class Bare:
        entropy_power, fisher_trace, d = 1.0, 2.0, 2

    ax = plane(Bare())
    assert ax.containers[0].lines[2] == ()


def test_nothing_to_draw_and_wrong_labels_are_errors():
    with pytest.raises(ValueError, match="at least one point, got none"):
        plane()
    with pytest.raises(ValueError, match="`labels` must name 1 points, got 2"):
        plane([point(1.0, 1.0)], labels=["a", "b"])


def test_a_course_is_drawn_at_the_last_rows_of_windows_with_its_intervals():
    path = windows(np.random.default_rng(0).standard_normal(400), 100, method="gaussian")
    ax = course(path, level=0.9)
    (line,) = ax.get_lines()
    np.testing.assert_array_equal(line.get_xdata(), [99, 199, 299, 399])
    np.testing.assert_array_equal(line.get_ydata(), path.columns()["entropy_power"])
    corners = ax.collections[0].get_paths()[0].vertices
    for at, one in zip(line.get_xdata(), path, strict=True):
        for end in one.entropy_power.interval(0.9):
            assert np.isclose(corners, [at, end]).all(axis=1).any()


def test_a_course_has_dates_and_names_of_channels():
    paths = windows(np.random.default_rng(0).standard_normal((300, 2)), 100, method="gaussian")
    days = np.datetime64("2020-01-01") + np.arange(300)
    ax = course(paths, "entropy", times=days)
    assert ax.get_yscale() == "linear"
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["0", "1"]
    assert ax.get_lines()[0].get_xdata()[0] == days[99]
    with pytest.raises(ValueError, match="`times` must have at least 300 entries, got 299"):
        course(paths, times=days[:-1])
    with pytest.raises(ValueError, match="`quantity` must be one of"):
        course(paths, "energy")


def test_pictures_follow_dark_styles():
    with plt.style.context("dark_background"):
        ax = plane(point(1.0, 1.0))
        boundary = ax.get_lines()[0]
        assert min(plt.matplotlib.colors.to_rgb(boundary.get_color())) > 0.8
    boundary = plane(point(1.0, 1.0)).get_lines()[0]
    assert max(plt.matplotlib.colors.to_rgb(boundary.get_color())) < 0.2


def test_reference_curves_are_named_thin_lines_within_the_axes():
    line = reference_curve(GeneralizedNormal, [0.8, 1.0, 1.5, 2.0])
    ax = plane(curves={"generalised normal": line})
    drawn = ax.get_lines()[-1]
    np.testing.assert_allclose(drawn.get_xdata(), [place.fisher_trace for place in line])
    np.testing.assert_allclose(drawn.get_ydata(), [place.entropy_power for place in line])
    assert "generalised normal" in {text.get_text() for text in ax.texts}
    assert ax.get_xlim()[0] < min(drawn.get_xdata()) < max(drawn.get_xdata()) < ax.get_xlim()[1]


def test_trajectories_have_markers_of_their_own():
    path = [point(1.0, 1.0), point(2.0, 1.0)]
    ax = plane(trajectories={"a": path, "b": path})
    markers = [handle.get_marker() for handle in ax.get_legend().legend_handles]
    assert len(set(markers)) == 2


def coloured(ax):
    """What is coloured by time."""
    return [c for c in ax.collections if c.get_array() is not None]


def bars(ax):
    return [other for other in ax.figure.axes if hasattr(other, "_colorbar")]


def test_one_colour_is_one_time_on_all_paths():
    path = [point(1 / j, j) for j in range(1, 11)]
    ax = plane(trajectories={"short": path[:3], "long": path}, time_label="window")
    assert {(c.norm.vmin, c.norm.vmax) for c in coloured(ax)} == {(1, 10)}
    (bar,) = bars(ax)
    assert bar.get_ylim() == (1, 10)
    ticks = bar._colorbar.get_ticks()
    np.testing.assert_array_equal(ticks, np.round(ticks))
    # Later pictures on the same axes share the scale and the bar.
    plane(trajectories=[[*path, *path]], ax=ax)
    assert {(c.norm.vmin, c.norm.vmax) for c in coloured(ax)} == {(1, 20)}
    assert bars(ax) == [bar]
    assert bar.get_ylim() == (1, 20)


def test_each_axes_has_a_bar_of_its_own():
    path = [point(1 / j, j) for j in (1.0, 2.0, 5.0)]
    figure, (left, right) = plt.subplots(1, 2)
    plane(trajectories=[path], ax=left)
    plane(trajectories=[path], ax=right)
    assert len(figure.axes) == 4


def test_paths_have_colours_of_their_own_in_the_legend_and_behind_them():
    path = [point(1 / j, 2 * j) for j in (1.0, 2.0, 5.0)]
    ax = plane({"here": point(2.0, 2.0)}, trajectories={"a": path, "b": path})
    a, b, _ = ax.get_legend().legend_handles
    colours = [handle.get_color() for handle in (a, b)]
    assert len(set(colours)) == 2
    behind = [line.get_color() for line in ax.lines if len(line.get_xdata()) == 3]
    assert behind == colours


def test_a_single_trajectory_is_drawn_as_a_list_of_one_is():
    path = windows(np.random.default_rng(0).standard_normal(400), 100, method="gaussian")
    alone, listed = plane(trajectories=path), plane(trajectories=[path])
    for one, other in zip(coloured(alone), coloured(listed), strict=True):
        np.testing.assert_array_equal(one.get_array(), other.get_array())


def test_undefined_points_of_a_path_leave_a_gap():
    x = np.random.default_rng(0).standard_normal(500)
    x[200:300] = 3.0
    path = windows(x, 100, method="gaussian", degenerate="nan")
    lines, dots = coloured(plane(trajectories=path))
    np.testing.assert_array_equal(lines.get_array(), [2, 5])
    np.testing.assert_array_equal(dots.get_array(), [1, 2, 4, 5])
    with pytest.raises(ValueError, match="`points` must have positive, finite N and tr J, got nan and nan"):
        plane(path)


def test_infinite_information_has_no_place_to_be_drawn():
    with pytest.raises(ValueError, match=r"positive, finite N and tr J, got 0\.0585498 and inf"):
        plane(Place.of(Uniform()))
    with pytest.raises(ValueError, match="at least one point, got none"):
        plane(trajectories=[[Place.of(Uniform())]])


def test_a_second_picture_joins_the_first():
    ax = plane({"one": Place(1.0, 1.2, 1)}, products=(1, 3))
    before = len(ax.texts)
    plane({"two": Place(1e-3, 2e3, 1)}, ax=ax)
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    assert left < 1.2 < 2e3 < right
    assert bottom < 1e-3 < 1.0 < top
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["one", "two"]
    assert len({bar.lines[0].get_color() for bar in ax.containers}) == 2
    grounds = [line for line in ax.lines if line.get_gid() == "infoplane-product"]
    assert [float(np.prod(line.get_xydata()[1])) for line in grounds] == pytest.approx([1, 3])
    assert len(ax.texts) == before
    ax.clear()
    plane(Place(1.0, 1.2, 1), ax=ax)
    assert ax.get_xlim()[1] < 100


def test_nothing_beside_the_axes_is_cut_off_or_covered_by_the_bar():
    path = [point(1 / j, 1.2 * j) for j in (1.0, 2.0, 5.0)]
    figure, ax = plt.subplots()  # as it comes, without a layout that makes room
    plane(trajectories=[path], ax=ax)
    figure.canvas.draw()
    (bar,) = bars(ax)
    right = max(text.get_window_extent().x1 for text in ax.texts)
    assert right < bar.get_window_extent().x0
    figure, ax = plt.subplots()
    plane(path, ax=ax)
    figure.canvas.draw()
    assert max(text.get_window_extent().x1 for text in ax.texts) < figure.bbox.x1


def test_bounds_have_a_bar_to_their_limit_and_an_arrow_to_the_other_side():
    bound = fisher_shannon(np.random.default_rng(0).laplace(size=300), method="bound")
    ax = plane(bound)
    across, up = (np.array(c.get_segments()[0]) for c in ax.containers[0].lines[2])
    np.testing.assert_allclose(across[:, 0], [bound.fisher_trace.interval()[0], bound.fisher_trace])
    np.testing.assert_allclose(up[:, 1], [bound.entropy_power, bound.entropy_power.interval()[1]])
    arrows = [text.xyann for text in ax.texts if getattr(text, "arrow_patch", None)]
    assert arrows == [(24, 0), (0, -24)], "J may be larger, N smaller"


def test_the_band_of_bounds_ends_at_the_bounds():
    path = windows(np.random.default_rng(0).laplace(size=600), 200, method="bound")
    for quantity, side, end in (("entropy_power", "upper", 1), ("fisher_trace", "lower", 0)):
        ax = course(path, quantity)
        assert ax.get_ylabel().endswith(f", {side} bound")
        heights = ax.collections[0].get_paths()[0].vertices[:, 1]
        values = [getattr(one, quantity) for one in path]
        limits = [value.interval()[end] for value in values]
        assert heights.min() == pytest.approx(min(*values, *limits))
        assert heights.max() == pytest.approx(max(*values, *limits))


def test_trajectories_of_frames_are_drawn_and_compared_and_frames_say_how():
    days = pd.date_range("2020-01-01", periods=600)
    frame = pd.DataFrame(np.random.default_rng(0).standard_normal((600, 2)), index=days, columns=["a", "b"])
    paths = windows(frame, 100, method="gaussian", as_frame=False)
    assert len(coloured(plane(trajectories=paths))) == 4
    ax = course(paths)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["a", "b"]
    assert list(pd.DatetimeIndex(ax.get_lines()[0].get_xdata())) == list(days[99::100])
    assert compare(paths["a"], paths["b"]).log_power.n == 12
    table = windows(frame["a"], 100, method="gaussian")
    for draw in (plane, lambda t: plane(trajectories=t), course, mean_place):
        with pytest.raises(TypeError, match=r"got a DataFrame: `windows\(..., as_frame=False\)`"):
            draw(table)
    text = windows(
        frame["a"].set_axis([f"day {i}" for i in range(600)]), 100, method="gaussian", as_frame=False
    )
    np.testing.assert_array_equal(course(text).get_lines()[0].get_xdata(), text.stops - 1)
