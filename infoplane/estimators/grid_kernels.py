"""Gaussian kernel densities of many points in one or two dimensions, by transforms on a grid."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from infoplane.estimators.kernel_density import (
    ScoreField,
    best_bandwidth,
    student_background,
    with_background,
)
from infoplane.kernels.binning import GridSample, GridTooLargeError
from infoplane.mass import Mass

Array = NDArray[np.float64]
Rows = NDArray[np.intp]

# Grid steps in a bandwidth: in the least one while it is searched for, and in the one that is used, where the
# later figures are for samples that reach too far for the first. At 2.5 a transform loses 4e-14 of the peak.
_STEPS_WHILE_SEARCHING, _STEPS_AT_LAST = 2.5, (8.0, 4.0, 2.5)
# Bandwidths beyond which a kernel is below the rounding of a transform.
_REACH = 8.0
# Below this share of one kernel's height, or of the highest sum, a sum is rounding noise: there the
# background rules.
_NOISE, _ROUNDING = 1e-9, 1e-12
# The search for a bandwidth, relative to the reference, where the second figure is for samples that reach too
# far; at its lower end it starts anew, so often, below.
_LOWEST, _LOWEST_OF_FAR, _HIGHEST = 0.35, 0.6, 2.0
_REFINEMENTS = 8
# Directions that are tried for the axes of a grid in the plane.
_ANGLES = 18


class LogDensities(NamedTuple):
    """Leave-one-out log densities at the rows of a sample.

    Attributes
    ----------
    value : ndarray of shape (n,)
        log f̂₋ᵢ(x_i).
    variance : ndarray of shape (n,)
        Sampling variance of f̂ over f̂², which lowers the mean of log f̂ by half of it.
    """

    value: Array
    variance: Array


class GridKernels:
    """Equal kernels at the rows of `z`, binned; the statistics of `PairKernels` in O(n log n).

    Rows are rounded to a grid of step δ = h/8, to h/2.5 at worst if they reach far. Rounding acts like noise
    of variance δ²/12 along each axis: a statistic T differs from that of the sample by c δ² + O(δ⁴) and by a
    random part of mean zero. With `coarseness=2`, rounded to 2δ, the former is four times as large, and
    Richardson's (4 T₁ − T₂)/3 is without it. At h/8 what is left was 2 to 12 % of a standard error, for H and
    J. As kernels are round, the grid may lie along any axes: those on which the sample takes least room.

    Rows that lie on a lattice, as centres of cells, would beat with such a grid: theirs is the lattice, or
    one of 2^p times its step, and the error that of merging cells.

    Parameters
    ----------
    z : ndarray of shape (n, d)
        Whitened sample, d ≤ 2.
    bandwidth : float, optional
        h; by default the one that maximises the leave-one-out likelihood, times `widening`.
    reference : float
        A bandwidth to search around.
    widening : float, default 1
        Factor on the likelihood bandwidth.
    mass : Mass, optional
        What each row counts; by default all count alike.
    least : float, default 0
        Least bandwidth that the likelihood may choose.
    coarseness : int, default 1
        1, or 2 for Richardson's step.
    lattice : ndarray of shape (d, d), optional
        Steps of the lattice on which all rows lie, one a row.

    Raises
    ------
    GridTooLargeError
        If rows reach too far for a grid.
    """

    def __init__(
        self,
        z: Array,
        bandwidth: float | None = None,
        *,
        reference: float,
        widening: float = 1.0,
        mass: Mass | None = None,
        least: float = 0.0,
        coarseness: int = 1,
        lattice: Array | None = None,
    ) -> None:
        self._z, self._mass = z, mass or Mass.equal(len(z))
        self._lattice = lattice
        self._axes = _compact_axes(z) if lattice is None else lattice
        self.bandwidth = bandwidth or widening * self._likelihood_bandwidth(reference, least)
        self._grid = self._finest(coarseness)

    def own_log_density(self) -> LogDensities:
        """Leave-one-out log density at every row, in order, background included."""
        unit, _, at = self._observed(self._grid)
        d, n, h = self._z.shape[1], self._mass.effective_n, self.bandwidth
        kernels = self._left_out(self._grid, h)
        mixed = self._mixed(self._grid, kernels, unit, n)
        narrow, height = h / math.sqrt(2), (4 * math.pi * h**2) ** (-d / 2)
        squares = (
            height * self._grid.kernel_sums(narrow, (_no(d),), self._mass.share * self._mass.unit)[0][at]
        )
        squares -= (unit * height) * unit * _peak(narrow, d)
        # Σ w² is at most (Σ w)², and zero but for rounding where no kernel reaches.
        relative = np.clip(squares, 0.0, kernels**2) * ((1 - 1 / n) / (1 - unit) / mixed) ** 2
        rows = self._grid.inverse if self._mass.equal_units else slice(None)
        return LogDensities(np.log(mixed)[rows], relative[rows])

    def own_field(self) -> ScoreField:
        """Leave-one-out score field at every row, in order."""
        grid, h = self._grid, self.bandwidth
        unit, share, at = self._observed(grid)
        d, n = self._z.shape[1], self._mass.effective_n
        w, score, second = self._derivatives(h, None, unit, at)
        floor = self._noise(w, h)
        empty = w < floor
        w[empty] = floor
        score /= w[:, None]
        second /= w[:, None, None]
        spread = second + np.eye(d) / h**2 - score[:, :, None] * score[:, None, :]
        # K_h² is a narrower kernel, (4πh²)^{-d/2} K_{h/√2}, and its derivatives give Σ w² u and Σ w² u uᵀ.
        ww, wwu, wwuu = self._derivatives(h / math.sqrt(2), self._mass.share * self._mass.unit, unit**2, at)
        wwu /= 2
        wwuu = (wwuu + 2 / h**2 * ww[:, None, None] * np.eye(d)) / 4
        cross = score[:, :, None] * wwu[:, None, :]
        variance = wwuu - cross - cross.transpose(0, 2, 1)
        variance += ww[:, None, None] * (score[:, :, None] * score[:, None, :])
        variance *= ((4 * math.pi * h**2) ** (-d / 2) / w**2)[:, None, None]
        # As w² ≤ w Σw it is at most the spread of u over the kernels.
        most, found = (np.maximum(np.einsum("maa->m", m), 0.0) for m in (spread, variance))
        variance *= np.minimum(1.0, np.divide(most, found, out=np.zeros_like(found), where=found > 0))[
            :, None, None
        ]
        log_kernel = np.where(empty, -np.inf, np.log(w)) - np.log1p(-unit)
        field = with_background(
            grid.values[at], log_kernel, score, spread - np.eye(d) / h**2, variance, n, weights=share
        )
        rows = grid.inverse if self._mass.equal_units else slice(None)
        return ScoreField(field.score[rows], field.jacobian[rows], field.variance)

    def _derivatives(
        self, h: float, weights: Array | None, own: Array, at: slice | Rows
    ) -> tuple[Array, Array, Array]:
        """Kernel sum, gradient and Hessian where `_observed` says, less the own kernels of mass `own`."""
        d = self._z.shape[1]
        axes = np.eye(d, dtype=int)
        pairs = [(a, b) for a in range(d) for b in range(a + 1)]
        orders = [_no(d), *axes, *(axes[a] + axes[b] for a, b in pairs)]
        sums = self._grid.kernel_sums(h, tuple(tuple(map(int, order)) for order in orders), weights)
        value, rest = sums[0][at] - own * _peak(h, d), [s[at] for s in sums[1:]]
        second = np.empty((value.size, d, d))
        for (a, b), part in zip(pairs, rest[d:], strict=True):
            second[:, a, b] = second[:, b, a] = part + (own * _peak(h, d) / h**2 if a == b else 0.0)
        return value, np.column_stack(rest[:d]), second

    def _likelihood_bandwidth(self, start: float, least: float) -> float:
        # A few far rows stretch the units of whitened data; the core wants smaller bandwidths.
        quartiles = [self._mass.quantiles(column, np.array([0.25, 0.75])) for column in self._z.T]
        start *= min([1.0, *(float(high - low) / 1.349 for low, high in quartiles)])
        for _ in range(_REFINEMENTS):
            start = max(start, least / _LOWEST)
            grid, low = self._for_search(start)
            best = best_bandwidth(
                lambda hs, grid=grid: np.array([self._likelihood(grid, h) for h in hs]),  # type: ignore[misc]
                start, low=low / start, high=_HIGHEST, floor=low,
            )  # fmt: skip
            if best > 1.2 * low or low <= 1.001 * least:
                break
            start /= 4
        return best

    def _for_search(self, start: float) -> tuple[GridSample, float]:
        """A grid for bandwidths about a reference, and the least of them."""
        widest = 1.3 * _HIGHEST * start
        try:
            low = _LOWEST * start
            return self._binned(low / _STEPS_WHILE_SEARCHING, widest, 1), low
        except GridTooLargeError:
            low = _LOWEST_OF_FAR * start
            return self._binned(low / _STEPS_WHILE_SEARCHING, widest, 1), low

    def _finest(self, coarseness: int) -> GridSample:
        for steps in _STEPS_AT_LAST[:-1]:
            try:
                return self._binned(self.bandwidth / steps, self.bandwidth, coarseness)
            except GridTooLargeError:
                continue
        return self._binned(self.bandwidth / _STEPS_AT_LAST[-1], self.bandwidth, coarseness)

    def _binned(self, step: float, widest: float, coarseness: int) -> GridSample:
        options = {"reach": _REACH * widest, "weights": self._mass.share, "axes": self._axes}
        if self._lattice is None:
            return GridSample(self._z, step, coarseness=coarseness, **options)  # type: ignore[arg-type]
        # The largest power of two of cells that is no wider than the step; cells themselves at least.
        cells = 2.0 ** max(math.floor(math.log2(step / np.linalg.norm(self._axes, axis=1).max())), 0)
        cells *= coarseness
        # Nodes lie in the middle of the cells that are merged.
        return GridSample(self._z, cells, origin=(cells - 1) / 2, **options)  # type: ignore[arg-type]

    def _observed(self, grid: GridSample) -> tuple[Array, Array, slice | Rows]:
        """What to leave out how often, and the node to find it at: the same in a node, or row by row."""
        if self._mass.equal_units:
            return self._mass.unit[:1], grid.counts, slice(None)
        return self._mass.unit, self._mass.share, grid.inverse

    def _likelihood(self, grid: GridSample, h: float) -> float:
        unit, share, _ = self._observed(grid)
        n = self._mass.effective_n
        return float(share @ np.log(self._mixed(grid, self._left_out(grid, h), unit, n)))

    def _left_out(self, grid: GridSample, h: float) -> Array:
        """Kernel sums without the own observation, 0 where they are rounding noise."""
        unit, _, at = self._observed(grid)
        d = self._z.shape[1]
        kernels = grid.kernel_sums(h, (_no(d),))[0][at] - unit * _peak(h, d)
        kernels[kernels < self._noise(kernels, h)] = 0.0
        return kernels

    def _noise(self, kernels: Array, h: float) -> float:
        one = _peak(h, self._z.shape[1]) / self._mass.effective_n
        return max(_NOISE * one, _ROUNDING * float(kernels.max()))

    def _mixed(self, grid: GridSample, kernels: Array, unit: Array, n: float) -> Array:
        tails = np.exp(student_background(grid.values)[0])[self._observed(grid)[2]]
        mixed: Array = (1 - 1 / n) * kernels / (1 - unit) + tails / n
        return mixed


def _compact_axes(z: Array) -> Array:
    """Orthonormal axes, as rows, along which the sample fits into a small box."""
    if z.shape[1] == 1:
        return np.eye(1)
    best, least = np.eye(2), math.inf
    for angle in np.linspace(0, math.pi / 2, _ANGLES, endpoint=False):
        axes = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        area = float(np.prod(np.ptp(z @ axes.T, axis=0)))
        if area < least:
            best, least = axes, area
    return best


def _no(d: int) -> tuple[int, ...]:
    """The order of no derivative."""
    return (0,) * d


def _peak(h: float, d: int) -> float:
    """Height of the normal density of width h."""
    return (2 * math.pi * h**2) ** (-d / 2)
