"""The training objective: the ELBO minus named penalties."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from infoplane_torch.information import entropy, fisher_trace, kl_divergence, power_from_entropy
from infoplane_torch.penalties import Penalty
from infoplane_torch.vae import ForwardPass


@dataclass(frozen=True)
class ObjectiveTerms:
    """The terms of an objective on one batch, each a scalar and a mean over the images, in nats.

    Attributes
    ----------
    loss : Tensor
        What is minimised: −(reconstruction − β·kl) + the sum of the penalties.
    reconstruction : Tensor
        log p(x|z).
    kl : Tensor
        KL(q(z|x) ‖ p(z)).
    elbo : Tensor
        reconstruction − kl, whatever β is, and without penalties.
    penalties : dict of str to Tensor
        The weighted penalties, by name.
    posterior_entropy : Tensor
        H(Z|x); without gradient, only watched.
    entropy_power : Tensor
        N = exp(2H/d)/(2πe) of that mean entropy; without gradient.
    fisher_trace_mean : Tensor
        tr J(Z|x)/d; without gradient.
    """

    loss: Tensor
    reconstruction: Tensor
    kl: Tensor
    elbo: Tensor
    penalties: dict[str, Tensor]
    posterior_entropy: Tensor
    entropy_power: Tensor
    fisher_trace_mean: Tensor


@dataclass(frozen=True)
class Objective:
    """The ELBO minus named penalties, eq. (7) of the Fisher auto-encoder; without any it is a plain VAE's.

    Parameters
    ----------
    penalties : mapping of str to Penalty, optional
        Penalties by name; none by default.

    Notes
    -----
    It is for training only. Its numbers are means over a batch with one draw of z for each image; the
    likelihood of a model is measured by `infoplane_torch.evaluation`, which knows no objective.

    References
    ----------
    Zheng et al., "Understanding VAEs in Fisher-Shannon Plane", eq. (7).

    Examples
    --------
    >>> import torch
    >>> from infoplane_torch import presets
    >>> model, objective = presets.build(presets.fae(20, 1.0, event_shape=(1, 8, 8), hidden=(16,)))
    >>> terms = objective(model, torch.zeros(4, 1, 8, 8))
    >>> sorted(terms.penalties)
    ['fisher_posterior']
    >>> terms.loss.backward()
    """

    penalties: Mapping[str, Penalty] = field(default_factory=dict)

    def __call__(
        self, vae: Callable[[Tensor], ForwardPass], x: Tensor, *, beta: float = 1.0
    ) -> ObjectiveTerms:
        """Evaluate the terms of the objective on a batch.

        Parameters
        ----------
        vae : VAE
            The model, or anything whose call gives a `ForwardPass`, like a VAE wrapped for several devices.
        x : Tensor of shape (B, *event_shape)
            Images.
        beta : float, default 1
            Weight of the KL term in the loss, for its warm-up.

        Returns
        -------
        ObjectiveTerms
            All terms, by name.
        """
        forward = vae(x)
        reconstruction = forward.likelihood.log_prob(x).mean()
        kl = kl_divergence(forward.posterior, forward.prior, z=forward.z.unsqueeze(0)).mean()
        penalties = {name: penalty(forward) for name, penalty in self.penalties.items()}
        with torch.no_grad():
            posterior_entropy = entropy(forward.posterior).mean()
            fisher_trace_mean = fisher_trace(forward.posterior, reduction="mean").mean()
        return ObjectiveTerms(
            loss=-(reconstruction - beta * kl) + sum(penalties.values()),
            reconstruction=reconstruction,
            kl=kl,
            elbo=reconstruction - kl,
            penalties=penalties,
            posterior_entropy=posterior_entropy,
            entropy_power=power_from_entropy(posterior_entropy, forward.z.shape[-1]),
            fisher_trace_mean=fisher_trace_mean,
        )
