"""How many points lie within a distance of another: bisection on the line, a k-d tree in boxes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from infoplane.kernels.jit import kernel, over_rows

Array = NDArray[np.float64]

# Rows of neighbours held at a time.
_ROWS = 2**15


@kernel
def _line_counts(start, stop, points, ordered, radius, out):
    """Bisection by differences, as in the search that found the radius: sums would round another way."""
    n = ordered.size
    for i in range(start, stop):
        low, high = 0, n
        while low < high:
            middle = (low + high) // 2
            if points[i] - ordered[middle] > radius[i]:
                low = middle + 1
            else:
                high = middle
        first, high = low, n
        while low < high:
            middle = (low + high) // 2
            if ordered[middle] - points[i] <= radius[i]:
                low = middle + 1
            else:
                high = middle
        out[i] = low - first - 1


def box_counts(points: Array, radius: Array) -> NDArray[np.int64]:
    """Number of other points within a maximum-norm distance of every point, the boundary included.

    Parameters
    ----------
    points : ndarray of shape (n, d)
        The points.
    radius : ndarray of shape (n,)
        One for each.
    """
    n, d = points.shape
    if d == 1:
        line = np.ascontiguousarray(points[:, 0])
        counts = np.empty(n, dtype=np.int64)
        over_rows(_line_counts, n, line, np.sort(line), radius, counts)
        return counts
    found = cKDTree(points).query_ball_point(points, radius, p=np.inf, return_length=True)
    return np.asarray(found, dtype=np.int64) - 1


def box_extents(blocks: tuple[Array, ...], k: int) -> tuple[Array, Array]:
    """Maximum-norm distance to the k-th neighbour, and the extent of the k neighbours in every block.

    Parameters
    ----------
    blocks : tuple of ndarray of shape (n, d_b)
        Groups of columns of the joint points.
    k : int
        Neighbour.

    Returns
    -------
    radius : ndarray of shape (n,)
        The largest of the extents.
    extents : ndarray of shape (n, number of blocks)
        Maximum-norm distance within a block to the farthest of the k neighbours.
    """
    joint = np.hstack(blocks)
    # Scores of ranks are mirror images about the median: in every column two points may be equally far, and
    # all of those count, lest the extent depend on the order of the rows.
    most = min(k + 1 + 2 * joint.shape[1], len(joint))
    tree, extents = cKDTree(joint), np.empty((len(joint), len(blocks)))
    for first in range(0, len(joint), _ROWS):
        rows = slice(first, first + _ROWS)
        distances, nearest = tree.query(joint[rows], [*range(2, most + 1)], p=np.inf)
        beyond = distances > distances[:, k - 1 : k]
        for b, block in enumerate(blocks):
            apart = np.abs(block[nearest] - block[rows, None, :]).max(axis=2)
            extents[rows, b] = np.where(beyond, 0.0, apart).max(axis=1)
    return extents.max(axis=1), extents
