"""Likelihoods p(x|z): modules that turn codes into a distribution over images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, distributions, nn

from infoplane_torch.networks import at_least_float32, scale_from_log_variance

Variance = Literal["scalar", "pixel", "predicted"]


class Bernoulli(nn.Module):
    """Bernoulli likelihood of binary images, log p(x|z) = Σ x·l − softplus(l) with logits l(z).

    Parameters
    ----------
    network : nn.Module
        Maps codes ``(B, latent_dim)`` to logits: ``(B, *event_shape)`` or flattened.
    event_shape : sequence of int
        Shape of one image, for example ``(1, 28, 28)``.

    Notes
    -----
    A Bernoulli is discrete: it has no location Fisher information, so the decoder's term of eq. (7) does
    not apply to it. Images must hold only 0 and 1: for grey values in between, Σ x·l − softplus(l) is not
    the logarithm of any density, and its number cannot be compared with a likelihood.

    Examples
    --------
    >>> import torch
    >>> from infoplane_torch.likelihoods import Bernoulli
    >>> from infoplane_torch.networks import MLP
    >>> likelihood = Bernoulli(MLP(40, 784), (1, 28, 28))
    >>> likelihood(torch.zeros(7, 5, 40)).log_prob(torch.ones(5, 1, 28, 28)).shape
    torch.Size([7, 5])
    """

    def __init__(self, network: nn.Module, event_shape: Sequence[int]) -> None:
        super().__init__()
        self.network = network
        self.event_shape = torch.Size(event_shape)

    def forward(self, z: Tensor) -> distributions.Independent:
        """Return the distribution of images at given codes.

        Parameters
        ----------
        z : Tensor of shape (..., latent_dim)
            Codes.

        Returns
        -------
        Independent
            Of batch shape ``z.shape[:-1]`` and event shape ``event_shape``.
        """
        logits = at_least_float32(self.network(z.reshape(-1, z.shape[-1])))
        logits = logits.reshape(*z.shape[:-1], *self.event_shape)
        bernoulli = distributions.Bernoulli(logits=logits, validate_args=False)
        return distributions.Independent(bernoulli, len(self.event_shape), validate_args=False)


class Gaussian(nn.Module):
    """Gaussian likelihood N(μ(z), diag σ²) of real-valued images, with a learned variance.

    Parameters
    ----------
    network : nn.Module
        Maps codes ``(B, latent_dim)`` to μ: ``(B, *event_shape)`` or flattened. With
        ``variance="predicted"`` it has twice as many outputs, μ first, then log σ², split at dimension 1.
    event_shape : sequence of int
        Shape of one image.
    variance : {"scalar", "pixel", "predicted"}, default "scalar"
        One σ² for all pixels, one for each pixel, or a function of z. The learned ones start at 1.

    Raises
    ------
    ValueError
        If `variance` is none of these.

    Notes
    -----
    Its Fisher information is diag 1/σ², so the decoder's term λ_x |tr J(x) − F_x| of eq. (7) acts on the
    variance. Pixels that are constant in the data drive σ² to zero and the likelihood to infinity:
    dequantise them, or use "scalar". log σ² is clamped to ±14.

    Examples
    --------
    >>> import torch
    >>> from infoplane_torch.likelihoods import Gaussian
    >>> from infoplane_torch.networks import MLP
    >>> Gaussian(MLP(2, 64), (8, 8))(torch.zeros(5, 2)).event_shape
    torch.Size([8, 8])
    """

    def __init__(
        self, network: nn.Module, event_shape: Sequence[int], *, variance: Variance = "scalar"
    ) -> None:
        super().__init__()
        if variance not in get_args(Variance):
            raise ValueError(f"`variance` must be one of {get_args(Variance)}, got {variance!r}")
        self.network = network
        self.event_shape = torch.Size(event_shape)
        self.variance = variance
        if variance != "predicted":
            shape = self.event_shape if variance == "pixel" else ()
            self.log_variance = nn.Parameter(torch.zeros(shape))

    def forward(self, z: Tensor) -> distributions.Independent:
        """Return the distribution of images at given codes.

        Parameters
        ----------
        z : Tensor of shape (..., latent_dim)
            Codes.

        Returns
        -------
        Independent
            Of batch shape ``z.shape[:-1]`` and event shape ``event_shape``.
        """
        shape = (*z.shape[:-1], *self.event_shape)
        output = at_least_float32(self.network(z.reshape(-1, z.shape[-1])))
        if self.variance == "predicted":
            mean, log_variance = (half.reshape(shape) for half in output.chunk(2, dim=1))
        else:
            mean, log_variance = output.reshape(shape), self.log_variance
        normal = distributions.Normal(mean, scale_from_log_variance(log_variance), validate_args=False)
        return distributions.Independent(normal, len(self.event_shape), validate_args=False)
