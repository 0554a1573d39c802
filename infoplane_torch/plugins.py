"""Penalties and plane measures of any model, by what it has at hand: μ and log σ², a distribution, or codes.

None of it needs a class of this package; two lines in a training step are enough.
"""

from __future__ import annotations

from torch import Tensor, distributions
from torch.distributions import Distribution

from infoplane.estimate import FisherShannonPoint
from infoplane.estimators import Estimator
from infoplane.measures import fisher_shannon as place_of_sample
from infoplane_torch.networks import at_least_float32, scale_from_log_variance
from infoplane_torch.penalties import FisherInformation, Form, Reduction
from infoplane_torch.plane_sums import PlaneSums, method_of


def gaussian_posterior(mean: Tensor, log_variance: Tensor) -> distributions.Independent:
    """Diagonal Gaussian q(z|x) = N(μ, diag σ²) from what an encoder gives.

    Parameters
    ----------
    mean, log_variance : Tensor of shape (B, d)
        μ and log σ²; the latter is clamped to ±14, as everywhere in this package.

    Returns
    -------
    Independent
        Of batch shape (B,) and event shape (d,), differentiable.

    Raises
    ------
    ValueError
        If the shapes differ or are not (B, d).

    Examples
    --------
    >>> import torch
    >>> from infoplane_torch import fisher_trace, gaussian_posterior
    >>> fisher_trace(gaussian_posterior(torch.zeros(2, 3), torch.tensor([[0.0] * 3, [-2.0] * 3])))
    tensor([ 3.0000, 22.1672])
    """
    if mean.ndim != 2 or mean.shape != log_variance.shape:
        raise ValueError(
            f"`mean` and `log_variance` must have one shape (B, d), got {tuple(mean.shape)} and "
            f"{tuple(log_variance.shape)}"
        )
    scale = scale_from_log_variance(at_least_float32(log_variance))
    normal = distributions.Normal(at_least_float32(mean), scale, validate_args=False)
    return distributions.Independent(normal, 1, validate_args=False)


def fisher_penalty(
    latent: Distribution | Tensor,
    log_variance: Tensor | None = None,
    *,
    target: float,
    weight: float,
    form: Form = "abs",
    reduction: Reduction = "mean",
    num_samples: int = 256,
) -> Tensor:
    """Penalty λ |tr J − F| on the Fisher information of a model's codes, in nats: add it to the loss.

    Parameters
    ----------
    latent : Distribution or Tensor
        The posterior q(z|x) as a distribution of batch shape (B,), or its mean μ (B, d) beside
        `log_variance`: then J is that of q(z|x), and the penalty is averaged over images. A tensor (n, d)
        alone is codes: then J is that of the aggregated posterior q(z) they are drawn from.
    log_variance : Tensor of shape (B, d), optional
        log σ² of a Gaussian posterior.
    target : float
        F ≥ 0, in the unit that `reduction` chooses.
    weight : float
        λ ≥ 0, in nats per unit of J.
    form : {"abs", "hinge"}, default "abs"
        |J − F|, or max(F − J, 0). For "lagrangian", which has a state, see `infoplane_torch.penalties`.
    reduction : {"mean", "sum", "none"}, default "mean"
        tr J/d, tr J, or each J_ii by itself, is compared with F.
    num_samples : int, default 256
        Draws for each image where J has no closed form, as that of a flow; the time of a step grows with
        them, and 8 are enough to train by: see `infoplane_torch.penalties.FisherInformation`.

    Returns
    -------
    Tensor
        A scalar, differentiable.

    Raises
    ------
    TypeError
        If the distribution is discrete.
    ValueError
        If shapes or options are wrong, or codes are too few for an estimate.

    Notes
    -----
    `infoplane_torch.penalties.FisherInformation` says what the constraint does; J of codes is
    `infoplane_torch.information.kde_fisher_information`, which wants max(5d, 20) codes at least.

    References
    ----------
    Zheng et al., "Understanding VAEs in Fisher-Shannon Plane", eqs. (6)–(11).

    Examples
    --------
    >>> import torch
    >>> from infoplane_torch import fisher_penalty
    >>> mu, logvar = torch.zeros(8, 40), torch.zeros(8, 40, requires_grad=True)
    >>> fisher_penalty(mu, logvar, target=20, weight=0.1)
    tensor(1.9000, grad_fn=<MulBackward0>)
    """
    penalty = FisherInformation(target, weight, form=form, reduction=reduction, num_samples=num_samples)
    if isinstance(latent, Tensor) and log_variance is None:
        return penalty.of_codes(latent)
    posterior = as_posterior(latent, log_variance)
    require_images(posterior)
    return penalty.of_distribution(posterior)


def fisher_shannon(
    latent: Distribution | Tensor,
    log_variance: Tensor | None = None,
    *,
    method: str | Estimator = "auto",
    num_samples: int = 256,
) -> FisherShannonPoint:
    """Place of a model's codes in the Fisher–Shannon plane, with standard errors; without gradient.

    Parameters
    ----------
    latent : Distribution or Tensor
        The posterior q(z|x) as a distribution of batch shape (B,), or its mean μ (B, d) beside
        `log_variance`: then N comes from the mean of H(Z|x) and J is the mean of J(Z|x). A tensor (n, d)
        alone is codes: then the place is that of the aggregated posterior q(z).
    log_variance : Tensor of shape (B, d), optional
        log σ² of a Gaussian posterior.
    method : str or estimator, default "auto"
        How to estimate from codes: see ``infoplane.fisher_shannon``, which does. "kde" takes a second for 10⁴
        codes in a few dimensions, "auto" several.
    num_samples : int, default 256
        Draws of the Monte Carlo for each image, if the posterior has no closed form.

    Returns
    -------
    FisherShannonPoint

    Raises
    ------
    TypeError
        If the distribution is discrete.
    ValueError
        If shapes are wrong, codes too few, or H or J is not finite.

    References
    ----------
    Zheng et al., "Understanding VAEs in Fisher-Shannon Plane", figure 1.

    Examples
    --------
    >>> import torch
    >>> from infoplane_torch import fisher_shannon
    >>> logvar = torch.tensor([[0.0, -1.0], [-1.0, -1.5], [-2.0, 0.5]])
    >>> fisher_shannon(torch.zeros(3, 2), logvar).product
    1.34 ± 0.25 (closed form, n=3)
    """
    if isinstance(latent, Tensor) and log_variance is None:
        return place_of_sample(latent.detach().cpu().double().numpy(), method=method)
    posterior = as_posterior(latent, log_variance)
    require_images(posterior)
    return PlaneSums.of(posterior, num_samples=num_samples).point(method=method_of(posterior))


def require_images(posterior: Distribution) -> None:
    """Refuse a batch of no images.

    Parameters
    ----------
    posterior : Distribution
        q(z|x), of batch shape (B,).

    Raises
    ------
    ValueError
        If B is 0.

    Examples
    --------
    >>> import torch
    >>> from torch.distributions import Independent, Normal
    >>> from infoplane_torch.plugins import require_images
    >>> require_images(Independent(Normal(torch.zeros(0, 2), 1.0), 1))
    Traceback (most recent call last):
        ...
    ValueError: `latent` must hold at least one image, got batch shape (0,)
    """
    if 0 in posterior.batch_shape:
        raise ValueError(
            f"`latent` must hold at least one image, got batch shape {tuple(posterior.batch_shape)}"
        )


def as_posterior(latent: Distribution | Tensor, log_variance: Tensor | None = None) -> Distribution:
    """One distribution for a batch of images, from a distribution or from μ and log σ².

    Parameters
    ----------
    latent : Distribution or Tensor
        q(z|x), of batch shape (B,) or, a Normal that nobody made `Independent`, (B, d); or μ, (B, d).
    log_variance : Tensor of shape (B, d), optional
        log σ², beside μ.

    Returns
    -------
    Distribution
        Of batch shape (B,) and event shape (d,).

    Raises
    ------
    TypeError
        If it is neither.
    ValueError
        If the shapes are others, or both a distribution and log σ² are given.

    Examples
    --------
    >>> import torch
    >>> from torch.distributions import Normal
    >>> from infoplane_torch.plugins import as_posterior
    >>> as_posterior(Normal(torch.zeros(8, 2), 1.0)).event_shape
    torch.Size([2])
    """
    if isinstance(latent, Tensor):
        if log_variance is None:
            raise TypeError(
                "`latent` must be a distribution, or come with `log_variance`, got a tensor alone"
            )
        return gaussian_posterior(latent, log_variance)
    if not isinstance(latent, Distribution):
        raise TypeError(f"`latent` must be a torch distribution or a tensor, got {type(latent).__name__}")
    if log_variance is not None:
        raise ValueError("`log_variance` must not be given beside a distribution")
    if len(latent.batch_shape) == 2 and not latent.event_shape:
        return distributions.Independent(latent, 1, validate_args=False)
    if len(latent.batch_shape) != 1 or len(latent.event_shape) != 1:
        raise ValueError(
            "`latent` must have batch shape (B,) and event shape (d,), got "
            f"{tuple(latent.batch_shape)} and {tuple(latent.event_shape)}"
        )
    return latent
