"""All nearest neighbours by comparing all points, a tile of four by eight at a time.

Between points of one set each distance is computed once and offered to both. Pairs of blocks are then taken
in rounds in which no block occurs twice, so that threads never meet in a row of candidates.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from infoplane.kernels.candidates import offer, report
from infoplane.kernels.jit import kernel_of_numbers, over_rows, part_of_numbers
from infoplane.kernels.tiles import TILE, compare_tile, lowest_bit
from infoplane.kernels.vectors import PANEL, packed

Array = NDArray[np.float64]
Rows = NDArray[np.int64]

# Panels whose coordinates stay in the first-level cache hold so many numbers together.
_CACHED = 2048
# Panels of a block of points; most blocks.
_BLOCK, _BLOCKS = 64, 64
# Most candidates held at a time.
_CANDIDATES = 2**24


@part_of_numbers
def _offer(near, which, limit, row, k, value, index):
    limit[row] = offer(near, which, row, k, value, index)


def _compare(start, stop, *arguments):
    _compare_tasks(start, stop, *arguments, np.empty(PANEL * TILE))


@kernel_of_numbers
def _compare_tasks(start, stop, tasks, targets, sources, d, own, mutual, k, limit, near, which, squared):
    """Offer sources to targets in some tasks: panels of targets from … to, panels of sources from … to.

    Target i is source own + i, and not its own neighbour. With `mutual` targets are the sources, and are
    offered to them too. The last panel of limits are those of sources that want no target.
    """
    group = max(1, _CACHED // (PANEL * d))
    nothing = limit.size - PANEL
    for task in range(start, stop):
        for first in range(tasks[task, 2], tasks[task, 3], group):
            last = min(first + group, tasks[task, 3])
            for p in range(tasks[task, 0], tasks[task, 1]):
                # Within a block, panels on the left of the diagonal have been compared already.
                begin = max(first, p) if mutual and tasks[task, 0] == tasks[task, 2] else first
                for row in range(PANEL * p, PANEL * (p + 1), TILE):
                    at = PANEL * d * p + row - PANEL * p
                    for q in range(begin, last):
                        both = mutual and q != p
                        column = PANEL * q if both else nothing
                        hits = compare_tile(
                            targets, at, sources, PANEL * d * q, d, limit, row, column, squared
                        )
                        while hits != 0:
                            bit = lowest_bit(hits)
                            hits &= hits - 1
                            i, j, value = row + bit // PANEL, PANEL * q + bit % PANEL, squared[bit]
                            if value <= limit[i] and value < np.inf and j != own + i:
                                _offer(near, which, limit, i, k, value, j)
                            if both and value <= limit[j] and value < np.inf:
                                _offer(near, which, limit, j, k, value, i)


@kernel_of_numbers
def _report_rows(start, stop, near, which, k, orders, distances, indices):
    for i in range(start, stop):
        report(near, which, i, k, i, orders, distances, indices)


def neighbors_of_targets(
    targets: Array, sources: Array, n: int, k: int, orders: Rows, others: bool, distances: Array,
    indices: Rows,
) -> None:  # fmt: skip
    """Write distances and row numbers of the neighbours of given orders (0 is the nearest).

    Parameters
    ----------
    targets : ndarray of shape (m, d)
        Where to look from.
    sources : ndarray
        What `packed` makes of the points to be found.
    n, k : int
        Their number; how many candidates to hold.
    orders : ndarray of shape (c,)
        Which neighbours, below k.
    others : bool
        The targets are the sources, and none is its own neighbour.
    distances, indices : ndarray of shape (m, c)
        Where to write; `indices` may be empty.
    """
    m, d = targets.shape
    if others and n * k <= _CANDIDATES:
        rounds = _rounds(-(-n // PANEL))
        _search(rounds, sources, sources, n, n, d, 0, True, k, orders, distances, indices)
        return
    step = max(PANEL, _CANDIDATES // k)
    for low in range(0, m, step):
        part = targets[low : low + step]
        cuts = _cuts(-(-len(part) // PANEL))
        tasks = np.column_stack([cuts[:-1], cuts[1:], np.zeros_like(cuts[1:]), 0 * cuts[1:] + -(-n // PANEL)])
        _search(
            [tasks], packed(part), sources, len(part), n, d, low if others else -2 * m - n, False, k, orders,
            distances[low : low + step], indices[low : low + step],
        )  # fmt: skip


def _search(
    rounds: list[Rows], targets: Array, sources: Array, m: int, n: int, d: int, own: int, mutual: bool,
    k: int, orders: Rows, distances: Array, indices: Rows,
) -> None:  # fmt: skip
    near, which = np.full((m, k), np.inf), np.full((m, k), n)
    limit = np.full(targets.size // d + PANEL, -1.0)
    limit[:m] = np.inf
    for tasks in rounds:
        over_rows(
            _compare, len(tasks), tasks, targets, sources, d, own, mutual, k, limit, near, which, grain=1
        )
    over_rows(_report_rows, m, near, which, k, orders, distances, indices, grain=4096)


def _cuts(panels: int) -> Rows:
    """Where blocks of panels begin and end; an even number of blocks if more than one."""
    blocks = min(-(-panels // _BLOCK), _BLOCKS)
    blocks += blocks % 2 if blocks > 1 else 0
    return np.linspace(0, panels, blocks + 1).astype(np.int64)


def _rounds(panels: int) -> list[Rows]:
    """Tasks of every pair of blocks, in rounds in which no block occurs twice: a tournament by rotation."""
    cuts = _cuts(panels)
    blocks = cuts.size - 1
    order = np.arange(blocks)
    found = [np.column_stack([order, order])]
    for _ in range(blocks - 1):
        found.append(np.column_stack([order[: blocks // 2], order[: blocks // 2 - 1 : -1]]))
        order = np.concatenate([order[:1], order[-1:], order[1:-1]])
    return [
        np.column_stack([cuts[a], cuts[a + 1], cuts[b], cuts[b + 1]]) for a, b in (pair.T for pair in found)
    ]
