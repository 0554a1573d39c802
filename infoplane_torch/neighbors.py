"""Nearest neighbours within a sample on any device: a k-d tree, or products of matrices with exact ends.

Only the choice of the neighbours is made here, which has no gradient; distances to those chosen do.
"""

from __future__ import annotations

import torch
from scipy.spatial import cKDTree
from torch import Tensor

# Up to here a k-d tree beats brute force on a CPU (n = 10⁴ to 10⁵), and brute force sees too many pairs that
# are closer than a product of matrices can tell.
_TREE_DIMENSIONS = 8
_DIRECT_DIMENSIONS = 3
# More candidates than neighbours, so that rounding may shuffle them without harm.
_SPARE = 16
# |x|² − 2 x·t is known to this share of (|x| + |t|)², in the least accurate mode of products of float32
# matrices that a user may have chosen (bfloat16; TF32 is eight times as accurate).
_ROUNDING = {torch.float32: 2.0**-7, torch.float64: 2.0**-42}
# Numbers held at a time: some that stay in a CPU's cache, and enough to keep a GPU busy.
_CPU_PAIRS, _GPU_PAIRS = 2**18, 2**24


def rows_at_a_time(n: int, device: torch.device) -> int:
    """How many rows of an n-column table to hold at once.

    Parameters
    ----------
    n : int
        Columns.
    device : torch.device
        Where.

    Returns
    -------
    int

    Examples
    --------
    >>> import torch
    >>> from infoplane_torch.neighbors import rows_at_a_time
    >>> rows_at_a_time(10_000, torch.device("cpu"))
    26
    """
    return max(8, (_CPU_PAIRS if device.type == "cpu" else _GPU_PAIRS) // n)


def neighbors(points: Tensor, *ks: int) -> Tensor:
    """Find the k-th nearest other point of each point, for every k asked for, by Euclidean distance.

    Parameters
    ----------
    points : Tensor of shape (n, d)
        Distinct points, float32 or float64.
    *ks : int
        Which neighbours, at most n − 1, ascending.

    Returns
    -------
    Tensor of shape (n, len(ks))
        Their row numbers.

    Notes
    -----
    A k-d tree on a CPU up to d = 8. Otherwise, in chunks of rows, a product of matrices proposes max(ks) + 16
    candidates, whose distances are computed again from differences; a bound on the rounding of the product
    tells the rows for which a nearer point may have been missed, and those are searched by differences. So
    the result does not depend on the precision of matrix products that a user has chosen. O(n² d) operations
    (n = 10⁵, d = 10: 2·10¹¹), O(chunk·n) memory.

    Examples
    --------
    >>> import torch
    >>> from infoplane_torch.neighbors import neighbors
    >>> neighbors(torch.tensor([[0.0], [1.0], [3.0], [7.0]]), 1, 2).tolist()
    [[1, 2], [0, 2], [1, 0], [2, 1]]
    """
    points = points.detach()
    if points.device.type == "cpu" and points.shape[1] <= _TREE_DIMENSIONS:
        return _by_tree(points, ks)
    return _by_products(points, ks)


def squared_distances(points: Tensor, others: Tensor) -> Tensor:
    """Squared distances of each point to some of the others, differentiable.

    Parameters
    ----------
    points : Tensor of shape (n, d)
        The points.
    others : Tensor of shape (n, m)
        Row numbers, from `neighbors`.

    Returns
    -------
    Tensor of shape (n, m)

    Examples
    --------
    >>> import torch
    >>> from infoplane_torch.neighbors import neighbors, squared_distances
    >>> x = torch.tensor([[0.0], [1.0], [3.0]])
    >>> squared_distances(x, neighbors(x, 1)).flatten()
    tensor([1., 1., 4.])
    """
    # One neighbour after the other: (n, m, d) numbers would be many.
    return torch.stack([(points - points[other]).square().sum(1) for other in others.unbind(1)], dim=1)


def _by_tree(points: Tensor, ks: tuple[int, ...]) -> Tensor:
    array = points.double().numpy()
    threads = torch.get_num_threads()
    # A point is its own nearest neighbour; where another lies on it, that one will do for the distance zero.
    _, found = cKDTree(array).query(array, [k + 1 for k in ks], workers=threads)
    return torch.from_numpy(found)


def _by_products(points: Tensor, ks: tuple[int, ...]) -> Tensor:
    n, d = points.shape
    found = torch.empty((n, len(ks)), dtype=torch.int64, device=points.device)
    wanted = torch.tensor(ks, device=points.device) - 1
    size = rows_at_a_time(n, points.device)
    search = _directly if d <= _DIRECT_DIMENSIONS else _proposed
    with torch.autocast(points.device.type, enabled=False):
        norms = points.square().sum(1)
        for rows in torch.arange(n, device=points.device).split(size):
            found[rows] = search(points, norms, rows, max(ks))[:, wanted]
    return found


def _proposed(points: Tensor, norms: Tensor, rows: Tensor, k: int) -> Tensor:
    """The k nearest others of some rows in ascending order, (c, k)."""
    n, targets = len(points), points[rows]
    # |x|² − 2 x·t orders points like their distances from t.
    table = torch.addmm(norms, targets, points.T, alpha=-2)
    table.scatter_(1, rows[:, None], torch.inf)
    values, candidates = table.topk(min(k + _SPARE, n - 1), largest=False, sorted=False)
    exact = (points[candidates] - targets[:, None]).square().sum(2)
    exact, order = exact.sort(1)
    nearest = candidates.gather(1, order[:, :k])
    if candidates.shape[1] == n - 1:
        return nearest
    # A point nearer than the k-th has a norm of at most |t| + r, so its entry is off by no more than this.
    norm, radius = norms[rows], exact[:, k - 1]
    slack = _ROUNDING[points.dtype] * (2 * norm.sqrt() + radius.sqrt()).square()
    unsure = (radius + slack > values.amax(1) + norm).nonzero().flatten()
    if len(unsure):
        nearest[unsure] = _directly(points, norms, rows[unsure], k)
    return nearest


def _directly(points: Tensor, norms: Tensor, rows: Tensor, k: int) -> Tensor:
    """The same by differences, which resolve points that are much closer to each other than to the origin."""
    table = torch.zeros((len(rows), len(points)), dtype=points.dtype, device=points.device)
    for column in points.T.contiguous():
        difference = column - column[rows, None]
        table.addcmul_(difference, difference)
    table.scatter_(1, rows[:, None], torch.inf)
    return table.topk(k, largest=False, sorted=True).indices
