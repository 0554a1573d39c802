"""Kernel sums on a line or a plane through binning and the fast Fourier transform, O(n log n + G log G)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from infoplane.kernels.jit import get_num_threads

Array = NDArray[np.float64]

# Nodes of a `GridSample`: its transforms then take half a gigabyte.
_MOST_NODES = 2**24


class GridTooLargeError(Exception):
    """The sample reaches so far, in units of its bandwidths, that a grid is no way to sum over it."""


class BinnedSample:
    """A sample rounded to a grid, whose kernel sums and derivatives are read off at the occupied bins.

    Rounding to the nearest bin (instead of sharing a point between two) makes leave-one-out sums exact
    for the rounded data. Empty stretches longer than `reach` are shortened to `reach`: kernels do not
    see across them, so one far outlier costs no memory.

    Parameters
    ----------
    x : ndarray of shape (n,)
        The sample.
    spacing : float
        Grid step; the rounding acts as extra noise of variance spacing²/12.
    reach : float
        Distance beyond which every kernel that will be used is zero to rounding.
    weights : ndarray of shape (n,), optional
        What each point counts, 1 by default.
    """

    def __init__(self, x: Array, spacing: float, reach: float, weights: Array | None = None) -> None:
        gap = math.ceil(reach / spacing)
        # Far outliers may lie more bins away than an integer holds; they are as good as `gap` away.
        ordered, inverse = np.unique(np.rint((x - x.min()) / spacing), return_inverse=True)
        steps = np.minimum(np.diff(ordered), gap).astype(np.int64)
        self.cell = gap + np.concatenate([[0], np.cumsum(steps)])
        self.inverse = inverse
        self.values = x.min() + spacing * ordered
        self.counts = np.bincount(inverse, weights).astype(float)
        self.n = x.size
        self.spacing = spacing
        self._size = int(fft.next_fast_len(int(self.cell[-1]) + gap + 1, real=True))
        self._transform = self._transformed(self.counts)
        self._frequency = 2 * np.pi * fft.rfftfreq(self._size, spacing)

    def kernel_sums(
        self, h: float, orders: tuple[int, ...] = (0,), weights: Array | None = None
    ) -> list[Array]:
        """Σ_j w_j K_h^{(r)}(x − x_j) at the occupied bins, K_h the normal density with standard deviation h.

        Parameters
        ----------
        h : float
            Bandwidth, at least two grid steps.
        orders : tuple of int, default (0,)
            Which derivatives r with respect to x.
        weights : ndarray of shape (n,), optional
            Other weights of the points than the sample's own.

        Returns
        -------
        list of ndarray of shape (bins,)
            One array an order, self terms included.
        """
        grid = self._transform
        if weights is not None:
            grid = self._transformed(np.bincount(self.inverse, weights).astype(float))
        smooth = grid * np.exp(-0.5 * (self._frequency * h) ** 2) / self.spacing
        return [fft.irfft(smooth * (1j * self._frequency) ** r, self._size)[self.cell] for r in orders]

    def _transformed(self, masses: Array) -> NDArray[np.complex128]:
        grid = np.zeros(self._size)
        grid[self.cell] = masses
        return np.asarray(fft.rfft(grid))


class GridSample:
    """A sample on a line or a plane, rounded to a grid; kernel sums are read off at the occupied nodes.

    As `BinnedSample` it rounds to the nearest node, so that leave-one-out sums are exact for the rounded
    data, and shortens empty stretches, here of each axis, to `reach`.

    Parameters
    ----------
    x : ndarray of shape (n, d)
        The sample, d ≤ 2.
    spacing : float
        Step of the grid, in units of its axes.
    reach : float
        Distance beyond which every kernel that will be used is zero to rounding.
    weights : ndarray of shape (n,), optional
        What each point counts, 1 by default.
    coarseness : int, default 1
        Points are rounded to every so many-th node: as if on a coarser grid, but with kernels sampled as
        finely. Rounding acts as extra noise of variance (coarseness·spacing)²/12 along each axis.
    axes : ndarray of shape (d, d), optional
        Axes of the grid, one a row, of any lengths and angles; by default those of the coordinates.
    origin : float, default 0
        How far beyond the first point along each axis a node lies, in units of the axes.

    Raises
    ------
    GridTooLargeError
        If the sample needs more than 2²⁴ nodes.
    """

    def __init__(
        self,
        x: Array,
        spacing: float,
        reach: float,
        weights: Array | None = None,
        *,
        coarseness: int = 1,
        axes: Array | None = None,
        origin: float = 0.0,
    ) -> None:
        axes = np.eye(x.shape[1]) if axes is None else axes
        self._inverse_axes = np.linalg.inv(axes)
        y = x @ self._inverse_axes
        low = y.min(axis=0) + origin
        # A step in y_b changes x by at least this much times its length, whatever the other coordinate does.
        gaps = np.ceil(reach / spacing * np.linalg.norm(self._inverse_axes, axis=0)).astype(int)
        places, nodes, shape = [], [], []
        for column, gap in zip(np.rint((y - low) / (coarseness * spacing)).T, gaps, strict=True):
            distinct, inverse = _distinct(column)
            # Far outliers may lie more nodes away than an integer holds; they are as good as `gap` away.
            ordered = coarseness * distinct
            node = np.concatenate([[0.0], np.cumsum(np.minimum(np.diff(ordered), gap))])
            # A transform is periodic: its ends must be out of reach of each other.
            shape.append(int(fft.next_fast_len(int(node[-1]) + gap + 1, real=True)))
            if math.prod(shape) > _MOST_NODES:
                raise GridTooLargeError
            place = np.zeros(shape[-1])
            place[node.astype(np.int64)] = ordered
            places.append(place)
            nodes.append(node.astype(np.int64)[inverse])
        at = np.ravel_multi_index(nodes, shape)
        self._node, self.inverse = _distinct(at)
        where = np.unravel_index(self._node, shape)
        steps = np.column_stack([p[i] for p, i in zip(places, where, strict=True)])
        self.values = (low + spacing * steps) @ axes
        self.counts = np.bincount(self.inverse, weights).astype(float)
        self.spacing = spacing
        self._shape = tuple(shape)
        self._transform = self._transformed(self.counts)

    def kernel_sums(
        self, h: float, orders: tuple[tuple[int, ...], ...], weights: Array | None = None
    ) -> list[Array]:
        """Derivatives of Σ_j w_j K_h(x − x_j) at the occupied nodes, K_h the round normal density of width h.

        Parameters
        ----------
        h : float
            Bandwidth, at least two grid steps.
        orders : tuple of tuple of int
            Which: how often with respect to each coordinate.
        weights : ndarray of shape (n,), optional
            Other weights of the points than the sample's own.

        Returns
        -------
        list of ndarray of shape (nodes,)
            One array an order, self terms included.
        """
        grid = self._transform
        if weights is not None:
            grid = self._transformed(np.bincount(self.inverse, weights).astype(float))
        along = [2 * np.pi * fft.fftfreq(size, self.spacing) for size in self._shape]
        along[-1] = 2 * np.pi * fft.rfftfreq(self._shape[-1], self.spacing)
        open_grid = np.meshgrid(*along, indexing="ij", sparse=True)
        # Derivatives along the coordinates are sums of those along the axes.
        frequencies = [
            sum(np.asarray(c * w) for c, w in zip(row, open_grid, strict=True) if c)
            for row in self._inverse_axes
        ]
        volume = self.spacing ** len(along) / abs(np.linalg.det(self._inverse_axes))
        smooth = grid * np.exp(sum(-0.5 * np.square(h * w) for w in frequencies)) / volume
        sums = []
        for order in orders:
            product = smooth.copy()
            for w, r in zip(frequencies, order, strict=True):
                if r:
                    product *= (1j * w) ** r
            field = fft.irfftn(product, self._shape, overwrite_x=True, workers=get_num_threads())
            sums.append(field.ravel()[self._node])
        return sums

    def _transformed(self, masses: Array) -> NDArray[np.complex128]:
        grid = np.zeros(math.prod(self._shape))
        grid[self._node] = masses
        return np.asarray(fft.rfftn(grid.reshape(self._shape), workers=get_num_threads()))


def _distinct(numbers: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.intp]]:
    """Distinct whole numbers from 0 on, ascending, and the place of each number among them."""
    if numbers.max() >= _MOST_NODES:
        return np.unique(numbers, return_inverse=True)
    # Marks on a line of nodes take a tenth of the time of sorting.
    whole = numbers.astype(np.intp)
    present = np.zeros(int(whole.max()) + 1, dtype=bool)
    present[whole] = True
    place = np.cumsum(present) - 1
    return np.flatnonzero(present).astype(numbers.dtype), place[whole]
