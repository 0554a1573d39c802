"""Repeated values: how many there are, the resolution of rounded data, and noise at that resolution."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from infoplane.errors import DegenerateSampleError
from infoplane.kernels.moments import count_close
from infoplane.mass import Mass

Array = NDArray[np.float64]

# Numbers on a lattice are known to a few units in the last place: the product and the sum of
# offset + k·step, or the sum in 0.1 + 0.2.
_ROUNDING = 8.0
# A lattice this many times finer than that rounding cannot be told from no lattice.
_FINEST = 64.0
# Steps above this share of the spread leave too little of the density to be estimated.
_COARSEST = 0.5
# Share of numbers that could lie between the places of a lattice, from which it is one and not the format.
_FINER_SHARE = 0.1
# In two and more dimensions a few tied values in a column are chance (data kept in single precision);
# above this share of tied rows the column is discrete and the joint density does not exist.
_DISCRETE_SHARE = 0.1
# On a line ties of single precision are chance below this share of the rows. The share is the last place over
# the mean spacing: rounding moves a value by a hundredth of a spacing at most, and a spacing over several
# points, which is all that methods look at, by less.
_TIED_BY_CHANCE = 0.02


def repeated_rows(values: Array) -> int:
    """Count the rows that repeat an earlier one; sorts one column unless that one has ties.

    Parameters
    ----------
    values : ndarray of shape (n, d)
        The rows.
    """
    # Sorting values takes a quarter of the time of sorting row numbers, and mostly finds no ties.
    ordered = np.sort(values[:, 0])
    if not (ordered[1:] == ordered[:-1]).any():
        return 0
    order = np.argsort(values[:, 0])
    first = values[order, 0]
    equal_to_next = first[1:] == first[:-1]
    suspects = np.zeros(first.size, dtype=bool)
    suspects[1:] |= equal_to_next
    suspects[:-1] |= equal_to_next
    rows = values[order[suspects]]
    return 0 if rows.size == 0 else len(rows) - len(np.unique(rows, axis=0))


def well_apart(ordered: Array) -> bool:
    """Whether the values of a variable differ by more than rounding takes away when they are centred.

    Parameters
    ----------
    ordered : ndarray of shape (n,)
        The values in ascending order.
    """
    with np.errstate(over="ignore"):
        extent = ordered[-1] - ordered[0]
    return bool(count_close(ordered, _ROUNDING * np.finfo(np.float64).eps * extent) == 0)


def tie_report(values: Array, whitened: Array, mass: Mass, *, rounded: bool = False) -> str | None:
    """What is tied in a sample, for a message, or None.

    Parameters
    ----------
    values, whitened : ndarray of shape (n, d)
        The rows as given, and centred and scaled.
    mass : Mass
        What the rows count; single columns may have ties where rows are known to be rounded.
    rounded : bool, default False
        Whether they are, even if none was seen twice.
    """
    n, d = values.shape
    repeated = repeated_rows(values)
    if repeated:
        return f"has {repeated} repeated rows among {n}"
    coinciding = repeated_rows(whitened)
    if coinciding:
        return f"spans so many orders of magnitude that {coinciding} rows coincide once it is centred"
    if d == 1 or rounded or mass.has_repeats:
        return None
    for j, column in enumerate(values.T):
        _, counts = np.unique(column, return_counts=True)
        tied = int(counts[counts > 1].sum())
        if tied > _DISCRETE_SHARE * n:
            return f"takes only {counts.size} different values in column {j} ({n} rows)"
    return None


def lattice_step(column: Array, precision: float = float(np.finfo(np.float64).eps)) -> float | None:
    """Step of the coarsest lattice offset + k·step that holds all the numbers, or None.

    An approximate greatest common divisor of the gaps between the distinct values: the smallest gap, or what
    it leaves of a larger one as remainder, until nothing is left beyond rounding.

    Parameters
    ----------
    column : ndarray of shape (n,)
        Numbers, of which at least two differ.
    precision : float
        Relative precision of the largest of them.
    """
    ordered = np.unique(column)
    # A far outlier is known less well than the rest; numbers near zero may be differences of larger ones.
    typical = np.quantile(np.abs(column), 0.9)
    magnitude = np.maximum(np.maximum(np.abs(ordered[1:]), np.abs(ordered[:-1])), typical)
    gaps, tolerance = np.diff(ordered), _ROUNDING * precision * magnitude
    apart = gaps > tolerance
    order = np.argsort(gaps[apart])
    gaps, tolerance = gaps[apart][order], tolerance[apart][order]
    if gaps.size == 0:
        return None
    step, error = float(gaps[0]), float(tolerance[0])
    while step > _FINEST * _ROUNDING * precision * typical:
        multiples = np.rint(gaps / step)
        remainder = np.abs(gaps - multiples * step)
        # Only where its error adds up to less than a tenth of the step can multiples be counted.
        doubt = tolerance + multiples * error
        countable = doubt < 0.1 * step
        left = np.flatnonzero(countable & (remainder > doubt))
        if left.size:
            least = left[np.argmin(remainder[left])]
            step, error = float(remainder[least]), float(doubt[least])
            continue
        if countable.all():
            return step * float((gaps / step) @ multiples / (multiples @ multiples))
        if not countable.any():
            return None
        errors = np.where(countable, tolerance / multiples, np.inf)
        sharpest = int(np.argmin(errors))
        if errors[sharpest] >= error:
            # The step cannot be known better, and the gaps to a few outliers need not be counted.
            return step if np.mean(countable) > 0.9 else None
        step, error = float(gaps[sharpest] / multiples[sharpest]), float(errors[sharpest])
    return None


def resolution(column: Array) -> Array | None:
    """Width of the interval that each number stands for: a lattice step, or its spacing in a short format.

    Parameters
    ----------
    column : ndarray of shape (n,)
        Numbers with ties.

    Returns
    -------
    ndarray of shape (n,) or None
        None if the numbers lie on no lattice, so that their ties are not due to rounding.
    """
    step = lattice_step(column)
    for kind in (np.float16, np.float32):
        with np.errstate(over="ignore"):
            short = column.astype(kind)
        if np.array_equal(short, column):
            break
    else:
        return None if step is None else np.full(column.size, step)
    width = np.spacing(np.abs(short)).astype(np.float64)
    # Every number in a short format is a multiple of the smallest one's last place. That is no lattice unless
    # many numbers could lie between its places.
    if step is None or step <= width.max():
        between = step is not None and np.mean(width < step) > _FINER_SHARE
        step = step if between else lattice_step(column, float(np.finfo(kind).eps))
    if step is not None:
        return np.full(column.size, step)
    return width if _ties_have_neighbors(np.sort(column), kind) or _dense(column, width) else None


def _dense(column: Array, width: Array) -> bool:
    """Whether most of the values that differ are neighbours, a few of their last places apart."""
    distinct, first = np.unique(column, return_index=True)
    return bool(np.mean(np.diff(distinct) < 9 * width[first][:-1]) > 0.5)


def alike_by_chance(ordered: Array) -> int:
    """Largest number of equal values among ones in single precision that tie by chance; 0 if they do not.

    Parameters
    ----------
    ordered : ndarray of shape (n,)
        Values of one variable in ascending order.
    """
    with np.errstate(over="ignore"):
        single = ordered.astype(np.float32)
    if not np.array_equal(single, ordered):
        return 0
    tied = np.count_nonzero(ordered[1:] == ordered[:-1])
    if tied > _TIED_BY_CHANCE * ordered.size or not _ties_have_neighbors(ordered):
        return 0
    return int(np.diff(np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1], True])).max())


def _ties_have_neighbors(ordered: Array, kind: type[np.floating] = np.float32) -> bool:
    """Whether numbers in a short format tie by chance: sixteen times as many are 1 to 8 places apart."""
    places = np.diff(ordered) / np.spacing(np.abs(ordered[:-1]).astype(kind))
    return int(np.count_nonzero(places == 0)) <= int(np.count_nonzero((places > 0) & (places < 9)))


def require_fine(column: Array, step: float, mass: Mass, name: str) -> None:
    """Refuse a variable with too few distinct values to have a density.

    Parameters
    ----------
    column : ndarray of shape (n,)
        Its values.
    step : float
        Their resolution.
    mass : Mass
        What the rows count.
    name : str
        How the message calls the variable.

    Raises
    ------
    DegenerateSampleError
        If the step exceeds half the spread, the smaller of standard deviation and interquartile range/1.349.
    """
    distinct, cell = np.unique(column, return_inverse=True)
    # Quartiles of the histogram: those of the values themselves come in whole steps.
    heights = np.r_[0.0, np.cumsum(np.bincount(cell, mass.share))]
    edges = np.r_[distinct[0] - step / 2, distinct + step / 2]
    lower, upper = np.interp([0.25, 0.75], heights, edges)
    centered = column - mass.share @ column
    spread = min(math.sqrt(float(mass.share @ centered**2)), float(upper - lower) / 1.349)
    if step > _COARSEST * spread:
        raise DegenerateSampleError(
            f"{name} is discrete: its values lie {step:.6g} apart, more than {_COARSEST:g} of their spread "
            f"{spread:.6g}; it has no density to be estimated"
        )


def dithered(values: Array, mass: Mass, rng: np.random.Generator, name: str) -> tuple[Array, Array]:
    """Values with uniform noise on (−δ/2, δ/2) in every column that has ties, δ its resolution.

    Parameters
    ----------
    values : ndarray of shape (n, d)
        Rounded data.
    mass : Mass
        What the rows count.
    rng : numpy.random.Generator
        Source of the noise; not used where nothing is tied.
    name : str
        How messages call the data.

    Returns
    -------
    values : ndarray of shape (n, d)
        The argument itself if no column has ties that noise can resolve.
    widths : ndarray of shape (d,)
        The δ; 0 for columns left as they are.

    Raises
    ------
    DegenerateSampleError
        If a column is discrete, or rows are repeated that lie on no lattice.
    """
    result, widths = values, np.zeros(values.shape[1])
    for j, column in enumerate(values.T):
        width = resolution(column) if repeated_rows(column[:, None]) else None
        if width is None:
            continue
        require_fine(column, float(width.max()), mass, f"column {j} of `{name}`")
        result = values.copy() if result is values else result
        result[:, j] += width * rng.uniform(-0.5, 0.5, column.size)
        widths[j] = width.max()
    repeated = repeated_rows(result)
    for j, column in enumerate(result.T if repeated else ()):
        if widths[j] == 0 and repeated_rows(column[:, None]) and _dense(column, np.spacing(np.abs(column))):
            raise DegenerateSampleError(
                f"column {j} of `{name}` has ties as float64 resolves no more than "
                f"{np.spacing(np.abs(column).max()):.3g} at its offset, where noise is rounded away too: "
                f"subtract the offset first, as by `{name} - {name}[0]`, which is exact"
            )
    if repeated:
        raise DegenerateSampleError(
            f"`{name}` has {repeated} repeated rows among {len(values)} that lie on no lattice, as rounded "
            f"data would: noise cannot resolve them. Drop the duplicates with `np.unique({name}, axis=0)`"
        )
    return result, widths
