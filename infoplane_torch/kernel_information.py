"""Entropy and Fisher information of a sample by kernel density estimates, differentiable in the sample."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from infoplane.estimators.base import evenly
from infoplane.estimators.kernel_density import LineKernels, best_bandwidth
from infoplane_torch.kernel_sums import Kernels
from infoplane_torch.whitening import Whitened, as_sample, whiten

# As in `infoplane.KDE`: points over which the likelihood that chooses a bandwidth is averaged, and how much
# wider than the likelihood wants the score wants it, in one dimension and beyond.
_SELECTION_POINTS = 500
_WIDENING_LINE, _WIDENING = 1.6, 1.3
# Up to here kernels are narrow beside the sample: squared distances by products lose three digits or more.
_NARROW_DIMENSIONS = 4


def kde_entropy(x: Tensor, *, bandwidth: float | None = None, max_points: int = 20_000) -> Tensor:
    """Leave-one-out kernel entropy of a sample, H = −mean log f̂₋ᵢ(x_i) in nats, differentiable in it.

    Under x → A x + b it grows by log |det A|.

    Parameters
    ----------
    x : Tensor of shape (n,) or (n, d)
        n independent observations of d variables: codes of as many images, draws from q(z).
    bandwidth : float, optional
        h in units of the whitened sample; by default chosen by leave-one-out likelihood.
    max_points : int, default 20000
        Points at which the density is evaluated at most, evenly spread over the sample's radii; all n are
        always sources.

    Returns
    -------
    Tensor
        A scalar of the dtype of `x`, at least float32.

    Raises
    ------
    TypeError, ValueError, DegenerateSampleError
        If `x` is not a floating-point tensor; has another shape, fewer than max(5d, 20) rows, or NaN; has
        ties or dependent columns. If an option is not positive.

    Notes
    -----
    ``infoplane.KDE()``: Gaussian kernels on whitened data, with bandwidths that adapt to the distance of the
    √n-th neighbour, and a Student t of mass 1/n. The gradient flows through points, whitening and adaptive
    bandwidths; the chosen h is held fixed, at which the likelihood is stationary. Sums over pairs run in
    float64 up to d = 4 and in the dtype of `x` beyond: float32 agrees with float64 to 10⁻⁵. Cost O(m n d)
    with m ≤ `max_points` (n = 10⁵, d = 10: 2·10⁹ kernels), three times that with a gradient; memory
    O(chunk·n).

    *When not to use it:* above d ≈ 4, where smoothing biases it.

    References
    ----------
    I. S. Abramson, Ann. Statist. 10 (1982) 1217–1223.

    Examples
    --------
    >>> import torch
    >>> from infoplane_torch.information import kde_entropy
    >>> z = torch.randn(500, 2, generator=torch.Generator().manual_seed(0))
    >>> kde_entropy(z)  # log 2πe = 2.838
    tensor(2.9166)
    """
    sample = _checked(x, bandwidth, max_points)
    n, d = sample.shape
    whitened = whiten(sample)
    kernels = Kernels.adaptive(whitened.z, search=_sum_dtype(x, d))
    h = bandwidth or _likelihood_bandwidth(kernels, (4 / ((d + 2) * n)) ** (1 / (d + 4)))
    rows = _evenly(kernels.z, max_points)
    log_density = kernels.to(_sum_dtype(x, d)).log_density(rows, h).double()
    return (whitened.log_volume - log_density.mean()).to(_dtype(x))


def kde_fisher_information(x: Tensor, *, bandwidth: float | None = None, max_points: int = 20_000) -> Tensor:
    """Fisher information matrix J = E[s sᵀ], s = ∇ log f, of a sample by kernels, differentiable in it.

    In inverse squared units of x; under x → A x + b it becomes A⁻ᵀ J A⁻¹.

    Parameters
    ----------
    x : Tensor of shape (n,) or (n, d)
        n independent observations of d variables: codes of as many images, draws from q(z).
    bandwidth : float, optional
        h in units of the whitened sample, in one dimension of its robust scale; by default that of the
        leave-one-out likelihood, widened by 1.6 (d = 1) or 1.3.
    max_points : int, default 20000
        Points at which the score is evaluated at most, evenly spread over the sample's radii; all n are
        always sources.

    Returns
    -------
    Tensor of shape (d, d)
        Of the dtype of `x`, at least float32; symmetric, and not below the inverse covariance (Cramér–Rao).

    Raises
    ------
    TypeError, ValueError, DegenerateSampleError
        As `kde_entropy`.

    Notes
    -----
    ``infoplane.KDE()``: Rayleigh's form B(S − V̂)⁻¹B of the variational bound tr J ≥ −2E div v − E|v|², with
    B = −mean ∇ŝ, S = mean ŝŝᵀ and the sampling variance V̂ of the score; exact for Gaussians at every h. Here
    the sums run over products of matrices, O(m n d) where `infoplane` takes O(m n d²), and in one dimension
    over pairs, where it bins (and is off by up to 10⁻³). The chosen h carries no gradient; that of
    the bounds on eigenvalues is exact also where eigenvalues coincide. It can be differentiated once.

    *When not to use it:* above d ≈ 10; for densities with kinks or jumps, where it is low or infinite.

    References
    ----------
    A. J. Stam, Inf. Control 2 (1959) 101–112. P. K. Bhattacharya, Ann. Inst. Statist. Math. 19 (1967) 1–9.

    Examples
    --------
    >>> import torch
    >>> from infoplane_torch.information import kde_fisher_information
    >>> z = 0.5 * torch.randn(500, 2, generator=torch.Generator().manual_seed(0))
    >>> kde_fisher_information(z).diagonal()  # 1/0.5² = 4
    tensor([3.9903, 3.5804])
    """
    sample = _checked(x, bandwidth, max_points)
    n, d = sample.shape
    whitened = whiten(sample)
    fisher = _clamp_eigenvalues(_rayleigh(whitened, bandwidth, max_points, _sum_dtype(x, d)), 1.0, math.inf)
    unbiased = (n - d - 2) / (n - 1)  # what makes the inverse of a sample covariance unbiased
    return (unbiased * whitened.whitener @ fisher @ whitened.whitener.T).to(_dtype(x))


def kde_fisher_trace(x: Tensor, *, bandwidth: float | None = None, max_points: int = 20_000) -> Tensor:
    """Trace of the Fisher information, tr J = E|∇ log f|², of a sample by kernels, differentiable in it.

    In inverse squared units of x; under x → a x + b it is divided by a².

    Parameters
    ----------
    x : Tensor of shape (n,) or (n, d)
        n independent observations of d variables: codes of as many images, draws from q(z).
    bandwidth, max_points
        See `kde_fisher_information`.

    Returns
    -------
    Tensor
        A scalar of the dtype of `x`, at least float32; the trace of `kde_fisher_information`.

    Raises
    ------
    TypeError, ValueError, DegenerateSampleError
        As `kde_entropy`.

    Examples
    --------
    >>> import torch
    >>> from infoplane_torch.information import kde_fisher_trace
    >>> z = 0.5 * torch.randn(500, 2, generator=torch.Generator().manual_seed(0))
    >>> kde_fisher_trace(z)  # 2/0.5² = 8
    tensor(7.5707)
    """
    return kde_fisher_information(x, bandwidth=bandwidth, max_points=max_points).trace()


def _rayleigh(whitened: Whitened, bandwidth: float | None, max_points: int, dtype: torch.dtype) -> Tensor:
    """J of the whitened sample, B(S − V̂)⁻¹B in float64, before it is held to bounds."""
    z = whitened.z
    n, d = z.shape
    scale = z.new_ones(())
    if d == 1:
        # Lengths in units of a robust scale, so that a few outliers do not stretch the kernels.
        low, median, high = torch.quantile(z[:, 0], z.new_tensor([0.25, 0.5, 0.75])).unbind()
        scale = ((high - low) / 1.349).clamp(max=1.0)
        z = (z - median) / scale
        kernels = Kernels.equal(z)
        h = bandwidth or LineKernels(_numpy(whitened.z)[:, 0], widening=_WIDENING_LINE).bandwidth
    else:
        # Curved densities in the plane are better served by equal bandwidths.
        kernels = Kernels.equal(z) if d == 2 else Kernels.adaptive(z, search=dtype)
        reference = (4 / ((d + 4) * n)) ** (1 / (d + 6))
        h = bandwidth or _WIDENING * _likelihood_bandwidth(kernels, reference)
    moments = kernels.to(dtype).score_moments(_evenly(whitened.z, max_points), h)
    slope, second, variance = (moment.double() for moment in moments)
    # The part of S that is not noise, at least 30 % of it in every direction.
    root = torch.linalg.cholesky(second)
    half = torch.linalg.solve_triangular(root, variance, upper=False)
    noise = torch.linalg.solve_triangular(root, half.T, upper=False)
    kept = torch.eye(d, dtype=noise.dtype, device=noise.device) - (noise + noise.T) / 2
    debiased = root @ _clamp_eigenvalues(kept, 0.3, 1.0) @ root.T
    fisher = slope @ torch.linalg.solve(debiased, slope) / scale**2
    return (fisher + fisher.T) / 2


def _likelihood_bandwidth(kernels: Kernels, reference: float) -> float:
    """The h that maximises the leave-one-out likelihood at a few hundred points of the sample."""
    rows = _evenly(kernels.z, _SELECTION_POINTS)

    @torch.no_grad()
    def likelihood(bandwidths: np.ndarray) -> np.ndarray:
        return np.array([float(kernels.log_density(rows, h).mean()) for h in bandwidths.tolist()])

    return best_bandwidth(likelihood, reference)


def _evenly(z: Tensor, limit: int) -> Tensor:
    """Rows that are evenly spread over the radii of a whitened sample, at most `limit` of them."""
    order = z.detach().square().sum(1).argsort(stable=True)
    return torch.from_numpy(evenly(_numpy(order), limit)).to(z.device)


def _clamp_eigenvalues(matrix: Tensor, low: float, high: float) -> Tensor:
    clamped: Tensor = _ClampEigenvalues.apply(matrix, low, high)
    return clamped


class _ClampEigenvalues(torch.autograd.Function):
    """The nearest symmetric matrix with eigenvalues in an interval.

    Its derivative in the eigenbasis is the divided difference (f(λ_i) − f(λ_j))/(λ_i − λ_j) (Daleckii and
    Krein 1965), which unlike that of the eigenvectors is finite where eigenvalues coincide.
    """

    @staticmethod
    def forward(ctx: Any, matrix: Tensor, low: float, high: float) -> Tensor:
        values, vectors = torch.linalg.eigh(matrix)
        ctx.save_for_backward(values, vectors)
        ctx.bounds = low, high
        return (vectors * values.clamp(low, high)) @ vectors.T

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        values, vectors = ctx.saved_tensors
        low, high = ctx.bounds
        clamped, gap = values.clamp(low, high), values[:, None] - values
        inside = ((low < values) & (values < high)).to(values.dtype)
        alike = gap.abs() < 1e-12 * values.abs().max()
        differences = (clamped[:, None] - clamped) / torch.where(alike, 1.0, gap)
        differences = torch.where(alike, inside[:, None], differences)
        gradient = vectors @ (differences * (vectors.T @ gradients[0] @ vectors)) @ vectors.T
        return (gradient + gradient.T) / 2, None, None


def _checked(x: Tensor, bandwidth: float | None, max_points: int) -> Tensor:
    if bandwidth is not None and not 0 < bandwidth < math.inf:
        raise ValueError(f"`bandwidth` must be a positive number, got {bandwidth!r}")
    if max_points < 1:
        raise ValueError(f"`max_points` must be positive, got {max_points!r}")
    return as_sample(x)


def _dtype(x: Tensor) -> torch.dtype:
    return torch.promote_types(x.dtype, torch.float32)


def _sum_dtype(x: Tensor, d: int) -> torch.dtype:
    return torch.float64 if d <= _NARROW_DIMENSIONS else _dtype(x)


def _numpy(values: Tensor) -> np.ndarray:
    return values.detach().cpu().numpy()
