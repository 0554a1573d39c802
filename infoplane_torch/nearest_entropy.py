"""Entropy and mutual information of a sample by nearest neighbours, differentiable in the sample."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from scipy.special import digamma
from torch import Tensor

from infoplane.errors import DegenerateSampleError
from infoplane.estimators.nearest_balls import log_ball_volume, normal_bias
from infoplane_torch.neighbors import neighbors, squared_distances
from infoplane_torch.whitening import as_sample, whiten

Variant = Literal["calibrated", "whitened", "plain"]


def knn_entropy(x: Tensor, *, k: int | None = None, variant: Variant = "calibrated") -> Tensor:
    """Kozachenko–Leonenko entropy of a sample, in nats, differentiable in it.

    H = ψ(n) − ψ(k) + log V_d + (d/n) Σ log ε_k(i), ε_k(i) the distance of point i to its k-th neighbour.
    Under x → A x + b it grows by log |det A| ("plain": for orthogonal A and multiples of it).

    Parameters
    ----------
    x : Tensor of shape (n,) or (n, d)
        n independent observations of d variables: codes of as many images, draws from q(z).
    k : int, optional
        Which neighbour; by default 3, and 10 in one dimension.
    variant : {"calibrated", "whitened", "plain"}, default "calibrated"
        Distances of the whitened sample, and the exact bias under a normal law subtracted, as
        ``infoplane.KNN()``; only whitened, as ``infoplane.KNN(calibrate=False)``; or distances as they are,
        the estimator of 1987.

    Returns
    -------
    Tensor
        A scalar of the dtype of `x`, at least float32.

    Raises
    ------
    TypeError, ValueError, DegenerateSampleError
        If `x` is not a floating-point tensor; has another shape, fewer than max(5d, 20, k + 2) rows, or NaN;
        has ties or dependent columns ("plain": ties). If an option is unknown.

    Notes
    -----
    The gradient is that of the distances to the neighbours that were found: exact almost everywhere, as the
    neighbours change only where two are equally far. Everything but the search of float32 samples on a GPU
    is computed in float64, and agrees with `infoplane` to its rounding. Cost: see
    `infoplane_torch.neighbors.neighbors`; memory O(n d) and chunks of the search.

    *When not to use it:* beyond d ≈ 10 for rotated, clustered or curved codes, where the bias takes over;
    with fewer than 50 d rows the calibration is off by up to 0.05 nats a dimension. The gradient of "plain"
    pushes each code from its k-th neighbour and does nothing else.

    References
    ----------
    L. F. Kozachenko, N. N. Leonenko, Probl. Inf. Transm. 23 (1987) 95–101.
    A. Kraskov, H. Stögbauer, P. Grassberger, Phys. Rev. E 69 (2004) 066138, eq. (20).

    Examples
    --------
    >>> import torch
    >>> from infoplane_torch.information import knn_entropy
    >>> z = torch.randn(2000, 2, generator=torch.Generator().manual_seed(0), requires_grad=True)
    >>> h = knn_entropy(z)
    >>> h  # log 2πe = 2.838
    tensor(2.7982, grad_fn=<ToCopyBackward0>)
    >>> h.backward()
    """
    if variant not in get_args(Variant):
        raise ValueError(f"`variant` must be one of {get_args(Variant)}, got {variant!r}")
    return _entropy(as_sample(x), k, variant, _search_dtype(x)).to(_result_dtype(x))


def knn_mutual_information(
    x: Tensor, y: Tensor, *, k: int | None = None, variant: Variant = "calibrated"
) -> Tensor:
    """Mutual information I = H(X) + H(Y) − H(X, Y) of two samples by nearest neighbours, in nats.

    Each term is `knn_entropy`, so the whole is differentiable in both samples. Affine maps of `x` and of `y`
    change nothing (except with "plain").

    Parameters
    ----------
    x, y : Tensor of shape (n,) or (n, d)
        Observations in the same rows, for example codes and a projection of the images.
    k : int, optional
        Which neighbour, in all terms; by default 3, and 10 for a term in one dimension.
    variant : {"calibrated", "whitened", "plain"}, default "calibrated"
        See `knn_entropy`; "calibrated" is ``infoplane.mutual_information(x, y, method="knn")``, and unbiased
        for normal variables.

    Returns
    -------
    Tensor
        A scalar of the dtype of `x`, at least float32. It may fall below zero by its error.

    Raises
    ------
    TypeError, ValueError, DegenerateSampleError
        As `knn_entropy`, of `x`, `y` or both together; if they differ in their number of rows.

    Notes
    -----
    For a number to report `infoplane_torch.shared_balls.ksg_mutual_information` is the better one: its
    biases cancel at independence, but it counts, and has no gradient. *When not to use it:* where `y` is a
    function of `x`, and I infinite.

    References
    ----------
    A. Kraskov, H. Stögbauer, P. Grassberger, Phys. Rev. E 69 (2004) 066138, eq. (2).

    Examples
    --------
    >>> import torch
    >>> from infoplane_torch.information import knn_mutual_information
    >>> x, noise = torch.randn(2, 2000, generator=torch.Generator().manual_seed(0))
    >>> knn_mutual_information(x, 0.8 * x + 0.6 * noise)  # −½ log(1 − 0.8²) = 0.511
    tensor(0.5849)
    """
    if variant not in get_args(Variant):
        raise ValueError(f"`variant` must be one of {get_args(Variant)}, got {variant!r}")
    if len(x) != len(y):
        raise ValueError(f"`x` and `y` must have the same number of rows, got {len(x)} and {len(y)}")
    first, second = as_sample(x, name="x"), as_sample(y, name="y")
    joint = as_sample(torch.cat((first, second), dim=1), name="x and y")
    dtype = _search_dtype(x)
    parts = [_entropy(sample, k, variant, dtype) for sample in (first, second, joint)]
    return (parts[0] + parts[1] - parts[2]).to(_result_dtype(x))


def _entropy(sample: Tensor, k: int | None, variant: Variant, search: torch.dtype) -> Tensor:
    n, d = sample.shape
    k = (10 if d == 1 else 3) if k is None else k
    if not 1 <= k <= n - 2:
        raise ValueError(f"`k` must lie between 1 and n − 2 = {n - 2}, got {k}")
    z, log_volume = sample, sample.new_zeros(())
    if variant != "plain":
        z, _, log_volume = whiten(sample)
    nearest = neighbors(z.to(search), k)
    tied = (sample[nearest[:, 0]] == sample).all(1)
    if bool(tied.any()):
        raise DegenerateSampleError(
            f"rows must not be repeated more than k = {k} times, got {int(tied.sum())} that are: "
            "a sample with ties has no density"
        )
    squared = squared_distances(z, nearest)
    bias = normal_bias(n, d, k) if variant == "calibrated" else 0.0
    constant = float(digamma(n) - digamma(k)) + log_ball_volume(d) - bias
    return constant + log_volume + 0.5 * d * squared.log().mean()


def _search_dtype(x: Tensor) -> torch.dtype:
    """What neighbours are sought in: on a GPU float64 only if it was asked for."""
    return torch.float32 if x.device.type != "cpu" and x.dtype != torch.float64 else torch.float64


def _result_dtype(x: Tensor) -> torch.dtype:
    return torch.promote_types(x.dtype, torch.float32)
