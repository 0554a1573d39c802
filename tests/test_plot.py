"""The plane's picture: what is drawn where."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.collections import LineCollection

from infoplane import Estimate, FisherShannonPoint, windows
from infoplane.distributions import GeneralizedNormal
from infoplane.plane import reference_curve
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
