"""Pictures of the Fisher–Shannon plane; the only module that imports matplotlib."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from numpy.typing import ArrayLike

from infoplane.estimate import Estimate
from infoplane.plane import PlanePoint
from infoplane.trajectory import Trajectory

# Okabe and Ito's palette: distinct for every common form of colour blindness. Yellow is left out, being
# too pale on white, and black is kept for the boundary.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")


_LABELS = {
    "entropy": "entropy H, nats",
    "entropy_power": "entropy power N",
    "fisher_trace": "Fisher information tr J",
    "product": "N·tr J/d",
}


def _ink(strength: float) -> tuple[float, float, float]:
    """The colour of text, faded towards that of the background: pictures follow light and dark styles."""
    text, paper = (np.array(to_rgb(plt.rcParams[key])) for key in ("text.color", "axes.facecolor"))
    red, green, blue = strength * text + (1 - strength) * paper
    return float(red), float(green), float(blue)


def plane(
    points: PlanePoint | Sequence[PlanePoint] | Mapping[str, PlanePoint] = (),
    *,
    labels: Sequence[str] | None = None,
    trajectories: Sequence[Sequence[PlanePoint]] | Mapping[str, Sequence[PlanePoint]] = (),
    curves: Mapping[str, Sequence[PlanePoint]] | None = None,
    products: Iterable[float] = (1, 1.5, 2, 4),
    time_label: str = "time",
    level: float = 0.95,
    ax: Axes | None = None,
) -> Axes:
    """Draw points and trajectories in the log–log Fisher–Shannon plane.

    The abscissa is the Fisher information per dimension, tr J/d, the ordinate the entropy power N, so that
    data of any dimension share one boundary, N·tr J/d = 1: isotropic Gaussians lie on it, everything else
    above (Stam's inequality), and the region below is shaded as forbidden. Dashed lines join equal products.

    Parameters
    ----------
    points : FisherShannonPoint, or a sequence or mapping of them, default ()
        Points, drawn with error bars where their values carry standard errors. A mapping names them.
    labels : sequence of str, optional
        Names of the points for the legend.
    trajectories : sequence or mapping of sequences of FisherShannonPoint, default ()
        Paths, coloured from first to last point; a mapping names them.
    curves : mapping of str to sequence of Place, optional
        Thin lines with their names beside them, such as those of `infoplane.plane.reference_curve`.
    products : iterable of float, default (1, 1.5, 2, 4)
        Values of N·tr J/d whose curves are drawn.
    time_label : str, default "time"
        What the colour of a trajectory means.
    level : float, default 0.95
        Confidence level of the error bars.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        The axes drawn on.

    Raises
    ------
    ValueError
        If the labels do not match the points, or nothing is to be drawn.

    References
    ----------
    C. Vignat, J.-F. Bercher, Phys. Lett. A 312 (2003) 27–33; H. Zheng et al., "Understanding VAEs in
    Fisher-Shannon Plane", AAAI 2019, Figure 1.

    Examples
    --------
    >>> import numpy as np
    >>> from infoplane import fisher_shannon
    >>> from infoplane.plot import plane
    >>> rng = np.random.default_rng(0)
    >>> ax = plane({"normal": fisher_shannon(rng.standard_normal(500))})
    >>> ax.get_xlabel()
    'Fisher information per dimension, tr J/d'
    """
    if isinstance(points, Mapping):
        labels, points = [*points] if labels is None else labels, [*points.values()]
    places = list(points) if isinstance(points, Iterable) else [points]
    if labels is not None and len(labels) != len(places):
        raise ValueError(f"`labels` must name {len(places)} points, got {len(labels)}")
    if isinstance(trajectories, Mapping):
        paths = [(name, list(path)) for name, path in trajectories.items()]
    else:
        paths = [("", list(path)) for path in trajectories]
    lines = dict(curves or {})
    every = places + [point for _, path in paths for point in path]
    every += [point for line in lines.values() for point in line]
    if not every:
        raise ValueError("`points`, `trajectories` or `curves` must hold at least one point, got none")
    if ax is None:
        ax = plt.subplots(figsize=(6.4, 4.8), layout="constrained")[1]
    _draw_ground(ax, every, products)
    for name, line in lines.items():
        _draw_curve(ax, line, name)
    for i, (name, path) in enumerate(paths):
        _draw_trajectory(ax, path, name, MARKERS[i % len(MARKERS)], time_label)
    for i, point in enumerate(places):
        _draw_point(ax, point, i, labels[i] if labels else None, level)
    if labels or any(name for name, _ in paths):
        # Above the axes, because points may lie anywhere inside.
        ax.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, fontsize="small")
    return ax


def course(
    trajectories: Trajectory | Mapping[str, Trajectory],
    quantity: Literal["entropy", "entropy_power", "fisher_trace", "product"] = "entropy_power",
    *,
    times: ArrayLike | None = None,
    level: float = 0.95,
    ax: Axes | None = None,
) -> Axes:
    """Draw one quantity of the windows of a signal against time, with a band of confidence.

    Parameters
    ----------
    trajectories : Trajectory, or a mapping of them
        What `windows` gives; a mapping names channels.
    quantity : {"entropy", "entropy_power", "fisher_trace", "product"}, default "entropy_power"
        What to draw; all but the entropy on a logarithmic scale.
    times : array_like of shape (n,), optional
        The time of each row of the signal, dates too; row numbers by default. A window stands at its last
        row, when it was known.
    level : float, default 0.95
        Confidence level of the band, point by point.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        The axes drawn on.

    Raises
    ------
    ValueError
        If the quantity is unknown, or `times` ends before the signal does.

    Examples
    --------
    >>> import numpy as np
    >>> from infoplane import windows
    >>> from infoplane.plot import course
    >>> ax = course(windows(np.random.default_rng(0).standard_normal(500), 100))
    >>> ax.get_ylabel()
    'entropy power N'
    """
    if quantity not in _LABELS:
        raise ValueError(f"`quantity` must be one of {tuple(_LABELS)}, got {quantity!r}")
    named = trajectories if isinstance(trajectories, Mapping) else {"": trajectories}
    if ax is None:
        ax = plt.subplots(figsize=(6.4, 3.6), layout="constrained")[1]
    for i, (name, path) in enumerate(named.items()):
        rows = path.stops - 1
        if times is not None and np.size(times) <= rows.max():
            raise ValueError(f"`times` must have at least {rows.max() + 1} entries, got {np.size(times)}")
        places = rows if times is None else np.asarray(times)[rows]
        estimates: list[Estimate] = [getattr(point, quantity) for point in path]
        low, high = np.transpose([estimate.interval(level) for estimate in estimates])
        color = COLORS[i % len(COLORS)]
        ax.fill_between(places, low, high, color=color, alpha=0.22, linewidth=0)
        ax.plot(places, [float(e) for e in estimates], color=color, linewidth=1.6, label=str(name) or None)
    if quantity != "entropy":
        ax.set_yscale("log")
        bottom, top = ax.get_ylim()
        ax.yaxis.set_major_locator(
            LogLocator(subs=(1, 2, 5) if top > 5 * bottom else (1, 1.2, 1.5, 2, 3, 4, 6, 8))
        )
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        ax.yaxis.set_minor_formatter(NullFormatter())
    if isinstance(locator := ax.xaxis.get_major_locator(), AutoDateLocator):
        ax.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    ax.set_xlabel("row" if times is None else "")
    ax.set_ylabel(_LABELS[quantity])
    ax.grid(which="major", color=_ink(0.1), linewidth=0.6)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    if any(named):
        ax.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, fontsize="small")
    return ax


def _draw_ground(ax: Axes, every: Sequence[PlanePoint], products: Iterable[float]) -> None:
    """Axes, the forbidden region and the curves of constant product."""
    information = np.array([_information(point) for point in every])
    power = np.array([float(point.entropy_power) for point in every])
    # Half a decade at least around the points, so that the boundary is in view and slopes can be read.
    low, high = _limits(information)
    bottom, top = _limits(np.concatenate([power, 1 / information]))
    ax.set(xscale="log", yscale="log", xlim=(low, high), ylim=(bottom, top))
    # Over many decades 2 and 5 between the powers of ten would crowd the axis.
    for axis, decades in ((ax.xaxis, np.log10(high / low)), (ax.yaxis, np.log10(top / bottom))):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < 3 else (1,)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())
    ax.set_xlabel("Fisher information per dimension, tr J/d")
    ax.set_ylabel("entropy power N")
    x = np.array([low, high])
    ax.fill_between(x, np.full(2, bottom), 1 / x, color=_ink(0.5), alpha=0.25, linewidth=0, zorder=0)
    ax.text(0.03, 0.04, "forbidden: N·tr J < d", transform=ax.transAxes, color=_ink(0.65), fontsize="small")
    for product in products:
        boundary = product == 1
        ax.plot(
            x, product / x, color=_ink(0.85) if boundary else _ink(0.4), linewidth=1.2 if boundary else 0.8,
            linestyle="-" if boundary else "--", zorder=1,
        )  # fmt: skip
        _label_curve(ax, product, (low, high), (bottom, top))
    ax.grid(which="major", color=_ink(0.1), linewidth=0.6, zorder=0)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)


def _label_curve(ax: Axes, product: float, x: tuple[float, float], y: tuple[float, float]) -> None:
    """Name a curve where it leaves the axes, at the right edge or, if it does so first, at the bottom."""
    at_right = product / x[1] > y[0]
    place = (x[1], product / x[1]) if at_right else (product / y[0], y[0])
    if not (y[0] <= place[1] <= y[1] and x[0] <= place[0] <= x[1]):
        return
    name = "1 (Gaussian)" if product == 1 else f"{product:g}"
    ax.annotate(
        name, place, xytext=(4, 0) if at_right else (0, 5), textcoords="offset points", fontsize="x-small",
        va="center" if at_right else "bottom", color=_ink(0.65), annotation_clip=False,
    )  # fmt: skip


def _draw_point(ax: Axes, point: PlanePoint, index: int, label: str | None, level: float) -> None:
    x, y = _information(point), float(point.entropy_power)
    color = COLORS[index % len(COLORS)]
    ax.errorbar(
        [x], [y], xerr=_error(point.fisher_trace, level, point.d), yerr=_error(point.entropy_power, level, 1),
        fmt=MARKERS[index % len(MARKERS)], color=color, markersize=6, markeredgecolor=_ink(0),
        markeredgewidth=0.6, elinewidth=1.2, capsize=2.5, label=label, zorder=4,
    )  # fmt: skip


def _draw_curve(ax: Axes, line: Sequence[PlanePoint], name: str) -> None:
    """A thin line, named at the end that lies farther from the boundary, where there is room."""
    x = [_information(point) for point in line]
    y = [float(point.entropy_power) for point in line]
    ax.plot(x, y, color=_ink(0.6), linewidth=1.0, zorder=2)
    end = 0 if x[0] * y[0] > x[-1] * y[-1] else -1
    ax.annotate(
        name,
        (x[end], y[end]),
        xytext=(3, 3),
        textcoords="offset points",
        fontsize="x-small",
        color=_ink(0.75),
    )


def _draw_trajectory(ax: Axes, path: Sequence[PlanePoint], name: str, marker: str, time_label: str) -> None:
    x = [_information(point) for point in path]
    y = [float(point.entropy_power) for point in path]
    vertices = np.column_stack([x, y])
    times = np.arange(1, len(path) + 1)
    lines = LineCollection(list(np.stack([vertices[:-1], vertices[1:]], axis=1)), cmap="viridis", zorder=2)
    lines.set_array(times[1:])
    lines.set_linewidth(1.5)
    ax.add_collection(lines)
    # Dots show single steps; where there are many they would hide the path.
    size = 14 if len(path) <= 40 else 3
    dots = ax.scatter(x, y, c=times, cmap="viridis", s=size, marker=marker, zorder=3)
    ax.plot([], [], color=plt.get_cmap("viridis")(0.4), marker=marker, markersize=4, label=name or None)
    figure = ax.figure
    if not any(getattr(other, "_infoplane_time", False) for other in figure.axes):
        bar = figure.colorbar(dots, ax=ax, label=time_label, pad=0.12)
        bar.ax._infoplane_time = True  # type: ignore[attr-defined]


def _information(point: PlanePoint) -> float:
    return float(point.fisher_trace) / point.d


def _error(value: Any, level: float, divisor: int) -> list[list[float]] | None:
    """Lengths of an error bar below and above, if the value knows its error."""
    if not isinstance(value, Estimate) or not np.isfinite(value.standard_error):
        return None
    low, high = value.interval(level)
    return [[(float(value) - low) / divisor], [(high - float(value)) / divisor]]


def _limits(values: np.ndarray) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    margin = max(1.6, (high / low) ** 0.12)
    if high / low * margin**2 < 10:
        margin = (10 * low / high) ** 0.5
    return low / margin, high * margin
