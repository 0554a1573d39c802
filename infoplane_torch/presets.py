"""The paper's systems with the paper's sizes, as configurations that go to JSON and back."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from torch import nn

from infoplane_torch.conv_networks import ConvDecoder, ConvEncoder
from infoplane_torch.likelihoods import Bernoulli, Gaussian, LogisticMixture, PixelCNN, Pixels, Variance
from infoplane_torch.logistic_mixture import DiscretizedLogisticMixture
from infoplane_torch.mutual_information import InformationForm, MutualInformation
from infoplane_torch.networks import ACTIVATIONS, MLP
from infoplane_torch.objective import Objective
from infoplane_torch.penalties import FisherInformation, Form, Penalty, Reduction
from infoplane_torch.posteriors import DiagonalGaussian, FullCovarianceGaussian, IAFPosterior
from infoplane_torch.priors import RealNVPPrior, StandardNormal, VampPrior
from infoplane_torch.vae import VAE

PosteriorName = Literal["diagonal", "full", "iaf"]
LikelihoodName = Literal["bernoulli", "gaussian", "logistic_mixture", "pixel_cnn"]
PriorName = Literal["standard", "vamp", "realnvp"]
NetworkName = Literal["mlp", "gated_conv", "resnet"]
FLOW_DRAWS = 8  # for each image and step, to train a flow by its Fisher information


@dataclass(frozen=True)
class ModelConfig:
    """All that decides a model and its objective; the paper's plain VAE by default.

    Parameters
    ----------
    event_shape : tuple of int, default (1, 28, 28)
        Shape of one image.
    latent_dim : int, default 40
        Dimension of the code.
    hidden : tuple of int, default (300, 300, 300, 300, 300)
        Widths of the hidden layers of the "mlp" network, of the encoder and, in reverse, of the decoder.
    activation : str, default "elu"
        One of `infoplane_torch.networks.ACTIVATIONS`; convolutional networks have their own.
    likelihood : {"bernoulli", "gaussian", "logistic_mixture", "pixel_cnn"}, default "bernoulli"
        For binary images, for real-valued ones, for the levels of grey or colour images; or a PixelCNN for
        either kind of `pixels`.
    variance : {"scalar", "pixel", "predicted"}, default "scalar"
        The Gaussian likelihood's variance; a Bernoulli has none and ignores it.
    penalties : tuple of FisherInformation, default ()
        At most one of the posterior and one of the likelihood.
    posterior : {"diagonal", "full", "iaf"}, default "diagonal"
        Gaussian with a diagonal or a full covariance, or an inverse autoregressive flow.
    prior : {"standard", "vamp", "realnvp"}, default "standard"
        N(0, I), the mixture of the posteriors of pseudo-inputs, or affine couplings.
    flow_steps : int, default 4
        Steps of the "iaf" posterior, and couplings of the "realnvp" prior.
    flow_hidden : tuple of int, default (320, 320)
        Widths of the hidden layers in each of these.
    flow_context : int, default 64
        Size of the context that the encoder hands to the "iaf" posterior.
    pseudo_inputs : int, default 500
        Components of the "vamp" prior.
    information : float, optional
        M in nats of a `MutualInformation` penalty on the decoder; none by default.
    information_weight : float, default 1
        Its λ.
    information_form : {"abs", "hinge"}, default "abs"
        |Î − M|, or max(M − Î, 0).
    beta : float, default 1
        Weight of the KL term.
    free_bits : float, default 0
        Floor of the KL of each dimension, in nats; only for a diagonal posterior and the standard prior.
    network : {"mlp", "gated_conv", "resnet"}, default "mlp"
        Of the encoder and the decoder.
    channels : tuple of int, default (32, 32, 64)
        Feature maps of the levels of a convolutional network, each half as large as that before.
    blocks : int, default 1
        Its layers, or residual blocks, on each level.
    pixels : {"bernoulli", "logistic_mixture"}, default "bernoulli"
        What a "pixel_cnn" predicts of a pixel.
    components : int, default 10
        Logistics in the mixture of a pixel.
    levels : int, default 256
        Number of levels that such a pixel has: images hold k/(levels − 1).
    pixel_channels : int, default 32
        Feature maps of the "pixel_cnn", and of the context that it gets from the decoder.
    pixel_layers : int, default 5
        Its layers.
    pixel_kernel : int, default 5
        Its kernel size; that of the first layer is larger by 2.

    Raises
    ------
    ValueError
        If a field is out of its range, or the penalties contradict each other or the likelihood.

    Examples
    --------
    >>> import json
    >>> from infoplane_torch.presets import ModelConfig, fae
    >>> config = fae(20, 1.0)
    >>> ModelConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    True
    """

    event_shape: tuple[int, ...] = (1, 28, 28)
    latent_dim: int = 40
    hidden: tuple[int, ...] = (300,) * 5
    activation: str = "elu"
    likelihood: LikelihoodName = "bernoulli"
    variance: Variance = "scalar"
    penalties: tuple[FisherInformation, ...] = ()
    posterior: PosteriorName = "diagonal"
    prior: PriorName = "standard"
    flow_steps: int = 4
    flow_hidden: tuple[int, ...] = (320, 320)
    flow_context: int = 64
    pseudo_inputs: int = 500
    information: float | None = None
    information_weight: float = 1.0
    information_form: InformationForm = "abs"
    beta: float = 1.0
    free_bits: float = 0.0
    network: NetworkName = "mlp"
    channels: tuple[int, ...] = (32, 32, 64)
    blocks: int = 1
    pixels: Pixels = "bernoulli"
    components: int = 10
    levels: int = 256
    pixel_channels: int = 32
    pixel_layers: int = 5
    pixel_kernel: int = 5

    def __post_init__(self) -> None:
        sizes = (*self.event_shape, self.latent_dim, *self.hidden)
        if not self.event_shape or min(sizes) < 1:
            raise ValueError(
                "`event_shape`, `latent_dim` and `hidden` must be positive, got "
                f"{self.event_shape}, {self.latent_dim} and {self.hidden}"
            )
        if min(self.flow_steps, *self.flow_hidden, self.flow_context, self.pseudo_inputs) < 1:
            raise ValueError(
                "`flow_steps`, `flow_hidden`, `flow_context` and `pseudo_inputs` must be positive, got "
                f"{self.flow_steps}, {self.flow_hidden}, {self.flow_context} and {self.pseudo_inputs}"
            )
        if self.prior == "realnvp" and self.latent_dim < 2:
            raise ValueError(f'`latent_dim` must be at least 2 for prior="realnvp", got {self.latent_dim}')
        for name, choice, choices in (
            ("activation", self.activation, tuple(ACTIVATIONS)),
            ("likelihood", self.likelihood, get_args(LikelihoodName)),
            ("variance", self.variance, get_args(Variance)),
            ("posterior", self.posterior, get_args(PosteriorName)),
            ("prior", self.prior, get_args(PriorName)),
            ("network", self.network, get_args(NetworkName)),
            ("pixels", self.pixels, get_args(Pixels)),
        ):
            if choice not in choices:
                raise ValueError(f"`{name}` must be one of {choices}, got {choice!r}")
        if self.free_bits and (self.posterior, self.prior) != ("diagonal", "standard"):
            raise ValueError(
                '`free_bits` must be 0 but for posterior="diagonal", prior="standard", whose KL is a sum '
                f"over dimensions, got {self.free_bits} for {self.posterior!r} and {self.prior!r}"
            )
        self._require_image_sizes()
        controlled = [penalty.of for penalty in self.penalties]
        if len(set(controlled)) < len(controlled):
            raise ValueError(f"`penalties` must control different distributions, got {controlled}")
        if "likelihood" in controlled and self.likelihood != "gaussian":
            raise ValueError(
                f"`penalties` cannot control a {self.likelihood} likelihood: it is discrete and has no "
                'location Fisher information; use likelihood="gaussian"'
            )

    def _require_image_sizes(self) -> None:
        """Refuse sizes that a convolutional network, a logistic mixture or a PixelCNN cannot have."""
        sizes = (*self.channels, self.blocks, self.components, self.pixel_channels, self.pixel_layers)
        if not self.channels or min(sizes) < 1:
            raise ValueError(
                "`channels`, `blocks`, `components`, `pixel_channels` and `pixel_layers` must be positive, "
                f"got {self.channels}, {self.blocks}, {self.components}, {self.pixel_channels} and "
                f"{self.pixel_layers}"
            )
        if self.levels < 2 or self.pixel_kernel < 1 or self.pixel_kernel % 2 == 0:
            raise ValueError(
                "`levels` must be at least 2 and `pixel_kernel` odd and positive, got "
                f"{self.levels} and {self.pixel_kernel}"
            )
        for_images = self.network != "mlp" or self.likelihood in ("logistic_mixture", "pixel_cnn")
        if for_images and len(self.event_shape) != 3:
            raise ValueError(
                f"`event_shape` must be (channels, height, width) for network={self.network!r} and "
                f"likelihood={self.likelihood!r}, got {self.event_shape}"
            )

    def to_dict(self) -> dict[str, Any]:
        """Return plain dictionaries, lists and numbers, ready for JSON."""
        fields = dataclasses.asdict(self)
        return {key: list(value) if isinstance(value, tuple) else value for key, value in fields.items()}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> ModelConfig:
        """Read the configuration that `to_dict` wrote.

        Parameters
        ----------
        fields : mapping of str to object
            What `to_dict` gave, perhaps by way of JSON; missing fields take their defaults.

        Returns
        -------
        ModelConfig

        Raises
        ------
        TypeError
            If there are unknown fields.
        """
        plain = dict(fields)
        penalties = tuple(FisherInformation(**penalty) for penalty in plain.pop("penalties", ()))
        options: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in plain.items()
        }
        return cls(**options, penalties=penalties)


def vae(**options: Any) -> ModelConfig:
    """Configure the paper's baseline: five layers of 300 on either side, 40 latent dimensions, no penalty.

    Parameters
    ----------
    **options
        Fields of `ModelConfig` to set otherwise.

    Returns
    -------
    ModelConfig

    Examples
    --------
    >>> from infoplane_torch.presets import vae
    >>> vae().latent_dim, vae(latent_dim=2).latent_dim
    (40, 2)
    """
    return ModelConfig(**options)


def fae(
    fisher: float,
    weight: float,
    *,
    form: Form = "abs",
    reduction: Reduction = "mean",
    num_samples: int | None = None,
    **options: Any,
) -> ModelConfig:
    """Configure the Fisher auto-encoder FAE(F): the baseline with λ |tr J(z|x) − F| on its encoder, eq. (8).

    Parameters
    ----------
    fisher : float
        F.
    weight : float
        λ.
    form : {"abs", "hinge", "lagrangian"}, default "abs"
        |J − F|, or max(F − J, 0), or a multiplier that meets J = F in the mean over images (F > 0; a weight
        of 10 serves).
    reduction : {"mean", "sum", "none"}, default "mean"
        What F counts. The mean over dimensions is the only reading in which the paper's F = 20 is "large",
        since tr J of the 40-dimensional prior is 40.
    num_samples : int, optional
        Draws for each image if J has no closed form, as with ``posterior="iaf"``: 8 there, otherwise 256.
        At the paper's sizes a draw costs a millisecond an image on a processor core: a step of 128 images
        takes a second with 8, and over half a minute with 256.
    **options
        Fields of `ModelConfig` to set otherwise.

    Returns
    -------
    ModelConfig

    Examples
    --------
    >>> from infoplane_torch.presets import fae
    >>> fae(20, 1.0).penalties[0].target
    20
    """
    if num_samples is None:
        num_samples = FLOW_DRAWS if options.get("posterior") == "iaf" else FisherInformation.num_samples
    penalty = FisherInformation(fisher, weight, form=form, reduction=reduction, num_samples=num_samples)
    return ModelConfig(**{"penalties": (penalty,), **options})


def mae(information: float, weight: float, *, form: InformationForm = "abs", **options: Any) -> ModelConfig:
    """Configure the mutual auto-encoder MAE(M): the baseline with λ |Î − M| on its decoder, eq. (14).

    Parameters
    ----------
    information : float
        M, in nats.
    weight : float
        λ; the paper calls it C and gives no value.
    form : {"abs", "hinge"}, default "abs"
        |Î − M|, or max(M − Î, 0).
    **options
        Fields of `ModelConfig` to set otherwise.

    Returns
    -------
    ModelConfig

    References
    ----------
    Phuong, Welling, Kushman, Tomioka, Nowozin, "The mutual autoencoder" (2018); Zheng et al., "Understanding
    VAEs in Fisher-Shannon Plane", eqs. (13)–(15).

    Examples
    --------
    >>> from infoplane_torch.presets import mae
    >>> mae(10, 1.0).information
    10
    """
    controlled = {"information": information, "information_weight": weight, "information_form": form}
    return ModelConfig(**{**controlled, **options})


def iaf_vae(**options: Any) -> ModelConfig:
    """Configure a VAE whose posterior is an inverse autoregressive flow, otherwise like `vae`.

    Parameters
    ----------
    **options
        Fields of `ModelConfig` to set otherwise; ``penalties`` make it a Fisher auto-encoder, whose J by
        Monte Carlo costs up to ``latent_dim`` passes for each step of the flow.

    Returns
    -------
    ModelConfig

    References
    ----------
    Kingma et al., "Improving variational inference with inverse autoregressive flow" (2016).

    Examples
    --------
    >>> from infoplane_torch.presets import iaf_vae
    >>> iaf_vae(flow_steps=2).posterior
    'iaf'
    """
    return ModelConfig(**{"posterior": "iaf", **options})


def pixel_vae(**options: Any) -> ModelConfig:
    """Configure a PixelVAE: a gated PixelCNN over binary images, with the code's decoder as its context.

    Convolutional networks of three levels of 32, 32 and 64 feature maps, 64 latent dimensions, a PixelCNN of
    32 feature maps with a first layer of 7 × 7 and four of 5 × 5.

    Parameters
    ----------
    **options
        Fields of `ModelConfig` to set otherwise; ``penalties`` make it a Fisher auto-encoder,
        ``pixels="logistic_mixture"`` one for grey or colour images.

    Returns
    -------
    ModelConfig

    Notes
    -----
    The sizes are those of the model for MNIST in Gulrajani et al., where the number of layers varies. Their
    convolutions are followed by a ReLU, these are gated; and there the context joins the image, here it
    enters each layer.

    References
    ----------
    Gulrajani et al., "PixelVAE: a latent variable model for natural images" (2017).

    Examples
    --------
    >>> from infoplane_torch.presets import pixel_vae
    >>> pixel_vae(latent_dim=16).likelihood
    'pixel_cnn'
    """
    return ModelConfig(**{"likelihood": "pixel_cnn", "network": "gated_conv", "latent_dim": 64, **options})


def build(config: ModelConfig) -> tuple[VAE, Objective]:
    """Make the freshly initialised model and the objective that a configuration describes.

    Parameters
    ----------
    config : ModelConfig
        The configuration.

    Returns
    -------
    VAE, Objective
        The weights come from PyTorch's global random state: call ``torch.manual_seed`` first.

    Examples
    --------
    >>> from infoplane_torch.presets import build, fae
    >>> model, objective = build(fae(20, 1.0))
    >>> list(objective.penalties)
    ['fisher_posterior']
    """
    posterior = _posterior(config)
    model = VAE(posterior, _likelihood(config), _prior(config, posterior))
    penalties: dict[str, Penalty] = {f"fisher_{penalty.of}": penalty for penalty in config.penalties}
    if config.information is not None:
        penalties["information"] = MutualInformation(
            config.information,
            config.information_weight,
            decode=model.decode,
            reverse=DiagonalGaussian(_encoder(config, 2 * config.latent_dim)),
            form=config.information_form,
        )
    return model, Objective(penalties, beta=config.beta, free_bits=config.free_bits)


def _encoder(config: ModelConfig, outputs: int) -> nn.Module:
    if config.network == "mlp":
        pixels = math.prod(config.event_shape)
        return MLP(pixels, outputs, hidden=config.hidden, activation=config.activation)
    return ConvEncoder(
        config.event_shape, outputs, kind=config.network, channels=config.channels, blocks=config.blocks
    )


def _decoder(config: ModelConfig, out_channels: int) -> nn.Module:
    if config.network == "mlp":
        outputs = out_channels * math.prod(config.event_shape[1:])
        return MLP(config.latent_dim, outputs, hidden=config.hidden[::-1], activation=config.activation)
    return ConvDecoder(
        config.latent_dim,
        config.event_shape,
        out_channels,
        kind=config.network,
        channels=config.channels,
        blocks=config.blocks,
    )


def _posterior(config: ModelConfig) -> nn.Module:
    latent = config.latent_dim
    if config.posterior == "diagonal":
        return DiagonalGaussian(_encoder(config, 2 * latent))
    if config.posterior == "full":
        return FullCovarianceGaussian(_encoder(config, FullCovarianceGaussian.outputs(latent)), latent)
    return IAFPosterior(
        _encoder(config, 2 * latent + config.flow_context),
        latent,
        config.flow_context,
        steps=config.flow_steps,
        hidden=config.flow_hidden,
        activation=config.activation,
    )


def _likelihood(config: ModelConfig) -> nn.Module:
    shape, channels = config.event_shape, config.event_shape[0]
    if config.likelihood == "bernoulli":
        return Bernoulli(_decoder(config, channels), shape)
    if config.likelihood == "gaussian":
        maps = 2 * channels if config.variance == "predicted" else channels
        return Gaussian(_decoder(config, maps), shape, variance=config.variance)
    if config.likelihood == "logistic_mixture":
        maps = DiscretizedLogisticMixture.outputs(channels, config.components)
        return LogisticMixture(
            _decoder(config, maps), shape, components=config.components, levels=config.levels
        )
    return PixelCNN(
        _decoder(config, config.pixel_channels),
        shape,
        config.pixel_channels,
        pixels=config.pixels,
        components=config.components,
        levels=config.levels,
        channels=config.pixel_channels,
        layers=config.pixel_layers,
        kernel_size=config.pixel_kernel,
    )


def _prior(config: ModelConfig, posterior: nn.Module) -> nn.Module:
    latent = config.latent_dim
    if config.prior == "standard":
        return StandardNormal(latent)
    if config.prior == "vamp":
        return VampPrior(
            posterior,
            config.event_shape,
            latent,
            components=config.pseudo_inputs,
            unit_interval=config.likelihood != "gaussian",
        )
    return RealNVPPrior(
        latent, couplings=config.flow_steps, hidden=config.flow_hidden, activation=config.activation
    )
