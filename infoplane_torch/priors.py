"""Priors p(z): modules whose call gives a distribution over codes, and that know its ``latent_dim``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, distributions, nn

from infoplane_torch.coupling_flow import Coupling, RealNVP

# How far pseudo-inputs that start from images stay away from black and white.
_EDGE = 0.05


class StandardNormal(nn.Module):
    """The prior p(z) = N(0, I).

    Parameters
    ----------
    latent_dim : int
        Dimension of z, at least 1.

    Raises
    ------
    ValueError
        If it is less.

    Examples
    --------
    >>> from infoplane_torch.priors import StandardNormal
    >>> StandardNormal(40)().event_shape
    torch.Size([40])
    """

    loc: Tensor
    scale: Tensor

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        if latent_dim < 1:
            raise ValueError(f"`latent_dim` must be at least 1, got {latent_dim}")
        self.latent_dim = latent_dim
        self.register_buffer("loc", torch.zeros(latent_dim), persistent=False)
        self.register_buffer("scale", torch.ones(latent_dim), persistent=False)

    def forward(self) -> distributions.Independent:
        """Return the prior, of event shape (latent_dim,)."""
        normal = distributions.Normal(self.loc, self.scale, validate_args=False)
        return distributions.Independent(normal, 1, validate_args=False)


class VampPrior(nn.Module):
    """The mixture p(z) = mean_k q(z|u_k) of the posteriors of K learned pseudo-inputs u_k.

    Parameters
    ----------
    posterior : nn.Module
        The posterior of the VAE that the prior belongs to. Its weights are shared, and stay the posterior's:
        they appear among its parameters and not among those of the prior.
    event_shape : sequence of int
        Shape of one image.
    latent_dim : int
        Dimension of z.
    components : int, default 500
        K.
    unit_interval : bool, default True
        Keep the pseudo-inputs between 0 and 1, as images are, by a sigmoid; otherwise they are free.

    Raises
    ------
    ValueError
        If there is no component.

    Notes
    -----
    The log density is a log-sum-exp over components; it takes K·d numbers for each code. Each call encodes
    the pseudo-inputs anew. They start at random; `initialize` puts them on images. *When not to use it:* with
    a flow as posterior, whose density at the codes of others costs up to d passes for each component.

    References
    ----------
    Tomczak, Welling, "VAE with a VampPrior" (2018); there the pseudo-inputs are clipped instead.

    Examples
    --------
    >>> import torch
    >>> from infoplane_torch.networks import MLP
    >>> from infoplane_torch.posteriors import DiagonalGaussian
    >>> from infoplane_torch.priors import VampPrior
    >>> prior = VampPrior(DiagonalGaussian(MLP(64, 4)), (1, 8, 8), 2, components=10)
    >>> prior().log_prob(torch.zeros(5, 2)).shape
    torch.Size([5])
    """

    logits: Tensor

    def __init__(
        self,
        posterior: nn.Module,
        event_shape: Sequence[int],
        latent_dim: int,
        *,
        components: int = 500,
        unit_interval: bool = True,
    ) -> None:
        super().__init__()
        if components < 1:
            raise ValueError(f"`components` must be at least 1, got {components}")
        # In a tuple, so that it is not registered twice: a state_dict holds each weight once.
        self._posterior = (posterior,)
        self.latent_dim = latent_dim
        self.unit_interval = unit_interval
        self.pseudo_inputs = nn.Parameter(torch.randn(components, *event_shape))
        self.register_buffer("logits", torch.zeros(components), persistent=False)

    @torch.no_grad()
    def initialize(self, images: Tensor) -> None:
        """Start the pseudo-inputs from images, for example from random ones of the training set.

        Parameters
        ----------
        images : Tensor of shape (K, *event_shape)
            One image for each component. With ``unit_interval``, values are first drawn in from [0, 1] to
            [0.05, 0.95], since at 0 and 1 the sigmoid has no gradient.

        Raises
        ------
        ValueError
            If `images` has another shape, or values outside of [0, 1] with ``unit_interval``.
        """
        if images.shape != self.pseudo_inputs.shape:
            raise ValueError(
                f"`images` must have shape {tuple(self.pseudo_inputs.shape)}, got {tuple(images.shape)}"
            )
        images = images.to(self.pseudo_inputs)
        if self.unit_interval:
            if not 0 <= float(images.min()) <= float(images.max()) <= 1:
                raise ValueError(
                    f"`images` must lie in [0, 1], got [{float(images.min()):g}, {float(images.max()):g}]"
                )
            images = (_EDGE + (1 - 2 * _EDGE) * images).logit()
        self.pseudo_inputs.copy_(images)

    def forward(self) -> distributions.MixtureSameFamily:
        """Return the prior, of event shape (latent_dim,)."""
        inputs = self.pseudo_inputs.sigmoid() if self.unit_interval else self.pseudo_inputs
        return distributions.MixtureSameFamily(
            distributions.Categorical(logits=self.logits, validate_args=False),
            self._posterior[0](inputs),
            validate_args=False,
        )


class RealNVPPrior(nn.Module):
    """Standard normal noise moved by affine couplings: a learned prior with exact draws and densities.

    Parameters
    ----------
    latent_dim : int
        Dimension of z, at least 2.
    couplings : int, default 4
        Number of couplings; the order of the elements is reversed behind each.
    hidden : sequence of int, default (256, 256)
        Widths of the hidden layers of each coupling's network.
    activation : str, default "elu"
        One of `infoplane_torch.networks.ACTIVATIONS`.

    Raises
    ------
    ValueError
        If a number is out of range.

    References
    ----------
    Dinh, Sohl-Dickstein, Bengio, "Density estimation using Real NVP" (2017).

    Examples
    --------
    >>> from infoplane_torch.priors import RealNVPPrior
    >>> RealNVPPrior(40)().sample((7,)).shape
    torch.Size([7, 40])
    """

    def __init__(
        self,
        latent_dim: int,
        *,
        couplings: int = 4,
        hidden: Sequence[int] = (256, 256),
        activation: str = "elu",
    ) -> None:
        super().__init__()
        if couplings < 1:
            raise ValueError(f"`couplings` must be at least 1, got {couplings}")
        self.latent_dim = latent_dim
        self.noise = StandardNormal(latent_dim)
        self.couplings = nn.ModuleList(
            Coupling(latent_dim, hidden=hidden, activation=activation) for _ in range(couplings)
        )

    def forward(self) -> RealNVP:
        """Return the prior, of event shape (latent_dim,)."""
        return RealNVP(self.noise(), cast("list[Coupling]", list(self.couplings)))
