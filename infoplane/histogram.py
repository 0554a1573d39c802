"""Samples of any length in bounded memory: counts in cells, which can be updated, merged and measured."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from infoplane.errors import DegenerateSampleError
from infoplane.estimate import Estimate, FisherShannonPoint
from infoplane.estimators import Estimator
from infoplane.kernels.linear_algebra import on_one_blas_thread
from infoplane.measured import MeasuredSample
from infoplane.sample import Sample, as_array, is_dask, require_in_memory

Array = NDArray[np.float64]
Whole = NDArray[np.int64]

# Cells in a robust scale of the first rows, by number of dimensions; how many rows tell that scale, and how
# many tell it well enough to see that a value is out of all proportion.
_FINENESS = {1: 2**13, 2: 2**8}
_FIRST_ROWS, _TELLING_ROWS = 1000, 100
# Binary exponent of the least positive number: no cell is narrower.
_LEAST_EXPONENT = -1074
# Binary exponents of values whose squares and differences stay in range.
_MODERATE = 400
# Rows that are sorted into cells at a time, and that are gathered before they are added to the others.
_ROWS = 2**18
_GATHERED = 2**18
# Numbers of cells must leave room for their differences.
_FARTHEST = 2**60
# Below this many cells in a box, marks in the box are faster than sorting.
_BOX = 2**24
# How many times as many rows may share a cell as lie in neighbouring ones, and how many at least must do so.
_MOST_SHARED, _LEAST_SHARED = 1.5, 200


class Histogram:
    """Sparse histogram of a stream in one or two dimensions, from which H and J are measured.

    Rows are counted in cells of width δ, [k δ, (k + 1) δ) along each axis, with δ a power of two. Only cells
    that hold rows are kept: no range is to be fixed, and a far outlier costs one cell. A value more than
    2⁶⁰ δ = 10¹⁸ δ from zero (for standard normal rows 10¹⁴ in one dimension, 4·10¹⁵ in two) is refused with
    all of its update: it stands for a missing one or for an error, and cells wide enough for it would hold
    all others in one. When more than
    `most_cells` are occupied, δ is doubled along all axes, which merges cells without loss. So the state is a
    function of the rows and the first δ alone, whatever their order and chunks: `merge` is associative and
    commutative to the last bit.

    Parameters
    ----------
    d : int, default 1
        Number of variables, 1 or 2.
    spacing : float or array_like of shape (d,), optional
        Least width of the cells, one for all axes or one each, rounded down to a power of two; by default
        1/8192 (d = 1) or 1/256 (d = 2) of the robust scale of the first chunk (of the first thousand rows or
        more). Histograms that are to be merged had better agree on it: pass the `spacing` of one to the
        others. Where they differ, the wider cells are taken.
    most_cells : int, default 2**20
        Occupied cells at most, at 16 (d = 1) or 24 bytes each.

    Notes
    -----
    Measures are those of `KDE` for rows seen several times, but J in one dimension is that of `LogSpline`,
    to 10⁻⁴ that of the rows themselves. Rounding to cells adds noise of variance δ²/12 along each axis; H
    grows by Σ_a J_aa δ_a²/24 for it, 6·10⁻¹⁰ nats for normal data at the default cells in one dimension and
    10⁻⁵ in two, where a million cells are then σ/64 to σ/256 wide. From 5,000 cells on a Richardson step
    with cells of twice the width takes even that away, for H and J, down to O(δ⁴). The rest is the error of
    `KDE`, whose bandwidths are kept above 5 δ; with 10⁷ rows they are about 0.06 σ. For tails as heavy as
    Cauchy's `KDE` is off, H by +0.02 nats at n = 6·10⁴ and +0.006 at 10⁶: there ``method="logspline"`` is
    better. That warns where J is infinite (uniform, exponential); kernels, and thus J in two dimensions, do
    not.

    10⁷ normal rows take 0.3 s to count in one dimension and 3 s in two, 0.03 and 8 s to measure, in 0.2 and
    0.5 GB with Python itself. Rows are taken as independent: there is no correction for serial correlation.
    Do not use it for variables that take few values (they are refused where many more rows share a cell than
    lie in neighbouring ones), for clusters narrower than the cells, or for all but perfectly correlated
    variables.

    Examples
    --------
    >>> import numpy as np
    >>> from infoplane import Histogram
    >>> rng = np.random.default_rng(0)
    >>> first, second = Histogram(), Histogram()
    >>> for _ in range(10):
    ...     _ = first.update(rng.standard_normal(10_000))
    >>> _ = second.update(rng.standard_normal(100_000))
    >>> first.merge(second).entropy()  # H = ½ log 2πe = 1.4189
    1.4202 ± 0.0016 (kde, n=200000)
    """

    def __init__(self, d: int = 1, *, spacing: ArrayLike | None = None, most_cells: int = 2**20) -> None:
        if not isinstance(d, int | np.integer) or d not in _FINENESS:
            raise ValueError(f"`d` must be 1 or 2, got {d!r}")
        if not isinstance(most_cells, int | np.integer) or most_cells < 1000:
            raise ValueError(f"`most_cells` must be an integer of at least 1000, got {most_cells!r}")
        self._d, self._most = int(d), int(most_cells)
        # Widths are 2**exponent; None until the first rows have told the scale.
        self._exponent = None if spacing is None else _exponents(spacing, self._d)
        self._cells: Whole = np.empty((0, self._d), dtype=np.int64)
        self._counts: Whole = np.empty(0, dtype=np.int64)
        self._n = 0
        # Rows not yet in cells, and the cells of those not yet added to the others.
        self._waiting: list[Array] = []
        self._gathered: list[tuple[Whole, Whole]] = []

    @property
    def d(self) -> int:
        """Number of dimensions."""
        return self._d

    @property
    def n(self) -> int:
        """Number of rows seen."""
        return self._n

    @property
    def spacing(self) -> Array:
        """Width of the cells along each axis: powers of two."""
        self._settle()
        assert self._exponent is not None
        return np.asarray(np.ldexp(1.0, self._exponent))

    @property
    def values(self) -> Array:
        """Centres of the occupied cells, of shape (cells, d), in lexicographic order."""
        width = self.spacing
        return (self._cells + 0.5) * width

    @property
    def counts(self) -> Whole:
        """Number of rows in each occupied cell."""
        self._settle()
        return self._counts

    def update(self, x: ArrayLike) -> Histogram:
        """Count more rows: all of them, or none if an error is raised.

        Parameters
        ----------
        x : array_like of shape (n,) or (n, d)
            Any number of rows. The chunks of a dask array are computed and counted one by one.

        Returns
        -------
        Histogram
            This one.

        Raises
        ------
        ValueError
            If `x` has another number of columns, or with the first rows a value more than 2⁶⁰ cells from
            zero; as in `entropy`.
        TypeError
            If `x` does not hold real numbers.
        """
        if is_dask(x):
            return self._update_by_chunks(x)
        require_in_memory(x)
        if np.size(x) == 0:
            return self
        rows = as_array(x)
        if rows.shape[1] != self._d:
            raise ValueError(f"`x` must have d = {self._d} columns, got shape {np.shape(x)}")
        with self._all_or_nothing():
            self._take(rows)
            self._n += len(rows)
        return self

    def merge(self, other: Histogram) -> Histogram:
        """Count the rows of another histogram too.

        Parameters
        ----------
        other : Histogram
            Of the same number of dimensions; it stays as it is.

        Returns
        -------
        Histogram
            This one.

        Raises
        ------
        ValueError
            If the numbers of dimensions differ, or the first rows of one lie more than 2⁶⁰ cells of the other
            from zero; nothing is then merged.
        TypeError
            If `other` is no histogram.
        """
        if not isinstance(other, Histogram):
            raise TypeError(f"`other` must be a Histogram, got {type(other).__name__}")
        if other._d != self._d:
            raise ValueError(f"`other` must have d = {self._d}, got d = {other._d}")
        with self._all_or_nothing():
            self._most = min(self._most, other._most)
            self._n += other._n
            waiting = list(other._waiting)
            if other._exponent is not None:
                other._settle()
                mine, self._waiting = self._waiting, []
                waiting += mine
                if self._exponent is None:
                    self._exponent = other._exponent.copy()
                self._settle()
                common = np.maximum(self._exponent, other._exponent)
                self._settle(common)
                self._add(other._cells >> (common - other._exponent), other._counts)
            for rows in waiting:
                self._take(rows)
        return self

    def __add__(self, other: object) -> Histogram:
        """Histogram of the rows of both."""
        if not isinstance(other, Histogram):
            return NotImplemented
        return Histogram(self._d, most_cells=self._most).merge(self).merge(other)

    def __radd__(self, other: object) -> Histogram:
        """With 0, where `sum` starts, a histogram of the same rows."""
        if not (isinstance(other, int) and other == 0):
            return NotImplemented
        return copy(self)

    def __eq__(self, other: object) -> bool:
        """Whether the same rows have been counted in the same cells."""
        if not isinstance(other, Histogram):
            return NotImplemented
        if self._d != other._d or self._n != other._n:
            return False
        return self._n == 0 or bool(
            np.array_equal(self.spacing, other.spacing)
            and np.array_equal(self._cells, other._cells)
            and np.array_equal(self._counts, other._counts)
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        if self._exponent is None:
            return f"Histogram(d={self._d}, n={self._n})"
        widths = " × ".join(f"{width:.3g}" for width in self.spacing)
        return f"Histogram(d={self._d}, n={self._n}, {self._counts.size} cells of {widths})"

    def __getstate__(self) -> dict[str, Any]:
        if self._exponent is not None:
            self._settle()
        return self._state()

    @on_one_blas_thread
    def entropy(self, *, method: str | Estimator = "auto", base: float | None = None) -> Estimate:
        """Differential entropy, in nats.

        Parameters
        ----------
        method : str or estimator, default "auto"
            "kde", "gaussian" or, if d = 1, "logspline", or such an object: those that take counts. "auto"
            takes log-splines for the Fisher information in one dimension and else kernels.
        base : float, optional
            Unit: e (None) for nats, 2 for bits, 10 for hartleys.

        Returns
        -------
        Estimate
            With its standard error; it knows no `bias`.

        Raises
        ------
        DegenerateSampleError
            If many more rows share a cell than lie in neighbouring ones, or columns are constant.
        ValueError
            If there are too few rows, and as in `infoplane.entropy`.
        """
        return MeasuredSample(self._sample(), method).entropy(base)

    @on_one_blas_thread
    def entropy_power(self, *, method: str | Estimator = "auto") -> Estimate:
        """Entropy power N = exp(2H/d)/(2πe), in squared units of the data.

        Parameters
        ----------
        method : str or estimator, default "auto"
            As in `entropy`.
        """
        return MeasuredSample(self._sample(), method).entropy_power()

    @on_one_blas_thread
    def fisher_information(self, *, method: str | Estimator = "auto") -> Array:
        """Fisher information matrix, in inverse squared units of the data.

        Parameters
        ----------
        method : str or estimator, default "auto"
            As in `entropy`.
        """
        return MeasuredSample(self._sample(), method).fisher_information()

    @on_one_blas_thread
    def fisher_trace(self, *, method: str | Estimator = "auto") -> Estimate:
        """Trace of the Fisher information matrix, with its standard error.

        Parameters
        ----------
        method : str or estimator, default "auto"
            As in `entropy`.
        """
        return MeasuredSample(self._sample(), method).fisher_trace()

    @on_one_blas_thread
    def fisher_shannon(self, *, method: str | Estimator = "auto") -> FisherShannonPoint:
        """Place in the Fisher–Shannon plane: H, N, J, tr J and the product N·tr J/d, with standard errors.

        Parameters
        ----------
        method : str or estimator, default "auto"
            As in `entropy`.
        """
        return MeasuredSample(self._sample(), method).fisher_shannon()

    def _update_by_chunks(self, x: Any) -> Histogram:
        rows = x.rechunk({1: -1}) if x.ndim > 1 else x
        with self._all_or_nothing():
            for chunk in rows.to_delayed().ravel():
                self.update(chunk.compute())
        return self

    @contextmanager
    def _all_or_nothing(self) -> Iterator[None]:
        """Leave everything as it was if an error comes."""
        before = self._state()
        try:
            yield
        except BaseException:
            self.__dict__.update(before)
            raise

    def _state(self) -> dict[str, Any]:
        """All there is, with lists of its own; arrays are replaced, never written to."""
        return {**self.__dict__, "_waiting": list(self._waiting), "_gathered": list(self._gathered)}

    def _sample(self) -> Sample:
        if self._n == 0:
            raise ValueError("the histogram must hold rows: `update` it first")
        self._settle()
        self._require_continuous()
        return Sample.of_cells(self.values, self._counts.astype(float), self.spacing)

    def _require_continuous(self) -> None:
        """Refuse variables whose rows share cells far more often than they lie side by side."""
        for axis in range(self._d):
            order = np.argsort(self._cells[:, axis], kind="stable")
            cells, counts = _tallied(self._cells[order, axis, None], self._counts[order])
            c = counts.astype(float)
            shared = float(c @ (c - 1))
            beside = float(c[1:] @ (c[:-1] * (np.diff(cells[:, 0]) == 1)))
            if shared > _MOST_SHARED * beside + _LEAST_SHARED:
                raise DegenerateSampleError(
                    f"column {axis} of the stream takes the same values again and again (or is narrower than "
                    f"the cells of {self.spacing[axis]:.3g}): {shared / max(beside, 1):.3g} times as many "
                    "pairs share a cell as lie in neighbouring ones: there is no density to be estimated. "
                    "Add uniform noise as wide as the rounding step to rounded data"
                )

    def _take(self, rows: Array) -> None:
        """Sort rows into cells, or let them wait for others that tell the scale."""
        if self._exponent is None:
            rows = np.concatenate([*self._waiting, rows])
            exponent = _told_exponents(rows, self._d)
            if exponent is not None and len(rows) >= _TELLING_ROWS:
                _require_near(rows, exponent)
            if exponent is None or len(rows) < _FIRST_ROWS:
                self._waiting = [rows]
                return
            self._exponent, self._waiting = exponent, []
        for first in range(0, len(rows), _ROWS):
            self._gathered.append(_counted(rows[first : first + _ROWS], self._exponent))
            if sum(counts.size for _, counts in self._gathered) > max(_GATHERED, self._counts.size // 4):
                self._settle()

    def _settle(self, exponent: Whole | None = None) -> None:
        """Put all rows into cells, of at least the given width."""
        if self._exponent is None:
            if not self._waiting:
                raise ValueError("the histogram must hold rows: `update` it first")
            rows = np.concatenate(self._waiting)
            told = _told_exponents(rows, self._d)
            if told is None:
                raise DegenerateSampleError(
                    "the rows of the stream must vary in every column, got constant ones"
                )
            self._gathered = [_counted(rows, told)]
            self._exponent, self._waiting = told, []
        gathered, self._gathered = self._gathered, []
        if gathered:
            self._add(
                np.concatenate([cells for cells, _ in gathered]),
                np.concatenate([counts for _, counts in gathered]),
            )
        if exponent is not None and (exponent > self._exponent).any():
            self._cells, self._counts = _tallied(self._cells >> (exponent - self._exponent), self._counts)
            self._exponent = exponent

    def _add(self, cells: Whole, counts: Whole) -> None:
        """Add counts of cells of the present width, and widen cells while there are too many."""
        cells, counts = np.concatenate([self._cells, cells]), np.concatenate([self._counts, counts])
        cells, counts = _tallied(cells, counts)
        assert self._exponent is not None
        while counts.size > self._most:
            cells, counts = _tallied(cells >> 1, counts)
            self._exponent = self._exponent + 1
        self._cells, self._counts = cells, counts


def _told_exponents(rows: Array, d: int) -> Whole | None:
    """Exponents of the widths of cells that the first rows call for; None if a column is constant."""
    # In units in which squares and differences stay in the float64 range.
    unit = np.frexp(_largest(rows))[1]
    unit = np.where(np.abs(unit) > _MODERATE, unit, 0)
    scaled = np.ldexp(rows, -unit) if unit.any() else rows
    low, high = np.quantile(scaled, [0.25, 0.75], axis=0)
    # More than half of the rows may be equal in a column without density; the refusal comes later.
    scale = (high - low) / 1.349
    if (scale == 0).any():
        scale = np.where(scale > 0, scale, scaled.std(axis=0))
    # The mean of equal values may differ from them by rounding.
    if not ((scale > 0) & (scaled.min(axis=0) < scaled.max(axis=0))).all():
        return None
    return np.asarray(np.maximum(_exponents(scale / _FINENESS[d], d) + unit, _LEAST_EXPONENT), np.int64)


def _require_near(rows: Array, exponent: Whole) -> None:
    """Refuse rows so far from zero that the differences of their cells' numbers might overflow."""
    largest = _largest(rows)
    # Compared as exponents: the number of cells itself may leave the float64 range.
    fraction, power = np.frexp(largest)
    far = np.flatnonzero(np.ldexp(fraction, np.minimum(power - exponent, 100)) > _FARTHEST)
    if far.size:
        axis = int(far[0])
        width = np.ldexp(1.0, exponent[axis])
        raise ValueError(
            f"`x` and the rows before it must lie within 2⁶⁰ cells of {width:.3g} from zero, got "
            f"{largest[axis]:.3g} in column {axis}: no row of `x` was counted; leave out values that "
            "stand for missing ones"
        )


def _largest(rows: Array) -> Array:
    """Largest absolute value of each column; one by one, as along short rows it takes ten times as long."""
    return np.array([max(column.max(), -column.min()) for column in rows.T])


def _counted(rows: Array, exponent: Whole) -> tuple[Whole, Whole]:
    """The cells of rows and the number of rows in each."""
    _require_near(rows, exponent)
    return _tallied(np.floor(np.ldexp(rows, -exponent)).astype(np.int64), None)


def _exponents(spacing: ArrayLike, d: int) -> Whole:
    widths = np.asarray(spacing, dtype=float)
    if widths.shape not in ((), (d,)) or not (np.isfinite(widths) & (widths > 0)).all():
        raise ValueError(
            f"`spacing` must be a positive number, or one for each of d = {d} axes, got {spacing!r}"
        )
    return np.broadcast_to(np.frexp(widths)[1] - 1, d).astype(np.int64)


def _tallied(cells: Whole, counts: Whole | None) -> tuple[Whole, Whole]:
    """Distinct cells in lexicographic order, and the sum of counts (of ones) in each."""
    # Column by column, as extremes of many short rows take ten times as long.
    low = np.array([column.min() for column in cells.T])
    spans = [int(column.max()) - int(first) + 1 for column, first in zip(cells.T, low, strict=True)]
    places = cells - low
    labels = None
    if math.prod(spans) >= _FARTHEST:
        ranked = [np.unique(column, return_inverse=True) for column in cells.T]
        labels, places = [label for label, _ in ranked], np.column_stack([place for _, place in ranked])
        spans = [label.size for label in labels]
    code = places[:, 0]
    for axis in range(1, len(spans)):
        code = code * spans[axis] + places[:, axis]
    found, totals = _totals(code, counts, math.prod(spans))
    distinct = np.empty((found.size, len(spans)), dtype=np.int64)
    for axis in reversed(range(len(spans))):
        place = found % spans[axis]
        found = found // spans[axis]
        distinct[:, axis] = low[axis] + place if labels is None else labels[axis][place]
    return distinct, totals


def _totals(code: Whole, counts: Whole | None, size: int) -> tuple[Whole, Whole]:
    """Distinct codes, ascending, and the sum of counts (of ones) of each."""
    if counts is None and size <= min(_BOX, 16 * code.size):
        box = np.bincount(code, minlength=size)
        found = np.flatnonzero(box)
        return found.astype(np.int64), box[found].astype(np.int64)
    if counts is None:
        found, number = np.unique(code, return_counts=True)
        return found, number.astype(np.int64)
    order = np.argsort(code, kind="stable")
    ordered = code[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    # Whole numbers all along: sums of floats would end at 2⁵³.
    return ordered[starts], np.add.reduceat(counts[order], starts)
