"""All nearest neighbours by a k-d tree that is queried leaf by leaf.

Every leaf but the last is full, and a block of its own: coordinates one row a dimension, 32 long, with
infinity in places without a point. Loops over a block have a known length and no remainder. Nodes come in
preorder: with m leaves on the left, the children of node v are v + 1 and v + 2m.
"""

from __future__ import annotations

import numpy as np

from infoplane.kernels.candidates import SHORT, numbers, offer, report
from infoplane.kernels.tiles import (
    FARTHEST,
    LEAF,
    compare_box,
    compare_leaf,
    least_keys,
    lowest_bit,
    place_of,
)
from infoplane.kernels.vectors import PANEL

# Points of which the widest side of a node is judged.
_SAMPLED = 64


@numbers
def _pivot(points, a, left, right, middle, sample):
    """Coordinate a of a point that falls shortly beyond `middle`, towards the farther end, by a sample."""
    count = min(sample.size, (right - left) // 16 + 1)
    step = (right - left) // count
    for s in range(count):
        value, place = points[left + s * step, a], s
        while place > 0 and sample[place - 1] > value:
            sample[place] = sample[place - 1]
            place -= 1
        sample[place] = value
    rank = (middle - left) * count // (right - left + 1)
    # One standard deviation of the rank of a median in a sample of 64.
    margin = count // 16
    rank += margin if 2 * rank < count else -margin
    return sample[min(max(rank, 0), count - 1)]


@numbers
def _part(points, rows, a, left, right, pivot, strictly, astray):
    """Bring rows whose coordinate a is at most the pivot, or below it, to the front; return their end.

    Those on the wrong side are listed and then exchanged: the processor cannot guess where any of them goes.
    """
    end = left
    for i in range(left, right + 1):
        x = points[i, a]
        end += (x < pivot) | ((x == pivot) & (not strictly))
    front = back = 0
    for i in range(left, end):
        x = points[i, a]
        astray[0, front] = i
        front += (x > pivot) | ((x == pivot) & strictly)
    for i in range(end, right + 1):
        x = points[i, a]
        astray[1, back] = i
        back += (x < pivot) | ((x == pivot) & (not strictly))
    for s in range(front):
        i, j = astray[0, s], astray[1, s]
        for b in range(points.shape[1]):
            points[i, b], points[j, b] = points[j, b], points[i, b]
        rows[i], rows[j] = rows[j], rows[i]
    return end


@numbers
def _partition(points, rows, a, low, high, middle, sample, astray):
    """Order rows low … high − 1 so that coordinate a of that at `middle` parts them."""
    left, right = low, high - 1
    while left < right:
        pivot = _pivot(points, a, left, right, middle, sample)
        end = _part(points, rows, a, left, right, pivot, False, astray)
        if end > right:
            # The pivot is the largest; without those that equal it there are fewer.
            end = _part(points, rows, a, left, right, pivot, True, astray)
            if middle >= end:
                return
        if middle < end:
            right = end - 1
        else:
            left = end


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
    nodes, sample = spans.shape[0], np.empty(_SAMPLED)
    astray = np.empty((2, n // 2 + 1), np.int64)
    spans[0, 0], spans[0, 1] = 0, blocks.shape[0]
    for v in range(nodes):
        leaf, leaves = spans[v, 0], spans[v, 1]
        low, high = leaf * LEAF, min((leaf + leaves) * LEAF, n)
        if leaves > 1:
            half = leaves // 2
            _partition(
                points, rows, _widest_side(points, low, high), low, high, low + half * LEAF, sample, astray
            )
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


@numbers
def _fill(targets, leaf, count, blocks, source, rows, own, d, matrix, keys, near, which, k, limit):
    """Find the nearest points of a first leaf for a leaf of targets: by sorted keys, where they are clear."""
    first, size = source * LEAF, min(LEAF, rows.size - source * LEAF)
    ranks = k if k <= SHORT else 0
    keys[:] = FARTHEST
    for lane in range(0, LEAF, PANEL):
        unclear = least_keys(
            targets, leaf * LEAF * d + lane, blocks, first * d, d, size, lane if own else LEAF, ranks, matrix,
            keys, lane,
        )  # fmt: skip
        for i in range(lane, min(lane + PANEL, count)):
            if ranks > 0 and unclear >> (i - lane) & 1 == 0:
                for c in range(k):
                    place = place_of(keys[LEAF * c + i])
                    near[i, c], which[i, c] = matrix[LEAF * place + i], rows[first + place]
                limit[i] = near[i, k - 1]
                continue
            near[i], which[i], limit[i] = np.inf, rows.size, np.inf
            for s in range(size):
                value = matrix[LEAF * s + i]
                if value <= limit[i] and value < np.inf:
                    limit[i] = offer(near, which, i, k, value, rows[first + s])


@numbers
def _visit(targets, leaf, reached, blocks, source, rows, d, squared, near, which, k, limit):
    """Offer the points of a leaf to those targets of another that may be reached, given as bits."""
    first = source * LEAF
    while reached != 0:
        i = lowest_bit(reached)
        reached &= reached - 1
        hits = compare_leaf(targets, leaf * LEAF * d + i, blocks, first * d, d, limit[i], squared)
        while hits != 0:
            j = lowest_bit(hits)
            hits &= hits - 1
            if squared[j] <= limit[i] and squared[j] < np.inf:
                limit[i] = offer(near, which, i, k, squared[j], rows[first + j])


@numbers
def _largest(limit):
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
    d,
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
    squared, limit, least = np.empty(LEAF), np.empty(LEAF), np.empty(1)
    near, which = np.empty((LEAF, k)), np.empty((LEAF, k), np.int64)
    matrix, keys = np.empty(LEAF * LEAF), np.empty(LEAF * (min(k, SHORT) + 1))
    stack, away = np.empty(64, np.int64), np.empty(64)
    for leaf in range(start, stop):
        first = leaf * LEAF
        count = min(LEAF, n - first)
        limit[:count], limit[count:] = np.inf, -1.0
        bound, first_leaf = np.inf, True
        depth = 1
        stack[0], away[0] = 0, 0.0
        while depth > 0:
            depth -= 1
            v = stack[depth]
            if away[depth] > bound:
                continue
            source, leaves = spans[v, 0], spans[v, 1]
            if leaves == 1:
                if first_leaf:
                    _fill(
                        target_blocks, leaf, count, blocks, source, rows, others, d, matrix, keys, near,
                        which, k, limit,
                    )  # fmt: skip
                    first_leaf = False
                else:
                    reached = compare_box(target_blocks, leaf * LEAF * d, boxes, 2 * d * v, d, limit, least)
                    _visit(
                        target_blocks, leaf, reached, blocks, source, rows, d, squared, near, which, k, limit
                    )
                bound = _largest(limit)
                continue
            left, right = v + 1, v + 2 * (leaves // 2)
            at = leaf * LEAF * d
            some_left = compare_box(target_blocks, at, boxes, 2 * d * left, d, limit, least)
            to_left = least[0]
            some_right = compare_box(target_blocks, at, boxes, 2 * d * right, d, limit, least)
            to_right = least[0]
            # The nearer comes on top; of two that touch the leaf, the one that holds it.
            if to_left < to_right or (to_left == to_right and leaf < spans[right, 0]):
                left, right, to_left, to_right = right, left, to_right, to_left
                some_left, some_right = some_right, some_left
            if some_left != 0:
                stack[depth], away[depth] = left, to_left
                depth += 1
            if some_right != 0:
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
