"""The paper's systems with the paper's sizes, as configurations that go to JSON and back."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from infoplane_torch.likelihoods import Bernoulli, Gaussian, Variance
from infoplane_torch.networks import ACTIVATIONS, MLP
from infoplane_torch.objective import Objective
from infoplane_torch.penalties import FisherInformation, Form, Reduction
from infoplane_torch.posteriors import DiagonalGaussian
from infoplane_torch.vae import VAE, StandardNormal

LikelihoodName = Literal["bernoulli", "gaussian"]


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
        Widths of the hidden layers, of the encoder and, in reverse, of the decoder.
    activation : str, default "elu"
        One of `infoplane_torch.networks.ACTIVATIONS`.
    likelihood : {"bernoulli", "gaussian"}, default "bernoulli"
        For binary or for real-valued images.
    variance : {"scalar", "pixel", "predicted"}, default "scalar"
        The Gaussian likelihood's variance; a Bernoulli has none and ignores it.
    penalties : tuple of FisherInformation, default ()
        At most one of the posterior and one of the likelihood.

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

    def __post_init__(self) -> None:
        sizes = (*self.event_shape, self.latent_dim, *self.hidden)
        if not self.event_shape or min(sizes) < 1:
            raise ValueError(
                "`event_shape`, `latent_dim` and `hidden` must be positive, got "
                f"{self.event_shape}, {self.latent_dim} and {self.hidden}"
            )
        for name, choice, choices in (
            ("activation", self.activation, tuple(ACTIVATIONS)),
            ("likelihood", self.likelihood, get_args(LikelihoodName)),
            ("variance", self.variance, get_args(Variance)),
        ):
            if choice not in choices:
                raise ValueError(f"`{name}` must be one of {choices}, got {choice!r}")
        controlled = [penalty.of for penalty in self.penalties]
        if len(set(controlled)) < len(controlled):
            raise ValueError(f"`penalties` must control different distributions, got {controlled}")
        if "likelihood" in controlled and self.likelihood == "bernoulli":
            raise ValueError(
                "`penalties` cannot control a Bernoulli likelihood: it is discrete and has no location "
                'Fisher information; use likelihood="gaussian"'
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
    fisher: float, weight: float, *, form: Form = "abs", reduction: Reduction = "mean", **options: Any
) -> ModelConfig:
    """Configure the Fisher auto-encoder FAE(F): the baseline with λ |tr J(z|x) − F| on its encoder, eq. (8).

    Parameters
    ----------
    fisher : float
        F.
    weight : float
        λ.
    form : {"abs", "hinge"}, default "abs"
        |J − F|, or max(F − J, 0).
    reduction : {"mean", "sum", "none"}, default "mean"
        What F counts. The mean over dimensions is the only reading in which the paper's F = 20 is "large",
        since tr J of the 40-dimensional prior is 40.
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
    penalty = FisherInformation(fisher, weight, form=form, reduction=reduction)
    return ModelConfig(**{"penalties": (penalty,), **options})


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
    pixels, latent = math.prod(config.event_shape), config.latent_dim
    encoder = MLP(pixels, 2 * latent, hidden=config.hidden, activation=config.activation)
    outputs = 2 * pixels if (config.likelihood, config.variance) == ("gaussian", "predicted") else pixels
    decoder = MLP(latent, outputs, hidden=config.hidden[::-1], activation=config.activation)
    likelihood = (
        Bernoulli(decoder, config.event_shape)
        if config.likelihood == "bernoulli"
        else Gaussian(decoder, config.event_shape, variance=config.variance)
    )
    model = VAE(DiagonalGaussian(encoder), likelihood, StandardNormal(latent))
    return model, Objective({f"fisher_{penalty.of}": penalty for penalty in config.penalties})
