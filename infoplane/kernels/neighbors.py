"""Distances to nearest neighbours: two pointers on the line, a k-d tree, or tiled brute force."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from infoplane.kernels.jit import kernel, over_rows

Array = NDArray[np.float64]

# Above this dimension a k-d tree visits nearly every leaf and brute force is faster.
_TREE_DIMENSIONS = 12
_TILE = 256


@kernel
def _line_distances(start, stop, ordered, order, k, out):
    """Distance from each of the sorted points to its k-th other one: the window of k + 1 slides along."""
    n = ordered.size
    low = max(0, min(start - k, n - k - 1))
    for i in range(start, stop):
        while low + k + 1 < n and (
            low + k < i or ordered[low + k + 1] - ordered[i] < ordered[i] - ordered[low]
        ):
            low += 1
        out[order[i]] = max(ordered[i] - ordered[low], ordered[low + k] - ordered[i])


@kernel
def line_shifts(start, stop, targets, ordered, sums, squares, k, leave_out, mean, variance, radius):
    """Mean and variance of the k − 1 points inside of the distance to the k-th neighbour, and this radius.

    The neighbours of a point on the line are a window of the sorted sample; `sums` and `squares` are the
    running sums of x and x², n + 1 each, so that a window of any length costs the same.
    """
    n = ordered.size
    window = k + 1 if leave_out else k
    for i in range(start, stop):
        t = targets[i]
        low, high = 0, n - window
        while low < high:
            middle = (low + high) // 2
            if t - ordered[middle] > ordered[middle + window] - t:
                low = middle + 1
            else:
                high = middle
        first, last = ordered[low], ordered[low + window - 1]
        farthest = first if t - first > last - t else last
        total = sums[low + window] - sums[low] - farthest
        square = squares[low + window] - squares[low] - farthest * farthest
        if leave_out:
            total -= t
            square -= t * t
        average = total / (k - 1)
        mean[i] = average - t
        variance[i] = max(square / (k - 1) - average * average, 0.0)
        radius[i] = abs(farthest - t)


@kernel
def _brute_force(start, stop, targets, sources, k, distances, indices):
    """The k nearest sources of each target, sorted insertion into the row of `distances` (squared)."""
    d, n = sources.shape
    squared = np.empty(_TILE)
    for i in range(start, stop):
        distances[i, :] = np.inf
        for first in range(0, n, _TILE):
            m = min(_TILE, n - first)
            squared[:] = 0.0
            for a in range(d):
                t = targets[i, a]
                for j in range(m):
                    squared[j] += (sources[a, first + j] - t) ** 2
            for j in range(m):
                if squared[j] < distances[i, k - 1]:
                    place = k - 1
                    while place > 0 and distances[i, place - 1] > squared[j]:
                        distances[i, place] = distances[i, place - 1]
                        indices[i, place] = indices[i, place - 1]
                        place -= 1
                    distances[i, place] = squared[j]
                    indices[i, place] = first + j
        for place in range(k):
            distances[i, place] = np.sqrt(distances[i, place])


class Neighbors:
    """Nearest-neighbour queries on a fixed set of points.

    Parameters
    ----------
    points : ndarray of shape (n, d)
        The sources.
    """

    def __init__(self, points: Array) -> None:
        self._points = points
        self._tree = cKDTree(points) if points.shape[1] <= _TREE_DIMENSIONS else None
        self._sources = None if self._tree else np.ascontiguousarray(points.T)

    def query(self, targets: Array, k: int) -> tuple[Array, NDArray[np.int64]]:
        """Find the k nearest sources of each target.

        Parameters
        ----------
        targets : ndarray of shape (m, d)
            Where to look from; a source that is itself a target finds itself at distance zero.
        k : int
            How many, at most n.

        Returns
        -------
        distances, indices : ndarray of shape (m, k)
            In ascending order of distance.
        """
        if self._tree is not None:
            distances, indices = self._tree.query(targets, [*range(1, k + 1)], workers=_threads())
            return distances, indices
        distances = np.empty((len(targets), k))
        indices = np.empty((len(targets), k), dtype=np.int64)
        over_rows(_brute_force, len(targets), targets, self._sources, k, distances, indices)
        return distances, indices


def kth_distances(points: Array, *ks: int) -> Array:
    """Distance of every point to its k-th nearest other point.

    Parameters
    ----------
    points : ndarray of shape (n, d)
        Distinct points.
    *ks : int
        Which neighbours, at most n − 1.

    Returns
    -------
    ndarray of shape (n, len(ks))
        The distances.
    """
    n, d = points.shape
    out = np.empty((len(ks), n))
    if d == 1:
        order = np.argsort(points[:, 0])
        ordered = points[order, 0]
        for row, k in zip(out, ks, strict=True):
            _line_distances(0, n, ordered, order, k, row)
    elif d <= _TREE_DIMENSIONS:
        found = cKDTree(points).query(points, [k + 1 for k in ks], workers=_threads())[0]
        out[:] = found.T
    else:
        neighbors = Neighbors(points)
        rows = max(1, 2**22 // (max(ks) + 1))
        for first in range(0, n, rows):
            distances = neighbors.query(points[first : first + rows], max(ks) + 1)[0]
            out[:, first : first + rows] = distances[:, list(ks)].T
    return np.ascontiguousarray(out.T)


def _threads() -> int:
    return int(numba.config.NUMBA_NUM_THREADS)
