"""All nearest neighbours by a k-d tree that is queried leaf by leaf.

Every leaf but the last is full, and a block of its own: coordinates one row a dimension, 32 long, with
infinity in places without a point. Loops over a block have a known length and no remainder. Nodes come in
preorder: with m leaves on the left, the children of node v are v + 1 and v + 2m.
"""

from __future__ import annotations

import numpy as np

from infoplane.kernels.candidates import SHORT, offer, report
from infoplane.kernels.jit import kernel_of_numbers, once_of_numbers
from infoplane.kernels.tiles import (
    LEAF,
    compare_box,
    compare_leaf,
    largest,
    least_keys,
    lowest_bit,
    place_of,
)
from infoplane.kernels.vectors import PANEL

# Points of which the widest side of a node is judged.
_SAMPLED = 64
# Up to so many points a tree is built by NumPy, in a millisecond where a kernel would take 1.5 s to compile.
_FEW = 1000


@once_of_numbers
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


@once_of_numbers
def _part(points, rows, a, left, right, pivot, strictly, astray):
    """Bring rows whose coordinate a is at most the pivot, or below it, to the front; return their end.

    Both kinds are listed, then exchanged from the ends: the processor cannot guess where any of them goes.
    """
    front = back = 0
    for i in range(left, right + 1):
        above = (points[i, a] > pivot) | ((points[i, a] == pivot) & strictly)
        astray[0, front] = astray[1, back] = i
        front += above
        back += 1 - above
    for s in range(min(front, back)):
        i, j = astray[0, s], astray[1, back - 1 - s]
        if i > j:
            break
        for b in range(points.shape[1]):
            points[i, b], points[j, b] = points[j, b], points[i, b]
        rows[i], rows[j] = rows[j], rows[i]
    return left + back


@once_of_numbers
def _partition(points, rows, a, low, high, middle, sample, astray):
    """Order rows low … high − 1 so that coordinate a of that at `middle` parts them."""
    left, right, strictly = low, high - 1, False
    while left < right:
        pivot = _pivot(points, a, left, right, middle, sample)
        end = _part(points, rows, a, left, right, pivot, strictly, astray)
        if end > right:
            # The pivot is the largest, and nothing has moved; without those that equal it there are fewer.
            strictly = True
            continue
        if strictly and middle >= end:
            break
        strictly = False
        if middle < end:
            right = end - 1
        else:
            left = end


def build_tree(points, rows, spans):
    """Sort points and row numbers into leaves; set the first leaf and the number of leaves of each node."""
    spans[0] = 0, len(spans) // 2 + 1
    if len(points) <= _FEW:
        _build_small(points, rows, spans)
    else:
        _build(points, rows, spans, np.empty(_SAMPLED), np.empty((2, len(points)), int))


def _build_small(points, rows, spans):
    """Build by NumPy, at 30 μs a node: a first call then has only the query to compile."""
    for v in range(len(spans)):
        leaf, leaves = spans[v].tolist()
        if leaves > 1:
            half, part = leaves // 2, slice(leaf * LEAF, (leaf + leaves) * LEAF)
            inside = points[part]
            side = (inside.max(axis=0) - inside.min(axis=0)).argmax()
            order = inside[:, side].argpartition(half * LEAF)
            points[part], rows[part] = inside[order], rows[part][order]
            spans[v + 1], spans[v + 2 * half] = (leaf, half), (leaf + half, leaves - half)


@kernel_of_numbers
def _build(points, rows, spans, sample, astray):
    n, d = points.shape
    for v in range(spans.shape[0]):
        leaf, leaves = spans[v, 0], spans[v, 1]
        if leaves == 1:
            continue
        low, high = leaf * LEAF, min((leaf + leaves) * LEAF, n)
        # The side along which some hundred of the points spread most.
        best, widest = 0, -1.0
        step = max(1, (high - low) // _SAMPLED)
        for a in range(d):
            least = most = points[low, a]
            for i in range(low, high, step):
                least, most = min(least, points[i, a]), max(most, points[i, a])
            if most - least > widest:
                best, widest = a, most - least
        half = leaves // 2
        _partition(points, rows, best, low, high, low + half * LEAF, sample, astray)
        spans[v + 1, 0], spans[v + 1, 1] = leaf, half
        spans[v + 2 * half, 0], spans[v + 2 * half, 1] = leaf + half, leaves - half


def bounding_boxes(points, spans):
    """Least and largest coordinates of the points of each node of a tree: shape (nodes, 2, d)."""
    slices, boxes = np.column_stack([spans[:, 0], spans.sum(axis=1)]).ravel(), []
    for extreme in (np.minimum, np.maximum):
        of_leaves = extreme.reduceat(points, np.arange(0, len(points), LEAF), axis=0)
        # The end of a slice must be a row, though it does not belong to it: the last leaf comes twice.
        boxes.append(extreme.reduceat(np.vstack([of_leaves, of_leaves[-1]]), slices, axis=0)[::2])
    return np.stack(boxes, axis=1)


@once_of_numbers
def _fill(targets, leaf, count, blocks, source, rows, own, d, matrix, keys, near, which, k, limit):
    """Find the nearest points of a first leaf for a leaf of targets, by sorted keys.

    The bits of those targets are returned whose keys are not clear, and which are to be offered every point.
    """
    first, size = source * LEAF, min(LEAF, rows.size - source * LEAF)
    ranks, left = k if k <= SHORT else 0, 0
    for lane in range(0, count, PANEL):
        unclear = -1
        if ranks > 0:
            unclear = least_keys(
                targets, leaf * LEAF * d + lane, blocks, first * d, d, size, lane if own else LEAF, ranks,
                matrix, keys, lane,
            )  # fmt: skip
        for i in range(lane, min(lane + PANEL, count)):
            clear = unclear >> (i - lane) & 1 == 0
            if not clear:
                left |= 1 << i
            for c in range(k):
                place = place_of(keys[LEAF * c + i]) if clear else 0
                near[i, c] = matrix[LEAF * place + i] if clear else np.inf
                which[i, c] = rows[first + place] if clear else rows.size
            limit[i] = near[i, k - 1]
    return left


def query_tree(start, stop, n, d, target_blocks, target_rows, blocks, rows, spans, boxes, k, *out):
    """Neighbours of the given orders (0 is the nearest) of the targets in some leaves of their own tree.

    One descent serves a leaf of targets: a box is visited if it is nearer than the farthest k-th candidate.
    With `others` both trees are the same, and no target is its own neighbour.
    """
    _query(
        start, stop, n, d, target_blocks, target_rows, blocks, rows, spans, boxes, k, *out,
        np.empty((LEAF, k)), np.empty((LEAF, k), int), np.empty(LEAF), np.empty(LEAF * LEAF),
        np.empty(LEAF * (min(k, SHORT) + 1)), np.empty(64, int), np.empty(64),
    )  # fmt: skip


@kernel_of_numbers
def _query(
    start, stop, n, d, target_blocks, target_rows, blocks, rows, spans, boxes, k, orders, others, distances,
    indices, near, which, limit, squared, keys, stack, away,
):  # fmt: skip
    for leaf in range(start, stop):
        first, at = leaf * LEAF, leaf * LEAF * d
        count = min(LEAF, n - first)
        for i in range(LEAF):
            limit[i] = np.inf if i < count else -1.0
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
                    reached = _fill(
                        target_blocks, leaf, count, blocks, source, rows, others, d, squared, keys, near,
                        which, k, limit,
                    )  # fmt: skip
                    first_leaf = False
                else:
                    reached = compare_box(target_blocks, at, boxes, 2 * d * v, d, limit, away, depth)
                while reached != 0:
                    i = lowest_bit(reached)
                    reached &= reached - 1
                    hits = compare_leaf(
                        target_blocks, at + i, blocks, source * LEAF * d, d, limit[i], squared
                    )
                    if others and source == leaf:
                        hits &= ~(1 << i)
                    while hits != 0:
                        j = lowest_bit(hits)
                        hits &= hits - 1
                        if squared[j] <= limit[i] and squared[j] < np.inf:
                            limit[i] = offer(near, which, i, k, squared[j], rows[source * LEAF + j])
                bound = largest(limit)
                continue
            left, right = v + 1, v + 2 * (leaves // 2)
            compare_box(target_blocks, at, boxes, 2 * d * right, d, limit, away, depth)
            compare_box(target_blocks, at, boxes, 2 * d * left, d, limit, away, depth + 1)
            stack[depth], stack[depth + 1] = right, left
            # The nearer comes on top; of two that touch the leaf, the one that holds it.
            if away[depth] < away[depth + 1] or (away[depth] == away[depth + 1] and leaf >= spans[right, 0]):
                stack[depth], stack[depth + 1] = left, right
                away[depth], away[depth + 1] = away[depth + 1], away[depth]
            depth += 2
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
