"""What every family of estimators promises."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from infoplane.lazy import lazy
from infoplane.sample import Sample

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Ascending:
    """Numbers at the rows of one variable in the order of its values, found when they are first asked for.

    Parameters
    ----------
    sample : Sample
        The variable.
    compute : callable
        Gives them, an ndarray of shape (n,).
    """

    sample: Sample
    compute: Callable[[], Array]

    @lazy
    def by_value(self) -> Array:
        """The numbers, ascending in the variable."""
        return self.compute()

    @lazy
    def by_row(self) -> Array:
        """The numbers in the order of the rows, which have to be sorted for it."""
        rows = np.empty(self.sample.n)
        rows[self.sample.order] = self.by_value
        return rows


class _Influential:
    """What holds the influences of the rows on an estimate."""

    influences: Array | Ascending

    @property
    def influence(self) -> Array:
        """`influences` in the order of the rows."""
        return self.influences.by_row if isinstance(self.influences, Ascending) else self.influences


@dataclass(frozen=True, eq=False)
class EntropyFit(_Influential):
    """An estimated entropy.

    Attributes
    ----------
    value : float
        H in nats.
    standard_error : float
        Its standard error.
    influences : ndarray of shape (n,) or Ascending
        What each row adds to the error of H, times n; NaN at rows that were not evaluated. `influence` has
        them in the order of the rows.
    bound : {"upper", "lower"}, optional
        That the value is no estimate but a bound, in expectation.
    skewness : float, default 0
        Of the terms whose mean a bound is.
    """

    value: float
    standard_error: float
    influences: Array | Ascending
    bound: Literal["upper", "lower"] | None = None
    skewness: float = 0.0


@dataclass(frozen=True, eq=False)
class FisherFit(_Influential):
    """An estimated Fisher information.

    Attributes
    ----------
    matrix : ndarray of shape (d, d)
        J in original units.
    standard_error : float
        That of tr J.
    influences : ndarray of shape (n,) or Ascending
        What each row adds to the error of tr J, times n; NaN at rows that were not evaluated. `influence` has
        them in the order of the rows.
    bound : {"upper", "lower"}, optional
        That the value is no estimate but a bound, in expectation.
    skewness : float, default 0
        Of the terms whose mean a bound is.
    """

    matrix: Array
    standard_error: float
    influences: Array | Ascending
    bound: Literal["upper", "lower"] | None = None
    skewness: float = 0.0


def fisher_fit(
    sample: Sample,
    whitened: Array,
    standard_error: float,
    influences: Array | Ascending,
    *,
    bound: Literal["upper", "lower"] | None = None,
    skewness: float = 0.0,
) -> FisherFit:
    """Carry a Fisher information with the error of its trace to original units, in one place.

    Parameters
    ----------
    sample : Sample
        The data.
    whitened : ndarray of shape (d, d)
        J for whitened data.
    standard_error : float
        That of tr(M J), M the metric of the sample: what squares, squares numbers of the order of one.
    influences : ndarray of shape (n,) or Ascending
        Those on tr(M J).
    bound : {"upper", "lower"}, optional
        That the value is a bound.
    skewness : float, default 0
        Of the terms whose mean a bound is.

    Raises
    ------
    OverflowError
        If J leaves the range of float64.
    """
    matrix, unit = sample.matrix_from_whitened(whitened), sample.trace_unit
    if isinstance(influences, Ascending):
        compute = influences.compute
        carried: Array | Ascending = Ascending(sample, lambda: unit * compute())
    else:
        carried = unit * influences
    return FisherFit(matrix, unit * standard_error, carried, bound, skewness)


@runtime_checkable
class Estimator(Protocol):
    """A family of estimators with its options: a frozen dataclass with these four members."""

    @property
    def name(self) -> str:
        """What `Estimate.method` will say."""

    def entropy(self, sample: Sample) -> EntropyFit:
        """Differential entropy in nats."""

    def fisher(self, sample: Sample) -> FisherFit:
        """Fisher information matrix in original units."""

    def score(self, sample: Sample, points: Array | None) -> Array:
        """Score ∇ log f in original units, at whitened points or (None) at the sample, leaving each out."""


def least_rows(d: int) -> int:
    """Observations below which no non-parametric estimate is offered, max(5d, 20).

    Parameters
    ----------
    d : int
        Number of dimensions.
    """
    return max(5 * d, 20)


def covariance(first: Array, second: Array) -> float:
    """Sampling covariance of two means, from the influences of the rows on them.

    Parameters
    ----------
    first, second : ndarray of shape (n,)
        Influences, NaN at rows that were not evaluated.
    """
    shared = np.isfinite(first) & np.isfinite(second)
    if not shared.any():
        return 0.0
    rows = int(np.isfinite(first).sum()) * int(np.isfinite(second).sum())
    one, other = first[shared], second[shared]
    # Units that are out of all proportion to each other leave the range only with the result.
    sizes = float(np.abs(one).max()), float(np.abs(other).max())
    if 0.0 in sizes:
        return 0.0
    mean = float(np.mean((one / sizes[0]) * (other / sizes[1])))
    return mean * sizes[0] * sizes[1] * one.size / rows


def shared_covariance(first: EntropyFit | FisherFit, second: EntropyFit | FisherFit) -> float:
    """Sampling covariance of two estimates from one sample.

    Parameters
    ----------
    first, second : EntropyFit or FisherFit
        The estimates; where both are known by value, rows need not be sorted.
    """
    if isinstance(first.influences, Ascending) and isinstance(second.influences, Ascending):
        return float(first.influences.by_value @ second.influences.by_value) / first.influences.sample.n**2
    return covariance(first.influence, second.influence)


def evenly(order: NDArray[np.intp], limit: int) -> NDArray[np.intp]:
    """At most `limit` entries of `order`, evenly spaced.

    Parameters
    ----------
    order : ndarray of shape (n,)
        Row numbers.
    limit : int
        How many to keep.
    """
    if order.size <= limit:
        return order
    return order[((np.arange(limit) + 0.5) * (order.size / limit)).astype(np.intp)]


def debiased(second_moment: Array, variance: Array) -> Array:
    """Second moment of a noisy score less the variance of the noise, kept at 30 % of itself or more.

    The floor holds in every direction, so the result is positive definite.

    Parameters
    ----------
    second_moment, variance : ndarray of shape (d, d)
        Positive definite, and positive semi-definite.
    """
    root = np.linalg.cholesky(second_moment)
    half = np.linalg.solve(root, variance)
    share = np.linalg.solve(root, half.T)
    values, vectors = np.linalg.eigh((share + share.T) / 2)
    kept = (vectors * np.clip(1.0 - values, 0.3, 1.0)) @ vectors.T
    return root @ kept @ root.T


def bound_terms(score: Array, jacobian: Array, correction: Array, metric: Array) -> Array:
    """Terms tr M(−2∇v − vvᵀ) of the field v = C s, whose mean is the variational lower bound of tr(M J).

    Parameters
    ----------
    score : ndarray of shape (m, d)
        s.
    jacobian : ndarray of shape (m, d, d)
        ∇s.
    correction, metric : ndarray of shape (d, d)
        C and M.
    """
    v = score @ correction.T
    slopes = np.einsum("ij,mij->m", correction.T @ metric, jacobian)
    return -2 * slopes - np.einsum("mi,ij,mj->m", v, metric, v)


def admissible(fisher: Array) -> Array:
    """Nearest symmetric matrix that respects the Cramér–Rao bound J ⪰ Σ⁻¹, which is I for whitened data.

    An estimate may fall below it by its noise, or far below where few points leave a method no resolution.

    Parameters
    ----------
    fisher : ndarray of shape (d, d)
        Estimate for whitened data.
    """
    values, vectors = np.linalg.eigh((fisher + fisher.T) / 2)
    return (vectors * np.maximum(values, 1.0)) @ vectors.T
