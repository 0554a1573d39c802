"""Gaussian kernel sums that leave each point out, differentiable, in chunks that never hold n² numbers.

The densities are those of `infoplane.estimators.kernel_density`: kernels of bandwidth h·b_j at the rows of a
whitened sample and, below them, a Student t (ν = 4) of mass 1/n that carries the tails. Chunks are computed
again in the backward pass instead of being stored.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from infoplane_torch.neighbors import neighbors, rows_at_a_time, squared_distances

_NU = 4.0


class Kernels(NamedTuple):
    """Kernels at the points of a whitened sample, each with a precision 1/b_j² of its own.

    A point i that is one of j's neighbours has helped to choose b_j; where i is left out, j's precision is
    the one without it, ``near``.

    Attributes
    ----------
    z : Tensor of shape (n, d)
        The points.
    precision, near : Tensor of shape (n,)
        1/b_j² from the k-th and from the (k+1)-th neighbour.
    reach : Tensor of shape (n,)
        Squared distance within which points are j's neighbours, without gradient.
    """

    z: Tensor
    precision: Tensor
    near: Tensor
    reach: Tensor

    @classmethod
    def equal(cls, z: Tensor) -> Kernels:
        """Kernels of one bandwidth.

        Parameters
        ----------
        z : Tensor of shape (n, d)
            The points.
        """
        one = torch.ones_like(z[:, 0])
        return cls(z, one, one, -one)

    @classmethod
    def adaptive(cls, z: Tensor, *, search: torch.dtype) -> Kernels:
        """Kernels with b_j² = r_k(j) over its geometric mean, r_k(j) the distance to the k-th neighbour.

        Parameters
        ----------
        z : Tensor of shape (n, d)
            The points; k = max(√n, 2d).
        search : torch.dtype
            What neighbours are sought in.
        """
        n, d = z.shape
        k = min(max(round(math.sqrt(n)), 2 * d), n - 2)
        squared = squared_distances(z, neighbors(z.to(search), k, k + 1))
        log_precision = -0.5 * squared.log()
        log_precision = log_precision - log_precision[:, 0].mean()
        # Half way between the two distances, where no rounding decides who is a neighbour.
        precision, near = log_precision.exp().unbind(1)
        return cls(z, precision, near, squared.detach().mean(1))

    def to(self, dtype: torch.dtype) -> Kernels:
        """The same kernels in another precision.

        Parameters
        ----------
        dtype : torch.dtype
            float32 or float64.
        """
        z, precision, near, reach = (values.to(dtype) for values in self)
        return Kernels(z, precision, near, reach)

    def log_density(self, rows: Tensor, h: float) -> Tensor:
        """Log density at points of the sample, each left out.

        Parameters
        ----------
        rows : Tensor of shape (m,)
            Which.
        h : float
            Bandwidth.

        Returns
        -------
        Tensor of shape (m,)
        """
        chunks = rows.split(rows_at_a_time(len(self.z), self.z.device))
        return torch.cat([_again_in_backward(_log_density, chunk, h, *self) for chunk in chunks])

    def score_moments(self, rows: Tensor, h: float) -> ScoreMoments:
        """Moments of the score field at points of the sample, each left out.

        Parameters
        ----------
        rows : Tensor of shape (m,)
            Which.
        h : float
            Bandwidth.

        Returns
        -------
        ScoreMoments
        """
        chunks = rows.split(rows_at_a_time(len(self.z), self.z.device))
        slope, second, variance = (
            sum(parts)
            for parts in zip(
                *(_again_in_backward(_score_sums, chunk, h, *self) for chunk in chunks), strict=True
            )
        )
        return ScoreMoments(slope / len(rows), second / len(rows), variance / len(rows))


class ScoreMoments(NamedTuple):
    """Averages over points of an estimated score field s.

    Attributes
    ----------
    slope : Tensor of shape (d, d)
        −mean ∇s.
    second : Tensor of shape (d, d)
        mean s sᵀ.
    variance : Tensor of shape (d, d)
        Mean sampling covariance of s.
    """

    slope: Tensor
    second: Tensor
    variance: Tensor


def _again_in_backward(function, *arguments):  # type: ignore[no-untyped-def]
    if not torch.is_grad_enabled():
        return function(*arguments)
    return checkpoint(function, *arguments, use_reentrant=False, preserve_rng_state=False)


def _log_weights(
    rows: Tensor, h: float, z: Tensor, precision: Tensor, near: Tensor, reach: Tensor
) -> tuple[Tensor, Tensor]:
    """log of the kernels at some rows over n − 1, (c, n), −∞ at the row itself, and their precisions."""
    n, d = z.shape
    norms = z.square().sum(1)
    squared = torch.addmm(norms, z[rows], z.T, alpha=-2) + norms[rows, None]
    squared = squared.clamp(min=0)
    is_near, near, precision = squared <= reach, near / h**2, precision / h**2
    rate = torch.where(is_near, near, precision)
    # Logarithms of n numbers, not of the table.
    constant = math.log(n - 1) + 0.5 * d * math.log(2 * math.pi)
    near_peak, far_peak = (0.5 * d * rates.log() - constant for rates in (near, precision))
    peak = torch.where(is_near, near_peak, far_peak)
    exponent = torch.addcmul(peak, squared, rate, value=-0.5)
    return exponent.scatter_(1, rows[:, None], -torch.inf), rate


def _log_density(rows: Tensor, h: float, z: Tensor, precision: Tensor, near: Tensor, reach: Tensor) -> Tensor:
    with torch.autocast(z.device.type, enabled=False):
        weights, _ = _log_weights(rows, h, z, precision, near, reach)
        return torch.logaddexp(*_mixture(weights.logsumexp(1), z[rows], len(z)))


def _score_sums(
    rows: Tensor, h: float, z: Tensor, precision: Tensor, near: Tensor, reach: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Sums over some rows of −∇s, s sᵀ and Var s, (d, d) each, by products of matrices alone."""
    with torch.autocast(z.device.type, enabled=False):
        targets, identity = z[rows], torch.eye(z.shape[1], dtype=z.dtype, device=z.device)
        exponent, rate = _log_weights(rows, h, z, precision, near, reach)
        weight = exponent.softmax(1)  # (c, n)
        pull = weight * rate
        score = _shifts(pull, targets, z)  # (c, d)
        log_kernels, log_base = _mixture(exponent.logsumexp(1), targets, len(z))
        share = (log_kernels - log_base).sigmoid()[:, None]  # of the kernels in the density, (c, 1)
        # For f = Σ p_c f_c with posterior weights p: s = Σ p s_c and ∇s + ssᵀ = Σ p (∇s_c + s_c s_cᵀ).
        precision_of_base = (_NU + targets.shape[1]) / (_NU + targets.square().sum(1, keepdim=True))
        score_of_base = -precision_of_base * targets
        mixed = share * score + (1 - share) * score_of_base
        second = mixed.T @ mixed
        curved = _outer(share * pull * rate, targets, z) - (share * pull).sum() * identity
        base = (1 + 2 / (_NU + targets.shape[1])) * ((1 - share) * score_of_base).T @ score_of_base
        base = base - ((1 - share) * precision_of_base).sum() * identity
        # Var s = Σ w² (u − s)(u − s)ᵀ/(Σ w)², u_j = (x_j − t) / (h b_j)²
        square = (share * weight).square()
        of_shifts = _shifts(square * rate, targets, z).T @ score
        variance = _outer(square * rate.square(), targets, z) - of_shifts - of_shifts.T
        variance = variance + (square.sum(1, keepdim=True) * score).T @ score
        return second - curved - base, second, variance


def _mixture(log_kernels: Tensor, targets: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Log densities of the kernels and of the background, each with its share of the mass."""
    d = targets.shape[1]
    constant = math.lgamma((_NU + d) / 2) - math.lgamma(_NU / 2) - 0.5 * d * math.log(_NU * math.pi)
    log_base = constant - 0.5 * (_NU + d) * torch.log1p(targets.square().sum(1) / _NU)
    return log_kernels + math.log1p(-1 / n), log_base - math.log(n)


def _shifts(weights: Tensor, targets: Tensor, z: Tensor) -> Tensor:
    """Σ_j a_ij (x_j − t_i), (c, d)."""
    return weights @ z - weights.sum(1, keepdim=True) * targets


def _outer(weights: Tensor, targets: Tensor, z: Tensor) -> Tensor:
    """Σ_ij a_ij (x_j − t_i)(x_j − t_i)ᵀ, (d, d)."""
    mixed = targets.T @ (weights @ z)
    own = (z * weights.sum(0)[:, None]).T @ z + (targets * weights.sum(1, keepdim=True)).T @ targets
    return own - mixed - mixed.T
