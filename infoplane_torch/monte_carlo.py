"""Score, entropy and Fisher information of any distribution with a ``log_prob``: autograd and Monte Carlo."""

from __future__ import annotations

import math
import warnings
from typing import Any, Literal, NamedTuple, cast, get_args

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, constraints

from infoplane.errors import InfoplaneWarning

Quantity = Literal["entropy", "fisher_trace", "fisher_diagonal", "fisher_information"]

_NO_LEBESGUE_DENSITY = tuple(
    type(constraint)
    for constraint in (
        constraints.simplex,
        constraints.corr_cholesky,
        constraints.lower_cholesky,
        constraints.lower_triangular,
        constraints.symmetric,
        constraints.positive_definite,
        constraints.positive_semidefinite,
    )
)


class MonteCarlo(NamedTuple):
    """A quantity estimated by Monte Carlo, and how sure it is.

    Attributes
    ----------
    value : Tensor
        The estimate, differentiable where the distribution is.
    standard_error : Tensor
        Its standard error, of the same shape, without gradient.
    """

    value: Tensor
    standard_error: Tensor


def score(distribution: Distribution, value: Tensor) -> Tensor:
    """Location score s(x) = ∇_x log f(x) by autograd, in inverse units of x.

    Parameters
    ----------
    distribution : Distribution
        Any distribution with a differentiable ``log_prob``.
    value : Tensor of shape (*sample_shape, *batch_shape, *event_shape)
        The points x, or anything that broadcasts to this shape.

    Returns
    -------
    Tensor
        Of the broadcast shape. Differentiable with respect to `value` and the parameters when gradients
        are enabled and one of them wants it; otherwise without a graph, also under ``torch.no_grad()``.

    Raises
    ------
    TypeError
        If `value` is not floating point, or ``log_prob`` is not differentiable in it.
    RuntimeError
        Under ``torch.inference_mode()``, which forbids autograd: use ``torch.no_grad()``.

    Examples
    --------
    >>> import torch
    >>> from torch.distributions import Normal
    >>> from infoplane_torch.information import score
    >>> score(Normal(0.0, 2.0), torch.tensor([-4.0, 0.0, 4.0]))
    tensor([ 1., -0., -1.])
    """
    if not value.is_floating_point():
        raise TypeError(f"`value` must be floating point, got {value.dtype}")
    if torch.is_inference_mode_enabled():
        raise RuntimeError(
            "the score needs autograd, which torch.inference_mode() forbids: use torch.no_grad()"
        )
    shape = distribution.batch_shape + distribution.event_shape
    # A new tensor even where nothing broadcasts: a transform that caches its last input and output would
    # otherwise answer from the cache, and log_prob would not depend on `value` at all.
    value = value.expand(torch.broadcast_shapes(value.shape, shape))
    wanted = torch.is_grad_enabled() and (value.requires_grad or distribution.log_prob(value).requires_grad)
    with torch.enable_grad():
        point = value if wanted and value.requires_grad else value.detach().requires_grad_()
        log_density = distribution.log_prob(point)
        if not log_density.requires_grad:
            raise TypeError(f"log_prob of {type(distribution).__name__} is not differentiable in its value")
        (gradient,) = torch.autograd.grad(log_density.sum(), point, create_graph=wanted)
    return gradient


def monte_carlo(quantity: Quantity, distribution: Distribution, *, num_samples: int = 256) -> MonteCarlo:
    """H or J by Monte Carlo, with its standard error, for any distribution with a ``log_prob``.

    H = −mean log f(x) and J = mean s(x) s(x)ᵀ over draws x, with the score s by autograd.

    Parameters
    ----------
    quantity : {"entropy", "fisher_trace", "fisher_diagonal", "fisher_information"}
        H; tr J; the diagonal of J; J.
    distribution : Distribution
        Any continuous distribution.
    num_samples : int, default 256
        Number of draws S ≥ 2. The error falls as 1/√S; S·batch·d numbers are held at once.

    Returns
    -------
    MonteCarlo
        Value and standard error, of shape ``batch_shape``, plus ``(d,)`` or ``(d, d)``. The value is
        differentiable with respect to the parameters if ``rsample`` is; under ``torch.no_grad()`` it
        carries no graph.

    Raises
    ------
    TypeError
        If the distribution is discrete, or has no density with respect to volume.
    ValueError
        If `num_samples` is below 2, `quantity` is unknown, or gradients are wanted of a distribution that
        is not reparameterised.

    Warns
    -----
    InfoplaneWarning
        If J is asked of a density whose support has an edge: see `fisher_trace`.

    Examples
    --------
    >>> import torch
    >>> from torch.distributions import Normal
    >>> from infoplane_torch.information import monte_carlo
    >>> _ = torch.manual_seed(0)
    >>> estimate = monte_carlo("fisher_trace", Normal(0.0, 0.5), num_samples=10_000)
    >>> bool(abs(estimate.value - 4.0) < 3 * estimate.standard_error)
    True
    """
    if quantity not in get_args(Quantity):
        raise ValueError(f"`quantity` must be one of {get_args(Quantity)}, got {quantity!r}")
    if num_samples < 2:
        raise ValueError(f"`num_samples` must be at least 2, got {num_samples}")
    if quantity == "entropy":
        require_density(distribution, "differential entropy")
        return _mean(-distribution.log_prob(draw(distribution, num_samples)))
    require_density(distribution, "location Fisher information")
    if not isinstance(_support(distribution), type(constraints.real)):
        warnings.warn(
            f"the support of {type(distribution).__name__} has an edge; J by Monte Carlo is right only if "
            "the density vanishes smoothly there, and infinite otherwise",
            InfoplaneWarning,
            stacklevel=2,
        )
    s = score(distribution, draw(distribution, num_samples))
    s = s.reshape(num_samples, *distribution.batch_shape, distribution.event_shape.numel())  # (S, *batch, d)
    if quantity == "fisher_trace":
        return _mean(s.square().sum(-1))
    if quantity == "fisher_diagonal":
        return _mean(s.square())
    return _mean_outer_product(s)


def _mean(values: Tensor) -> MonteCarlo:
    """Mean over the first dimension, and its standard error."""
    return MonteCarlo(values.mean(0), values.detach().std(0) / math.sqrt(len(values)))


def _mean_outer_product(s: Tensor) -> MonteCarlo:
    """Mean of s sᵀ over the first dimension and its standard error, without S matrices in memory."""
    count = len(s)
    matrix = torch.einsum("s...i,s...j->...ij", s, s) / count
    squares = s.detach().square()
    second_moment = torch.einsum("s...i,s...j->...ij", squares, squares) / count
    variance = (second_moment - matrix.detach().square()).clamp(min=0) * count / (count - 1)
    return MonteCarlo(matrix, (variance / count).sqrt())


def draw(distribution: Distribution, num_samples: int) -> Tensor:
    """Draw independent samples, reparameterised where possible.

    Parameters
    ----------
    distribution : Distribution
        Any distribution.
    num_samples : int
        Number of draws S.

    Returns
    -------
    Tensor of shape (S, *batch_shape, *event_shape)

    Raises
    ------
    ValueError
        If gradients are enabled and the parameters want them, but there is no ``rsample``.

    Examples
    --------
    >>> from torch.distributions import Normal
    >>> from infoplane_torch.monte_carlo import draw
    >>> draw(Normal(0.0, 1.0), 5).shape
    torch.Size([5])
    """
    if distribution.has_rsample:
        return distribution.rsample(torch.Size((num_samples,)))
    draws = distribution.sample(torch.Size((num_samples,)))
    if torch.is_grad_enabled() and distribution.log_prob(draws).requires_grad:
        raise ValueError(
            f"{type(distribution).__name__} is not reparameterised (no rsample): a Monte Carlo estimate "
            "would have a wrong gradient; use torch.no_grad() for the value alone"
        )
    return draws


def require_density(distribution: Distribution, quantity: str) -> None:
    """Refuse distributions that have no density with respect to volume.

    Parameters
    ----------
    distribution : Distribution
        Any distribution.
    quantity : str
        What was asked for, to be named in the error.

    Raises
    ------
    TypeError
        If the distribution is discrete, or lives on a surface like the simplex.

    Examples
    --------
    >>> import torch
    >>> from torch.distributions import Bernoulli
    >>> from infoplane_torch.monte_carlo import require_density
    >>> require_density(Bernoulli(torch.tensor(0.5)), "differential entropy")
    Traceback (most recent call last):
    TypeError: Bernoulli is discrete and has no differential entropy
    """
    support = _support(distribution)
    part = distribution
    while isinstance(part, Independent):
        part = part.base_dist
    name = type(part).__name__
    if support.is_discrete:
        raise TypeError(f"{name} is discrete and has no {quantity}")
    if isinstance(support, _NO_LEBESGUE_DENSITY):
        raise TypeError(
            f"{name} has no {quantity}: it lives on a surface and has no density with respect to volume"
        )


def _support(distribution: Distribution) -> constraints.Constraint:
    """Support of one element of the event: all of R if the distribution names none."""
    try:
        support: Any = distribution.support
    except NotImplementedError:
        return constraints.real
    while hasattr(support, "base_constraint"):
        support = support.base_constraint
    return cast(constraints.Constraint, support)
