"""Inverse autoregressive flow: densities whose draws are cheap, with exact log density and score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, distributions, nn
from torch.distributions import constraints
from torch.nn import functional

from infoplane_torch.made import MADE

GATE_BOUND = 7.0
GATE_BIAS = 2.0
WILD_GUESS = 1e6


class InverseAutoregressiveStep(nn.Module):
    """One step of an inverse autoregressive flow, z' = σ(z)·z + (1 − σ(z))·m(z).

    m_i and σ_i see only the elements of z before i, so the Jacobian is triangular with the diagonal σ.

    Parameters
    ----------
    features : int
        Dimension d of z.
    context_features : int, default 0
        Size of the context h that m and σ may see.
    hidden : sequence of int, default (320, 320)
        Widths of the hidden layers of its `MADE`.
    activation : str, default "elu"
        One of `infoplane_torch.networks.ACTIVATIONS`.

    Raises
    ------
    ValueError
        As `MADE`.

    Notes
    -----
    σ = sigmoid(s), with s offset by 2, so that a fresh step changes little, and clamped to ±7.

    References
    ----------
    Kingma et al., "Improving variational inference with inverse autoregressive flow" (2016), algorithm 1.

    Examples
    --------
    >>> import torch
    >>> from infoplane_torch.autoregressive_flow import InverseAutoregressiveStep
    >>> step = InverseAutoregressiveStep(3, hidden=(8,))
    >>> z = torch.tensor([0.5, -1.0, 2.0])
    >>> moved, log_det = step(z)
    >>> bool(torch.allclose(step.inverse(moved), z, atol=1e-5))
    True
    """

    def __init__(
        self,
        features: int,
        *,
        context_features: int = 0,
        hidden: Sequence[int] = (320, 320),
        activation: str = "elu",
    ) -> None:
        super().__init__()
        self.made = MADE(
            features, outputs=2, hidden=hidden, context_features=context_features, activation=activation
        )

    def _parts(
        self, z: Tensor, context: Tensor | None, parameters: dict[str, Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:
        """m(z) and the gate's s(z), each (..., features), perhaps with other parameters than its own."""
        output = (
            self.made(z, context)
            if parameters is None
            else torch.func.functional_call(self.made, parameters, (z, context))
        )
        m, s = output.unbind(-2)
        return m, (s + GATE_BIAS).clamp(-GATE_BOUND, GATE_BOUND)

    def forward(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Move z.

        Parameters
        ----------
        z : Tensor of shape (..., features)
            Where the step starts.
        context : Tensor of shape (..., context_features), optional
            The context, broadcast against `z`.

        Returns
        -------
        Tensor of shape (..., features)
            z'.
        Tensor of shape (...)
            log |det ∂z'/∂z| = Σ log σ.
        """
        m, s = self._parts(z, context)
        return s.sigmoid() * z + (-s).sigmoid() * m, functional.logsigmoid(s).sum(-1)

    def inverse(self, moved: Tensor, context: Tensor | None = None) -> Tensor:
        """Find the z that the step moves to a given place: d passes at most.

        Parameters
        ----------
        moved : Tensor of shape (..., features)
            z'.
        context : Tensor of shape (..., context_features), optional
            The context, broadcast against `moved`.

        Returns
        -------
        Tensor of shape (..., features)
            z, differentiable to any order.

        Notes
        -----
        Each pass solves all elements given the last pass, so that after k passes the first k are right; it
        stops where a pass changes nothing. The derivative comes from the implicit function theorem, by at
        most d backward passes, and memory does not grow with their number.

        References
        ----------
        Song, Meng, Liao, Ermon, "Accelerating feedforward computation via parallel nonlinear equation
        solving" (2021), for the passes.
        """
        z: Tensor = _InverseStep.apply(self, moved, context, *self.made.parameters())
        return z

    @torch.no_grad()
    def _solve(self, moved: Tensor, context: Tensor | None) -> Tensor:
        """z, without a graph."""
        z = moved
        for _ in range(self.made.features):
            m, s = self._parts(z, context)
            # An element whose predecessors are not right yet may overflow, and would then leave NaN behind a
            # mask, since 0·∞ is none: bounded, it does no harm.
            better = ((moved - (-s).sigmoid() * m) / s.sigmoid()).clamp(-WILD_GUESS, WILD_GUESS)
            settled = _nothing_left(better - z, better)
            z = better
            if settled:
                break
        return z


class _InverseStep(torch.autograd.Function):
    """The inverse of a step, with z by `_solve` and its derivative by the implicit function theorem.

    With J the triangular Jacobian of the step at z, a cotangent g of z becomes u = J⁻ᵀ g of z', and
    −(∂step/∂θ)ᵀ u of context and weights.
    """

    @staticmethod
    def forward(
        ctx: Any,
        step: InverseAutoregressiveStep,
        moved: Tensor,
        context: Tensor | None,
        *parameters: Tensor,
    ) -> Tensor:
        z = step._solve(moved, context)
        ctx.step = step
        ctx.save_for_backward(z, context, *parameters)
        return z

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        z, context, *parameters = ctx.saved_tensors
        differentiable = torch.is_grad_enabled()  # by create_graph: then all that follows is in a graph too
        with torch.enable_grad():
            z = z if differentiable else z.detach().requires_grad_()
            # Through aliases, since z itself depends on context and weights, and here only the step is meant.
            context = None if context is None else context.view_as(context)
            aliases = [parameter.view_as(parameter) for parameter in parameters]
            names = [name for name, _ in ctx.step.made.named_parameters()]
            m, s = ctx.step._parts(z, context, dict(zip(names, aliases, strict=True)))
            scale = s.sigmoid()
            moved = scale * z + (-s).sigmoid() * m
            scale = scale if differentiable else scale.detach()
            u = gradient / scale
            for _ in range(ctx.step.made.features - 1):
                (pulled,) = torch.autograd.grad(moved, z, u, create_graph=differentiable, retain_graph=True)
                left = (gradient - pulled) / scale
                u = u + left
                if _nothing_left(left, u):
                    break
            sources = [context, *aliases]
            wanted = [i for i, needed in enumerate(ctx.needs_input_grad[2:]) if needed]
            found = (
                torch.autograd.grad(
                    moved, [sources[i] for i in wanted], -u, create_graph=differentiable, allow_unused=True
                )
                if wanted
                else ()
            )
        by_source = dict(zip(wanted, found, strict=True))
        return None, u, *(by_source.get(i) for i in range(len(sources)))


def _nothing_left(change: Tensor, value: Tensor) -> bool:
    """Whether a change is of the size of rounding errors."""
    tolerance = 4 * torch.finfo(value.dtype).eps
    return bool((change.detach().abs() <= tolerance * (1 + value.detach().abs())).all())


class InverseAutoregressiveFlow(distributions.Distribution):
    """Distribution of noise moved by inverse autoregressive steps, the order reversed between them.

    Parameters
    ----------
    base : Distribution
        The noise z_0, reparameterised, of event shape (d,).
    steps : sequence of InverseAutoregressiveStep
        The steps, the first one first.
    context : Tensor of shape (*batch_shape, context_features), optional
        Seen by every step.

    Attributes
    ----------
    base, steps, context
        As given.

    Notes
    -----
    A draw takes one pass, and leaves its log q behind: ``log_prob`` of the tensor that the last ``rsample``
    or ``sample`` gave (or of that tensor with one dimension in front) costs nothing. Its gradient is then the
    total one, d log q_θ(z_θ)/dθ, as the KL term needs it. Any other value, the same numbers in another tensor
    included, is first inverted: at most d passes for each step, forwards and again backwards, see
    `InverseAutoregressiveStep.inverse`. The score, and so J, needs that. *When not to use it:* for a density
    at given points, as in a prior; `RealNVP` is made for that.

    There is no closed form of its mean; ``center`` is where the flow takes the mean of its noise. Entropy and
    Fisher information come from `infoplane_torch.information`, by Monte Carlo.

    References
    ----------
    Kingma et al., "Improving variational inference with inverse autoregressive flow" (2016), algorithm 1.

    Examples
    --------
    >>> import torch
    >>> from torch.distributions import Independent, Normal
    >>> from infoplane_torch.autoregressive_flow import InverseAutoregressiveFlow, InverseAutoregressiveStep
    >>> noise = Independent(Normal(torch.zeros(5, 3), 1.0), 1)
    >>> flow = InverseAutoregressiveFlow(noise, [InverseAutoregressiveStep(3, hidden=(8,)) for _ in range(2)])
    >>> z = flow.rsample()
    >>> bool(torch.allclose(flow.log_prob(z), flow.log_prob(z.clone()), atol=1e-4))
    True
    """

    arg_constraints = {}  # noqa: RUF012 - torch's own convention
    support = constraints.real_vector
    has_rsample = True

    def __init__(
        self,
        base: distributions.Distribution,
        steps: Sequence[InverseAutoregressiveStep],
        context: Tensor | None = None,
    ) -> None:
        self.base, self.steps, self.context = base, tuple(steps), context
        self._last: tuple[Tensor, int, Tensor] | None = None
        super().__init__(base.batch_shape, base.event_shape, validate_args=False)

    @property
    def center(self) -> Tensor:
        """Where the flow takes the mean of its noise, of shape (*batch_shape, d): not the mean of z."""
        return self._move(self.base.mean)[0]

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Draw, differentiably.

        Parameters
        ----------
        sample_shape : sequence of int, default ()
            Shape of the draws.

        Returns
        -------
        Tensor of shape (*sample_shape, *batch_shape, d)
            Its log q is kept for `log_prob`, until the next draw.
        """
        return self.rsample_with_log_prob(sample_shape)[0]

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Draw, without gradient.

        Parameters
        ----------
        sample_shape : sequence of int, default ()
            Shape of the draws.

        Returns
        -------
        Tensor of shape (*sample_shape, *batch_shape, d)
            Its log q is kept for `log_prob`, until the next draw.
        """
        with torch.no_grad():
            return self.rsample(sample_shape)

    def rsample_with_log_prob(self, sample_shape: Sequence[int] = ()) -> tuple[Tensor, Tensor]:
        """Draw, differentiably, with the density of the draw: one pass.

        Parameters
        ----------
        sample_shape : sequence of int, default ()
            Shape of the draws.

        Returns
        -------
        Tensor of shape (*sample_shape, *batch_shape, d)
            z.
        Tensor of shape (*sample_shape, *batch_shape)
            log q(z), exact.
        """
        noise = self.base.rsample(torch.Size(sample_shape))
        z, log_det = self._move(noise)
        log_q = self.base.log_prob(noise) - log_det
        self._last = (z, _version(z), log_q)
        return z, log_q

    def log_prob(self, value: Tensor) -> Tensor:
        """Log density: of the last draw at no cost, of another value by at most d passes for each step.

        Parameters
        ----------
        value : Tensor of shape (*sample_shape, *batch_shape, d)
            Points z, or anything that broadcasts to this shape.

        Returns
        -------
        Tensor of shape (*sample_shape, *batch_shape)
        """
        kept = self._log_prob_of_last_draw(value)
        if kept is not None:
            return kept
        shape = torch.broadcast_shapes(value.shape, self.batch_shape + self.event_shape)
        z = value.expand(shape)
        log_det = z.new_zeros(())
        for number, step in reversed(list(enumerate(self.steps))):
            z = step.inverse(z, self.context)
            log_det = log_det + step(z, self.context)[1]
            z = z.flip(-1) if number > 0 else z
        return self.base.log_prob(z) - log_det

    def _move(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """z and log |det ∂z/∂noise|."""
        z, log_det = noise, noise.new_zeros(())
        for number, step in enumerate(self.steps):
            z, more = step(z.flip(-1) if number > 0 else z, self.context)
            log_det = log_det + more
        return z, log_det

    def _log_prob_of_last_draw(self, value: Tensor) -> Tensor | None:
        """What the last draw left behind, if `value` is that draw and no gradient by `value` is wanted."""
        if self._last is None or (value.is_leaf and value.requires_grad):
            return None
        z, version, log_q = self._last
        if version != _version(z):  # changed in place
            return None
        if value is not z:
            # The score asks through another view, of the same shape, since it needs the derivative by `value`
            # itself; a dimension in front is how `kl_divergence` is told of single draws.
            node = value.grad_fn
            plain = node is None or node.name().startswith("UnsqueezeBackward")
            if not (plain and value._base is z and value.shape == (1, *z.shape)):
                return None
            log_q = log_q.unsqueeze(0)
        return log_q if torch.is_grad_enabled() else log_q.detach()


def _version(z: Tensor) -> int:
    """How often a tensor was changed in place; inference tensors do not count that."""
    return 0 if z.is_inference() else z._version
