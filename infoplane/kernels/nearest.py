"""All nearest neighbours: a k-d tree queried leaf by leaf, and brute force in tiles.

Points at the same distance are taken in the order of their row numbers, by either way. A row of candidates is
kept in order by insertion while it is short, and as a heap with the farthest on top when it is long.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from infoplane.kernels.jit import FAST

# Rows of candidates up to this length are kept in order.
_SHORT = 24
LEAF = 32
_BLOCK = 128
_TARGETS = 32
# A box is as near as its nearest point but for rounding, which must not hide one of several equally near.
_MARGIN = 1 - 1e-12
# Points of which the widest side of a node is judged.
_SAMPLED = 64

# Distances are numbers: only infinities come from finite points, and a minimum is then vectorised.
_numbers = numba.njit(nogil=True, cache=True, fastmath=FAST | {"nnan"}, error_model="numpy")
_inlined = numba.njit(inline="always", fastmath=FAST | {"nnan"}, error_model="numpy")


@_numbers
def _two_squares(targets, i, h, sources, start, out):
    """Set `out` to |t − x_j|² for target i and a block of sources, followed by those for target h.

    Two targets and four dimensions a pass, so that what is loaded is used. Rows at known distances in one
    flat array need no proof that they do not overlap, and unsigned indices no check of their sign.
    """
    d, block = targets.shape[1], np.uintp(_BLOCK)
    for j in range(2 * _BLOCK):
        out[j] = 0.0
    row = np.uintp(start)
    for a in range(d % 4):
        s, t = targets[i, a], targets[h, a]
        for j in range(block):
            x = sources[row + j]
            out[j] += (x - s) * (x - s)
            out[block + j] += (x - t) * (x - t)
        row += block
    for a in range(d % 4, d, 4):
        s0, s1, s2, s3 = targets[i, a], targets[i, a + 1], targets[i, a + 2], targets[i, a + 3]
        t0, t1, t2, t3 = targets[h, a], targets[h, a + 1], targets[h, a + 2], targets[h, a + 3]
        for j in range(block):
            x0, x1 = sources[row + j], sources[row + block + j]
            x2, x3 = sources[row + np.uintp(2 * _BLOCK) + j], sources[row + np.uintp(3 * _BLOCK) + j]
            e0, e1, e2, e3 = x0 - s0, x1 - s1, x2 - s2, x3 - s3
            out[j] = out[j] + e0 * e0 + e1 * e1 + e2 * e2 + e3 * e3
            e0, e1, e2, e3 = x0 - t0, x1 - t1, x2 - t2, x3 - t3
            out[block + j] = out[block + j] + e0 * e0 + e1 * e1 + e2 * e2 + e3 * e3
        row += np.uintp(4 * _BLOCK)


@_inlined
def _offer(near, which, row, k, value, index):
    """Put a candidate that is not farther than the farthest into its row; return the new farthest."""
    last = k - 1 if k <= _SHORT else 0
    if value < near[row, last] or index < which[row, last]:
        if k <= _SHORT:
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


@_numbers
def brute_force(start, stop, targets, sources, n, k, orders, others, distances, indices):
    """Neighbours of the given orders (0 is the nearest) of rows of targets among all n sources.

    `sources` is what `packed` makes of them. With `others` the targets are the sources themselves, and none
    is its own neighbour.
    """
    d = targets.shape[1]
    squared, limit = np.empty(2 * _BLOCK), np.empty(_TARGETS)
    near, which = np.empty((_TARGETS, k)), np.empty((_TARGETS, k), np.int64)
    length = squared.size // 2
    for low in range(start, stop, _TARGETS):
        high = min(low + _TARGETS, stop)
        near[:], which[:], limit[:] = np.inf, n, np.inf
        for first in range(0, n, _BLOCK):
            for i in range(low, high, 2):
                _two_squares(targets, i, min(i + 1, high - 1), sources, first * d, squared)
                for h in range(i, min(i + 2, high)):
                    here = (h - i) * _BLOCK
                    if others and 0 <= h - first < _BLOCK:
                        squared[here + h - first] = np.inf
                    far, hits = limit[h - low], 0
                    for j in range(here, here + length):
                        hits += squared[j] <= far
                    if hits:
                        for j in range(here, here + _BLOCK):
                            if squared[j] <= far and squared[j] < np.inf:
                                far = _offer(near, which, h - low, k, squared[j], first + j - here)
                        limit[h - low] = far
        for i in range(low, high):
            _report(near, which, i - low, k, i, orders, distances, indices)


def packed(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points in blocks of 128, each one row a dimension, with infinity in places without a point; flat.

    Parameters
    ----------
    points : ndarray of shape (n, d)
        The points.
    """
    n, d = points.shape
    blocks = np.full((-(-n // _BLOCK), d, _BLOCK), np.inf)
    whole = n // _BLOCK
    blocks[:whole] = points[: whole * _BLOCK].reshape(whole, _BLOCK, d).transpose(0, 2, 1)
    blocks[whole:, :, : n % _BLOCK] = points[whole * _BLOCK :].T
    return blocks.ravel()


# --- The tree ---------------------------------------------------------------------------------------------
#
# Every leaf but the last is full, and a block of its own: coordinates one row a dimension, 32 long, with
# infinity in places without a point. Loops over a block have a known length and no remainder. Nodes come in
# preorder: with m leaves on the left, the children of node v are v + 1 and v + 2m.


@_numbers
def _partition(points, rows, a, low, high, middle):
    """Order rows low … high − 1 so that coordinate a of that at `middle` parts them (Hoare's selection)."""
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
def _widest_side(points, low, high):
    """The side along which some hundred of the points spread most."""
    best, widest = 0, -1.0
    step = max(1, (high - low) // _SAMPLED)
    for a in range(points.shape[1]):
        least = most = points[low, a]
        for i in range(low, high, step):
            least, most = min(least, points[i, a]), max(most, points[i, a])
        if most - least > widest:
            best, widest = a, most - least
    return best


@_numbers
def build_tree(points, rows, spans, boxes, blocks):
    """Sort points and row numbers into leaves; set each node's first leaf, number of leaves, and box."""
    n, d = points.shape
    nodes = spans.shape[0]
    spans[0, 0], spans[0, 1] = 0, blocks.shape[0]
    for v in range(nodes):
        leaf, leaves = spans[v, 0], spans[v, 1]
        low, high = leaf * LEAF, min((leaf + leaves) * LEAF, n)
        if leaves > 1:
            half = leaves // 2
            _partition(points, rows, _widest_side(points, low, high), low, high, low + half * LEAF)
            spans[v + 1, 0], spans[v + 1, 1] = leaf, half
            spans[v + 2 * half, 0], spans[v + 2 * half, 1] = leaf + half, leaves - half
            continue
        for a in range(d):
            least = most = points[low, a]
            for i in range(low, high):
                least, most = min(least, points[i, a]), max(most, points[i, a])
                blocks[leaf, a, i - low] = points[i, a]
            boxes[v, 0, a], boxes[v, 1, a] = least, most
            blocks[leaf, a, high - low :] = np.inf
    for v in range(nodes - 1, -1, -1):
        if spans[v, 1] > 1:
            right = v + 2 * (spans[v, 1] // 2)
            for a in range(d):
                boxes[v, 0, a] = min(boxes[v + 1, 0, a], boxes[right, 0, a])
                boxes[v, 1, a] = max(boxes[v + 1, 1, a], boxes[right, 1, a])


@_inlined
def _box_distance(boxes, v, box):
    total = 0.0
    for a in range(boxes.shape[2]):
        gap = max(boxes[v, 0, a] - box[1, a], box[0, a] - boxes[v, 1, a], 0.0)
        total += gap * gap
    return total * _MARGIN


@_numbers
def _point_distances(block, boxes, v, out):
    """Squared distances of all points of a block from a box."""
    for j in range(LEAF):
        out[j] = 0.0
    for a in range(boxes.shape[2]):
        low, high = boxes[v, 0, a], boxes[v, 1, a]
        for j in range(LEAF):
            gap = max(low - block[a, j], block[a, j] - high, 0.0)
            out[j] += gap * gap * _MARGIN


@_numbers
def _block_distances(targets, i, block, out):
    """|t_i − x_j|² for the points of a block, four dimensions a pass as in `_squared_distances`."""
    d = block.shape[0]
    a = (d - 1) % 4 + 1
    t0 = targets[0, i]
    if a == 1:
        for j in range(LEAF):
            out[j] = (block[0, j] - t0) ** 2
    elif a == 2:
        t1 = targets[1, i]
        for j in range(LEAF):
            out[j] = (block[0, j] - t0) ** 2 + (block[1, j] - t1) ** 2
    elif a == 3:
        t1, t2 = targets[1, i], targets[2, i]
        for j in range(LEAF):
            e0, e1, e2 = block[0, j] - t0, block[1, j] - t1, block[2, j] - t2
            out[j] = e0 * e0 + e1 * e1 + e2 * e2
    else:
        t1, t2, t3 = targets[1, i], targets[2, i], targets[3, i]
        for j in range(LEAF):
            e0, e1, e2, e3 = block[0, j] - t0, block[1, j] - t1, block[2, j] - t2, block[3, j] - t3
            out[j] = e0 * e0 + e1 * e1 + e2 * e2 + e3 * e3
    while a < d:
        t0, t1, t2, t3 = targets[a, i], targets[a + 1, i], targets[a + 2, i], targets[a + 3, i]
        for j in range(LEAF):
            e0, e1 = block[a, j] - t0, block[a + 1, j] - t1
            e2, e3 = block[a + 2, j] - t2, block[a + 3, j] - t3
            out[j] = out[j] + e0 * e0 + e1 * e1 + e2 * e2 + e3 * e3
        a += 4


@_numbers
def _visit(targets, block, boxes, v, own, rows, first, squared, apart, near, which, k, limit):
    """Offer the points of leaf v to a block of targets; return the largest of their limits."""
    _point_distances(targets, boxes, v, apart)
    for i in range(LEAF):
        far = limit[i]
        if apart[i] > far:
            continue
        _block_distances(targets, i, block, squared)
        if own:
            squared[i] = np.inf
        # Of a length that the compiler knows, it would unroll this loop and not vectorise it.
        hits = 0
        for j in range(squared.size):
            hits += squared[j] <= far
        if hits:
            for j in range(LEAF):
                if squared[j] <= limit[i] and squared[j] < np.inf:
                    limit[i] = _offer(near, which, i, k, squared[j], rows[first + j])
    a = b = c = e = 0.0
    for i in range(0, LEAF, 4):
        a, b = max(a, limit[i]), max(b, limit[i + 1])
        c, e = max(c, limit[i + 2]), max(e, limit[i + 3])
    return max(a, b, c, e)


@_numbers
def query_tree(
    start,
    stop,
    n,
    target_blocks,
    target_rows,
    blocks,
    rows,
    spans,
    boxes,
    k,
    orders,
    others,
    distances,
    indices,
):
    """Neighbours of the given orders (0 is the nearest) of the targets in some leaves of their own tree.

    One descent serves a leaf of targets: a box is visited if it is nearer than the farthest k-th candidate.
    With `others` both trees are the same, and no target is its own neighbour.
    """
    d = blocks.shape[1]
    squared, apart, limit = np.empty(LEAF), np.empty(LEAF), np.empty(LEAF)
    near, which = np.empty((LEAF, k)), np.empty((LEAF, k), np.int64)
    stack, away, box = np.empty(64, np.int64), np.empty(64), np.empty((2, d))
    for leaf in range(start, stop):
        targets = target_blocks[leaf]
        first = leaf * LEAF
        count = min(LEAF, n - first)
        for i in range(count):
            near[i], which[i], limit[i] = np.inf, rows.size, np.inf
        limit[count:] = -1.0
        for a in range(d):
            box[0, a] = box[1, a] = targets[a, 0]
            for i in range(1, count):
                box[0, a], box[1, a] = min(box[0, a], targets[a, i]), max(box[1, a], targets[a, i])
        bound = np.inf
        depth = 1
        stack[0], away[0] = 0, 0.0
        while depth > 0:
            depth -= 1
            v = stack[depth]
            if away[depth] > bound:
                continue
            source, leaves = spans[v, 0], spans[v, 1]
            if leaves == 1:
                own = others and source == leaf
                bound = _visit(
                    targets, blocks[source], boxes, v, own, rows, source * LEAF, squared, apart, near, which,
                    k, limit,
                )  # fmt: skip
                continue
            left, right = v + 1, v + 2 * (leaves // 2)
            to_left, to_right = _box_distance(boxes, left, box), _box_distance(boxes, right, box)
            # The nearer comes on top; of two that touch the leaf, the one that holds it.
            if to_left < to_right or (to_left == to_right and leaf < spans[right, 0]):
                left, right, to_left, to_right = right, left, to_right, to_left
            if to_left <= bound:
                stack[depth], away[depth] = left, to_left
                depth += 1
            if to_right <= bound:
                stack[depth], away[depth] = right, to_right
                depth += 1
        for i in range(count):
            _report(near, which, i, k, target_rows[first + i], orders, distances, indices)


def number_of_leaves(n: int) -> int:
    """How many leaves a tree of n points has.

    Parameters
    ----------
    n : int
        Number of points.
    """
    return -(-n // LEAF)
