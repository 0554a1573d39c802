"""What a step of training minimises: a model and its objective as one module."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from infoplane_torch.objective import Objective
from infoplane_torch.training_config import Precision
from infoplane_torch.vae import VAE, ForwardPass


class Loss(nn.Module):
    """A model and its objective as one module, so that both are wrapped, compiled and moved together.

    Parameters
    ----------
    vae : VAE
        The model.
    objective : Objective
        What is maximised.
    precision : {"32-true", "bf16-mixed"}, default "32-true"
        Arithmetic of the model's networks; densities and penalties stay float32.
    """

    def __init__(self, vae: VAE, objective: Objective, *, precision: Precision = "32-true") -> None:
        super().__init__()
        self.vae = vae
        self.penalties = objective.modules
        self.objective = objective
        self._mixed = precision == "bf16-mixed"

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of a term: that of a scalar."""
        return ()

    @property
    def generators(self) -> Sequence[torch.Generator]:
        """What noise is drawn from, if not from PyTorch's global random state."""
        return ()

    def seed(self, seeds: Sequence[int]) -> None:
        """Seed the noise.

        Parameters
        ----------
        seeds : sequence of int
            One seed for each model, of which there is one.
        """
        torch.manual_seed(*seeds)

    def averaged(self) -> list[Tensor]:
        """The weights of which a `WeightAverage` is taken: the model's, not those of penalties."""
        return [*self.vae.parameters()]

    def optimizer_states(self, optimizer: torch.optim.Optimizer) -> list[Mapping[str, Any]]:
        """Return what an optimizer knows of each model, of which there is one.

        Parameters
        ----------
        optimizer : torch.optim.Optimizer
            Adam over the parameters of this module.
        """
        return [optimizer.state_dict()]

    def load_optimizer_states(
        self, optimizer: torch.optim.Optimizer, states: Sequence[Mapping[str, Any]]
    ) -> None:
        """Give an optimizer what `optimizer_states` gave.

        Parameters
        ----------
        optimizer : torch.optim.Optimizer
            Adam over the parameters of this module; its options stay what they are.
        states : sequence of mapping
            One for each model, of which there is one.
        """
        (state,) = states
        group = optimizer.param_groups[0]
        options = {name: group[name] for name in ("lr", "fused", "capturable")}  # of this device
        optimizer.load_state_dict(dict(state))
        optimizer.param_groups[0].update(options)

    def average_sums(self, sums: Sequence[Tensor]) -> list[list[Tensor]]:
        """Return the sums of a `WeightAverage` of each model, of which there is one.

        Parameters
        ----------
        sums : sequence of Tensor
            Those of an average of `averaged`.
        """
        return [list(sums)]

    def load_average_sums(self, sums: Sequence[Tensor], states: Sequence[Sequence[Tensor]]) -> None:
        """Fill the sums of a `WeightAverage` with what `average_sums` gave.

        Parameters
        ----------
        sums : sequence of Tensor
            Those of an average of `averaged`; changed in place.
        states : sequence of sequence of Tensor
            One for each model, of which there is one.
        """
        for value, old in zip(sums, states[0], strict=True):
            value.copy_(old)

    def release(self) -> None:
        """Leave the models to themselves again, as they are."""

    def forward(self, x: Tensor, beta: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Evaluate the objective on a batch.

        Parameters
        ----------
        x : Tensor of shape (B, *event_shape)
            Images.
        beta : scalar Tensor
            Weight of the KL term.

        Returns
        -------
        loss : Tensor
            What is minimised, the losses of the penalties' own networks included.
        terms : dict of str to Tensor
            All that is logged: means over the images.
        """
        terms = self.objective(self._pass, x, beta=beta)
        named = {
            "loss": terms.loss,
            "elbo": terms.elbo,
            "reconstruction": terms.reconstruction,
            "kl": terms.kl,
            **{f"penalty_{name}": value for name, value in terms.penalties.items()},
            "posterior_entropy": terms.posterior_entropy,
            "fisher_trace_mean": terms.fisher_trace_mean,
            **terms.watched,
        }
        # Not detached here: a compiler may take a detached copy and the loss itself for one tensor.
        return terms.loss + terms.auxiliary, named

    def _pass(self, x: Tensor) -> ForwardPass:
        if not self._mixed:
            return self.vae(x)
        with torch.autocast(x.device.type, dtype=torch.bfloat16):
            return self.vae(x)
