"""Kernel sums on a line through binning and the fast Fourier transform, O(n + G log G)."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import fft

Array = NDArray[np.float64]


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
