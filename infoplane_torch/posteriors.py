"""Posteriors q(z|x): modules that turn a batch of images into a distribution over codes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, distributions, nn

from infoplane_torch.autoregressive_flow import InverseAutoregressiveFlow, InverseAutoregressiveStep
from infoplane_torch.networks import at_least_float32, scale_from_log_variance


class DiagonalGaussian(nn.Module):
    """Gaussian posterior q(z|x) = N(μ(x), diag σ²(x)) (Kingma and Welling 2014).

    Parameters
    ----------
    network : nn.Module
        Maps images ``(B, *event_shape)`` to ``(B, 2·latent_dim)``: μ first, then log σ².

    Notes
    -----
    Its Fisher information is diag 1/σ²(x), eq. (10) of the paper. log σ² is clamped to ±14
    (`scale_from_log_variance`). The distribution skips PyTorch's argument checks, which would read every
    value back from a GPU at every step; NaN shows in the loss.

    Examples
    --------
    >>> import torch
    >>> from infoplane_torch.networks import MLP
    >>> from infoplane_torch.posteriors import DiagonalGaussian
    >>> posterior = DiagonalGaussian(MLP(784, 2 * 40))
    >>> posterior(torch.zeros(5, 1, 28, 28))
    Independent(Normal(loc: torch.Size([5, 40]), scale: torch.Size([5, 40])), 1)
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> distributions.Independent:
        """Return the posterior of a batch of images.

        Parameters
        ----------
        x : Tensor of shape (B, *event_shape)
            Images.

        Returns
        -------
        Independent
            Of batch shape (B,) and event shape (latent_dim,).
        """
        mean, log_variance = at_least_float32(self.network(x)).chunk(2, dim=1)
        normal = distributions.Normal(mean, scale_from_log_variance(log_variance), validate_args=False)
        return distributions.Independent(normal, 1, validate_args=False)


class FullCovarianceGaussian(nn.Module):
    """Gaussian posterior q(z|x) = N(μ(x), L(x) L(x)ᵀ) with a full covariance.

    Parameters
    ----------
    network : nn.Module
        Maps images ``(B, *event_shape)`` to ``(B, d·(d + 3)/2)``: the d elements of μ, those of 2 log L_ii,
        and the d·(d − 1)/2 below the diagonal of L, row by row. Its `outputs` counts them.
    latent_dim : int
        d.

    Notes
    -----
    L is lower triangular with a positive diagonal; 2 log L_ii is clamped to ±14, as log σ² is elsewhere.
    Its Fisher information (L Lᵀ)⁻¹ and its KL divergence from the standard normal prior are closed forms.

    Examples
    --------
    >>> import torch
    >>> from infoplane_torch.networks import MLP
    >>> from infoplane_torch.posteriors import FullCovarianceGaussian
    >>> posterior = FullCovarianceGaussian(MLP(784, FullCovarianceGaussian.outputs(40)), 40)
    >>> posterior(torch.zeros(5, 1, 28, 28)).covariance_matrix.shape
    torch.Size([5, 40, 40])
    """

    def __init__(self, network: nn.Module, latent_dim: int) -> None:
        super().__init__()
        self.network = network
        self.latent_dim = latent_dim

    @staticmethod
    def outputs(latent_dim: int) -> int:
        """Count the outputs that its network must have, d·(d + 3)/2.

        Parameters
        ----------
        latent_dim : int
            d.

        Returns
        -------
        int
        """
        return latent_dim * (latent_dim + 3) // 2

    def forward(self, x: Tensor) -> distributions.MultivariateNormal:
        """Return the posterior of a batch of images.

        Parameters
        ----------
        x : Tensor of shape (B, *event_shape)
            Images.

        Returns
        -------
        MultivariateNormal
            Of batch shape (B,) and event shape (latent_dim,).
        """
        d = self.latent_dim
        mean, log_variance, below = at_least_float32(self.network(x)).tensor_split([d, 2 * d], dim=1)
        row, column = torch.tril_indices(d, d, offset=-1, device=x.device)
        factor = torch.diag_embed(scale_from_log_variance(log_variance))  # (B, d, d)
        factor = factor.index_put((torch.arange(len(x), device=x.device)[:, None], row, column), below)
        return distributions.MultivariateNormal(mean, scale_tril=factor, validate_args=False)


class IAFPosterior(nn.Module):
    """Inverse autoregressive flow q(z|x): Gaussian noise N(μ(x), diag σ²(x)), moved by steps that see h(x).

    Parameters
    ----------
    network : nn.Module
        Maps images ``(B, *event_shape)`` to ``(B, 2·latent_dim + context_features)``: μ, log σ², then the
        context h.
    latent_dim : int
        Dimension of z.
    context_features : int
        Size of h, at least 1.
    steps : int, default 4
        Number of steps; the order of the elements is reversed between them.
    hidden : sequence of int, default (320, 320)
        Widths of the hidden layers of each step's `MADE`.
    activation : str, default "elu"
        One of `infoplane_torch.networks.ACTIVATIONS`.

    Raises
    ------
    ValueError
        If a number is out of range.

    Notes
    -----
    log q(z|x) of its own draws is exact and free; a foreign value, the score and J cost up to
    ``latent_dim`` passes for each step, for each of their draws: see `InverseAutoregressiveFlow`.

    References
    ----------
    Kingma et al., "Improving variational inference with inverse autoregressive flow" (2016), algorithm 1.

    Examples
    --------
    >>> import torch
    >>> from infoplane_torch.networks import MLP
    >>> from infoplane_torch.posteriors import IAFPosterior
    >>> posterior = IAFPosterior(MLP(784, 2 * 40 + 64), 40, 64)
    >>> posterior(torch.zeros(5, 1, 28, 28)).rsample((3,)).shape
    torch.Size([3, 5, 40])
    """

    def __init__(
        self,
        network: nn.Module,
        latent_dim: int,
        context_features: int,
        *,
        steps: int = 4,
        hidden: Sequence[int] = (320, 320),
        activation: str = "elu",
    ) -> None:
        super().__init__()
        if min(context_features, steps) < 1:
            raise ValueError(
                f"`context_features` and `steps` must be at least 1, got {context_features} and {steps}"
            )
        self.network = network
        self.latent_dim = latent_dim
        self.steps = nn.ModuleList(
            InverseAutoregressiveStep(
                latent_dim, context_features=context_features, hidden=hidden, activation=activation
            )
            for _ in range(steps)
        )

    def forward(self, x: Tensor) -> InverseAutoregressiveFlow:
        """Return the posterior of a batch of images.

        Parameters
        ----------
        x : Tensor of shape (B, *event_shape)
            Images.

        Returns
        -------
        InverseAutoregressiveFlow
            Of batch shape (B,) and event shape (latent_dim,).
        """
        d = self.latent_dim
        mean, log_variance, context = at_least_float32(self.network(x)).tensor_split([d, 2 * d], dim=1)
        normal = distributions.Normal(mean, scale_from_log_variance(log_variance), validate_args=False)
        noise = distributions.Independent(normal, 1, validate_args=False)
        return InverseAutoregressiveFlow(
            noise, cast("list[InverseAutoregressiveStep]", list(self.steps)), context
        )
