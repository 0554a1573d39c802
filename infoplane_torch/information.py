"""Entropy, entropy power and Fisher information of distributions and of samples, in nats and differentiable.

The functions defined here take a distribution; those named after their method, like `knn_entropy`, take a
sample: codes of a batch, draws from the aggregated posterior.

Fisher information is that of the *location*: J = E[s sᵀ] with s = ∇_x log f(x), a property of the density
itself and not of a parameter. Where a closed form exists it is used; otherwise Monte Carlo with autograd.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, distributions
from torch.distributions import Distribution, Independent, MultivariateNormal, Normal

from infoplane_torch.kernel_information import kde_entropy, kde_fisher_information, kde_fisher_trace
from infoplane_torch.location_fisher import fisher_diagonal, fisher_matrix
from infoplane_torch.monte_carlo import MonteCarlo, Quantity, draw, monte_carlo, require_density, score
from infoplane_torch.nearest_entropy import knn_entropy, knn_mutual_information
from infoplane_torch.shared_balls import ksg_mutual_information

__all__ = [
    "entropy",
    "entropy_power",
    "fisher_information",
    "fisher_trace",
    "has_closed_form",
    "kl_divergence",
    "power_from_entropy",
    "score",
    "monte_carlo",
    "MonteCarlo",
    "knn_entropy",
    "knn_mutual_information",
    "ksg_mutual_information",
    "kde_entropy",
    "kde_fisher_information",
    "kde_fisher_trace",
]


def entropy(
    distribution: Distribution, *, reduction: Literal["sum", "mean"] = "sum", num_samples: int = 256
) -> Tensor:
    """Differential entropy H = −E[log f] in nats.

    Under x → A x + b it grows by log |det A|; the entropy power exp(2H/d)/(2πe) by |det A|^(2/d).

    Parameters
    ----------
    distribution : Distribution
        Any continuous distribution; d is the number of elements of its event.
    reduction : {"sum", "mean"}, default "sum"
        H itself, or H/d.
    num_samples : int, default 256
        Draws of the Monte Carlo, if there is no closed form.

    Returns
    -------
    Tensor of shape ``batch_shape``

    Raises
    ------
    TypeError
        If the distribution is discrete, or has no density with respect to volume (like a Dirichlet).
    ValueError
        If gradients are wanted of a distribution that is neither in closed form nor reparameterised.

    Notes
    -----
    torch's own closed form where it has one, otherwise −mean log f over draws, unbiased. *When not to use
    it:* to compare variables of different units or dimensions; H may be negative, and only its differences
    mean something.

    Examples
    --------
    >>> import torch
    >>> from torch.distributions import Normal
    >>> from infoplane_torch.information import entropy
    >>> entropy(Normal(torch.zeros(2), torch.tensor([1.0, 2.0])))
    tensor([1.4189, 2.1121])
    """
    _choose("reduction", reduction, ("sum", "mean"))
    require_density(distribution, "differential entropy")
    try:
        nats = distribution.entropy()
    except NotImplementedError:
        nats = monte_carlo("entropy", distribution, num_samples=num_samples).value
    return nats / _dimension(distribution) if reduction == "mean" else nats


def entropy_power(distribution: Distribution, *, num_samples: int = 256) -> Tensor:
    """Entropy power N = exp(2H/d)/(2πe), the variance of the isotropic Gaussian of the same entropy.

    It is in squared units of x: under x → a x + b it is multiplied by a².

    Parameters
    ----------
    distribution : Distribution
        Any continuous distribution.
    num_samples : int, default 256
        Draws of the Monte Carlo, if there is no closed form. N is then biased upwards, by the factor
        exp(2 se²/d²) with the standard error se of H.

    Returns
    -------
    Tensor of shape ``batch_shape``

    Raises
    ------
    TypeError, ValueError
        As `entropy`.

    References
    ----------
    Zheng et al., "Understanding VAEs in Fisher-Shannon Plane", eq. (2), which is the case d = 1.

    Examples
    --------
    >>> import torch
    >>> from torch.distributions import Normal
    >>> from infoplane_torch.information import entropy_power
    >>> entropy_power(Normal(0.0, torch.tensor(3.0)))
    tensor(9.0000)
    """
    return power_from_entropy(entropy(distribution, num_samples=num_samples), _dimension(distribution))


def power_from_entropy(nats: Tensor, d: int) -> Tensor:
    """Entropy power N = exp(2H/d)/(2πe) of a known entropy.

    Parameters
    ----------
    nats : Tensor
        H, any shape.
    d : int
        Dimension of the variable whose entropy it is.

    Returns
    -------
    Tensor
        N, of the same shape.

    Examples
    --------
    >>> import math, torch
    >>> from infoplane_torch.information import power_from_entropy
    >>> power_from_entropy(torch.tensor(math.log(2 * math.pi * math.e)), 2)
    tensor(1.)
    """
    return torch.exp(2 / d * nats - math.log(2 * math.pi * math.e))


def fisher_trace(
    distribution: Distribution, *, reduction: Literal["sum", "mean", "none"] = "sum", num_samples: int = 256
) -> Tensor:
    """Trace of the location Fisher information, tr J = E|∇_x log f|², in inverse squared units of x.

    Under x → a x + b it is divided by a².

    Parameters
    ----------
    distribution : Distribution
        Any continuous distribution; d is the number of elements of its event.
    reduction : {"sum", "mean", "none"}, default "sum"
        tr J; tr J/d; or the diagonal of J, one number for each dimension.
    num_samples : int, default 256
        Draws of the Monte Carlo, if there is no closed form.

    Returns
    -------
    Tensor of shape ``batch_shape``, or ``batch_shape + (d,)`` with ``reduction="none"``
        Infinite for a density that jumps, or rises too slowly, at an edge of its support (uniform,
        exponential, half-normal, gamma with α ≤ 2): that is what J is there, by Huber's definition.

    Raises
    ------
    TypeError
        If the distribution is discrete, or has no density with respect to volume.
    ValueError
        If gradients are wanted of a distribution that is neither in closed form nor reparameterised.

    Warns
    -----
    InfoplaneWarning
        If Monte Carlo meets a support with an edge: draws never see what happens there, so the result is
        right only for a density that vanishes smoothly towards it.

    Notes
    -----
    Closed forms: Normal, Laplace, Cauchy, Student's t, Gumbel, log-normal, gamma, χ², inverse gamma, beta,
    Weibull, uniform, exponential, half-normal, half-Cauchy, Pareto, multivariate normal (full and low
    rank), and `Independent` of any of them. *When not to use it:* for the information that x carries about
    a parameter of a model, which is another quantity under the same name.

    References
    ----------
    Zheng et al., "Understanding VAEs in Fisher-Shannon Plane", eqs. (1) and (10). Huber, "Robust
    Statistics" (1981), theorem 4.2.

    Examples
    --------
    >>> import torch
    >>> from torch.distributions import Independent, Normal
    >>> from infoplane_torch.information import fisher_trace
    >>> fisher_trace(Independent(Normal(torch.zeros(2), torch.tensor([1.0, 0.5])), 1))
    tensor(5.)
    """
    _choose("reduction", reduction, ("sum", "mean", "none"))
    require_density(distribution, "location Fisher information")
    diagonal = fisher_diagonal(distribution)
    if diagonal is None:
        quantity: Quantity = "fisher_diagonal" if reduction == "none" else "fisher_trace"
        estimate = monte_carlo(quantity, distribution, num_samples=num_samples).value
        return estimate / _dimension(distribution) if reduction == "mean" else estimate
    if reduction == "none":
        return diagonal
    return diagonal.mean(-1) if reduction == "mean" else diagonal.sum(-1)


def fisher_information(distribution: Distribution, *, num_samples: int = 256) -> Tensor:
    """Location Fisher information matrix J = E[s sᵀ], s = ∇_x log f(x), in inverse squared units of x.

    Under x → A x + b it becomes A⁻ᵀ J A⁻¹.

    Parameters
    ----------
    distribution : Distribution
        Any continuous distribution; the event is flattened to d elements.
    num_samples : int, default 256
        Draws of the Monte Carlo, if there is no closed form.

    Returns
    -------
    Tensor of shape ``batch_shape + (d, d)``

    Raises
    ------
    TypeError, ValueError
        As `fisher_trace`.

    Warns
    -----
    InfoplaneWarning
        As `fisher_trace`.

    Notes
    -----
    It takes d² numbers for each element of the batch. *When not to use it:* for images, where
    ``fisher_trace(..., reduction="none")`` gives the diagonal alone.

    Examples
    --------
    >>> import torch
    >>> from torch.distributions import MultivariateNormal
    >>> from infoplane_torch.information import fisher_information
    >>> fisher_information(MultivariateNormal(torch.zeros(2), torch.tensor([[2.0, 1.0], [1.0, 1.0]]))).round()
    tensor([[ 1., -1.],
            [-1.,  2.]])
    """
    require_density(distribution, "location Fisher information")
    matrix = fisher_matrix(distribution)
    if matrix is None:
        return monte_carlo("fisher_information", distribution, num_samples=num_samples).value
    return matrix


def has_closed_form(distribution: Distribution) -> bool:
    """Whether both H and J of a distribution are known in closed form.

    Parameters
    ----------
    distribution : Distribution
        Any distribution.

    Returns
    -------
    bool

    Examples
    --------
    >>> from torch.distributions import Categorical, MixtureSameFamily, Normal
    >>> import torch
    >>> from infoplane_torch.information import has_closed_form
    >>> normal = Normal(torch.zeros(2), torch.ones(2))
    >>> has_closed_form(normal), has_closed_form(MixtureSameFamily(Categorical(torch.ones(2)), normal))
    (True, False)
    """
    with torch.no_grad():
        try:
            distribution.entropy()
        except NotImplementedError:
            return False
        return fisher_diagonal(distribution) is not None


def kl_divergence(
    first: Distribution, second: Distribution, *, z: Tensor | None = None, num_samples: int = 256
) -> Tensor:
    """Kullback–Leibler divergence KL(f ‖ g) = E_f[log f − log g] in nats.

    In closed form where torch knows the pair, and for a full covariance against a diagonal one; otherwise by
    Monte Carlo, which may be negative.

    Parameters
    ----------
    first, second : Distribution
        f and g.
    z : Tensor of shape (S, *batch_shape, *event_shape) or (*batch_shape, *event_shape), optional
        Draws from `first` for the Monte Carlo, or a single one; fresh ones by default.
    num_samples : int, default 256
        Number of fresh draws.

    Returns
    -------
    Tensor of shape ``batch_shape``

    Raises
    ------
    ValueError
        If gradients are wanted of a distribution that is neither in closed form nor reparameterised.

    References
    ----------
    Zheng et al., "Understanding VAEs in Fisher-Shannon Plane", eq. (9), which misplaces a parenthesis:
    −KL(N(μ, σ²) ‖ N(0, 1)) = ½ (1 + log σ² − μ² − σ²).

    Examples
    --------
    >>> import torch
    >>> from torch.distributions import Normal
    >>> from infoplane_torch.information import kl_divergence
    >>> kl_divergence(Normal(torch.tensor(1.0), 1.0), Normal(0.0, 1.0))
    tensor(0.5000)
    """
    try:
        return distributions.kl_divergence(first, second)
    except NotImplementedError:
        if isinstance(first, MultivariateNormal) and _is_diagonal_normal(second):
            return _kl_from_full_covariance(first, second)
        z = draw(first, num_samples) if z is None else z
        values = first.log_prob(z) - second.log_prob(z)
        return values if values.ndim == len(first.batch_shape) else values.mean(0)


def _is_diagonal_normal(distribution: Distribution) -> bool:
    return (
        isinstance(distribution, Independent)
        and type(distribution.base_dist) is Normal
        and len(distribution.event_shape) == 1
    )


def _kl_from_full_covariance(first: MultivariateNormal, second: Distribution) -> Tensor:
    """½ Σ_i [(Σ_ii + (μ_i − m_i)²)/v_i − 1 + log v_i] − ½ log det Σ, for N(μ, Σ) and N(m, diag v)."""
    spread = first.scale_tril.square().sum(-1) + (first.mean - second.mean).square()
    log_det = 2 * first.scale_tril.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    return 0.5 * ((spread / second.variance - 1 + second.variance.log()).sum(-1) - log_det)


def _dimension(distribution: Distribution) -> int:
    return int(distribution.event_shape.numel())


def _choose(name: str, choice: str, choices: tuple[str, ...]) -> None:
    if choice not in choices:
        raise ValueError(f"`{name}` must be one of {choices}, got {choice!r}")
