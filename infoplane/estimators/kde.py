"""Kernel density estimates: leave-one-out entropy and the debiased Fisher functional."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from infoplane.estimators.base import (
    Array,
    EntropyFit,
    FisherFit,
    admissible,
    bound_terms,
    debiased,
    evenly,
    fisher_fit,
    least_rows,
)
from infoplane.estimators.grid_kernels import GridKernels
from infoplane.estimators.kernel_density import LineKernels, PairKernels, ScoreField
from infoplane.kernels.binning import GridTooLargeError
from infoplane.mass import Average
from infoplane.sample import Sample

_Number = TypeVar("_Number", float, Array)

# Points over which the likelihood that chooses a bandwidth is averaged.
_SELECTION_POINTS = 500
# Points that tell how many a tolerance takes, and how many times that, as their spread is not known exactly.
_PILOT_POINTS, _SAFETY = 1000, 1.2
# Factor on the likelihood bandwidth for the Fisher information, whose variance is known and taken away.
_WIDENING, _WIDENING_LINE = 1.3, 1.6
# Least bandwidth on a grid: in steps of a lattice on which rows lie, where it shows by 0.2 %; in cells, two
# of which are merged for Richardson's step.
_LATTICE_STEPS, _CELL_STEPS = 0.6, 5.0
# From this many rows on a grid is faster than sums over pairs, in one dimension and in two.
_GRID_ROWS = 5_000
_GRID_DIMENSIONS = 2


@dataclass(frozen=True)
class KDE:
    """Leave-one-out Gaussian kernel density estimates on whitened data, corrected for their own noise.

    Entropy: H = −mean log f̂₋ᵢ(x_i) with bandwidths h_j ∝ r_k(j)^{1/2}, r_k(j) the distance of x_j to its
    √n-th neighbour, and the scale that maximises the leave-one-out likelihood. In one dimension this is
    Abramson's square root law h_j ∝ f^{−1/2}; beyond, his law h_j ∝ r_k^{d/2} has the larger error.

    Fisher information: with the leave-one-out score ŝ, its Jacobian and its estimated sampling variance V̂,
    Rayleigh's form of the variational bound tr J ≥ −2E div v − E|v|² is
    J = B(S − V̂)⁻¹B, B = −mean ∇ŝ, S = mean ŝŝᵀ, exact for Gaussians at every bandwidth and raised to
    J ⪰ Σ̂⁻¹ (Cramér–Rao) where it falls below. One dimension is binned and transformed in O(n log n); from
    d = 3 the bandwidths adapt as for the entropy.

    From 5,000 rows on in one and two dimensions the kernels of both quantities are equal and summed on a grid
    of an eighth of their bandwidth, in O(n log n), at all n points; two grids and a Richardson step take the
    error of rounding away (2 to 12 % of a standard error are left; see `GridKernels`). H is then corrected
    for the variance of f̂, by half the mean of Var f̂/f̂². Samples with tails too far for a grid of 2²⁴ nodes
    (Cauchy in the plane) are left to sums over pairs.

    A Student t (ν = 4) of mass 1/n lies under the kernels and carries the tails.

    Weights enter into kernels, averages and V̂ (squared), and 1/Σ w_i² stands for n in the bandwidths. Of a
    row that was seen c times, c − 1 observations stay when one is left out; such rows are taken as rounded,
    and no bandwidth is chosen below 0.6 of their step, nor one for the score of dithered data.

    Parameters
    ----------
    bandwidth : float, optional
        In units of the whitened data (of the robust scale in one dimension); by default chosen by
        leave-one-out likelihood, widened for the Fisher information by 1.6 (d = 1) or 1.3.
    max_points : int, default 20000
        Points at which a pair sum is evaluated at most (evenly spread over the sample's radii); all n are
        always used as sources. A grid evaluates at all n.
    rtol : float, optional
        Relative standard error of the entropy power and of tr J that is enough. Pair sums are then evaluated
        at random points, instead of at `max_points`: a thousand first, which tell how many it takes, and at
        most all n (or 2·10⁷/d² for the Fisher information). The standard error counts that they are few.
    seed : int, default 0
        Of the choice of those points.

    Notes
    -----
    Pair sums cost O(m n d) and, with the Jacobian, O(m n d²) in O(n + m d²) memory; on a grid H and tr J of
    10⁶ points take about a second in one dimension and 5 s in two, in under 0.5 GB. Do not use it for
    entropy above d ≈ 4 or for Fisher information above d ≈ 10: the smoothing bias takes over. J is biased
    low where the density has kinks or edges (Laplace −13 %, gamma(3) −20 % at n = 10⁴) or tails as heavy as
    Cauchy's (−20 % at n = 10⁵), and on densities with J = ∞ (uniform, exponential) it returns a finite number
    that grows with n, without a warning. For those use `LogSpline`, which also warns where J is infinite.

    References
    ----------
    I. S. Abramson, Ann. Statist. 10 (1982) 1217–1223.
    A. J. Stam, Inf. Control 2 (1959) 101–112.
    P. K. Bhattacharya, Ann. Inst. Statist. Math. 19 (1967) 1–9.

    Examples
    --------
    >>> import numpy as np
    >>> from infoplane import KDE, fisher_trace
    >>> x = np.random.default_rng(0).standard_normal(2000)
    >>> abs(fisher_trace(x, method=KDE()) - 1) < 0.15
    True
    """

    bandwidth: float | None = None
    max_points: int = 20_000
    rtol: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("bandwidth", "rtol"):
            value = getattr(self, name)
            if not (value is None or isinstance(value, int | float | np.number)):
                raise TypeError(f"`{name}` must be a positive number, got {value!r}")
        if self.bandwidth is not None and not (math.isfinite(self.bandwidth) and self.bandwidth > 0):
            raise ValueError(f"`bandwidth` must be a positive number, got {self.bandwidth!r}")
        if self.max_points < 1:
            raise ValueError(f"`max_points` must be positive, got {self.max_points!r}")
        if self.rtol is not None and not (math.isfinite(self.rtol) and self.rtol > 0):
            raise ValueError(f"`rtol` must be a positive number, got {self.rtol!r}")

    @property
    def name(self) -> str:
        """What `Estimate.method` says."""
        return "kde"

    def entropy(self, sample: Sample) -> EntropyFit:
        """Differential entropy in nats.

        Parameters
        ----------
        sample : Sample
            At least max(5d, 20) distinct rows.
        """
        n, d = sample.mass.effective_n, sample.d
        self._check(sample)
        # Dithered rows have the density that they were given; repeated ones have none below their step.
        rounding = sample.rounding if sample.mass.has_repeats else 0.0
        reference = (4 / ((d + 2) * n)) ** (1 / (d + 4))
        if grids := self._grids(sample, reference, 1.0, rounding):
            return _grid_entropy(sample, grids)
        kernels = PairKernels(sample.whitened, power=0.5, mass=sample.mass, rounding=rounding)
        h = self.bandwidth or kernels.likelihood_bandwidth(_selection(sample), reference)

        def average(rows: NDArray[np.intp]) -> Average:
            log_density = kernels.log_density(sample.whitened[rows], rows, np.array([h]))[:, 0]
            return sample.mass.average(-log_density, rows)

        # N = exp(2H/d)/(2πe).
        enough = None if self.rtol is None else self._enough(sample, average, 0.5 * d * self.rtol)
        value, error, influence = average(self._points(sample, enough, sample.n))
        return EntropyFit(sample.log_volume + value, error, influence)

    def fisher(self, sample: Sample) -> FisherFit:
        """Fisher information matrix in original units.

        Parameters
        ----------
        sample : Sample
            At least max(5d, 20) distinct rows.
        """
        self._check(sample)
        rows, coarser = np.arange(sample.n), None
        if grids := self._score_grids(sample):
            field, coarser = (grid.own_field() for grid in grids)
        elif sample.d == 1:
            field = self._line(sample).own_field()
        else:
            rows, field = self._pair_field(sample, *self._pairs(sample))
        correction, whitened = _rayleigh(field, sample.mass.share[rows])
        if coarser is not None:
            whitened = _extrapolated(whitened, _rayleigh(coarser, sample.mass.share)[1])
        _, error, influence = _trace_average(sample, rows, field, correction)
        return fisher_fit(sample, sample.covariance_shrinkage * admissible(whitened), error, influence)

    def score(self, sample: Sample, points: Array | None) -> Array:
        """Score in original units, with the same linear correction as the Fisher information.

        Parameters
        ----------
        sample : Sample
            The data.
        points : ndarray of shape (m, d) or None
            Whitened points; None for the sample's own, each left out of the kernel sum at its place.
        """
        self._check(sample)
        rows = np.arange(sample.n)
        if grids := self._score_grids(sample):
            own = grids[0].own_field()
            score = own.score
            if points is not None:
                pairs = PairKernels(sample.whitened, mass=sample.mass)
                score = pairs.score(points, None, grids[0].bandwidth)[0]
        elif sample.d == 1:
            line = self._line(sample)
            own = line.own_field()
            score = own.score if points is None else line.field(points).score
        else:
            kernels, h = self._pairs(sample)
            rows, own = self._pair_field(sample, kernels, h)
            if points is not None:
                score = kernels.score(points, None, h)[0]
            elif rows.size == sample.n:
                score = own.score[np.argsort(rows)]
            else:
                score = kernels.score(sample.whitened, np.arange(sample.n), h)[0]
        return score @ _rayleigh(own, sample.mass.share[rows])[0].T @ sample.whitener.T

    def _check(self, sample: Sample) -> None:
        sample.require_rows(least_rows(sample.d), self.name)
        sample.require_distinct_rows(self.name, weights=True, counts=True, bears=sample.n)

    def _line(self, sample: Sample) -> LineKernels:
        return LineKernels(
            sample.whitened[:, 0],
            self.bandwidth,
            widening=_WIDENING_LINE,
            mass=sample.mass,
            rounding=sample.rounding,
        )

    def _pairs(self, sample: Sample) -> tuple[PairKernels, float]:
        n, d = sample.mass.effective_n, sample.d
        # Curved densities in the plane are better served by equal bandwidths.
        power = 0.0 if d == 2 else 0.5
        kernels = PairKernels(sample.whitened, power, mass=sample.mass, rounding=sample.rounding)
        if self.bandwidth is not None:
            return kernels, self.bandwidth
        reference = _score_reference(n, d)
        return kernels, _WIDENING * kernels.likelihood_bandwidth(_selection(sample), reference)

    def _score_grids(self, sample: Sample) -> tuple[GridKernels, GridKernels] | None:
        # A line has kernels of its own, whose bins would beat with cells.
        if sample.d == 1 and sample.cells is None:
            return None
        reference = _score_reference(sample.mass.effective_n, sample.d)
        widening = _WIDENING_LINE if sample.d == 1 else _WIDENING
        return self._grids(sample, reference, widening, sample.rounding)

    def _grids(
        self, sample: Sample, reference: float, widening: float, rounding: float
    ) -> tuple[GridKernels, GridKernels] | None:
        """Kernels on a grid and on one half as fine, where there are enough rows for it and it holds them."""
        if sample.d > _GRID_DIMENSIONS or sample.n < _GRID_ROWS:
            return None
        z = sample.whitened
        least = rounding * (_LATTICE_STEPS if sample.cells is None else _CELL_STEPS)
        make = partial(GridKernels, z, reference=reference, mass=sample.mass, lattice=sample.lattice)
        try:
            fine = make(self.bandwidth, widening=widening, least=least)
            return fine, make(fine.bandwidth, coarseness=2)
        except GridTooLargeError:
            return None

    def _pair_field(
        self, sample: Sample, kernels: PairKernels, h: float
    ) -> tuple[NDArray[np.intp], ScoreField]:
        """The score field at some or all rows, and which."""

        def average(rows: NDArray[np.intp]) -> Average:
            field = kernels.field(sample.whitened[rows], rows, h)
            return _trace_average(sample, rows, field, _rayleigh(field, sample.mass.share[rows])[0])

        enough = None if self.rtol is None else self._enough(sample, average, self.rtol, relative=True)
        # The Jacobians of all points are held at once, in at most 160 MB.
        rows = self._points(sample, enough, 20_000_000 // sample.d**2)
        return rows, kernels.field(sample.whitened[rows], rows, h)

    def _points(self, sample: Sample, enough: int | None, most: int) -> NDArray[np.intp]:
        """The rows at which a pair sum is evaluated."""
        if enough is None:
            return evenly(sample.radial_order, min(self.max_points, most))
        # From the radial order, so that they do not depend on the order or the coordinates of the rows.
        order = np.random.default_rng(self.seed).permutation(sample.n)[: min(enough, most)]
        return sample.radial_order[order]

    def _enough(
        self,
        sample: Sample,
        average: Callable[[NDArray[np.intp]], Average],
        tolerance: float,
        *,
        relative: bool = False,
    ) -> int:
        """Number of random points whose mean has a standard error of the tolerance, from that of a few."""
        few = min(_PILOT_POINTS, sample.n)
        value, error, _ = average(self._points(sample, few, sample.n))
        wanted = tolerance * abs(value) if relative else tolerance
        return min(max(few, math.ceil(_SAFETY * few * (error / wanted) ** 2)), sample.n)


def _trace_average(sample: Sample, rows: NDArray[np.intp], field: ScoreField, correction: Array) -> Average:
    """Mean of the terms of the trace at some rows, in the unit of the sample."""
    return sample.mass.average(bound_terms(field.score, field.jacobian, correction, sample.metric), rows)


def _score_reference(n: float, d: int) -> float:
    """Bandwidth for gradients of a normal density."""
    return float((4 / ((d + 4) * n)) ** (1 / (d + 6)))


def _grid_entropy(sample: Sample, grids: tuple[GridKernels, GridKernels]) -> EntropyFit:
    terms = []
    for grid in grids:
        log_density, variance = grid.own_log_density()
        terms.append(-log_density - variance / 2)
    value, error, influence = sample.mass.average(terms[0])
    value = _extrapolated(value, float(sample.mass.share @ terms[1]))
    return EntropyFit(sample.log_volume + value, error, influence)


def _extrapolated(fine: _Number, coarse: _Number) -> _Number:
    """Richardson's step, from two grids to one that is infinitely fine."""
    return (4 * fine - coarse) / 3


def _selection(sample: Sample) -> NDArray[np.intp]:
    # Unequal weights need more points for the same precision.
    unequal = max(1.0, sample.n / sample.mass.effective_n)
    return evenly(sample.radial_order, math.ceil(_SELECTION_POINTS * unequal))


def _rayleigh(field: ScoreField, share: Array) -> tuple[Array, Array]:
    """Best linear correction C of a score field, C = B(S − V̂)⁻¹, and the bound B(S − V̂)⁻¹B it attains."""
    share = share / share.sum()
    slope = -np.einsum("m,mij->ij", share, field.jacobian)
    second = debiased((field.score.T * share) @ field.score, field.variance)
    correction = np.linalg.solve(second, slope).T
    return correction, correction @ slope
