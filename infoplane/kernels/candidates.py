"""Rows of candidates for nearest neighbours: in order by insertion while short, heaps when long.

Points at the same distance are taken in the order of their row numbers. A heap has the farthest on top.
"""

from __future__ import annotations

import numpy as np

from infoplane.kernels.jit import once_of_numbers, part_of_numbers

# Rows of candidates up to this length are kept in order.
SHORT = 24


@once_of_numbers
def offer(near, which, row, k, value, index):
    """Put a candidate that is not farther than the farthest into its row; return the new farthest."""
    last = k - 1 if k <= SHORT else 0
    if value < near[row, last] or index < which[row, last]:
        if k <= SHORT:
            place = last
            while place > 0 and near[row, place - 1] >= value:
                if near[row, place - 1] == value and which[row, place - 1] < index:
                    break
                near[row, place] = near[row, place - 1]
                which[row, place] = which[row, place - 1]
                place -= 1
            near[row, place] = value
            which[row, place] = index
        else:
            _sift(near, which, row, k, value, index)
    return near[row, last]


@part_of_numbers
def _sift(near, which, row, k, value, index):
    """Replace the top of the heap in the first k places."""
    place = 0
    while True:
        child = 2 * place + 1
        if child >= k:
            break
        if child + 1 < k and (
            near[row, child + 1] > near[row, child]
            or (near[row, child + 1] == near[row, child] and which[row, child + 1] > which[row, child])
        ):
            child += 1
        if near[row, child] < value or (near[row, child] == value and which[row, child] <= index):
            break
        near[row, place] = near[row, child]
        which[row, place] = which[row, child]
        place = child
    near[row, place] = value
    which[row, place] = index


@once_of_numbers
def report(near, which, row, k, out_row, orders, distances, indices):
    """Write the candidates of the given orders, of a row that is brought in order."""
    if k > SHORT:
        for last in range(k - 1, 0, -1):
            value, index = near[row, last], which[row, last]
            near[row, last], which[row, last] = near[row, 0], which[row, 0]
            _sift(near, which, row, last, value, index)
    for c in range(orders.size):
        distances[out_row, c] = np.sqrt(near[row, orders[c]])
    if indices.size:
        for c in range(orders.size):
            indices[out_row, c] = which[row, orders[c]]
