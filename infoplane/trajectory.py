"""Signals in the Fisher–Shannon plane: one place for each window of a time series."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from infoplane.errors import DegenerateSampleError
from infoplane.estimate import Estimate, FisherShannonPoint
from infoplane.estimators import Estimator
from infoplane.kernels.linear_algebra import on_one_blas_thread
from infoplane.methods import point_estimate, warn_beyond_trust
from infoplane.progress import shown, stage
from infoplane.sample import Sample, as_array, require_in_memory

Array = NDArray[np.float64]
_QUANTITIES = ("entropy", "entropy_power", "fisher_trace", "product")


@dataclass(frozen=True, eq=False)
class Trajectory(Sequence[FisherShannonPoint]):
    """The path of a signal through the plane: a sequence of points, one a window.

    Attributes
    ----------
    points : tuple of FisherShannonPoint
        One for each window; of NaN where there is none (see `windows`).
    starts : ndarray of shape (m,)
        First row of each window.
    width : int
        Rows of a window.
    index : pandas.Index of length m, optional
        Of a signal that has labels: that of the last row of each window.
    """

    points: tuple[FisherShannonPoint, ...]
    starts: NDArray[np.intp]
    width: int
    index: Any = None

    @overload
    def __getitem__(self, index: int) -> FisherShannonPoint: ...

    @overload
    def __getitem__(self, index: slice | Sequence[int] | NDArray[Any]) -> Trajectory: ...

    def __getitem__(
        self, index: int | slice | Sequence[int] | NDArray[Any]
    ) -> FisherShannonPoint | Trajectory:
        if isinstance(index, int | np.integer):
            return self.points[index]
        # Numbers of windows and masks of them choose as they do from an array.
        chosen = np.arange(len(self))[index if isinstance(index, slice) else np.asarray(index)]
        labels = None if self.index is None else self.index[chosen]
        return Trajectory(tuple(self.points[i] for i in chosen), self.starts[chosen], self.width, labels)

    def __len__(self) -> int:
        return len(self.points)

    @property
    def stops(self) -> NDArray[np.intp]:
        """Row after the last of each window."""
        return self.starts + self.width

    @property
    def defined(self) -> Trajectory:
        """The windows that have a point."""
        kept = [i for i, point in enumerate(self.points) if math.isfinite(point.product)]
        labels = None if self.index is None else self.index[kept]
        return Trajectory(tuple(self.points[i] for i in kept), self.starts[kept], self.width, labels)

    def columns(self) -> dict[str, Array]:
        """Return columns of one entry a window: each quantity and, as …_se, its standard error.

        Examples
        --------
        >>> import numpy as np
        >>> from infoplane import windows
        >>> list(windows(np.random.default_rng(0).standard_normal(300), 100).columns())[:3]
        ['entropy', 'entropy_se', 'entropy_power']
        """
        columns = {}
        for name in _QUANTITIES:
            estimates: list[Estimate] = [getattr(point, name) for point in self.points]
            columns[name] = np.array(estimates, dtype=np.float64)
            columns[name + "_se"] = np.array([estimate.standard_error for estimate in estimates])
        return columns

    def to_frame(self) -> Any:
        """Return the `columns` as a pandas DataFrame, with the `index` if there is one.

        Examples
        --------
        >>> import numpy as np
        >>> from infoplane import windows
        >>> windows(np.random.default_rng(0).standard_normal(300), 100).to_frame().shape
        (3, 8)
        """
        import pandas  # only here, as it is not needed else

        return pandas.DataFrame(self.columns(), index=self.index)

    def __repr__(self) -> str:
        dimensions = f", d={self.points[0].d}" if self.points else ""
        return f"Trajectory({len(self)} windows of {self.width} rows{dimensions})"


def windows(
    x: ArrayLike,
    width: int,
    step: int | None = None,
    *,
    method: str | Estimator = "auto",
    jointly: bool = False,
    correlated: bool = True,
    degenerate: Literal["raise", "nan"] = "raise",
    ties: Literal["raise", "dither"] = "raise",
    rng: np.random.Generator | int | None = None,
    as_frame: bool = True,
    n_jobs: int = 1,
    progress: bool = False,
) -> Any:
    """Trajectory of a signal in the Fisher–Shannon plane: H, N, tr J and N·tr J/d of each window.

    Parameters
    ----------
    x : array_like of shape (n,) or (n, c), or a pandas Series or DataFrame
        A time series, or c channels of one.
    width : int
        Rows of a window.
    step : int, optional
        Rows from one window to the next; by default `width`, so that windows do not overlap.
    method : str or estimator, default "auto"
        As in `fisher_shannon`.
    jointly : bool, default False
        Take the c channels as one vector in c dimensions, instead of one by one.
    correlated : bool, default True
        Count with the serial correlation of the signal in the standard errors (Notes); False takes the rows
        as independent.
    degenerate : {"raise", "nan"}, default "raise"
        What becomes of windows without a density, because they are constant or have ties, and of gaps in the
        signal, rows with NaN: an error, or a point of NaN; gaps are then left out of their windows, down to
        half of the rows.
    ties : {"raise", "dither"}, default "raise"
        As in `fisher_shannon`; the rounding step is that of the whole channel.
    rng : numpy.random.Generator or int, optional
        Source of noise for "dither".
    as_frame : bool, default True
        Of a Series or a DataFrame, return a DataFrame. False: trajectories with its `index`, for pictures
        (`plot.plane`, `plot.course`), `plane.mean_place` and `plane.compare`, with intervals, matrices and
        methods; `Trajectory.to_frame` makes the DataFrame of one.
    n_jobs : int, default 1
        Windows at a time, by joblib; −1 for all cores.
    progress : bool, default False
        Show how many windows are done, by tqdm (extra ``progress``).

    Returns
    -------
    Trajectory, or dict of int to Trajectory, or DataFrame
        One `Trajectory` for one channel, or for all `jointly`; else one for each column. Of a Series or a
        DataFrame, a DataFrame with the columns of `Trajectory.columns` (below the name of the channel, if
        there are several) and, like `rolling`, the index of the last row of each window; or trajectories,
        if there are several by the names of the channels.

    Raises
    ------
    ValueError
        If the signal is shorter than a window, `width` or `step` is not positive, and as in `fisher_shannon`.
    DegenerateSampleError, OverflowError, TypeError
        As in `fisher_shannon`.

    Warns
    -----
    InfoplaneWarning
        Once, if "auto" is used for more than ten channels `jointly`; and as in `fisher_shannon`.

    Notes
    -----
    The density is the marginal one, of values whatever their order: shuffling the rows of a window changes
    nothing but standard errors. Estimates converge for signals whose dependence dies out within a window, and
    are biased while neighbours in time are neighbours in value: a trend or a slow oscillation is a
    spread-out density. For a signal with much memory study its increments.

    Estimates are means of influence values of the rows. With `correlated` the variance of such a mean is
    that of a serially correlated series (Newey and West 1987, weights falling linearly up to the lag of
    Andrews 1991, eq. 5.3 and 6.4), never less than without. It needs a width of many correlation times.

    References
    ----------
    C. Vignat, J.-F. Bercher, Phys. Lett. A 312 (2003) 27–33.
    W. K. Newey, K. D. West, Econometrica 55 (1987) 703–708; D. W. K. Andrews, Econometrica 59 (1991) 817–858.

    Examples
    --------
    >>> import numpy as np
    >>> from infoplane import windows
    >>> rng = np.random.default_rng(0)
    >>> x = np.concatenate([rng.standard_normal(1000), rng.laplace(size=1000)])
    >>> path = windows(x, 500)
    >>> path
    Trajectory(4 windows of 500 rows, d=1)
    >>> [point.product < 1.3 for point in path]
    [True, True, False, False]
    """
    measure = _Measure(method, correlated, degenerate == "nan")
    _require_positive(width=width, step=step)
    if degenerate not in ("raise", "nan"):
        raise ValueError(f'`degenerate` must be "raise" or "nan", got {degenerate!r}')
    labelled: Any = x if hasattr(x, "iloc") else None
    channels = _channels(x, gaps=measure.skip_degenerate)
    if len(channels) < width:
        raise ValueError(f"`x` must have at least `width` = {width} rows, got {len(channels)}")
    source = None if rng is None else np.random.default_rng(rng)
    if jointly:
        warn_beyond_trust(method, channels.shape[1])
    parts = [channels] if jointly or channels.shape[1] == 1 else np.split(channels, channels.shape[1], axis=1)
    paths = []
    for c, part in enumerate(parts):
        name = "x" if len(parts) == 1 else f"x[:, {c}]"
        resolved, noise = _resolved(part, name, ties, source)
        starts = np.arange(0, len(part) - width + 1, step or width)
        cut = [resolved[start : start + width] for start in starts]
        with shown(progress):
            points = _mapped(measure, cut, noise, name, n_jobs)
        labels = None if labelled is None else labelled.index[starts + width - 1]
        paths.append(Trajectory(points, starts, width, labels))
    if labelled is None:
        return paths[0] if len(parts) == 1 else dict(enumerate(paths))
    if as_frame:
        return paths[0].to_frame() if len(parts) == 1 else _frame(labelled, paths)
    return paths[0] if len(parts) == 1 else dict(zip(labelled.columns, paths, strict=True))


@dataclass(frozen=True)
class _Measure:
    """What is done with the rows of a window."""

    method: str | Estimator
    correlated: bool
    skip_degenerate: bool

    @on_one_blas_thread
    def __call__(self, rows: Array, noise: Array, name: str) -> FisherShannonPoint | str:
        """The point of a window, or why it has none."""
        present = rows[np.isfinite(rows).all(axis=1)]
        if 2 * len(present) < len(rows):
            return f"{len(rows) - len(present)} of {len(rows)} rows are missing"
        try:
            sample = replace(Sample.of(present, name=name), widths=noise)
            return point_estimate(self.method, sample, correlated=self.correlated)
        except ValueError as error:
            # With all its rows a window is only too small if all of them are.
            if not (
                self.skip_degenerate
                and (isinstance(error, DegenerateSampleError) or len(present) < len(rows))
            ):
                raise
            return str(error)


def _channels(x: Any, *, gaps: bool) -> Array:
    """The signal as an array of shape (n, c); with `gaps` it may hold NaN."""
    require_in_memory(x)
    if gaps and np.ma.isMaskedArray(x):
        x = np.ma.filled(x.astype(np.float64), np.nan)
    if not gaps:
        return as_array(x)
    values = np.asarray(x)
    missing = np.isnan(values) if values.dtype.kind == "f" else np.zeros(values.shape, bool)
    if not missing.any():
        return as_array(values)
    whole = as_array(np.where(missing, 0.0, values))
    whole[missing.reshape(whole.shape)] = np.nan
    return whole


def _resolved(
    channel: Array, name: str, ties: Literal["raise", "dither"], rng: np.random.Generator | None
) -> tuple[Array, Array]:
    """The rows, without ties if these are to be dithered at the channel's step, and the noise's width."""
    noise = np.zeros(channel.shape[1])
    if ties == "raise":
        return channel, noise
    present = np.isfinite(channel).all(axis=1)
    whole = Sample.of(channel[present], name=name, ties=ties, rng=rng)
    result = channel.copy()
    result[present] = whole.values
    return result, whole.widths


def _mapped(
    measure: _Measure, cut: list[Array], noise: Array, name: str, n_jobs: int
) -> tuple[FisherShannonPoint, ...]:
    if n_jobs == 1:
        measured = (measure(rows, noise, name) for rows in cut)
    else:
        from joblib import Parallel, delayed  # only here, as it takes long to import

        measured = Parallel(n_jobs=n_jobs, return_as="generator")(
            delayed(measure)(rows, noise, name) for rows in cut
        )
    found = []
    with stage(f"windows of {name}", len(cut)) as advance:
        for point in measured:
            found.append(point)
            advance(1)
    points = [point for point in found if isinstance(point, FisherShannonPoint)]
    if not points:
        raise DegenerateSampleError(f"no window of `{name}` has a density; the first one: {found[0]}")
    nowhere = _undefined(points[0])
    return tuple(point if isinstance(point, FisherShannonPoint) else nowhere for point in found)


def _undefined(like: FisherShannonPoint) -> FisherShannonPoint:
    """A point of NaN, of the shape of another."""
    nan = Estimate(math.nan, standard_error=math.nan, method="none", n=like.n, d=like.d)
    return FisherShannonPoint(nan, nan, np.full((like.d, like.d), np.nan), nan, nan)


def _frame(x: Any, paths: list[Trajectory]) -> Any:
    """The figures of several channels as one DataFrame, below their names."""
    import pandas

    frames = [path.to_frame() for path in paths]
    return pandas.concat(frames, axis=1, keys=list(x.columns), names=[x.columns.name, None])


def _require_positive(**numbers: int | None) -> None:
    for name, number in numbers.items():
        if number is not None and (not isinstance(number, int | np.integer) or number < 1):
            raise ValueError(f"`{name}` must be a positive integer, got {number!r}")
