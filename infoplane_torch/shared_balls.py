"""Mutual information of samples by counting neighbours, on any device."""

from __future__ import annotations

import torch
from scipy.special import digamma
from torch import Tensor

from infoplane_torch.neighbors import rows_at_a_time
from infoplane_torch.whitening import as_sample


def ksg_mutual_information(x: Tensor, y: Tensor, *, k: int = 3) -> Tensor:
    """Mutual information I(X; Y) of two samples by counting neighbours, in nats and without gradient.

    ψ(k) − 1/k + ψ(n) − ⟨ψ(n_x) + ψ(n_y)⟩ of normal scores: increasing maps of each column change nothing.

    Parameters
    ----------
    x, y : Tensor of shape (n,) or (n, d)
        Observations in the same rows, for example codes and the features of the images.
    k : int, default 3
        Neighbours that span a box in the joint space; n_x and n_y count the points in its shadows.

    Returns
    -------
    Tensor
        A scalar in float64: ``infoplane.mutual_information(x, y, method="ksg")``.

    Raises
    ------
    TypeError, ValueError, DegenerateSampleError
        If `x` or `y` is not a floating-point tensor; has another shape, too few rows, NaN or ties; if they
        differ in their number of rows, or `k` is out of range.

    Notes
    -----
    Unbiased at independence; low where the joint density changes within the distance of neighbours, and never
    above log n. O(n² (d_x + d_y)) operations, in O(chunk·n) memory: on a CPU `infoplane` is faster.
    To train with, see `infoplane_torch.information.knn_mutual_information`.

    References
    ----------
    A. Kraskov, H. Stögbauer, P. Grassberger, Phys. Rev. E 69 (2004) 066138, eq. (9).

    Examples
    --------
    >>> import torch
    >>> from infoplane_torch.information import ksg_mutual_information
    >>> x, noise = torch.randn(2, 2000, generator=torch.Generator().manual_seed(0))
    >>> ksg_mutual_information(x, 0.8 * x + 0.6 * noise)  # −½ log(1 − 0.8²) = 0.511
    tensor(0.5979, dtype=torch.float64)
    """
    if len(x) != len(y):
        raise ValueError(f"`x` and `y` must have the same number of rows, got {len(x)} and {len(y)}")
    n = len(x)
    if not 1 <= k <= n - 2:
        raise ValueError(f"`k` must lie between 1 and n − 2 = {n - 2}, got {k}")
    blocks = [
        _normal_scores(as_sample(x.detach(), name="x")),
        _normal_scores(as_sample(y.detach(), name="y")),
    ]
    total = torch.zeros((), dtype=torch.float64, device=x.device)
    for rows in torch.arange(n, device=x.device).split(rows_at_a_time(n, x.device)):
        distances = [_box_distances(block, rows) for block in blocks]
        joint = torch.maximum(*distances)
        joint.scatter_(1, rows[:, None], torch.inf)
        # Mirrored scores may be equally far: all of those count, lest the result depend on the rows' order.
        inside = joint <= joint.kthvalue(k, dim=1, keepdim=True).values
        for distance in distances:
            extent = torch.where(inside, distance, 0.0).amax(1, keepdim=True)
            total += torch.digamma((distance <= extent).sum(1).double() - 1).sum()
    return float(digamma(k) - 1 / k + digamma(n)) - total / n


def _box_distances(points: Tensor, rows: Tensor) -> Tensor:
    """Maximum-norm distances of some rows to all points, (c, n)."""
    table = torch.zeros((len(rows), len(points)), dtype=points.dtype, device=points.device)
    for column in points.T.contiguous():
        torch.maximum(table, (column - column[rows, None]).abs_(), out=table)
    return table


def _normal_scores(sample: Tensor) -> Tensor:
    """Φ⁻¹((rank − ½)/n) of each column; tied values share their mean rank."""
    scores = []
    for column in sample.T.contiguous():
        _, place, counts = torch.unique(column, return_inverse=True, return_counts=True)
        ranks = counts.cumsum(0).double() - 0.5 * counts
        scores.append(torch.special.ndtri(ranks / len(column))[place])
    return torch.stack(scores, dim=1)
