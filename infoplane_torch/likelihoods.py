"""Likelihoods p(x|z): modules that turn codes into a distribution over images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, distributions, nn

from infoplane_torch.bernoulli_pixels import BernoulliPixels
from infoplane_torch.logistic_mixture import DiscretizedLogisticMixture
from infoplane_torch.networks import at_least_float32, scale_from_log_variance
from infoplane_torch.pixel_cnn import GatedPixelCNN, PixelByPixel

Variance = Literal["scalar", "pixel", "predicted"]
Pixels = Literal["bernoulli", "logistic_mixture"]


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
        return BernoulliPixels(bernoulli, len(self.event_shape), validate_args=False)


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
    dequantise them, ``TrainingConfig(binarize=False, dequantize=True)``, or use "scalar". Pixels that are
    only 0 and 1 do so in any case. log σ² is clamped to ±14.

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


class LogisticMixture(nn.Module):
    """Discretised logistic mixture of grey or colour images, with the pixels independent given the code.

    Parameters
    ----------
    network : nn.Module
        Maps codes ``(B, latent_dim)`` to the parameters of all pixels, ``(B, P, H, W)`` or flattened, with P
        from ``DiscretizedLogisticMixture.outputs(C, components)``.
    event_shape : sequence of int
        Shape (C, H, W) of one image.
    components : int, default 10
        Logistics in the mixture of a pixel.
    levels : int, default 256
        Number of levels of a pixel.

    Notes
    -----
    Images hold k/(levels − 1): train on grey levels, ``TrainingConfig(binarize=False)``. The likelihood is a
    probability of levels, so that −log p(x)/(C H W log 2) is in bits a dimension. As it is discrete it has no
    location Fisher information.

    References
    ----------
    Salimans, Karpathy, Chen, Kingma, "PixelCNN++" (2017), section 2.1.

    Examples
    --------
    >>> import torch
    >>> from infoplane_torch.conv_networks import ConvDecoder
    >>> from infoplane_torch.likelihoods import LogisticMixture
    >>> from infoplane_torch.logistic_mixture import DiscretizedLogisticMixture
    >>> network = ConvDecoder(40, (3, 32, 32), DiscretizedLogisticMixture.outputs(3, 10))
    >>> LogisticMixture(network, (3, 32, 32))(torch.zeros(2, 40)).mean.shape
    torch.Size([2, 3, 32, 32])
    """

    def __init__(
        self, network: nn.Module, event_shape: Sequence[int], *, components: int = 10, levels: int = 256
    ) -> None:
        super().__init__()
        self.network = network
        self.event_shape = torch.Size(event_shape)
        self.components = components
        self.levels = levels

    def extra_repr(self) -> str:
        """Name what no layer shows."""
        return f"components={self.components}, levels={self.levels}"

    def forward(self, z: Tensor) -> DiscretizedLogisticMixture:
        """Return the distribution of images at given codes.

        Parameters
        ----------
        z : Tensor of shape (..., latent_dim)
            Codes.

        Returns
        -------
        DiscretizedLogisticMixture
            Of batch shape ``z.shape[:-1]`` and event shape ``event_shape``.
        """
        channels, height, width = self.event_shape
        outputs = DiscretizedLogisticMixture.outputs(channels, self.components)
        parameters = at_least_float32(self.network(z.reshape(-1, z.shape[-1])))
        parameters = parameters.reshape(*z.shape[:-1], outputs, height, width)
        return DiscretizedLogisticMixture(parameters, channels, levels=self.levels)


class PixelCNN(nn.Module):
    """Gated PixelCNN conditioned on the code, p(x|z) = Π_i p(x_i | x_1, …, x_(i−1), z): that of a PixelVAE.

    Parameters
    ----------
    decoder : nn.Module
        Maps codes ``(B, latent_dim)`` to a context ``(B, context_channels, H, W)``, perhaps flattened.
    event_shape : sequence of int
        Shape (C, H, W) of one image.
    context_channels : int
        Feature maps of the context.
    pixels : {"bernoulli", "logistic_mixture"}, default "bernoulli"
        Of binary images, or of grey and colour images as in `LogisticMixture`. The channels of a pixel are
        independent of each other for "bernoulli", and tied as there for the mixture.
    components, levels : int, default 10 and 256
        Those of the logistic mixture.
    channels : int, default 32
        Feature maps of a stack.
    layers, kernel_size : int, default 5 and 5
        Of the `GatedPixelCNN`.

    Raises
    ------
    ValueError
        If an option is unknown, or a number out of range.

    Notes
    -----
    What a PixelCNN sees of the pixels it need not read in the code: with a receptive field of the whole image
    it may well ignore z (KL near 0), so its field is best kept smaller than the image; penalties, `free_bits`
    and a warm-up of the KL term act against it too. The context enters each layer, as in van den Oord
    et al.; Gulrajani et al. append it to the image. Discrete: no location Fisher information.

    References
    ----------
    Gulrajani et al., "PixelVAE: a latent variable model for natural images" (2017). Van den Oord et al.,
    "Conditional image generation with PixelCNN decoders" (2016).

    Examples
    --------
    >>> import torch
    >>> from infoplane_torch.conv_networks import ConvDecoder
    >>> from infoplane_torch.likelihoods import PixelCNN
    >>> likelihood = PixelCNN(ConvDecoder(2, (1, 8, 8), 4), (1, 8, 8), 4, channels=8, layers=2)
    >>> likelihood(torch.zeros(7, 5, 2)).log_prob(torch.ones(5, 1, 8, 8)).shape
    torch.Size([7, 5])
    """

    def __init__(
        self,
        decoder: nn.Module,
        event_shape: Sequence[int],
        context_channels: int,
        *,
        pixels: Pixels = "bernoulli",
        components: int = 10,
        levels: int = 256,
        channels: int = 32,
        layers: int = 5,
        kernel_size: int = 5,
    ) -> None:
        super().__init__()
        if pixels not in get_args(Pixels):
            raise ValueError(f"`pixels` must be one of {get_args(Pixels)}, got {pixels!r}")
        self.event_shape = torch.Size(event_shape)
        self.pixels = pixels
        self.levels = levels
        colours = self.event_shape[0]
        outputs = (
            colours if pixels == "bernoulli" else DiscretizedLogisticMixture.outputs(colours, components)
        )
        self.decoder = decoder
        self.network = GatedPixelCNN(
            event_shape, outputs, context_channels, channels=channels, layers=layers, kernel_size=kernel_size
        )

    def extra_repr(self) -> str:
        """Name what no layer shows."""
        return f"pixels={self.pixels!r}, levels={self.levels}"

    def forward(self, z: Tensor) -> PixelByPixel:
        """Return the distribution of images at given codes.

        Parameters
        ----------
        z : Tensor of shape (..., latent_dim)
            Codes.

        Returns
        -------
        PixelByPixel
            Of batch shape ``z.shape[:-1]`` and event shape ``event_shape``.
        """
        return PixelByPixel(self.network, self._pixels, self.decoder, z)

    def _pixels(self, outputs: Tensor) -> distributions.Distribution:
        """The distribution of pixels by their parameters (..., outputs, H, W)."""
        if self.pixels == "logistic_mixture":
            return DiscretizedLogisticMixture(outputs, self.event_shape[0], levels=self.levels)
        bernoulli = distributions.Bernoulli(logits=outputs, validate_args=False)
        return BernoulliPixels(bernoulli, 3, validate_args=False)
