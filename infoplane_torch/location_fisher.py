"""Closed forms of the location Fisher information, J = E[(d log f/dx)²], of named families.

J is infinite where a density jumps at an edge of its support, or leaves it as x^(α−1) with α ≤ 2: then
∫ f'²/f diverges, or f' holds a point mass (Huber, "Robust Statistics" (1981), theorem 4.2).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, distributions
from torch.distributions import Distribution


def fisher_diagonal(distribution: Distribution) -> Tensor | None:
    """Diagonal of J, or None where no closed form is known.

    Parameters
    ----------
    distribution : Distribution
        Any distribution.

    Returns
    -------
    Tensor of shape ``batch_shape + (d,)`` or None

    Examples
    --------
    >>> import torch
    >>> from torch.distributions import Laplace
    >>> from infoplane_torch.location_fisher import fisher_diagonal
    >>> fisher_diagonal(Laplace(torch.zeros(2), torch.tensor([1.0, 0.5])))
    tensor([[1.],
            [4.]])
    """
    if type(distribution) is distributions.Independent:
        inner = fisher_diagonal(distribution.base_dist)
        if inner is None:
            return None
        return inner.reshape(*distribution.batch_shape, distribution.event_shape.numel())
    if isinstance(distribution, distributions.MultivariateNormal | distributions.LowRankMultivariateNormal):
        return distribution.precision_matrix.diagonal(dim1=-2, dim2=-1)
    family = _FAMILIES.get(type(distribution))
    return None if family is None else family(distribution).unsqueeze(-1)


def fisher_matrix(distribution: Distribution) -> Tensor | None:
    """J, or None where no closed form is known.

    Parameters
    ----------
    distribution : Distribution
        Any distribution.

    Returns
    -------
    Tensor of shape ``batch_shape + (d, d)`` or None

    Examples
    --------
    >>> import torch
    >>> from torch.distributions import Independent, Laplace
    >>> from infoplane_torch.location_fisher import fisher_matrix
    >>> fisher_matrix(Independent(Laplace(torch.zeros(2), torch.tensor([1.0, 0.5])), 1))
    tensor([[1., 0.],
            [0., 4.]])
    """
    if type(distribution) is distributions.Independent:
        inner = fisher_matrix(distribution.base_dist)
        return None if inner is None else _block_diagonal(inner, distribution)
    if isinstance(distribution, distributions.MultivariateNormal | distributions.LowRankMultivariateNormal):
        return distribution.precision_matrix
    diagonal = fisher_diagonal(distribution)
    return None if diagonal is None else diagonal.unsqueeze(-1)


def _block_diagonal(blocks: Tensor, distribution: distributions.Independent) -> Tensor:
    """Join the J of independent parts (*batch, *parts, e, e) into one matrix (*batch, d, d)."""
    batch, d, e = distribution.batch_shape, distribution.event_shape.numel(), blocks.shape[-1]
    parts = blocks.reshape(*batch, d // e, e, e).movedim(-3, -1)  # (*batch, e, e, parts)
    return torch.diag_embed(parts, dim1=-4, dim2=-2).reshape(*batch, d, d)


def _infinite(q: Distribution) -> Tensor:
    return torch.full_like(q.mean, torch.inf)


def _where(finite: Tensor, formula: Callable[..., Tensor], *arguments: Tensor) -> Tensor:
    """Apply the formula where J is finite, give infinity elsewhere, and NaN in neither gradient."""
    # The formulas have poles outside of their domain: 3 is inside of every one of them.
    inside = (torch.where(finite, argument, 3.0) for argument in arguments)
    return torch.where(finite, formula(*inside), torch.inf)


def _gamma(q: distributions.Gamma) -> Tensor:
    return _where(q.concentration > 2, lambda a, rate: rate**2 / (a - 2), q.concentration, q.rate)


def _beta(q: distributions.Beta) -> Tensor:
    a, b = q.concentration1, q.concentration0
    return _where(
        (a > 2) & (b > 2),
        lambda a, b: (a + b - 1) * (a + b - 2) * (1 / (a - 2) + 1 / (b - 2)),
        a,
        b,
    )


def _weibull(q: distributions.Weibull) -> Tensor:
    # With u = (x/λ)^k ~ Exp(1) the score is ((k − 1) − k u)/x, and its mean square collapses to this.
    return _where(
        q.concentration > 2,
        lambda k, scale: (k - 1) ** 2 * torch.lgamma(1 - 2 / k).exp() / scale**2,
        q.concentration,
        q.scale,
    )


def _inverse_gamma(q: distributions.InverseGamma) -> Tensor:
    a = q.concentration
    return a * (a + 1) * (a + 3) / q.rate**2


def _log_normal(q: distributions.LogNormal) -> Tensor:
    return torch.exp(2 * q.scale**2 - 2 * q.loc) * (1 + q.scale**-2)


# By exact type: a subclass may have changed the density. (Chi2 is a Gamma with other arguments.)
_FAMILIES: dict[type, Callable[..., Tensor]] = {
    distributions.Normal: lambda q: q.scale**-2,
    distributions.Laplace: lambda q: q.scale**-2,
    distributions.Gumbel: lambda q: q.scale**-2,
    distributions.Cauchy: lambda q: q.scale**-2 / 2,
    distributions.StudentT: lambda q: (q.df + 1) / (q.df + 3) * q.scale**-2,
    distributions.LogNormal: _log_normal,
    distributions.Gamma: _gamma,
    distributions.Chi2: _gamma,
    distributions.InverseGamma: _inverse_gamma,
    distributions.Beta: _beta,
    distributions.Weibull: _weibull,
    distributions.Uniform: _infinite,
    distributions.Exponential: _infinite,
    distributions.HalfNormal: _infinite,
    distributions.HalfCauchy: _infinite,
    distributions.Pareto: _infinite,
}
