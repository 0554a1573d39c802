"""Penalties: named terms that an objective subtracts from the ELBO.

A penalty is anything that turns a `ForwardPass` into a scalar, already weighted; one with a state or a
network of its own is a module that does the same, and may add what it learns by and what is worth watching.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import ClassVar, Literal, NamedTuple, Protocol, get_args

import torch
from torch import Tensor, distributions, nn

from infoplane_torch.information import fisher_trace, kde_fisher_information
from infoplane_torch.processes import mean_over_processes
from infoplane_torch.vae import ForwardPass

Of = Literal["posterior", "likelihood"]
Form = Literal["abs", "hinge", "lagrangian"]
Reduction = Literal["mean", "sum", "none"]

_MULTIPLIER_STEPS = 100  # in which the multiplier moves by weight · gap …
_LARGEST_GAP = 0.1  # … but not by more than that of this gap, or it would wind up on the way to the target


class PenaltyTerms(NamedTuple):
    """What a penalty with a state or a network of its own gives on one batch.

    Attributes
    ----------
    penalty : Tensor
        The weighted penalty in nats per image, a scalar; no gradient reaches the penalty's own network.
    auxiliary : Tensor or None
        The loss by which that network is trained, a scalar; its gradient reaches nothing else.
    watched : mapping of str to Tensor
        Scalars without gradient, for the log.
    """

    penalty: Tensor
    auxiliary: Tensor | None
    watched: Mapping[str, Tensor]


class Penalty(Protocol):
    """What an objective asks of a penalty: a call from one pass over a batch to a scalar.

    A class may name in ``varies`` the attributes in which models that are trained together may differ:
    numbers that enter arithmetic, and on which no branch depends.
    """

    def __call__(self, forward: ForwardPass) -> Tensor | PenaltyTerms:
        """Weighted penalty in nats per image, a scalar, perhaps with more beside it.

        Parameters
        ----------
        forward : ForwardPass
            One pass of the VAE over a batch.
        """


def require_not_negative(**numbers: float) -> None:
    """Refuse numbers that are negative or not finite.

    Parameters
    ----------
    **numbers
        By the names that messages call them.

    Raises
    ------
    ValueError
        If there is one.

    Examples
    --------
    >>> from infoplane_torch.penalties import require_not_negative
    >>> require_not_negative(target=20, weight=0.0)
    """
    for name, value in numbers.items():
        if not 0 <= value < float("inf"):
            raise ValueError(f"`{name}` must be finite and not negative, got {value!r}")


@dataclass(frozen=True)
class FisherInformation:
    """Control of the Fisher information, λ |tr J − F|, in nats: eqs. (6)–(11) of the Fisher auto-encoder.

    Parameters
    ----------
    target : float
        F ≥ 0, the wanted Fisher information, in the unit that `reduction` chooses.
    weight : float
        λ ≥ 0; with "lagrangian", the weight ρ > 0 of the squared gap.
    of : {"posterior", "likelihood"}, default "posterior"
        Whether J is that of q(z|x), the encoder's term λ_z of eq. (7), or of p(x|z), the decoder's λ_x.
    form : {"abs", "hinge", "lagrangian"}, default "abs"
        |J − F|; max(F − J, 0), which asks for *at least* F; or the constraint of eq. (6) itself, by a
        multiplier: see `FisherConstraint`, which an `Objective` makes of it.
    reduction : {"mean", "sum", "none"}, default "mean"
        What is compared with F: tr J/d, the mean over dimensions (1 for the standard normal prior); tr J;
        or each diagonal element J_ii by itself, the penalties summed over i.
    num_samples : int, default 256
        Draws for each image where J has no closed form, as that of a flow, at least 2; time and memory grow
        with them. J is unbiased whatever they are; with S of them its relative standard deviation is about
        √(2/(S d)), 8 % for S = 8 and d = 40, and E|J − F| also counts that noise.

    Raises
    ------
    ValueError
        If `target` or `weight` is negative or not finite, there are too few draws, an option is unknown, or
        the constraint cannot be met: "lagrangian" needs a positive `target` and `weight`, and one number, the
        "mean" or the "sum".

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

    varies: ClassVar[tuple[str, ...]] = ("target", "weight")  # see `Penalty`

    target: float
    weight: float
    of: Of = "posterior"
    form: Form = "abs"
    reduction: Reduction = "mean"
    num_samples: int = 256

    def __post_init__(self) -> None:
        require_not_negative(target=self.target, weight=self.weight)
        if self.num_samples < 2:
            raise ValueError(f"`num_samples` must be at least 2, got {self.num_samples}")
        for name, choice, choices in (
            ("of", self.of, get_args(Of)),
            ("form", self.form, get_args(Form)),
            ("reduction", self.reduction, get_args(Reduction)),
        ):
            if choice not in choices:
                raise ValueError(f"`{name}` must be one of {choices}, got {choice!r}")
        if self.form == "lagrangian":
            for name, value in (("target", self.target), ("weight", self.weight)):
                if value == 0:
                    raise ValueError(f'`{name}` must be positive with form="lagrangian", got {value!r}')
            if self.reduction == "none":
                raise ValueError('`reduction` must be "mean" or "sum" with form="lagrangian", got \'none\'')

    def __repr__(self) -> str:
        """Name the options, `num_samples` only where it is set: by it older runs are recognised."""
        shown = [
            f"{option.name}={getattr(self, option.name)!r}"
            for option in fields(self)
            if option.name != "num_samples" or self.num_samples != option.default
        ]
        return f"FisherInformation({', '.join(shown)})"

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
        ValueError
            If the form is "lagrangian", which has a state to keep.
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
        ValueError
            If the form is "lagrangian", which has a state to keep.
        """
        if self.form == "lagrangian":
            raise ValueError(
                'form="lagrangian" has a multiplier to keep: call FisherConstraint(penalty), or an Objective '
                "with this penalty, which makes one"
            )
        return self._of_fisher(
            fisher_trace(distribution, reduction=self.reduction, num_samples=self.num_samples)
        )

    def of_codes(self, codes: Tensor) -> Tensor:
        """Evaluate the penalty of the aggregated posterior q(z) that codes are drawn from.

        Parameters
        ----------
        codes : Tensor of shape (n, d)
            At least max(5d, 20) codes of distinct images: see
            `infoplane_torch.information.kde_fisher_information`, which estimates J.

        Returns
        -------
        Tensor
            A scalar.

        Raises
        ------
        ValueError
            If the form is "lagrangian", or the codes are too few, not finite, or have no density.
        """
        if self.form == "lagrangian":
            raise ValueError('`form` must be "abs" or "hinge" for codes, got \'lagrangian\'')
        diagonal = kde_fisher_information(codes).diagonal()
        if self.reduction == "none":
            return self._of_fisher(diagonal)
        return self._of_fisher(diagonal.mean() if self.reduction == "mean" else diagonal.sum())

    def _of_fisher(self, fisher: Tensor) -> Tensor:
        excess = fisher - self.target
        gap = excess.abs() if self.form == "abs" else (-excess).relu()
        per_image = gap.sum(-1) if self.reduction == "none" else gap
        return self.weight * per_image.mean()


class FisherConstraint(nn.Module):
    """The constraint tr J = F of eq. (6), met by an augmented Lagrangian, in nats.

    The penalty is ν g + ½ ρ E_x[log²(tr J(z|x) / F)] with the gap g = log(E_x tr J(z|x) / F) of the batch;
    the multiplier ν starts at 0 and is a buffer.

    Parameters
    ----------
    settings : FisherInformation
        Target F, weight ρ, what J is that of and what of it counts; its form is "lagrangian".

    Raises
    ------
    ValueError
        If the form is another.

    Notes
    -----
    Rule of the multiplier: each call in training mode, with gradients enabled, ends with ν ← ν + ρ g/100, the
    g in it clamped to ±0.1, as the averages of a batch normalisation layer move; in evaluation mode ν rests.
    It stops where g vanishes on average, so that the mean of J over x, the model's J in the plane, meets F
    against any pull of the ELBO. |J − F| with a fixed λ meets it only if λ is large enough, and then at a
    price, as λ pulls each image to F by force. ρ does not grow: it only has to damp the oscillation that ν
    alone would start, and says how far single images may stray from F; ρ = 10 did both for F from 1 to 50.

    log(J/F) = 0 is the constraint J = F in a form that pulls alike from 10 F and from F/10, in which a gap
    of 0.01 is one per cent. The value may be negative. *When not to use it:* for F = 0, which no density
    reaches; or in runs of fewer than a thousand steps, in which ν does not settle.

    References
    ----------
    Zheng et al., "Understanding VAEs in Fisher-Shannon Plane", eq. (6). Hestenes, "Multiplier and gradient
    methods" (1969). Platt and Barr, "Constrained differential optimization" (1988), whose damped flow this
    is in discrete steps.

    Examples
    --------
    >>> import torch
    >>> from torch.distributions import Independent, Normal
    >>> from infoplane_torch.penalties import FisherConstraint, FisherInformation
    >>> constraint = FisherConstraint(FisherInformation(target=20, weight=1.0, form="lagrangian"))
    >>> scale = torch.full((3, 40), 0.5, requires_grad=True)
    >>> constraint.of_distribution(Independent(Normal(torch.zeros(3, 40), scale), 1))
    tensor(1.2951, grad_fn=<AddBackward0>)
    >>> constraint.multiplier
    tensor(-0.0010)
    """

    multiplier: Tensor

    def __init__(self, settings: FisherInformation) -> None:
        super().__init__()
        if settings.form != "lagrangian":
            raise ValueError(f'`settings` must have form="lagrangian", got {settings.form!r}')
        self.settings = settings
        self.register_buffer("multiplier", torch.zeros(()))

    def extra_repr(self) -> str:
        """Name the constraint."""
        return repr(self.settings)

    def forward(self, forward: ForwardPass) -> PenaltyTerms:
        """Evaluate the penalty of one pass over a batch, and move the multiplier if in training mode.

        Parameters
        ----------
        forward : ForwardPass
            One pass of the VAE over a batch.

        Returns
        -------
        PenaltyTerms
            Watched is the ``multiplier`` that the penalty was taken with.
        """
        multiplier = self.multiplier.clone()
        distribution = forward.posterior if self.settings.of == "posterior" else forward.likelihood
        return PenaltyTerms(self.of_distribution(distribution), None, {"multiplier": multiplier})

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
        settings = self.settings
        fisher = fisher_trace(distribution, reduction=settings.reduction, num_samples=settings.num_samples)
        ratio = fisher / settings.target  # (B,)
        gap = mean_over_processes(ratio.mean()).log()
        multiplier = self.multiplier.clone()  # the gradient wants the old value, the next line is in place
        if self.training and torch.is_grad_enabled():
            step = gap.detach().clamp(-_LARGEST_GAP, _LARGEST_GAP)
            self.multiplier += settings.weight / _MULTIPLIER_STEPS * step
        return multiplier * gap + 0.5 * settings.weight * ratio.log().square().mean()
