"""Several models of one architecture as one module: parameters stacked, products of matrices batched."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from infoplane_torch.member_calls import MemberCalls
from infoplane_torch.member_numbers import numbers_of, replaced, require_stackable
from infoplane_torch.training_loss import Loss


class StackedLoss(nn.Module):
    """Models that differ in their weights and in the numbers of their objectives, trained side by side.

    Member i computes what its own `Loss` would compute with ``torch.manual_seed(seeds[i])``, to rounding, its
    noise included: one call takes M batches, and runs each layer once for all members, as one batched product
    of matrices.

    Parameters
    ----------
    losses : sequence of Loss
        The members, on one device. Their parameters and buffers become views of the stack, so that they
        follow it, until `release`.

    Attributes
    ----------
    weights : nn.Parameter of shape (M, P)
        All parameters of all members, a member a row: one tensor for the optimizer.

    Raises
    ------
    ValueError
        If two members are one, their architectures or devices differ, or their objectives do in more than
        `beta` and the numbers that penalties name in `varies`.

    Notes
    -----
    `torch.vmap` maps the code of a single model over the stack, so every posterior, likelihood, prior and
    penalty works that `torch.vmap` understands: no branch on the values of a tensor, no random function that
    `MemberCalls` does not know. `require_possible` says so beforehand. Nothing mixes members: one that
    diverges fills its own row with NaN and no other.

    Examples
    --------
    >>> import torch
    >>> from infoplane_torch import presets
    >>> from infoplane_torch.stacked_loss import StackedLoss
    >>> from infoplane_torch.training_loss import Loss
    >>> sizes = {"event_shape": (1, 8, 8), "hidden": (16,), "latent_dim": 2}
    >>> losses = [Loss(*presets.build(presets.fae(fisher, 1.0, **sizes))) for fisher in (1, 5, 20)]
    >>> stack = StackedLoss(losses)
    >>> total, terms = stack(torch.zeros(3, 10, 1, 8, 8), torch.tensor(1.0))
    >>> terms["elbo"].shape
    torch.Size([3])
    """

    index: Tensor

    def __init__(self, losses: Sequence[Loss]) -> None:
        super().__init__()
        require_stackable(losses)
        self._losses = tuple(losses)  # in tuples, so that their parameters do not become this module's
        self._template = (copy.deepcopy(losses[0]),)
        first = dict(losses[0].named_parameters())
        self._names, self._sizes = list(first), [value.numel() for value in first.values()]
        self._shapes = [value.shape for value in first.values()]
        self._frozen = [not value.requires_grad for value in first.values()]
        rows = [torch.cat([value.detach().flatten() for value in loss.parameters()]) for loss in losses]
        self.weights = nn.Parameter(torch.stack(rows))
        device, dtype = self.weights.device, self.weights.dtype
        self.register_buffer("index", torch.arange(len(losses), device=device))
        self._buffer_names = [name for name, _ in losses[0].named_buffers()]
        for number, values in enumerate(zip(*(loss.buffers() for loss in losses), strict=True)):
            self.register_buffer(f"buffer{number}", torch.stack(values))
        self._numbers = {
            slot: torch.tensor(values, device=device, dtype=dtype)
            for slot, values in numbers_of([loss.objective for loss in losses]).items()
        }
        self._generators = tuple(torch.Generator(device) for _ in losses)
        self._share()

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of a term: one element for each member."""
        return (len(self._losses),)

    @property
    def generators(self) -> Sequence[torch.Generator]:
        """What each member's noise is drawn from."""
        return self._generators

    def seed(self, seeds: Sequence[int]) -> None:
        """Seed the noise.

        Parameters
        ----------
        seeds : sequence of int
            One seed for each member.
        """
        for generator, seed in zip(self._generators, seeds, strict=True):
            generator.manual_seed(seed)

    def train(self, mode: bool = True) -> StackedLoss:
        """Set the mode.

        Parameters
        ----------
        mode : bool, default True
            Whether to train, or to evaluate.
        """
        self._template[0].train(mode)
        return super().train(mode)

    def forward(self, x: Tensor, beta: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Evaluate the objectives, each on its own batch.

        Parameters
        ----------
        x : Tensor of shape (M, B, *event_shape)
            Images.
        beta : scalar Tensor
            Weight of the KL term, on top of the members' own.

        Returns
        -------
        loss : Tensor
            The sum over members of what each minimises; its gradient by a row of `weights` is that member's.
        terms : dict of str to Tensor of shape (M,)
            All that is logged: means over the images.
        """
        parts = zip(self._names, self._views(self.weights), self._frozen, strict=True)
        state = {name: part.detach() if frozen else part for name, part, frozen in parts}
        state |= {name: self.get_buffer(f"buffer{i}") for i, name in enumerate(self._buffer_names)}
        losses, terms = torch.vmap(self._member, in_dims=(0, 0, 0, 0, None), randomness="error")(
            state, self._numbers, self.index, x, beta
        )
        return losses.sum(), terms

    def _member(
        self,
        state: dict[str, Tensor],
        numbers: dict[str, Tensor],
        index: Tensor,
        x: Tensor,
        beta: Tensor,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """What one member computes: the code of a single `Loss`."""
        (loss,) = self._template
        with MemberCalls(self._generators, index), replaced(loss.objective, numbers):
            return torch.func.functional_call(loss, state, (x, beta))

    def require_possible(self, x: Tensor) -> None:
        """Try one step out, in which nothing changes.

        Parameters
        ----------
        x : Tensor of shape (B, *event_shape)
            A few images.

        Raises
        ------
        ValueError
            If `torch.vmap` cannot do it.
        """
        self.train()
        kept = [value.clone() for value in self.buffers()]
        try:
            total, _ = self(x.expand(*self.shape, *x.shape), torch.ones((), device=x.device))
            torch.autograd.grad(total, self.weights)
        except RuntimeError as error:
            raise ValueError(
                f"`models` must be such that torch.vmap can train them together; train each alone: {error}"
            ) from error
        finally:
            for value, old in zip(self.buffers(), kept, strict=True):
                value.copy_(old)

    @torch.no_grad()
    def can_be_evaluated(self, x: Tensor) -> bool:
        """Whether the stack works in evaluation mode too, where more is watched: not so for a flow's J.

        Parameters
        ----------
        x : Tensor of shape (B, *event_shape)
            A few images.
        """
        self.eval()
        try:
            self(x.expand(*self.shape, *x.shape), torch.ones((), device=x.device))
        except RuntimeError:
            return False
        return True

    def averaged(self) -> list[Tensor]:
        """The weights of which a `WeightAverage` is taken: the models', not those of penalties."""
        count = sum(parameter.numel() for parameter in self._losses[0].vae.parameters())
        return [self.weights.detach()[:, :count]]  # the models' come first

    def optimizer_states(self, optimizer: torch.optim.Optimizer) -> list[Mapping[str, Any]]:
        """Return what an optimizer knows of each member, as that of the member's `Loss` would.

        Parameters
        ----------
        optimizer : torch.optim.Optimizer
            Adam over the parameters of this module.
        """
        moments = optimizer.state[self.weights]
        (group,) = optimizer.state_dict()["param_groups"]
        group = {**group, "params": list(range(len(self._names)))}
        return [
            {
                "state": {
                    number: {
                        "step": moments["step"].clone(),
                        "exp_avg": first.clone(),
                        "exp_avg_sq": second.clone(),
                    }
                    for number, (first, second) in enumerate(
                        zip(
                            self._views(moments["exp_avg"][i]),
                            self._views(moments["exp_avg_sq"][i]),
                            strict=True,
                        )
                    )
                },
                "param_groups": [group],
            }
            for i in range(len(self._losses))
        ]

    def load_optimizer_states(
        self, optimizer: torch.optim.Optimizer, states: Sequence[Mapping[str, Any]]
    ) -> None:
        """Give an optimizer what `optimizer_states` gave, or that of each member's `Loss`.

        Parameters
        ----------
        optimizer : torch.optim.Optimizer
            Adam over the parameters of this module; its options stay what they are.
        states : sequence of mapping
            One for each member, after the same number of steps.
        """
        steps: Tensor = next(iter(states[0]["state"].values()))["step"]
        moments = {"step": steps.to(self.weights.device, copy=True)}  # there, as the optimizer is fused
        for name in ("exp_avg", "exp_avg_sq"):
            moments[name] = torch.zeros_like(self.weights)
            for row, state in zip(moments[name], states, strict=True):
                for number, part in enumerate(self._views(row)):
                    if number in state["state"]:  # a parameter without gradient has no moments
                        part.copy_(state["state"][number][name])
        optimizer.state[self.weights] = moments

    def average_sums(self, sums: Sequence[Tensor]) -> list[list[Tensor]]:
        """Return the sums of a `WeightAverage` of each member, as that of the member's `Loss` would.

        Parameters
        ----------
        sums : sequence of Tensor
            Those of an average of `averaged`.
        """
        (rows,) = sums
        return [[part.clone() for part in self._views(row)] for row in rows]

    def load_average_sums(self, sums: Sequence[Tensor], states: Sequence[Sequence[Tensor]]) -> None:
        """Fill the sums of a `WeightAverage` with what `average_sums` gave.

        Parameters
        ----------
        sums : sequence of Tensor
            Those of an average of `averaged`; changed in place.
        states : sequence of sequence of Tensor
            One for each member.
        """
        (rows,) = sums
        for row, state in zip(rows, states, strict=True):
            for part, old in zip(self._views(row), state, strict=True):
                part.copy_(old)

    def release(self) -> None:
        """Leave the members to themselves again, as they are: their tensors are their own."""
        for loss in self._losses:
            for value in (*loss.parameters(), *loss.buffers()):
                value.data = value.data.clone()

    def _share(self) -> None:
        """Make the members' tensors views of the stack."""
        stacked = [value for name, value in self.named_buffers() if name != "index"]
        for i, loss in enumerate(self._losses):
            views = self._views(self.weights.detach()[i]) + [rows[i] for rows in stacked]
            for value, view in zip((*loss.parameters(), *loss.buffers()), views, strict=True):
                value.data = view

    def _views(self, rows: Tensor) -> list[Tensor]:
        """The parameters in one row or several, (..., P), or those that come first, as views."""
        sizes, total = [], 0
        for size in self._sizes:
            if total == rows.shape[-1]:
                break
            sizes.append(size)
            total += size
        shapes = self._shapes[: len(sizes)]
        parts = rows.split(sizes, dim=-1)
        return [part.view((*rows.shape[:-1], *shape)) for part, shape in zip(parts, shapes, strict=True)]
