"""Control of the mutual information between codes and images: the penalty of the mutual auto-encoder."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from infoplane_torch.penalties import PenaltyTerms, require_not_negative
from infoplane_torch.processes import mean_over_processes
from infoplane_torch.vae import ForwardPass

InformationForm = Literal["abs", "hinge"]


class MutualInformation(nn.Module):
    """Control of the mutual information of the model's joint p(z) p(x|z), λ |Î − M|, in nats: eq. (14).

    Î = H(z) + E[log r(z|x)] ≤ I(x; z) is the bound of Barber and Agakov, with a network r of the penalty's
    own, trained beside the model to make the bound tight.

    Parameters
    ----------
    target : float
        M ≥ 0, the wanted information in nats.
    weight : float
        λ ≥ 0.
    decode : callable
        Turns codes into the distribution p(x|z): ``vae.decode``.
    reverse : nn.Module
        Turns images into the distribution r(z|x), as a VAE's posterior does, for example a
        `infoplane_torch.posteriors.DiagonalGaussian`; its parameters become those of this module.
    form : {"abs", "hinge"}, default "abs"
        |Î − M|, or max(M − Î, 0), which asks for *at least* M.

    Raises
    ------
    ValueError
        If `target` or `weight` is negative or not finite, or `form` is unknown.

    Notes
    -----
    Each call draws as many pairs (z, x) from the model as the batch has images, and takes the mean of
    log r(z|x) − log p(z): its expectation is Î, and it is less noisy than with the constant H(z).

    The penalty's gradient reaches the decoder alone: r is frozen in it. Otherwise it would, as long as Î > M,
    cancel the training of r, and the constraint would be met by a loose bound and not by less information.
    r learns by maximum likelihood on the same pairs, the auxiliary loss −E log r(z|x), which reaches nothing
    but r. The prior is left alone too.

    The gradient goes through x where p(x|z) is reparameterised. Where it is not, as for a Bernoulli or an
    autoregressive likelihood, it is the score-function estimator with two images for each code, each the
    other's baseline: unbiased, but noisy (Kool et al. 2019). The paper gives neither C nor the size of r.

    Î is a *lower* bound under the *model's* joint: look at the KL term, and at the information of the
    encoder over the data (`infoplane_torch.evaluation.aggregated_posterior_information`), beside it. *When
    not to use it:* to control the encoder itself, which only follows the decoder, by way of the ELBO.

    References
    ----------
    Phuong et al., "The mutual autoencoder" (2018). Zheng et al., "Understanding VAEs in Fisher-Shannon
    Plane", eqs. (13)–(15). Barber and Agakov, "The IM algorithm" (2003). Kool et al., "Buy 4 REINFORCE
    samples, get a baseline for free!" (2019).

    Examples
    --------
    >>> import torch
    >>> from infoplane_torch import presets
    >>> from infoplane_torch.mutual_information import MutualInformation
    >>> from infoplane_torch.networks import MLP
    >>> from infoplane_torch.objective import Objective
    >>> from infoplane_torch.posteriors import DiagonalGaussian
    >>> model, _ = presets.build(presets.vae(event_shape=(1, 8, 8), hidden=(16,), latent_dim=2))
    >>> reverse = DiagonalGaussian(MLP(64, 2 * 2, hidden=(16,)))
    >>> penalty = MutualInformation(10, 1.0, decode=model.decode, reverse=reverse)
    >>> objective = Objective({"information": penalty})
    >>> terms = objective(model, torch.zeros(4, 1, 8, 8))
    >>> (terms.loss + terms.auxiliary).backward()
    >>> sorted(terms.watched)
    ['information_bound']
    """

    varies = ("target", "weight")  # see `Penalty`

    def __init__(
        self,
        target: float,
        weight: float,
        *,
        decode: Callable[[Tensor], Distribution],
        reverse: nn.Module,
        form: InformationForm = "abs",
    ) -> None:
        super().__init__()
        require_not_negative(target=target, weight=weight)
        if form not in get_args(InformationForm):
            raise ValueError(f"`form` must be one of {get_args(InformationForm)}, got {form!r}")
        self.target, self.weight, self.form = target, weight, form
        self.decode = decode  # a bound method, so the model does not become a part of this module
        self.reverse = reverse

    def extra_repr(self) -> str:
        """Name the constraint."""
        return f"target={self.target}, weight={self.weight}, form={self.form!r}"

    def forward(self, forward: ForwardPass) -> PenaltyTerms:
        """Evaluate the penalty on fresh pairs of codes and images from the model.

        Parameters
        ----------
        forward : ForwardPass
            One pass of the VAE over a batch: its prior, and how many pairs to draw.

        Returns
        -------
        PenaltyTerms
            With the loss of r, and the ``bound`` Î of the batch to watch.
        """
        return self.of_prior(forward.prior, len(forward.x))

    def of_prior(self, prior: Distribution, count: int) -> PenaltyTerms:
        """Evaluate the penalty of a model that comes from elsewhere: it needs no more than its prior.

        Parameters
        ----------
        prior : Distribution
            p(z), of batch shape ().
        count : int
            How many pairs of codes and images to draw, for example the size of the batch.

        Returns
        -------
        PenaltyTerms
            Add both its ``penalty`` and its ``auxiliary`` to the loss.
        """
        pairs = draw_pairs(prior, self.decode, count)
        frozen = {name: value.detach() for name, value in self.reverse.named_parameters()}
        bound = information_bound(pairs, lambda x: torch.func.functional_call(self.reverse, frozen, (x,)))
        gap = mean_over_processes(bound) - self.target
        size = gap.abs() if self.form == "abs" else (-gap).relu()
        auxiliary = -torch.stack(
            [self.reverse(x.detach()).log_prob(pairs.z).mean() for x in pairs.images]
        ).mean()
        return PenaltyTerms(self.weight * size, auxiliary, {"bound": bound.detach()})


class Pairs(NamedTuple):
    """Codes from the prior, and what the model makes of them.

    Attributes
    ----------
    z : Tensor of shape (B, latent_dim)
        Codes.
    log_prior : Tensor of shape (B,)
        log p(z).
    likelihood : Distribution
        p(x|z), of batch shape (B,).
    images : tuple of Tensor of shape (B, *event_shape)
        One differentiable draw of x where there is one, otherwise two independent ones.
    """

    z: Tensor
    log_prior: Tensor
    likelihood: Distribution
    images: tuple[Tensor, ...]


def draw_pairs(prior: Distribution, decode: Callable[[Tensor], Distribution], count: int) -> Pairs:
    """Draw codes and images from the model's joint p(z) p(x|z).

    Parameters
    ----------
    prior : Distribution
        p(z); no gradient reaches it.
    decode : callable
        Turns codes into the distribution p(x|z).
    count : int
        Number of codes.

    Returns
    -------
    Pairs

    Examples
    --------
    >>> from infoplane_torch import presets
    >>> from infoplane_torch.mutual_information import draw_pairs
    >>> model, _ = presets.build(presets.vae(event_shape=(1, 8, 8), hidden=(16,), latent_dim=2))
    >>> [tuple(image.shape) for image in draw_pairs(model.prior(), model.decode, 5).images]
    [(5, 1, 8, 8), (5, 1, 8, 8)]
    """
    with torch.no_grad():
        z = prior.sample(torch.Size((count,)))
        log_prior = prior.log_prob(z)
    likelihood = decode(z)
    images = (likelihood.rsample(),) if likelihood.has_rsample else (likelihood.sample(), likelihood.sample())
    return Pairs(z, log_prior, likelihood, images)


def information_bound(pairs: Pairs, reverse: Callable[[Tensor], Distribution]) -> Tensor:
    """Barber and Agakov's lower bound of I(x; z) in nats, the mean of log r(z|x) − log p(z) over pairs.

    Parameters
    ----------
    pairs : Pairs
        Draws from the model.
    reverse : callable
        Turns images into the distribution r(z|x).

    Returns
    -------
    Tensor
        A scalar, whose gradient is unbiased also where x is not reparameterised.

    References
    ----------
    Barber and Agakov, "The IM algorithm" (2003), eq. (3).

    Examples
    --------
    >>> import torch
    >>> from infoplane_torch import presets
    >>> from infoplane_torch.mutual_information import draw_pairs, information_bound
    >>> model, _ = presets.build(presets.vae(event_shape=(1, 8, 8), hidden=(16,), latent_dim=2))
    >>> pairs = draw_pairs(model.prior(), model.decode, 5)
    >>> information_bound(pairs, lambda x: model.prior().expand(x.shape[:1])).item()  # knows nothing of x
    0.0
    """
    logs = [reverse(x).log_prob(pairs.z) - pairs.log_prior for x in pairs.images]  # (B,) each
    bound = torch.stack(logs).mean()
    if len(logs) == 1:
        return bound
    # d/dθ E[l(x)] = E[½ (l(x) − l(x')) d/dθ (log p(x|z) − log p(x'|z))]: worth 0, it only has a gradient.
    first, second = (pairs.likelihood.log_prob(x) for x in pairs.images)
    surrogate = (0.5 * (logs[0] - logs[1]).detach() * (first - second)).mean()
    return bound + (surrogate - surrogate.detach())
