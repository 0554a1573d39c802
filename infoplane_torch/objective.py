"""The training objective: the ELBO minus named penalties."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, distributions, nn

from infoplane_torch.information import (
    entropy,
    fisher_trace,
    has_closed_form,
    kl_divergence,
    power_from_entropy,
)
from infoplane_torch.penalties import (
    FisherConstraint,
    FisherInformation,
    Penalty,
    PenaltyTerms,
    require_not_negative,
)
from infoplane_torch.processes import mean_over_processes
from infoplane_torch.vae import ForwardPass

# Draws by which J is watched where it has no closed form.
_WATCHED_DRAWS = 2


@dataclass(frozen=True)
class ObjectiveTerms:
    """The terms of an objective on one batch, each a scalar and a mean over the images, in nats.

    Attributes
    ----------
    loss : Tensor
        What is minimised: −(reconstruction − β·kl) + the sum of the penalties; with free bits, the KL of a
        dimension counts as the floor where it is less.
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
        tr J(Z|x)/d; without gradient. Of a posterior without closed forms (a flow) it is known by two draws,
        and in training not at all (`nan`), as each costs several steps.
    auxiliary : Tensor
        Sum of the losses by which penalties train their own networks; its gradient reaches only those, and
        that of `loss` none of them. To be minimised beside `loss`; 0 if there are none.
    watched : dict of str to Tensor
        What penalties with a state let see, by ``<name of the penalty>_<name>``; without gradient.
    """

    loss: Tensor
    reconstruction: Tensor
    kl: Tensor
    elbo: Tensor
    penalties: dict[str, Tensor]
    posterior_entropy: Tensor
    entropy_power: Tensor
    fisher_trace_mean: Tensor
    auxiliary: Tensor
    watched: dict[str, Tensor]


@dataclass(frozen=True)
class Objective:
    """The ELBO minus named penalties, eq. (7) of the Fisher auto-encoder; without any it is a plain VAE's.

    Parameters
    ----------
    penalties : mapping of str to Penalty, optional
        Penalties by name; none by default.
    beta : float, default 1.0
        Weight β ≥ 0 of the KL term, on top of that of its warm-up (Higgins et al. 2017).
    free_bits : float, default 0.0
        Floor in nats below which the KL of a dimension, averaged over the batch, counts as this floor, so
        that nothing is gained by making it smaller (Kingma et al. 2016).

    Raises
    ------
    ValueError
        If `beta` or `free_bits` is negative or not finite.

    Notes
    -----
    It is for training only. Its numbers are means over a batch with one draw of z for each image; the
    likelihood of a model is measured by `infoplane_torch.evaluation`, which knows no objective.

    Penalties that are modules, because they have a state or a network, are in `modules`: whoever trains
    moves it to the device, sets its mode, gives its parameters to the optimizer, saves and loads its
    ``state_dict``, as `infoplane_torch.training` does. A `FisherInformation` with ``form="lagrangian"``
    becomes such a module, a new one for each objective.

    References
    ----------
    Zheng et al., "Understanding VAEs in Fisher-Shannon Plane", eq. (7). Higgins et al., "β-VAE" (2017).
    Kingma et al., "Improved variational inference with inverse autoregressive flow" (2016), free
    bits with one dimension a group.

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
    beta: float = 1.0
    free_bits: float = 0.0

    def __post_init__(self) -> None:
        require_not_negative(beta=self.beta, free_bits=self.free_bits)
        modules = {}
        for name, penalty in self.penalties.items():
            if isinstance(penalty, FisherInformation) and penalty.form == "lagrangian":
                penalty = FisherConstraint(penalty)
            if isinstance(penalty, nn.Module):
                modules[name] = penalty
        object.__setattr__(self, "_modules", nn.ModuleDict(modules))

    def __repr__(self) -> str:
        """Name the penalties, and the options that are not the defaults: by it a run is recognised."""
        options = [
            ("penalties", self.penalties, None),
            ("beta", self.beta, 1.0),
            ("free_bits", self.free_bits, 0.0),
        ]
        shown = ", ".join(f"{name}={value!r}" for name, value, default in options if value != default)
        return f"Objective({shown})"

    @property
    def modules(self) -> nn.ModuleDict:
        """The penalties that have a state or a network, by name."""
        return self._modules  # type: ignore[attr-defined]

    def __call__(
        self, vae: Callable[[Tensor], ForwardPass], x: Tensor, *, beta: float | Tensor = 1.0
    ) -> ObjectiveTerms:
        """Evaluate the terms of the objective on a batch.

        Parameters
        ----------
        vae : VAE
            The model, or anything whose call gives a `ForwardPass`, like a VAE wrapped for several devices.
        x : Tensor of shape (B, *event_shape)
            Images.
        beta : float or scalar Tensor, default 1
            Weight of the KL term in the loss, for its warm-up; it multiplies the objective's own.

        Returns
        -------
        ObjectiveTerms
            All terms, by name.

        Raises
        ------
        TypeError
            If `free_bits` is set and the KL is no sum over dimensions.
        """
        forward = vae(x)
        reconstruction = forward.likelihood.log_prob(x).mean()
        kl = kl_divergence(forward.posterior, forward.prior, z=forward.z).mean()
        counted_kl = _floored_kl(forward, self.free_bits) if self.free_bits else kl
        penalties: dict[str, Tensor] = {}
        watched: dict[str, Tensor] = {}
        auxiliary = kl.new_zeros(())
        for name, penalty in self.penalties.items():
            value = self.modules[name](forward) if name in self.modules else penalty(forward)
            if isinstance(value, PenaltyTerms):
                watched |= {f"{name}_{key}": seen for key, seen in value.watched.items()}
                auxiliary = auxiliary if value.auxiliary is None else auxiliary + value.auxiliary
                value = value.penalty
            penalties[name] = value
        posterior_entropy, fisher_trace_mean = _watched(forward)
        return ObjectiveTerms(
            loss=-(reconstruction - beta * self.beta * counted_kl) + sum(penalties.values()),
            reconstruction=reconstruction,
            kl=kl,
            elbo=reconstruction - kl,
            penalties=penalties,
            posterior_entropy=posterior_entropy,
            entropy_power=power_from_entropy(posterior_entropy, forward.z.shape[-1]),
            fisher_trace_mean=fisher_trace_mean,
            auxiliary=auxiliary,
            watched=watched,
        )


def _watched(forward: ForwardPass) -> tuple[Tensor, Tensor]:
    """H(Z|x) and tr J(Z|x)/d, means over the images without gradient."""
    training = torch.is_grad_enabled()
    with torch.no_grad():
        if has_closed_form(forward.posterior):
            j = fisher_trace(forward.posterior, reduction="mean").mean()
            return entropy(forward.posterior).mean(), j
        h = -forward.posterior.log_prob(forward.z).mean()
        if training:
            return h, torch.full_like(h, torch.nan)
        return h, fisher_trace(forward.posterior, reduction="mean", num_samples=_WATCHED_DRAWS).mean()


def _floored_kl(forward: ForwardPass, floor: float) -> Tensor:
    """Σ_i max(floor, KL_i), with the mean over the batch inside of the maximum."""
    parts = [
        distribution.base_dist
        for distribution in (forward.posterior, forward.prior)
        if isinstance(distribution, distributions.Independent)
        and len(distribution.base_dist.event_shape) == 0
    ]
    if len(parts) < 2:
        raise TypeError(
            "`free_bits` needs a KL for each dimension: posterior and prior must be torch's Independent, got "
            f"{type(forward.posterior).__name__} and {type(forward.prior).__name__}"
        )
    kl = mean_over_processes(kl_divergence(*parts, z=forward.z).mean(0))
    return kl.clamp(min=floor).sum()
