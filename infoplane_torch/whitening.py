"""From a tensor of codes to a checked, whitened sample, differentiable in the codes."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from infoplane.errors import DegenerateSampleError
from infoplane.estimators.base import least_rows

# A column whose part outside of the span of the others is below this share of it: the Cholesky factor of a
# correlation matrix knows no smaller one in float64.
_DEPENDENT = 1e-7
# Below float64 numbers coincide by chance, in one dimension at n = 10⁴ already; above this share of the rows
# they are discrete.
_CHANCE = 0.1


class Whitened(NamedTuple):
    """A sample in units of its own, z = (x − mean) @ whitener, of covariance exactly the identity.

    Attributes
    ----------
    z : Tensor of shape (n, d)
        The whitened sample, in float64.
    whitener : Tensor of shape (d, d)
        The map, in float64; J_x = whitener · J_z · whitenerᵀ.
    log_volume : Tensor
        log √det S, S the sample covariance: what the entropy of x has beyond that of z. A scalar in float64.
    """

    z: Tensor
    whitener: Tensor
    log_volume: Tensor


def as_sample(x: Tensor, *, name: str = "x") -> Tensor:
    """Check a tensor of observations, and give it the shape (n, d).

    Parameters
    ----------
    x : Tensor of shape (n,) or (n, d)
        n observations of d variables.
    name : str, default "x"
        How error messages call it.

    Returns
    -------
    Tensor of shape (n, d)
        In float64, on the same device, with the gradient of `x`.

    Raises
    ------
    TypeError
        If `x` is not a floating-point tensor.
    ValueError
        If it has another shape or fewer than max(5d, 20) rows, or holds NaN or infinity.
    DegenerateSampleError
        If rows are repeated: such a sample has no density. (Below float64 a tenth of them may be, by chance.)

    Examples
    --------
    >>> import torch
    >>> from infoplane_torch.whitening import as_sample
    >>> as_sample(torch.rand(30)).shape
    torch.Size([30, 1])
    """
    if not (isinstance(x, Tensor) and x.is_floating_point()):
        got = x.dtype if isinstance(x, Tensor) else type(x).__name__
        raise TypeError(f"`{name}` must be a floating-point tensor, got {got}")
    if x.ndim not in (1, 2) or x.shape[-1] == 0:
        raise ValueError(f"`{name}` must have shape (n,) or (n, d), got {tuple(x.shape)}")
    sample = x[:, None] if x.ndim == 1 else x
    n, d = sample.shape
    if n < least_rows(d):
        raise ValueError(
            f"`{name}` must have at least {least_rows(d)} rows (observations) for its d = {d} columns, "
            f"got {n}"
        )
    finite = torch.isfinite(sample)
    if not bool(finite.all()):
        raise ValueError(f"`{name}` must be finite, got {int((~finite).sum())} entries that are not")
    repeated = _repeated_rows(sample.detach())
    if repeated > (0 if x.dtype == torch.float64 else _CHANCE * n):
        raise DegenerateSampleError(
            f"`{name}` has {repeated} repeated rows among {n}: a sample with ties has no density; codes of "
            "repeated images, or float16 codes, have them"
        )
    return sample.double()


def _repeated_rows(sample: Tensor) -> int:
    first = sample[:, 0].sort().values
    if not bool((first[1:] == first[:-1]).any()):
        return 0
    return len(sample) - len(torch.unique(sample, dim=0))


def whiten(sample: Tensor, *, name: str = "x") -> Whitened:
    """Centre, scale and decorrelate a sample.

    Parameters
    ----------
    sample : Tensor of shape (n, d)
        From `as_sample`.
    name : str, default "x"
        How error messages call it.

    Returns
    -------
    Whitened
        By a Cholesky factor and not, like `infoplane`, by singular values: the two differ by a rotation,
        which no estimator of this package sees, and this one has a gradient where singular values coincide.

    Raises
    ------
    DegenerateSampleError
        If a column is constant, or the columns are linearly dependent.

    Examples
    --------
    >>> import torch
    >>> from infoplane_torch.whitening import as_sample, whiten
    >>> x = torch.rand(50, 2, generator=torch.Generator().manual_seed(0))
    >>> bool((whiten(as_sample(x)).z.T.cov() - torch.eye(2)).abs().max() < 1e-12)
    True
    """
    n, _ = sample.shape
    centered = sample - sample.mean(0)
    centered = centered - centered.mean(0)  # the rounding that a large offset leaves
    spread = (centered.square().sum(0) / (n - 1)).sqrt()
    constant = (sample.amax(0) == sample.amin(0)).nonzero().flatten()
    if len(constant):
        raise DegenerateSampleError(
            f"`{name}` must vary in every column, got constant column(s) {constant.tolist()}"
        )
    standard = centered / spread
    root, info = torch.linalg.cholesky_ex(standard.T @ standard / (n - 1))
    if bool(info != 0) or bool(root.diagonal().min() < _DEPENDENT):
        raise DegenerateSampleError(
            f"`{name}` must have linearly independent columns: a sample without volume has no density"
        )
    z = torch.linalg.solve_triangular(root, standard.T, upper=False).T
    identity = torch.eye(len(root), dtype=root.dtype, device=root.device)
    whitener = torch.linalg.solve_triangular(root, identity, upper=False).T / spread[:, None]
    return Whitened(z, whitener, spread.log().sum() + root.diagonal().log().sum())
