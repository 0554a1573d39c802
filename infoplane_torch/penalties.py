"""Penalties: named terms that an objective subtracts from the ELBO.

A penalty is anything that turns a `ForwardPass` into a scalar, already weighted; one with a network of its
own is a module that does the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, get_args

from torch import Tensor, distributions

from infoplane_torch.information import fisher_trace
from infoplane_torch.vae import ForwardPass

Of = Literal["posterior", "likelihood"]
Form = Literal["abs", "hinge"]
Reduction = Literal["mean", "sum", "none"]


class Penalty(Protocol):
    """What an objective asks of a penalty: a call from one pass over a batch to a scalar."""

    def __call__(self, forward: ForwardPass) -> Tensor:
        """Weighted penalty in nats per image, a scalar.

        Parameters
        ----------
        forward : ForwardPass
            One pass of the VAE over a batch.
        """


@dataclass(frozen=True)
class FisherInformation:
    """Control of the Fisher information, λ |tr J − F|, in nats: eqs. (6)–(11) of the Fisher auto-encoder.

    Parameters
    ----------
    target : float
        F ≥ 0, the wanted Fisher information, in the unit that `reduction` chooses.
    weight : float
        λ ≥ 0.
    of : {"posterior", "likelihood"}, default "posterior"
        Whether J is that of q(z|x), the encoder's term λ_z of eq. (7), or of p(x|z), the decoder's λ_x.
    form : {"abs", "hinge"}, default "abs"
        |J − F|, or max(F − J, 0), which asks for *at least* F.
    reduction : {"mean", "sum", "none"}, default "mean"
        What is compared with F: tr J/d, the mean over dimensions (1 for the standard normal prior); tr J;
        or each diagonal element J_ii by itself, the penalties summed over i.

    Raises
    ------
    ValueError
        If `target` or `weight` is negative or not finite, or an option is unknown.

    Notes
    -----
    The penalty is taken for each image and then averaged, E_x|J(z|x) − F|, because eq. (6) asks for
    tr J = F at each x; eq. (7) writes it outside of the expectation over x. (By Jensen it is at least
    |E_x J − F|.)

    The paper's F = 20 is "large" for the mean only: tr J of 40 dimensions at σ = 1 is already 40. With the
    mean the pull on each dimension is λ/d, with "sum" and "none" it is λ; "none" is the strongest
    constraint, the scalar eq. (11) in each dimension.

    In eq. (11) with μ = 0 the variance that "none" reaches without data is (1 + √(1 + 8λ))/2 for F = 0,
    and 1/F for F > 1 and λ > 1/8. J = 0 itself cannot be reached. |J − F| has a kink, so the optimiser
    leans on F and oscillates around it rather than meeting it exactly. *When not to use it:* as long as J
    stays below F, "abs" and "hinge" and every larger F give identical runs.

    References
    ----------
    Zheng et al., "Understanding VAEs in Fisher-Shannon Plane", eqs. (6)–(11). Eqs. (9) and (11) misplace a
    parenthesis: −KL(N(μ, σ²) ‖ N(0, 1)) = ½ (1 + log σ² − μ² − σ²).

    Examples
    --------
    >>> import torch
    >>> from torch.distributions import Independent, Normal
    >>> from infoplane_torch.penalties import FisherInformation
    >>> posterior = Independent(Normal(torch.zeros(3, 40), torch.full((3, 40), 0.5)), 1)
    >>> FisherInformation(target=20, weight=0.1).of_distribution(posterior)
    tensor(1.6000)
    >>> FisherInformation(target=1, weight=0.1, form="hinge").of_distribution(posterior)
    tensor(0.)
    """

    target: float
    weight: float
    of: Of = "posterior"
    form: Form = "abs"
    reduction: Reduction = "mean"

    def __post_init__(self) -> None:
        for name, value in (("target", self.target), ("weight", self.weight)):
            if not 0 <= value < float("inf"):
                raise ValueError(f"`{name}` must be finite and not negative, got {value!r}")
        for name, choice, choices in (
            ("of", self.of, get_args(Of)),
            ("form", self.form, get_args(Form)),
            ("reduction", self.reduction, get_args(Reduction)),
        ):
            if choice not in choices:
                raise ValueError(f"`{name}` must be one of {choices}, got {choice!r}")

    def __call__(self, forward: ForwardPass) -> Tensor:
        """Evaluate the penalty of one pass over a batch.

        Parameters
        ----------
        forward : ForwardPass
            One pass of the VAE over a batch.

        Returns
        -------
        Tensor
            A scalar.

        Raises
        ------
        TypeError
            If the distribution is discrete, like a Bernoulli likelihood.
        """
        return self.of_distribution(forward.posterior if self.of == "posterior" else forward.likelihood)

    def of_distribution(self, distribution: distributions.Distribution) -> Tensor:
        """Evaluate the penalty of a distribution that comes from elsewhere, for example from one's own VAE.

        Parameters
        ----------
        distribution : Distribution
            q(z|x) or p(x|z), of batch shape (B,).

        Returns
        -------
        Tensor
            A scalar.

        Raises
        ------
        TypeError
            If the distribution is discrete, like a Bernoulli likelihood.
        """
        fisher = fisher_trace(distribution, reduction=self.reduction)
        excess = fisher - self.target
        gap = excess.abs() if self.form == "abs" else (-excess).relu()
        per_image = gap.sum(-1) if self.reduction == "none" else gap
        return self.weight * per_image.mean()
