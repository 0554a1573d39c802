"""Posteriors q(z|x): modules that turn a batch of images into a distribution over codes."""

from __future__ import annotations

from torch import Tensor, distributions, nn

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
