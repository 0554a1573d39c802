"""Pictures of the Fisher–Shannon plane; the only module that imports matplotlib."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize, to_rgb
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from numpy.typing import ArrayLike

from infoplane.estimate import Estimate
from infoplane.plane import PlanePoint, as_points, is_defined
from infoplane.trajectory import Trajectory

# Okabe and Ito's palette: distinct for every common form of colour blindness. Yellow is left out, being
# too pale on white, and black is kept for the boundary.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")

# By these a second picture on the same axes finds what the first has drawn.
_GROUND, _PRODUCT, _POINT, _PATH = (f"infoplane-{part}" for part in ("ground", "product", "point", "path"))
_PRODUCTS = (1.0, 1.5, 2.0, 4.0)
# Length of the arrow of a bound, in points.
_ARROW = 24

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
    trajectories: Sequence[PlanePoint]
    | Sequence[Sequence[PlanePoint]]
    | Mapping[str, Sequence[PlanePoint]] = (),
    curves: Mapping[str, Sequence[PlanePoint]] | None = None,
    products: Iterable[float] | None = None,
    time_label: str = "time",
    level: float = 0.95,
    ax: Axes | None = None,
) -> Axes:
    """Draw points and trajectories in the log–log Fisher–Shannon plane.

    The abscissa is the Fisher information per dimension, tr J/d, the ordinate the entropy power N, so that
    data of any dimension share one boundary, N·tr J/d = 1: isotropic Gaussians lie on it, everything else
    above (Stam's inequality), and the region below is shaded as forbidden. Dashed lines join equal products.
    What is drawn on axes that show a plane is added to it.

    Parameters
    ----------
    points : FisherShannonPoint, or a sequence or mapping of them, default ()
        Points, drawn with error bars where their values carry standard errors; a bound has a bar to its
        limit, and an arrow to where the truth may lie. A mapping names them.
    labels : sequence of str, optional
        Names of the points for the legend.
    trajectories : sequence of FisherShannonPoint, or a sequence or mapping of these, default ()
        Paths, coloured from first to last point by one scale for all; a mapping names them, and a broad line
        behind each tells which it is. Undefined points leave a gap.
    curves : mapping of str to sequence of Place, optional
        Thin lines with their names beside them, such as those of `infoplane.plane.reference_curve`.
    products : iterable of float, optional
        Values of N·tr J/d whose curves are drawn; by default 1, 1.5, 2 and 4, or those already there.
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
        If the labels do not match the points, a point is undefined or infinite, or nothing is to be drawn.
    TypeError
        If points or trajectories are a data frame.

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
    places = as_points(points, "points") if isinstance(points, Iterable) else [points]
    if labels is not None and len(labels) != len(places):
        raise ValueError(f"`labels` must name {len(places)} points, got {len(labels)}")
    for point in places:
        if not is_defined(point):
            power, trace = float(point.entropy_power), float(point.fisher_trace)
            raise ValueError(f"`points` must have positive, finite N and tr J, got {power:g} and {trace:g}")
    paths = _paths(trajectories)
    lines = {name: [point for point in line if is_defined(point)] for name, line in (curves or {}).items()}
    every = places + [point for _, path in paths for point in path if is_defined(point)]
    every += [point for line in lines.values() for point in line]
    if not every:
        raise ValueError("`points`, `trajectories` or `curves` must hold at least one point, got none")
    if ax is None:
        ax = plt.subplots(figsize=(6.4, 4.8), layout="constrained")[1]
    _draw_ground(ax, every, products)
    for name, line in lines.items():
        if line:
            _draw_curve(ax, line, name)
    taken = sum(artist.get_gid() in (_POINT, _PATH) for artist in (*ax.lines, *ax.collections))
    for i, (name, path) in enumerate(paths, taken + len(places)):
        _draw_trajectory(ax, path, name, i, time_label)
    for i, point in enumerate(places):
        _draw_point(ax, point, taken + i, labels[i] if labels else None, level)
    if labels or any(name for name, _ in paths):
        # Above the axes, because points may lie anywhere inside.
        ax.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, fontsize="small")
    return ax


def _paths(trajectories: Any) -> list[tuple[str, list[PlanePoint]]]:
    """Names and points of one path, of several, or of a mapping of them."""
    if isinstance(trajectories, Mapping):
        return [(str(name), as_points(path, "trajectories")) for name, path in trajectories.items()]
    several = as_points(trajectories, "trajectories")
    if several and hasattr(several[0], "entropy_power"):
        return [("", several)]
    return [("", as_points(path, "trajectories")) for path in trajectories]


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
        The time of each row of the signal, dates too; by default the index of a data frame's trajectories, if
        it holds numbers or dates, else row numbers. A window stands at its last row, when it was known.
    level : float, default 0.95
        Confidence level of the band, point by point; that of a bound reaches from it to its limit.
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
    TypeError
        If the trajectories are a data frame.

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
    for path in named.values():
        as_points(path, "trajectories")
    if ax is None:
        ax = plt.subplots(figsize=(6.4, 3.6), layout="constrained")[1]
    sides: set[str | None] = set()
    for i, (name, path) in enumerate(named.items()):
        estimates: list[Estimate] = [getattr(point, quantity) for point in path]
        sides |= {estimate.bound for estimate in estimates if np.isfinite(estimate)}
        places = _places(path, times)
        low, high = np.transpose([_band(estimate, level) for estimate in estimates])
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
    ax.set_xlabel("row" if times is None and not any(_has_axis(path) for path in named.values()) else "")
    side = sides.pop() if len(sides) == 1 else None
    ax.set_ylabel(f"{_LABELS[quantity]}, {side} bound" if side else _LABELS[quantity])
    ax.grid(which="major", color=_ink(0.1), linewidth=0.6)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    if any(named):
        ax.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, fontsize="small")
    return ax


def _has_axis(path: Trajectory) -> bool:
    """Whether the labels of the windows can be an axis: numbers or dates."""
    return path.index is not None and path.index.dtype.kind in "iufM"


def _places(path: Trajectory, times: ArrayLike | None) -> Any:
    """Where the windows of a signal stand on the axis of time."""
    rows = path.stops - 1
    if times is None:
        return path.index if _has_axis(path) else rows
    if np.size(times) <= rows.max():
        raise ValueError(f"`times` must have at least {rows.max() + 1} entries, got {np.size(times)}")
    return np.asarray(times)[rows]


def _band(estimate: Estimate, level: float) -> tuple[float, float]:
    """The interval of an estimate; of a bound what lies between it and its limit, as the rest has no end."""
    low, high = estimate.interval(level)
    if estimate.bound is None:
        return low, high
    return (float(estimate), high) if estimate.bound == "upper" else (low, float(estimate))


def _draw_ground(ax: Axes, every: Sequence[PlanePoint], products: Iterable[float] | None) -> None:
    """Axes, the forbidden region and the curves of constant product, anew if they are there already."""
    information = np.array([_information(point) for point in every])
    power = np.array([float(point.entropy_power) for point in every])
    # Half a decade at least around the points, so that the boundary is in view and slopes can be read.
    low, high = _limits(information)
    bottom, top = _limits(np.concatenate([power, 1 / information]))
    earlier = [artist for artist in ax.get_children() if artist.get_gid() in (_GROUND, _PRODUCT)]
    there = [
        float(np.prod(np.array(line.get_data())[:, 0])) for line in ax.lines if line.get_gid() == _PRODUCT
    ]
    if earlier:
        (left, right), (lower, upper) = ax.get_xlim(), ax.get_ylim()
        low, high, bottom, top = min(low, left), max(high, right), min(bottom, lower), max(top, upper)
    for artist in earlier:
        artist.remove()
    ax.set(xscale="log", yscale="log", xlim=(low, high), ylim=(bottom, top))
    # Over many decades 2 and 5 between the powers of ten would crowd the axis.
    for axis, decades in ((ax.xaxis, np.log10(high / low)), (ax.yaxis, np.log10(top / bottom))):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < 3 else (1,)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())
    ax.set_xlabel("Fisher information per dimension, tr J/d")
    ax.set_ylabel("entropy power N")
    x = np.array([low, high])
    ax.fill_between(
        x, np.full(2, bottom), 1 / x, color=_ink(0.5), alpha=0.25, linewidth=0, zorder=0, gid=_GROUND
    )  # fmt: skip
    ax.text(
        0.03, 0.04, "forbidden: N·tr J < d, below Gaussians", transform=ax.transAxes, color=_ink(0.65),
        fontsize="small", gid=_GROUND,
    )  # fmt: skip
    for product in (there or _PRODUCTS) if products is None else products:
        boundary = bool(np.isclose(product, 1))
        ax.plot(
            x, product / x, color=_ink(0.85) if boundary else _ink(0.4), linewidth=1.2 if boundary else 0.8,
            linestyle="-" if boundary else "--", zorder=1, gid=_PRODUCT,
        )  # fmt: skip
        _label_curve(ax, product, (low, high), (bottom, top))
    ax.grid(which="major", color=_ink(0.1), linewidth=0.6, zorder=0)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)


def _label_curve(ax: Axes, product: float, x: tuple[float, float], y: tuple[float, float]) -> None:
    """Name a curve where it leaves the axes, at the right edge or, if it does so first, at the bottom."""
    bottom = y[0] * (1 - 1e-9)  # the boundary leaves by the corner, to rounding
    at_right = product / x[1] > bottom
    place = (x[1], product / x[1]) if at_right else (product / y[0], y[0])
    if not (bottom <= place[1] <= y[1] and x[0] <= place[0] <= x[1]):
        return
    ax.annotate(
        f"{product:g}", place, xytext=(4, 0) if at_right else (0, 5), textcoords="offset points",
        fontsize="x-small", va="center" if at_right else "bottom", color=_ink(0.65), annotation_clip=False,
        gid=_GROUND,
    )  # fmt: skip


def _draw_point(ax: Axes, point: PlanePoint, index: int, label: str | None, level: float) -> None:
    x, y = _information(point), float(point.entropy_power)
    color = COLORS[index % len(COLORS)]
    ax.errorbar(
        [x], [y], xerr=_error(point.fisher_trace, level, point.d), yerr=_error(point.entropy_power, level, 1),
        fmt=MARKERS[index % len(MARKERS)], color=color, markersize=6, markeredgecolor=_ink(0),
        markeredgewidth=0.6, elinewidth=1.2, capsize=2.5, label=label, zorder=4, gid=_POINT,
    )  # fmt: skip
    for value, along in ((point.fisher_trace, (_ARROW, 0)), (point.entropy_power, (0, _ARROW))):
        side = getattr(value, "bound", None)
        if side is not None:  # to where the truth may lie
            ax.annotate(
                "", (x, y), xytext=along if side == "lower" else (-along[0], -along[1]),
                textcoords="offset points", zorder=3,
                arrowprops={"arrowstyle": "<|-", "color": color, "lw": 1.2, "shrinkA": 0, "shrinkB": 0},
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


def _draw_trajectory(ax: Axes, path: Sequence[PlanePoint], name: str, index: int, time_label: str) -> None:
    marker, color = MARKERS[index % len(MARKERS)], COLORS[index % len(COLORS)]
    known = np.array([is_defined(point) for point in path], dtype=bool)
    vertices = np.array([[_information(p), float(p.entropy_power)] for p in path]).reshape(-1, 2)
    vertices[~known] = np.nan
    times = np.arange(1, len(path) + 1)
    if name:  # colours are those of time
        ax.plot(*vertices.T, color=color, linewidth=6, alpha=0.4, zorder=1.8)
        ax.plot([], [], color=color, marker=marker, markersize=5, label=name)
    earlier: Any = next((artist for artist in ax.collections if artist.get_gid() == _PATH), None)
    scale: Any = Normalize(1, 2) if earlier is None else earlier.norm  # one for all paths, and all of each
    scale.vmax = max(scale.vmax, len(path))
    joined = np.flatnonzero(known[:-1] & known[1:])
    lines = LineCollection(
        list(np.stack([vertices[joined], vertices[joined + 1]], axis=1)),
        cmap="viridis", norm=scale, linewidths=1.5, zorder=2,
    )  # fmt: skip
    lines.set_array(times[joined + 1])
    ax.add_collection(lines)
    # Dots show single steps; where there are many they would hide the path.
    size = 14 if len(path) <= 40 else 3
    x, y = vertices[known].T
    dots = ax.scatter(
        x, y, c=times[known], cmap="viridis", norm=scale, s=size, marker=marker, zorder=3, gid=_PATH
    )
    if earlier is None:
        ticks = MaxNLocator("auto", integer=True)
        ax.figure.colorbar(dots, ax=ax, label=time_label, pad=0.08, ticks=ticks)


def _information(point: PlanePoint) -> float:
    return float(point.fisher_trace) / point.d


def _error(value: Any, level: float, divisor: int) -> list[list[float]] | None:
    """Lengths of an error bar below and above, if the value knows its error."""
    if not isinstance(value, Estimate) or not np.isfinite(value.standard_error):
        return None
    low, high = _band(value, level)
    return [[(float(value) - low) / divisor], [(high - float(value)) / divisor]]


def _limits(values: np.ndarray) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    margin = max(1.6, (high / low) ** 0.12)
    if high / low * margin**2 < 10:
        margin = (10 * low / high) ** 0.5
    return low / margin, high * margin
