"""All nearest neighbours: a k-d tree queried leaf by leaf, and brute force in tiles.

Points at the same distance are taken in the order of their row numbers, by either way. A row of candidates is
kept in order by insertion while it is short, and as a heap with the farthest on top when it is long.
"""

from __future__ import annotations

import numba
import numpy as np

from infoplane.kernels.jit import FAST, kernel

# Rows of candidates up to this length are kept in order.
_SHORT = 24
_LEAF = 32
_TILE = 512
_BLOCK = 64
_TARGETS = 32
# A box is as near as its nearest point but for rounding, which must not hide one of several equally near.
_MARGIN = 1 - 1e-12

# Distances are numbers: only infinities come from finite points, and a minimum is then vectorised.
_numbers = numba.njit(nogil=True, cache=True, fastmath=FAST | {"nnan"}, error_model="numpy")
_inlined = numba.njit(inline="always", fastmath=FAST | {"nnan"}, error_model="numpy")


@_inlined
def _squared_distances(targets, i, sources, first, m, out):
    """|t_i − x_j|² for m sources from the `first` on, four dimensions a pass; unsigned, j needs no check."""
    d = sources.shape[0]
    count, start = np.uintp(m), np.uintp(first)
    a = (d - 1) % 4 + 1
    t0 = targets[i, 0]
    if a == 1:
        for j in range(count):
            out[j] = (sources[0, start + j] - t0) ** 2
    elif a == 2:
        t1 = targets[i, 1]
        for j in range(count):
            out[j] = (sources[0, start + j] - t0) ** 2 + (sources[1, start + j] - t1) ** 2
    elif a == 3:
        t1, t2 = targets[i, 1], targets[i, 2]
        for j in range(count):
            e0, e1, e2 = sources[0, start + j] - t0, sources[1, start + j] - t1, sources[2, start + j] - t2
            out[j] = e0 * e0 + e1 * e1 + e2 * e2
    else:
        t1, t2, t3 = targets[i, 1], targets[i, 2], targets[i, 3]
        for j in range(count):
            e0, e1 = sources[0, start + j] - t0, sources[1, start + j] - t1
            e2, e3 = sources[2, start + j] - t2, sources[3, start + j] - t3
            out[j] = (e0 * e0 + e1 * e1) + (e2 * e2 + e3 * e3)
    while a < d:
        t0, t1, t2, t3 = targets[i, a], targets[i, a + 1], targets[i, a + 2], targets[i, a + 3]
        for j in range(count):
            e0, e1 = sources[a, start + j] - t0, sources[a + 1, start + j] - t1
            e2, e3 = sources[a + 2, start + j] - t2, sources[a + 3, start + j] - t3
            out[j] += (e0 * e0 + e1 * e1) + (e2 * e2 + e3 * e3)
        a += 4


@_numbers
def _offer(near, which, row, k, value, index):
    """Put a candidate that is not farther than the farthest into its row; return the new farthest."""
    last = k - 1 if k <= _SHORT else 0
    if value == near[row, last] and index > which[row, last]:
        return value
    if k <= _SHORT:
        place = last
        while place > 0 and (
            near[row, place - 1] > value or (near[row, place - 1] == value and which[row, place - 1] > index)
        ):
            near[row, place] = near[row, place - 1]
            which[row, place] = which[row, place - 1]
            place -= 1
        near[row, place] = value
        which[row, place] = index
        return near[row, last]
    _sift(near, which, row, k, value, index)
    return near[row, 0]


@_numbers
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


@_numbers
def _report(near, which, row, k, out_row, orders, distances, indices):
    """Write the candidates of the given orders, of a row that is brought in order."""
    if k > _SHORT:
        for last in range(k - 1, 0, -1):
            value, index = near[row, last], which[row, last]
            near[row, last], which[row, last] = near[row, 0], which[row, 0]
            _sift(near, which, row, last, value, index)
    for c in range(orders.size):
        distances[out_row, c] = np.sqrt(near[row, orders[c]])
    if indices.size:
        for c in range(orders.size):
            indices[out_row, c] = which[row, orders[c]]


@_inlined
def _offer_tile(squared, m, near, which, row, k, limit, first, rows):
    """Offer those of m sources that are near enough; `rows` holds their numbers, or nothing if these count up."""
    for start in range(0, m, _BLOCK):
        stop = min(start + _BLOCK, m)
        least = np.inf
        for j in range(start, stop):
            least = min(least, squared[j])
        if least <= limit[row]:
            for j in range(start, stop):
                if squared[j] <= limit[row] and squared[j] < np.inf:
                    index = rows[first + j] if rows.size else first + j
                    limit[row] = _offer(near, which, row, k, squared[j], index)


@_numbers
def brute_force(start, stop, targets, sources, k, orders, others, distances, indices):
    """Neighbours of the given orders (0 is the nearest) of rows of targets among all sources.

    With `others` the targets are the sources themselves, and none is its own neighbour.
    """
    n = sources.shape[1]
    squared, limit = np.empty(_TILE), np.empty(_TARGETS)
    near, which = np.empty((_TARGETS, k)), np.empty((_TARGETS, k), np.int64)
    rows = np.empty(0, np.int64)
    for low in range(start, stop, _TARGETS):
        high = min(low + _TARGETS, stop)
        near[:], which[:], limit[:] = np.inf, n, np.inf
        for first in range(0, n, _TILE):
            m = min(_TILE, n - first)
            for i in range(low, high):
                _squared_distances(targets, i, sources, first, m, squared)
                if others and 0 <= i - first < m:
                    squared[i - first] = np.inf
                _offer_tile(squared, m, near, which, i - low, k, limit, first, rows)
        for i in range(low, high):
            _report(near, which, i - low, k, i, orders, distances, indices)


# --- The tree ---------------------------------------------------------------------------------------------


@_numbers
def _partition(points, rows, a, low, high, middle):
    """Order rows low … high − 1 so that coordinate a of the one at `middle` parts them (Hoare's selection)."""
    d = points.shape[1]
    left, right = low, high - 1
    while left < right:
        pivot = points[(left + right) // 2, a]
        i, j = left, right
        while i <= j:
            while points[i, a] < pivot:
                i += 1
            while points[j, a] > pivot:
                j -= 1
            if i <= j:
                for b in range(d):
                    points[i, b], points[j, b] = points[j, b], points[i, b]
                rows[i], rows[j] = rows[j], rows[i]
                i += 1
                j -= 1
        if middle <= j:
            right = j
        elif middle >= i:
            left = i
        else:
            return


@_numbers
def build_tree(points, rows, bounds, boxes):
    """Sort points and their row numbers into the leaves of a balanced tree.

    Node v has the children 2v + 1 and 2v + 2 and holds the points from bounds[v, 0] to bounds[v, 1], in the
    box from boxes[v, 0] to boxes[v, 1]; each level halves along the widest side.
    """
    nodes, d = bounds.shape[0], points.shape[1]
    bounds[0, 0], bounds[0, 1] = 0, points.shape[0]
    for v in range(nodes):
        low, high = bounds[v, 0], bounds[v, 1]
        for a in range(d):
            boxes[v, 0, a] = boxes[v, 1, a] = points[low, a]
        for i in range(low + 1, high):
            for a in range(d):
                boxes[v, 0, a] = min(boxes[v, 0, a], points[i, a])
                boxes[v, 1, a] = max(boxes[v, 1, a], points[i, a])
        if 2 * v + 2 < nodes:
            side = 0
            for a in range(1, d):
                if boxes[v, 1, a] - boxes[v, 0, a] > boxes[v, 1, side] - boxes[v, 0, side]:
                    side = a
            middle = (low + high) // 2
            _partition(points, rows, side, low, high, middle)
            bounds[2 * v + 1, 0], bounds[2 * v + 1, 1] = low, middle
            bounds[2 * v + 2, 0], bounds[2 * v + 2, 1] = middle, high


@_inlined
def _box_distance(boxes, v, others, w):
    total = 0.0
    for a in range(boxes.shape[2]):
        gap = max(max(boxes[v, 0, a] - others[w, 1, a], others[w, 0, a] - boxes[v, 1, a]), 0.0)
        total += gap * gap
    return total * _MARGIN


@_inlined
def _point_distance(points, i, boxes, v):
    total = 0.0
    for a in range(boxes.shape[2]):
        gap = max(max(boxes[v, 0, a] - points[i, a], points[i, a] - boxes[v, 1, a]), 0.0)
        total += gap * gap
    return total * _MARGIN


@_numbers
def _visit(targets, low, high, boxes, v, bounds, sources, rows, own, squared, near, which, k, limit):
    """Offer the sources of leaf v to the targets of a leaf; return the largest of their limits."""
    first, m = bounds[v, 0], bounds[v, 1] - bounds[v, 0]
    for i in range(low, high):
        if _point_distance(targets, i, boxes, v) <= limit[i - low]:
            _squared_distances(targets, i, sources, first, m, squared)
            if own:
                squared[i - first] = np.inf
            _offer_tile(squared, m, near, which, i - low, k, limit, first, rows)
    bound = 0.0
    for i in range(high - low):
        bound = max(bound, limit[i])
    return bound


@_numbers
def query_tree(
    start, stop, targets, target_rows, target_bounds, target_boxes, sources, rows, bounds, boxes, k, orders,
    others, distances, indices,
):  # fmt: skip
    """Neighbours of the given orders (0 is the nearest) of the targets in some leaves of their own tree.

    One descent serves a leaf of targets: a box is visited if it is nearer than the farthest k-th candidate.
    With `others` both trees are the same, and no target is its own neighbour.
    """
    leaves = (bounds.shape[0] + 1) // 2 - 1
    target_leaves = (target_bounds.shape[0] + 1) // 2 - 1
    squared, limit = np.empty(_LEAF), np.empty(_LEAF)
    near, which = np.empty((_LEAF, k)), np.empty((_LEAF, k), np.int64)
    stack, apart = np.empty(64, np.int64), np.empty(64)
    for leaf in range(target_leaves + start, target_leaves + stop):
        low, high = target_bounds[leaf, 0], target_bounds[leaf, 1]
        near[:], which[:], limit[:] = np.inf, sources.shape[1], np.inf
        bound = np.inf
        if others:
            bound = _visit(
                targets, low, high, boxes, leaf, bounds, sources, rows, True, squared, near, which, k, limit
            )
        depth = 1
        stack[0], apart[0] = 0, 0.0
        while depth > 0:
            depth -= 1
            v = stack[depth]
            if apart[depth] > bound or (others and v == leaf):
                continue
            if v >= leaves:
                bound = _visit(
                    targets, low, high, boxes, v, bounds, sources, rows, False, squared, near, which, k, limit
                )
                continue
            left, right = 2 * v + 1, 2 * v + 2
            to_left = _box_distance(boxes, left, target_boxes, leaf)
            to_right = _box_distance(boxes, right, target_boxes, leaf)
            # The nearer one comes on top.
            if to_left < to_right:
                left, right, to_left, to_right = right, left, to_right, to_left
            if to_left <= bound:
                stack[depth], apart[depth] = left, to_left
                depth += 1
            if to_right <= bound:
                stack[depth], apart[depth] = right, to_right
                depth += 1
        for i in range(low, high):
            _report(near, which, i - low, k, target_rows[i], orders, distances, indices)


def tree_nodes(n: int) -> int:
    """Number of nodes of a tree of n points: a full binary tree with at most 32 points in a leaf."""
    levels = 0
    while -(-n >> levels) > _LEAF:
        levels += 1
    return 2 ** (levels + 1) - 1
