"""Penalised log-spline densities on a line, with every point left out of its own score."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy.interpolate import BSpline

from infoplane.estimators.robust_units import at_ranks
from infoplane.kernels.splines import newton
from infoplane.mass import Mass

Array = NDArray[np.float64]

_DEGREE = 4
# Fewer knots leave no room for a shape.
LEAST_KNOTS = 6
# Gauss–Legendre nodes in a knot interval.
_NODES = 6
# Larger samples are gathered into cells, this many in a knot interval.
_EXACT = 4000
_CELLS = 64
# Penalties, from one that leaves nothing but a normal density to one that leaves every knot free.
_PENALTIES = 10.0 ** np.arange(2.0, -12.1, -0.5)
# A fit predicts too badly to get any weight if its log-likelihood lies this far below the best. On far
# tails prediction may get worse before it gets better, so penalties down to the second figure are all tried.
_HOPELESS = 20.0
_TRIED = 1e-3
# Leaving a point out to first order is honest only while there are far fewer parameters than points.
_FREEDOM = 3.0, 1 / 40
_NEWTON_STEPS = 100
# Relative to the diagonal: what keeps the Hessian definite where there are neither data nor penalty.
_RIDGE = 1e-11


class Field(NamedTuple):
    """A log density and its derivatives at points of a sample or cells of them, each left out of its own.

    Attributes
    ----------
    log_density : ndarray of shape (m,)
        log f̂₋ᵢ at x_i.
    leverage : ndarray of shape (m,)
        By how much leaving x_i out has lowered it.
    score : ndarray of shape (m,)
        ŝ₋ᵢ = (log f̂₋ᵢ)′ at x_i.
    slope : ndarray of shape (m,)
        ŝ₋ᵢ′ at x_i.
    variance : ndarray of shape (m,)
        Sampling variance of ŝ at x_i.
    """

    log_density: Array
    leverage: Array
    score: Array
    slope: Array
    variance: Array


class Cells(NamedTuple):
    """What the places at which a density is looked at stand for, as `Mass` has it of rows.

    Attributes
    ----------
    rows : ndarray of shape (m,)
        Number of rows in each.
    share : ndarray of shape (m,)
        Their share p of all, of sum 1.
    unit : ndarray of shape (m,)
        Mean share u of an observation among them.
    """

    rows: NDArray[np.intp]
    share: Array
    unit: Array


class _Rows(NamedTuple):
    """Which B-splines do not vanish at m points, and their values or derivatives there; of shape (5, m)."""

    numbers: NDArray[np.intp]
    values: Array

    @classmethod
    def of(cls, knots: Array, points: Array, *, derivative: int = 0) -> _Rows:
        """Rows at points within `knots`, which have `_DEGREE` copies of either end beside them.

        de Boor's recursion for the B-splines of lower degree, then the transpose of differencing
        coefficients, c_j → q (c_j − c_{j−1})/(t_{j+q} − t_j), once for each derivative.
        """
        interval = np.searchsorted(knots, points, side="right") - 1
        interval = np.clip(interval, _DEGREE, knots.size - _DEGREE - 2)
        values = np.ones((1, points.size))
        for q in range(1, _DEGREE + 1):
            start, end = (knots[interval + np.arange(first, first + q)[:, None]] for first in (1 - q, 1))
            falling, rising = (end - points, points - start) if q <= _DEGREE - derivative else (-q, q)
            lower = values / (end - start)
            values = np.zeros((q + 1, points.size))
            values[:-1] = falling * lower
            values[1:] += rising * lower
        return cls(interval + np.arange(-_DEGREE, 1)[:, None], values)

    def __matmul__(self, vector: Array) -> Array:
        return (self.values * vector[self.numbers]).sum(axis=0)

    def times(self, other: Array) -> Array:
        """Sum over the functions of their values with other ones."""
        return (self.values * other).sum(axis=0)

    def through(self, matrix: Array) -> Array:
        """M v for each row v, where its own functions are, of shape (5, m)."""
        blocks = matrix.ravel().take(len(matrix) * self.numbers[:, None] + self.numbers)
        blocks *= self.values
        return blocks.sum(axis=1)

    def mean(self, weights: Array, size: int) -> Array:
        """Σ w v."""
        mean = np.bincount(self.numbers.ravel(), (weights * self.values).ravel(), minlength=size)
        return mean.astype(np.float64)

    def gram(self, weights: Array, size: int) -> Array:
        """Σ w v vᵀ."""
        places = size * self.numbers[:, None] + self.numbers
        products = (weights * self.values)[:, None] * self.values
        gram = np.bincount(places.ravel(), products.ravel(), minlength=size**2)
        return gram.astype(np.float64).reshape(size, size)


class _Average(NamedTuple):
    """Coefficients and inverse Hessian averaged over penalties."""

    coefficients: Array
    inverse: Array


class _Fit(NamedTuple):
    """For one λ: coefficients, inverse Hessian, effective parameters, and support by points left out."""

    coefficients: Array
    inverse: Array
    freedom: float
    evidence: float


class SplineDensity:
    """Density with log f = Σ_k θ_k φ_k, quartic B-splines, averaged over penalties.

    For each λ, θ minimises −φ̄ᵀθ + ∫ exp(θᵀφ) + ½λ ∫ (log f)‴², which is convex, makes f integrate to
    one, and does not penalise normal densities (Silverman 1982). With H its Hessian, leaving x_i out moves
    θ by −H⁻¹(φ_i − φ̄)/n to first order. Weights exp(nℓ − df), ℓ the mean leave-one-out log-likelihood
    and df the effective number of parameters, average over λ; each weight is given to the fit with λ/√10,
    because the variance that this adds to the score is known and can be subtracted, while bias cannot.
    As all fits share one basis, their average is again a spline.

    Parameters
    ----------
    x : ndarray of shape (n,)
        Distinct points in ascending order without wide gaps, n ≥ 10, in units in which the robust scale is
        near 1. More than 4000 are gathered into 64 cells in a knot interval.
    knots : int
        Number of knots at most. Their density follows the square root of that of the points.
    mass : Mass, optional
        What the points count; by default all alike. To leave an observation out then takes its share u_i from
        φ̄ instead of 1/n, φ̄ has the variance Σ p_i u_i (φ_i − φ̄)(φ_i − φ̄)ᵀ, and n is the effective number.
    apart : float, default 0
        Least distance of knots.

    References
    ----------
    B. W. Silverman, Ann. Statist. 10 (1982) 795–810.
    C. Gu, J. Wang, "Penalized likelihood density estimation: direct cross-validation and scalable
    approximation", Statist. Sinica 13 (2003) 811–826: a factor 1.4 on df, in the place of our 1 + 1: with
    less, one sample in 300 (logistic, n = 10³) takes noise for structure and J for twice what it is.
    """

    def __init__(self, x: Array, knots: int, mass: Mass | None = None, apart: float = 0.0) -> None:
        mass = Mass.equal(x.size) if mass is None else mass
        self._n = mass.effective_n
        self._knots = _place_knots(
            x, mass, min(knots, max(LEAST_KNOTS, int(min(x.size, self._n)) // 2)), apart
        )
        self._all_knots = np.pad(self._knots, _DEGREE, mode="edge")
        size = self._knots.size + _DEGREE - 1
        self.points, self.cells = _gather(x, self._knots, mass)
        share, unit = self.cells.share, self.cells.unit
        self._basis = _Rows.of(self._all_knots, self.points)
        self._mean = self._basis.mean(share, size)
        self._variance = self._variance_of_mean(share, unit, alike=mass.equal_units)
        nodes, self._quadrature = _quadrature(self._knots)
        self._at_nodes = _Rows.of(self._all_knots, nodes)
        third = _Rows.of(self._all_knots, nodes, derivative=3)
        penalty = _band(third.gram(self._quadrature, size))
        center = float(share @ self.points)
        width = math.sqrt(float(share @ (self.points - center) ** 2))
        fits = self._path(self._normal(center, width), penalty)
        evidence = np.array([fit.evidence for fit in fits])
        shares = np.exp(evidence - evidence.max())
        shares /= shares.sum()
        self._average = _averaged([*fits[1:], fits[-1]], shares)
        self._smoother = _averaged([fits[0], *fits[:-1]], shares)

    @property
    def spline(self) -> BSpline:
        """log f̂ for other points, normalised by a number taken from all coefficients (splines sum to one)."""
        theta = self._average.coefficients
        mass = self._quadrature @ np.exp(self._at_nodes @ theta)
        return BSpline(self._all_knots, theta - math.log(mass), _DEGREE)

    def own_field(self, *, smoother: bool = False) -> Field:
        """Leave-one-out density at `points` in ascending order, the places of `cells`.

        Parameters
        ----------
        smoother : bool, default False
            With ten times the penalty, which is a little too smooth: what that changes, resolution limits.
        """
        theta, inverse = self._smoother if smoother else self._average
        basis = self._basis
        first, second = (_Rows.of(self._all_knots, self.points, derivative=order) for order in (1, 2))
        covariance = inverse @ self._variance @ inverse
        # What leaving a point out takes from the coefficients of the functions that do not vanish there.
        moved = (basis.through(inverse) - (inverse @ self._mean)[basis.numbers]) * self.cells.unit
        leverage = basis.times(moved)
        # The average of several fits need not integrate to one.
        log_mass = math.log(self._quadrature @ np.exp(self._at_nodes @ theta))
        return Field(
            basis @ theta - log_mass - leverage,
            leverage,
            first.times(theta[first.numbers] - moved),
            second.times(theta[second.numbers] - moved),
            first.times(first.through(covariance)),
        )

    def score(self, points: Array) -> Array:
        """Score of the density at other points; beyond the ends of the spline it stays what it is there.

        Parameters
        ----------
        points : ndarray of shape (m,)
            Where.
        """
        inside = np.clip(points, self._knots[0], self._knots[-1])
        score: Array = BSpline(self._all_knots, self._average.coefficients, _DEGREE)(inside, nu=1)
        return score

    def _variance_of_mean(self, share: Array, unit: Array, *, alike: bool) -> Array:
        """Σ p u (φ − φ̄)(φ − φ̄)ᵀ, the sampling variance of φ̄; u is 1/n where observations count alike."""
        size, mean = self._mean.size, self._mean
        if alike:
            return (self._basis.gram(share, size) - np.outer(mean, mean)) / self._n
        both = share * unit
        crossed = np.outer(self._basis.mean(both, size), mean)
        squared = float(both.sum()) * np.outer(mean, mean)
        return np.asarray(self._basis.gram(both, size) - crossed - crossed.T + squared)

    def _normal(self, center: float, width: float) -> Array:
        """Coefficients of a normal law's log density: its blossom at the inner knots of each B-spline."""
        u = (sliding_window_view(self._all_knots[1:-1], _DEGREE) - center) / width
        # Σ_{i<j} u_i u_j over the number of pairs stands for x².
        squares = (u.sum(axis=1) ** 2 - np.square(u).sum(axis=1)) / (_DEGREE * (_DEGREE - 1))
        return -0.5 * squares - math.log(width * math.sqrt(2 * math.pi))

    def _path(self, theta: Array, penalty: Array) -> list[_Fit]:
        """Fits for falling λ, each started from the last, until prediction has clearly passed its best.

        Fits with too many effective parameters are left out: at the end of the path they spike at the
        points, unseen by the quadrature, and at its start they bend a normal density to far tails.
        """
        fits: list[_Fit] = []
        best = -math.inf
        first, values = self._at_nodes.numbers[0], np.ascontiguousarray(self._at_nodes.values.T)
        for strength in _PENALTIES:
            theta, inverse = newton(
                theta, first, values, self._quadrature, self._mean, strength * penalty, _RIDGE, _NEWTON_STEPS
            )
            # The sum of the leverages vᵀH⁻¹(v − φ̄) over the sample, and that of the log densities less those.
            freedom = self._n * float(np.vdot(inverse, self._variance))
            evidence = self._n * float(self._mean @ theta) - 2 * freedom
            fits.append(_Fit(theta, inverse, freedom, evidence))
            best = max(best, evidence)
            if evidence < best - _HOPELESS and strength < _TRIED:
                break
        most = max(_FREEDOM[0] + _FREEDOM[1] * self._n, min(fit.freedom for fit in fits))
        return [fit for fit in fits if fit.freedom <= most]


def _band(matrix: Array) -> Array:
    """Diagonals of a symmetric matrix from the main one down, one row each."""
    size = len(matrix)
    return np.array([np.pad(np.diag(matrix, -k), (0, k)) for k in range(_DEGREE + 1)]).reshape(-1, size)


def _averaged(fits: list[_Fit], shares: Array) -> _Average:
    return _Average(
        np.einsum("i,ij->j", shares, [fit.coefficients for fit in fits]),
        np.einsum("i,ijk->jk", shares, [fit.inverse for fit in fits]),
    )


def _place_knots(ordered: Array, mass: Mass, count: int, apart: float) -> Array:
    """Knots with a density ∝ f^{1/2}, f from blocks of √n points; the outer ones lie beyond the sample.

    Between equal density (too few knots in a narrow core) and that of the points (too few in the tails).
    """
    blocks = round(math.sqrt(mass.effective_n))
    if mass.alike:
        edges = at_ranks(ordered, np.linspace(0, ordered.size - 1, blocks + 1))
    else:
        # What a row counts is spread from halfway to the one before it to halfway to the next.
        ends = np.concatenate([ordered[:1], (ordered[1:] + ordered[:-1]) / 2, ordered[-1:]])
        heights = np.concatenate([[0.0], np.cumsum(mass.share)])
        edges = np.interp(np.linspace(0, heights[-1], blocks + 1), heights, ends)
    # ∫ f^{1/2} dx over a block of width Δ is proportional to Δ^{1/2}.
    steps = np.sqrt(np.diff(edges))
    if apart:
        steps = np.minimum(steps * ((count - 1) / steps.sum()), np.diff(edges) / apart)
        count = max(LEAST_KNOTS, 1 + int(steps.sum()))
    total = np.concatenate([[0.0], np.cumsum(steps)])
    knots = np.interp(np.linspace(0, total[-1], count), total, edges)
    reach = 0.5 * (ordered[-1] - ordered[0]) / math.sqrt(mass.effective_n)
    knots[[0, -1]] = ordered[0] - reach, ordered[-1] + reach
    return knots


def _gather(x: Array, knots: Array, mass: Mass) -> tuple[Array, Cells]:
    """Replace many points by the means of narrow cells."""
    if x.size <= _EXACT:
        return x, Cells(np.ones(x.size, np.intp), mass.share, mass.unit)
    edges = np.interp(np.arange(_CELLS * (knots.size - 1) + 1) / _CELLS, np.arange(knots.size), knots)
    # The points in order fill the cells in order: bisection finds where each begins.
    starts = np.unique(np.searchsorted(x, edges, side="right"))
    starts = starts[starts < x.size]
    rows = np.diff(starts, append=x.size)
    if mass.alike:
        return np.add.reduceat(x, starts) / rows, Cells(rows, rows / x.size, np.full(rows.size, 1 / x.size))
    share = np.add.reduceat(mass.share, starts)
    unit = np.add.reduceat(mass.share * mass.unit, starts) / share
    return np.add.reduceat(mass.share * x, starts) / share, Cells(rows, share, unit)


def _quadrature(knots: Array) -> tuple[Array, Array]:
    """Gauss–Legendre nodes and weights in every knot interval."""
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    half = np.diff(knots)[:, None] / 2
    return (knots[:-1, None] + half * (1 + nodes)).ravel(), (half * weights).ravel()
