"""Gaussian kernel densities that leave each point out: log density, score field, likelihood bandwidth.

`PairKernels` sums over pairs in any dimension, with bandwidths that may adapt to the density; `LineKernels`
bins and transforms in one. Both mix in a background of mass 1/n, a Student t with ν = 4, which carries the
tails: where no kernel reaches, the score is the background's and nothing overflows. Where rows are weighted,
n is the effective number of observations; of a row that was seen c times, one observation is left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from infoplane.kernels.binning import BinnedSample
from infoplane.kernels.jit import over_rows
from infoplane.kernels.neighbors import Neighbors, kth_distances
from infoplane.kernels.pairs import VANISHED, log_sums, moments, scores, symmetric_sums
from infoplane.mass import Mass

Array = NDArray[np.float64]
Rows = NDArray[np.intp]

TAIL_FREEDOM = 4.0
_LOG_2PI = math.log(2 * math.pi)
_NOWHERE = np.intp(-1)
# Rows among which neighbours are looked for if at least twice as many are given, and which of them at least.
_REFERENCE_ROWS, _LEAST_NEIGHBORS = 25_000, 10
# Bands of rows among which sums over unordered pairs are shared out.
_BANDS = 32
_EMPTY = -1e300
# Rounding of a transform leaves noise where no kernel reaches, in units of the highest kernel; below this
# the background rules.
_NOISE = 1e-9
# Least bandwidth of rounded data in units of their step: the lattice shows by 2 exp(−2π²·0.6²) = 0.2 %.
_STEPS = 0.6
# How often the line is binned again, each time six times as fine, for data in distant narrow clusters.
_REFINEMENTS = 5
# Nats by which a refinement must raise the log-likelihood of the whole sample.
_WORTH_REFINING = 10.0
# Where the search for a bandwidth starts, relative to the reference.
_LOWEST = 0.35


class ScoreField(NamedTuple):
    """An estimated score field at some points.

    Attributes
    ----------
    score : ndarray of shape (m, d)
        s = ∇ log f̂.
    jacobian : ndarray of shape (m, d, d)
        ∇s.
    variance : ndarray of shape (d, d)
        Sampling covariance of s, averaged over the points.
    """

    score: Array
    jacobian: Array
    variance: Array

    def in_units_of(self, scale: float) -> ScoreField:
        """Convert a field over x/scale to one over x."""
        return ScoreField(self.score / scale, self.jacobian / scale**2, self.variance / scale**2)


class PairKernels:
    """Kernels at the rows of `z` with bandwidths h·b_j; b_j = 1, or (r_k(j)/geometric mean)^power.

    r_k(j) is the distance to the k-th neighbour, k = max(√n, 2d). A point i that is one of j's k neighbours
    has helped to choose b_j; leaving i out then uses the distance to the (k+1)-th, so that no trace of i is
    left. Skipping this inflates the Fisher information by 35 % at d = 2, n = 1000. From 50,000 rows on
    neighbours are those in a thinned sample of 25,000 or more.

    Parameters
    ----------
    z : ndarray of shape (n, d)
        Whitened sample, distinct rows.
    power : float, default 0
        Exponent of the adaptation; 0 keeps the bandwidths equal.
    mass : Mass, optional
        What each row counts; by default all count alike.
    rounding : float, default 0
        Step of the lattice on which the rows lie, of which the likelihood must not see the gaps.
    """

    def __init__(
        self, z: Array, power: float = 0.0, *, mass: Mass | None = None, rounding: float = 0.0
    ) -> None:
        n, d = z.shape
        self._z = z
        self._mass = mass or Mass.equal(n)
        self._sources = np.ascontiguousarray(z.T)
        log_share = np.log(self._mass.share)
        self._single = self._mass.unit / self._mass.share
        with np.errstate(divide="ignore"):
            self._kept = np.maximum(np.log1p(-self._single), _EMPTY)
        self._least = _STEPS * rounding
        self._equal = power == 0.0
        if power == 0.0:
            self._precision = self._precision_loo = np.ones(n)
            self._offset = self._offset_loo = log_share
            self._reach = np.full(n, -1.0)
            return
        k = min(max(round(math.sqrt(n)), 2 * d), n - 2)
        distances = np.ascontiguousarray(_distances(z, k).T)
        log_b = power * np.log(distances)
        log_b -= log_b[0].mean()
        self._precision, self._precision_loo = np.exp(-2 * log_b)
        self._offset, self._offset_loo = log_share - d * log_b
        self._least /= math.exp(log_b.min())
        # The margin covers the rounding of a distance that was squared again.
        self._reach = distances[0] ** 2 * (1 + 1e-9)

    def log_density(self, targets: Array, own: Rows | None, bandwidths: Array) -> Array:
        """Log density at the targets for each bandwidth h, background included.

        Parameters
        ----------
        targets : ndarray of shape (m, d)
            Where.
        own : ndarray of shape (m,) or None
            The row of each target in the sample, to be left out; None for other points.
        bandwidths : ndarray of shape (q,)
            The h.

        Returns
        -------
        ndarray of shape (m, q)
            log f̂.
        """
        d = self._z.shape[1]
        if self._equal and own is not None and 2 * len(own) > len(self._z):
            sums = np.column_stack([self._symmetric_log_sums(h)[own] for h in bandwidths])
        else:
            sums = self._log_sums(targets, own, bandwidths)
        sums -= self._log_norm(own)[:, None] + d * np.log(bandwidths)
        n = self._mass.effective_n
        return np.logaddexp(math.log1p(-1 / n) + sums, student_background(targets)[0][:, None] - math.log(n))

    def _log_sums(self, targets: Array, own: Rows | None, bandwidths: Array) -> Array:
        m = len(targets)
        sums = np.empty((m, bandwidths.size))
        rows = np.full(m, _NOWHERE) if own is None else own
        over_rows(
            log_sums, m, targets, rows, self._sources, self._precision, self._offset,
            self._precision_loo, self._offset_loo, self._reach_of(own), self._kept, bandwidths**-2.0, sums,
        )  # fmt: skip
        return sums

    def _symmetric_log_sums(self, h: float) -> Array:
        """Leave-one-out sums at all rows, each pair taken once: for equal bandwidths."""
        parts, mass = np.zeros((_BANDS, len(self._z))), np.exp(self._offset - self._offset.max())
        over_rows(symmetric_sums, _BANDS, self._z, self._sources, mass, h**-2.0, parts, grain=1)
        sums = parts.sum(axis=0) + mass * np.exp(self._kept)
        lost = np.flatnonzero(sums < VANISHED)
        sums = self._offset.max() + np.log(np.maximum(sums, VANISHED))
        if lost.size:
            sums[lost] = self._log_sums(self._z[lost], lost, np.array([h]))[:, 0]
        return sums

    def score(self, targets: Array, own: Rows | None, h: float) -> tuple[Array, Array]:
        """Score and its divergence at the targets.

        Parameters
        ----------
        targets : ndarray of shape (m, d)
            Where.
        own : ndarray of shape (m,) or None
            The row of each target in the sample, to be left out; None for other points.
        h : float
            Bandwidth.

        Returns
        -------
        score : ndarray of shape (m, d)
            ∇ log f̂.
        divergence : ndarray of shape (m,)
            Its divergence.
        """
        d, m = self._z.shape[1], len(targets)
        log_sum, score, divergence = np.empty(m), np.empty((m, d)), np.empty(m)
        self._differentiate(scores, targets, own, h, (), (log_sum, score, divergence))
        log_kernel = log_sum - self._log_norm(own) - d * math.log(h)
        log_base, base, base_jacobian = student_background(targets)
        p = _kernel_share(log_kernel, log_base, self._mass.effective_n)
        score, divergence = score / h, divergence / h**2
        # The divergence of a mixture's score: that of each part and its length, less the length of the whole.
        mixed = p[:, None] * score + (1 - p)[:, None] * base
        bend = p * (divergence + np.square(score).sum(axis=1))
        bend += (1 - p) * (np.einsum("maa->m", base_jacobian) + np.square(base).sum(axis=1))
        return mixed, bend - np.square(mixed).sum(axis=1)

    def field(self, targets: Array, own: Rows | None, h: float) -> ScoreField:
        """Score, its Jacobian and its sampling variance at the targets.

        Parameters
        ----------
        targets : ndarray of shape (m, d)
            Where.
        own : ndarray of shape (m,) or None
            The row of each target in the sample, to be left out; None for other points.
        h : float
            Bandwidth.
        """
        d, m = self._z.shape[1], len(targets)
        log_sum, score = np.empty(m), np.empty((m, d))
        jacobian, variance = np.empty((m, d, d)), np.empty((m, d, d))
        counts = self._single, bool(self._single.min() < 1.0)
        self._differentiate(moments, targets, own, h, counts, (log_sum, score, jacobian, variance))
        score /= h
        jacobian /= h**2
        variance /= h**2
        log_kernel = log_sum - self._log_norm(own) - d * math.log(h)
        return with_background(
            targets, log_kernel, score, jacobian, variance, self._mass.effective_n,
            weights=None if own is None else self._mass.share[own],
        )  # fmt: skip

    def _differentiate(
        self, kernel: Callable[..., None], targets: Array, own: Rows | None, h: float,
        counts: tuple[Any, ...], out: tuple[Array, ...],
    ) -> None:  # fmt: skip
        """Log kernel sums and derivatives, once more where no kernel reaches at the common shift."""
        m = len(targets)
        rows = np.full(m, _NOWHERE) if own is None else own
        # The kernel works at unit bandwidth: lengths are divided by h, derivatives with them.
        given = (
            self._sources / h, self._precision, self._offset, self._precision_loo, self._offset_loo,
            self._reach_of(own) / h**2, self._kept, *counts,
        )  # fmt: skip
        top = self._offset.max() if own is None else max(self._offset.max(), self._offset_loo.max())
        over_rows(kernel, m, targets / h, rows, *given, np.full(m, top), *out)
        lost = np.flatnonzero(np.isneginf(out[0]))
        if lost.size:
            shift = self._log_sums(targets[lost], None if own is None else own[lost], np.array([h]))[:, 0]
            found = tuple(array[lost] for array in out)
            over_rows(kernel, lost.size, targets[lost] / h, rows[lost], *given, shift, *found)
            for array, values in zip(out, found, strict=True):
                array[lost] = values

    def likelihood_bandwidth(self, rows: Rows, start: float) -> float:
        """The h that maximises the leave-one-out likelihood at some rows of the sample.

        Parameters
        ----------
        rows : ndarray of shape (m,)
            At which rows; a few hundred are enough.
        start : float
            A reference bandwidth to search around.
        """
        targets, share = self._z[rows], self._mass.share[rows] / self._mass.share[rows].sum()
        # Below the step of rounded data the likelihood grows without bound.
        start = max(start, self._least / _LOWEST)
        return best_bandwidth(
            lambda hs: share @ self.log_density(targets, rows, hs), start, floor=self._least
        )

    def _reach_of(self, own: Rows | None) -> Array:
        # Points from elsewhere have helped to choose no bandwidth.
        return np.full(len(self._z), -1.0) if own is None else self._reach

    def _log_norm(self, own: Rows | None) -> Array:
        others = np.zeros(1) if own is None else np.log1p(-self._mass.unit[own])
        return others + 0.5 * self._z.shape[1] * _LOG_2PI


class LineKernels:
    """Equal kernels in one dimension, binned finely enough that no bandwidth of interest notices.

    Lengths are in units of a robust scale, the smaller of the standard deviation and the interquartile
    range over 1.349, so that a few outliers do not stretch the kernels.

    Parameters
    ----------
    z : ndarray of shape (n,)
        Sample with unit variance.
    bandwidth : float, optional
        A bandwidth in those units; by default the one that maximises the leave-one-out likelihood, times
        `widening`.
    widening : float, default 1
        Factor on the likelihood bandwidth.
    mass : Mass, optional
        What each point counts; by default all count alike.
    rounding : float, default 0
        Step of the lattice on which the points lie, of which the likelihood must not see the gaps.
    """

    def __init__(
        self,
        z: Array,
        bandwidth: float | None = None,
        *,
        widening: float = 1.0,
        mass: Mass | None = None,
        rounding: float = 0.0,
    ) -> None:
        self._mass = mass or Mass.equal(z.size)
        n = self._mass.effective_n
        quartiles = self._mass.quantiles(z, np.array([0.25, 0.5, 0.75]))
        self.center = float(quartiles[1])
        self.scale = min(1.0, float(quartiles[2] - quartiles[0]) / 1.349)
        self._t = (z - self.center) / self.scale
        self._step = rounding / self.scale
        if bandwidth is not None:
            self.bandwidth = bandwidth
            self._binned = self._bin(bandwidth, bandwidth)
            return
        start = (4 / (5 * n)) ** (1 / 7)
        # In a small sample a few close points can draw the likelihood to a bandwidth of their distance.
        low = 0.25 if n >= 500 else 0.5
        # Below the step of rounded data the likelihood grows without bound.
        least = _STEPS * self._step
        start = max(start, least / low)
        self._binned, best, likelihood = self._search(start, low)
        # At the floor the data may be finer than their overall scale tells, as in distant narrow clusters:
        # the likelihood then rises at most points. A little it rises wherever a few happen to lie close.
        for _ in range(_REFINEMENTS):
            if best > 1.2 * low * start or low * start / 6 < least:
                break
            start /= 6
            binned, finer, reached = self._search(start, low)
            if n * (reached - likelihood) < _WORTH_REFINING:
                break
            self._binned, best, likelihood = binned, finer, reached
        self.bandwidth = widening * best

    def _search(self, start: float, low: float) -> tuple[BinnedSample, float, float]:
        """Bins fine enough about a reference bandwidth, the best bandwidth there and its mean likelihood."""
        binned = self._bin(low * start, 3.2 * start)
        best = best_bandwidth(
            lambda hs: self._likelihood(binned, hs), start, low=low, high=2.0, floor=low * start
        )
        return binned, best, float(self._likelihood(binned, np.array([best]))[0])

    def _bin(self, narrowest: float, widest: float) -> BinnedSample:
        # Beyond 16 h a kernel is below exp(-128), less than the background at any distance of interest.
        spacing = min(0.005, narrowest / 8)
        if self._step > 0:
            # A whole number of bins a step of rounded data: else some steps are a bin longer than others, and
            # kernels not much wider than a step take that for waves of the density.
            spacing = self._step / math.ceil(self._step / spacing)
        return BinnedSample(self._t, spacing, reach=16 * widest, weights=self._mass.share)

    def _observed(self, binned: BinnedSample) -> tuple[Array, Array, slice | Rows]:
        """What to leave out how often, and the bin to find it in: the same in all of a bin, or row by row."""
        if self._mass.equal_units:
            return self._mass.unit[:1], binned.counts, slice(None)
        return self._mass.unit, self._mass.share, binned.inverse

    def _likelihood(self, binned: BinnedSample, bandwidths: Array) -> Array:
        unit, share, at = self._observed(binned)
        n = self._mass.effective_n
        tails = np.exp(student_background(binned.values[:, None])[0])[at]
        means = []
        for h in bandwidths:
            peak = 1 / (h * math.sqrt(2 * math.pi))
            kernel = binned.kernel_sums(h)[0][at] - unit * peak
            kernel[kernel < _NOISE * peak / n] = 0.0
            means.append(share @ np.log((1 - 1 / n) * kernel / (1 - unit) + tails / n))
        return np.array(means)

    def own_field(self) -> ScoreField:
        """Leave-one-out score field at every point of the sample, in its order."""
        h, binned, n = self.bandwidth, self._binned, self._mass.effective_n
        unit, share, at = self._observed(binned)
        peak = 1 / (h * math.sqrt(2 * math.pi))
        total, first, second = (sums[at] for sums in binned.kernel_sums(h, (0, 1, 2)))
        w = total - unit * peak
        empty = w < _NOISE * peak / n
        w[empty] = peak / n
        score = first / w
        jacobian = (second + unit * peak / h**2) / w - score**2
        # K_h² is a narrower kernel, K_{h/√2} / (2h√π), and its derivatives give Σ w² u and Σ w² u².
        narrow = h / math.sqrt(2)
        narrow_peak = 1 / (narrow * math.sqrt(2 * math.pi))
        squares = self._mass.share * self._mass.unit
        ww, wwu, ww_second = (sums[at] for sums in binned.kernel_sums(narrow, (0, 1, 2), squares))
        ww = ww - unit**2 * narrow_peak
        wwu = wwu / 2
        wwuu = (ww_second + unit**2 * narrow_peak / narrow**2 + 2 / h**2 * ww) / 4
        variance = (wwuu - 2 * score * wwu + score**2 * ww) / (2 * h * math.sqrt(math.pi)) / w**2
        variance = np.clip(variance, 0.0, score**2 + 1 / h**2)
        log_kernel = np.where(empty, -np.inf, np.log(w)) - np.log1p(-unit)
        field = with_background(
            binned.values[at, None], log_kernel, score[:, None], jacobian[:, None, None],
            variance[:, None, None], n, weights=share,
        )  # fmt: skip
        rows = binned.inverse if self._mass.equal_units else slice(None)
        return ScoreField(field.score[rows], field.jacobian[rows], field.variance).in_units_of(self.scale)

    def field(self, targets: Array) -> ScoreField:
        """Score field at other points, by direct sums over the unbinned sample.

        Parameters
        ----------
        targets : ndarray of shape (m, 1)
            Where, in units of `z`.
        """
        pairs = PairKernels(self._t[:, None], mass=self._mass)
        shifted = np.ascontiguousarray((targets - self.center) / self.scale)
        return pairs.field(shifted, None, self.bandwidth).in_units_of(self.scale)


def best_bandwidth(
    likelihood: Callable[[Array], Array],
    start: float,
    *,
    low: float = _LOWEST,
    high: float = 1.6,
    floor: float = 0.0,
) -> float:
    """Maximise a likelihood over a geometric grid, widened while the best lies at its end, then by parabola.

    Parameters
    ----------
    likelihood : callable
        Mean log-likelihood of each of an array of bandwidths.
    start : float
        Centre of the grid.
    low, high : float
        Its ends, relative to `start`.
    floor : float, default 0
        The grid is not widened below this bandwidth.
    """
    step = 2.0**0.3
    count = math.ceil(math.log(high / low, step)) + 1
    grid = start * low * step ** np.arange(count)
    values = likelihood(grid)
    # A sample with far outliers is whitened to a narrow core, and wants far smaller bandwidths.
    while np.argmax(values) == 0 and grid[0] > max(step * floor, 1e-3 * start):
        more = grid[0] * step ** np.arange(-4, 0)
        more = more[more >= floor]
        grid, values = np.r_[more, grid], np.r_[likelihood(more), values]
    best = int(np.argmax(values))
    if best in (0, grid.size - 1):
        return float(grid[best])
    left, middle, right = values[best - 1 : best + 2]
    bend = left - 2 * middle + right
    shift = 0.5 * (left - right) / bend if bend < 0 else 0.0
    return float(grid[best] * step ** float(np.clip(shift, -1.0, 1.0)))


def _distances(z: Array, k: int) -> Array:
    """Distances of every row to the k-th and the (k+1)-th other one, of a large sample in a thinned one.

    Of n = 10⁶ rows the thousand nearest are not wanted one by one: the twentieth of every fiftieth row, along
    the radii, lies as far, and a tenth more or less in a bandwidth makes no difference.
    """
    n, d = z.shape
    step = n // _REFERENCE_ROWS
    if step < 2:
        return kth_distances(z, k, k + 1)
    thin = np.argsort(np.einsum("ij,ij->i", z, z), kind="stable")[::step]
    k = max(round(k / step), 2 * d, _LEAST_NEIGHBORS)
    neighbors, within = Neighbors(np.ascontiguousarray(z[thin])), np.zeros(n, dtype=bool)
    within[thin] = True
    found = np.empty((n, 2))
    for first in range(0, n, _REFERENCE_ROWS):
        rows = slice(first, first + _REFERENCE_ROWS)
        near = neighbors.query(z[rows], k + 2)[0]
        # Rows of the thinned sample are their own nearest ones.
        found[rows] = np.where(within[rows, None], near[:, k : k + 2], near[:, k - 1 : k + 1])
    return found


def student_background(z: Array) -> tuple[Array, Array, Array]:
    """Log density, score and Jacobian of the score of the standard multivariate t with ν = 4.

    Parameters
    ----------
    z : ndarray of shape (m, d)
        Where.
    """
    d = z.shape[1]
    q = TAIL_FREEDOM + np.einsum("ij,ij->i", z, z)
    constant = (
        gammaln((TAIL_FREEDOM + d) / 2)
        - gammaln(TAIL_FREEDOM / 2)
        - 0.5 * d * math.log(TAIL_FREEDOM * math.pi)
    )
    log_density = constant - 0.5 * (TAIL_FREEDOM + d) * np.log(q / TAIL_FREEDOM)
    score = -(TAIL_FREEDOM + d) * z / q[:, None]
    jacobian = 2 / (TAIL_FREEDOM + d) * np.einsum("ia,ib->iab", score, score)
    jacobian -= ((TAIL_FREEDOM + d) / q)[:, None, None] * np.eye(d)
    return log_density, score, jacobian


def _kernel_share(log_kernel: Array, log_base: Array, n: float) -> Array:
    """Posterior weight of the kernels beside the background."""
    odds = log_base - math.log(n) - math.log1p(-1 / n) - log_kernel
    share: Array = 1 / (1 + np.exp(np.minimum(odds, 700.0)))
    return share


def with_background(
    z: Array, log_kernel: Array, score: Array, jacobian: Array, variance: Array, n: float,
    weights: Array | None = None,
) -> ScoreField:  # fmt: skip
    """Mix the background into a kernel score field; the variance is averaged over the targets.

    For f = Σ p_c f_c with posterior weights p: s = Σ p s_c, ∇s + ssᵀ = Σ p (∇s_c + s_c s_cᵀ).

    Parameters
    ----------
    z : ndarray of shape (m, d)
        The targets.
    log_kernel : ndarray of shape (m,)
        Log density of the kernels.
    score : ndarray of shape (m, d)
        Its gradient.
    jacobian : ndarray of shape (m, d, d)
        The Jacobian of that.
    variance : ndarray of shape (m, d, d)
        The sampling covariance of the gradient.
    n : float
        Effective number of observations.
    weights : ndarray of shape (m,), optional
        Of the targets in the average of the variance.
    """
    log_base, base_score, base_jacobian = student_background(z)
    p = _kernel_share(log_kernel, log_base, n)
    mixed = p[:, None] * score + (1 - p)[:, None] * base_score
    outer = p[:, None, None] * (jacobian + score[:, :, None] * score[:, None, :])
    outer += (1 - p)[:, None, None] * (base_jacobian + base_score[:, :, None] * base_score[:, None, :])
    outer -= mixed[:, :, None] * mixed[:, None, :]
    mean_variance = np.average(p[:, None, None] ** 2 * variance, axis=0, weights=weights)
    return ScoreField(mixed, outer, mean_variance)
