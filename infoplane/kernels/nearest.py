"""All nearest neighbours by a k-d tree that is queried leaf by leaf.

Every leaf but the last is full, and a block of its own: coordinates one row a dimension, 32 long, with
infinity in places without a point. Loops over a block have a known length and no remainder. Nodes come in
preorder: with m leaves on the left, the children of node v are v + 1 and v + 2m.
"""

from __future__ import annotations

import numpy as np

from infoplane.kernels.candidates import inlined, numbers, offer, report

LEAF = 32
# A box is as near as its nearest point but for rounding, which must not hide one of several equally near.
_MARGIN = 1 - 1e-12
# Points of which the widest side of a node is judged.
_SAMPLED = 64


@numbers
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


@numbers
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


@numbers
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


@inlined
def _box_distance(boxes, v, box):
    total = 0.0
    for a in range(boxes.shape[2]):
        gap = max(boxes[v, 0, a] - box[1, a], box[0, a] - boxes[v, 1, a], 0.0)
        total += gap * gap
    return total * _MARGIN


@numbers
def _point_distances(block, boxes, v, out):
    """Squared distances of all points of a block from a box."""
    for j in range(LEAF):
        out[j] = 0.0
    for a in range(boxes.shape[2]):
        low, high = boxes[v, 0, a], boxes[v, 1, a]
        for j in range(LEAF):
            gap = max(low - block[a, j], block[a, j] - high, 0.0)
            out[j] += gap * gap * _MARGIN


@numbers
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


@numbers
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
                    limit[i] = offer(near, which, i, k, squared[j], rows[first + j])
    a = b = c = e = 0.0
    for i in range(0, LEAF, 4):
        a, b = max(a, limit[i]), max(b, limit[i + 1])
        c, e = max(c, limit[i + 2]), max(e, limit[i + 3])
    return max(a, b, c, e)


@numbers
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
            report(near, which, i, k, target_rows[first + i], orders, distances, indices)


def number_of_leaves(n: int) -> int:
    """How many leaves a tree of n points has.

    Parameters
    ----------
    n : int
        Number of points.
    """
    return -(-n // LEAF)
