"""Distances to nearest neighbours: a window that slides on the line, a k-d tree, or brute force."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from infoplane.kernels.brute_force import neighbors_of_targets
from infoplane.kernels.jit import kernel, over_rows
from infoplane.kernels.nearest import bounding_boxes, build_tree, number_of_leaves, query_tree
from infoplane.kernels.tiles import LEAF
from infoplane.kernels.vectors import packed

Array = NDArray[np.float64]
Rows = NDArray[np.int64]

# Above so many dimensions a k-d tree visits nearly every leaf and brute force is faster.
_TREE_DIMENSIONS = 10
# A task of about a millisecond: leaves of targets, rows on the line.
_LEAVES, _LINE_ROWS = 32, 2**17


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


class Neighbors:
    """Nearest-neighbour queries on a fixed set of points.

    Parameters
    ----------
    points : ndarray of shape (n, d)
        The sources.
    """

    def __init__(self, points: Array) -> None:
        self._tree = _Tree.of(points) if tree_pays(*points.shape) else None
        self._sources = None if self._tree else packed(points)
        self._n = len(points)

    def query(self, targets: Array, k: int) -> tuple[Array, Rows]:
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
            In ascending order of distance, those at the same distance by their number.
        """
        orders = np.arange(k)
        distances, indices = np.empty((len(targets), k)), np.empty((len(targets), k), dtype=np.int64)
        self._search(targets, k, orders, False, distances, indices)
        return distances, indices

    def of_sources(self, points: Array, k: int) -> tuple[Array, Rows]:
        """Find the k nearest other sources of each source.

        Parameters
        ----------
        points : ndarray of shape (n, d)
            The sources, as they were given.
        k : int
            How many, at most n − 1.

        Returns
        -------
        distances, indices : ndarray of shape (n, k)
            As of `query`.
        """
        orders = np.arange(k)
        distances, indices = np.empty((len(points), k)), np.empty((len(points), k), dtype=np.int64)
        self._search(points, k, orders, True, distances, indices)
        return distances, indices

    def _search(
        self, targets: Array, k: int, orders: Rows, others: bool, distances: Array, indices: Rows
    ) -> None:
        out = (k, orders, others, distances, indices)
        if self._tree is None:
            assert self._sources is not None
            neighbors_of_targets(targets, self._sources, self._n, *out)
            return
        tree = self._tree
        mine = tree if others else _Tree.of(targets)
        over_rows(
            query_tree, number_of_leaves(len(targets)), *targets.shape, mine.blocks, mine.rows,
            tree.blocks, tree.rows, tree.spans, tree.boxes, *out, grain=_LEAVES,
        )  # fmt: skip


class _Tree(NamedTuple):
    """A k-d tree: row numbers in its order; leaves and box of each node; coordinates of each leaf."""

    rows: Rows
    spans: Rows
    boxes: Array
    blocks: Array

    @classmethod
    def of(cls, points: Array) -> _Tree:
        points, rows = points.copy(), np.arange(len(points))
        spans = np.empty((2 * number_of_leaves(len(points)) - 1, 2), dtype=np.int64)
        build_tree(points, rows, spans)
        return cls(rows, spans, bounding_boxes(points, spans).ravel(), packed(points, LEAF))


def tree_pays(n: int, d: int) -> bool:
    """Whether a tree finds neighbours faster than brute force.

    Parameters
    ----------
    n, d : int
        Number of points and of dimensions.
    """
    return d <= _TREE_DIMENSIONS


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
    if d > 1:
        out = np.empty((n, len(ks)))
        nothing = np.empty((0, 0), dtype=np.int64)
        Neighbors(points)._search(points, max(ks), np.array(ks) - 1, True, out, nothing)
        return out
    columns = np.empty((len(ks), n))
    order = np.argsort(points[:, 0])
    ordered = points[order, 0]
    for row, k in zip(columns, ks, strict=True):
        over_rows(_line_distances, n, ordered, order, k, row, grain=_LINE_ROWS)
    return np.ascontiguousarray(columns.T)
