"""What is held against a training before it begins: images that fit the likelihood, enough epochs."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import Distribution

from infoplane.errors import warn
from infoplane_torch.image_batches import require_support
from infoplane_torch.image_data import ImageData
from infoplane_torch.training_config import TrainingConfig
from infoplane_torch.vae import VAE, evaluating

_LOOKED_AT = 200  # images of a split, evenly spaced: some splits are sorted


def require_images(vae: VAE, data: ImageData, config: TrainingConfig) -> None:
    """Refuse images that the model's likelihood does not know, like grey ones for a Bernoulli.

    Parameters
    ----------
    vae : VAE
        The model.
    data : ImageData
        Training and validation images.
    config : TrainingConfig
        Whether they are binarised, or dequantised.

    Raises
    ------
    ValueError
        If images are outside of the support of p(x|z), or there are no grey levels to dequantise.

    Examples
    --------
    >>> from infoplane_torch import presets
    >>> from infoplane_torch.data import load
    >>> from infoplane_torch.training_checks import require_images
    >>> model, _ = presets.build(presets.vae(event_shape=(1, 8, 8), hidden=(16,), latent_dim=2))
    >>> require_images(model, load("digits"), TrainingConfig(binarize=True))
    """
    likelihood = _likelihood(vae)
    for split in ("train", "valid"):
        require_support(likelihood, _few(data, split, config), name=f"data.{split}")


def warn_of_training(vae: VAE, data: ImageData, config: TrainingConfig) -> None:
    """Warn of a training whose numbers will not mean what they seem to.

    Parameters
    ----------
    vae : VAE
        The model.
    data : ImageData
        Training images.
    config : TrainingConfig
        How it is to be trained.

    Warns
    -----
    InfoplaneWarning
        If the likelihood is a density and the pixels are only 0 and 1; or β does not reach 1.

    Examples
    --------
    >>> from infoplane_torch import presets
    >>> from infoplane_torch.data import load
    >>> from infoplane_torch.training_checks import warn_of_training
    >>> model, _ = presets.build(presets.vae(event_shape=(1, 8, 8), hidden=(16,), latent_dim=2))
    >>> warn_of_training(model, load("digits"), TrainingConfig())
    """
    if config.epochs < config.warmup_epochs:
        warn(
            f"the warm-up of β takes {config.warmup_epochs} epochs, and there are {config.epochs}: β ends at "
            f"{config.beta(config.epochs):.3g}, and what is maximised is no ELBO; lower `warmup_epochs`"
        )
    try:
        support = _likelihood(vae).support
    except NotImplementedError:
        return
    x = _few(data, "train", config)
    if support is not None and not support.is_discrete and bool(((x == 0) | (x == 1)).all()):
        warn(
            "the likelihood is a density, and the pixels are only 0 and 1: it grows without bound as the "
            "variance falls, and its nats cannot be compared; use a Bernoulli, or grey levels with "
            "`binarize` = False and `dequantize` = True"
        )


def _likelihood(vae: VAE) -> Distribution:
    """The likelihood at some code; its support is the same at each."""
    with evaluating(vae, seed=0):
        return vae.decode(vae.prior().sample(torch.Size((1,))))


def _few(data: ImageData, split: str, config: TrainingConfig) -> Tensor:
    """Some images of a split as the model will see them."""
    images = getattr(data, split)
    images = images[:: -(-len(images) // _LOOKED_AT)]
    few = ImageData(data.name, images, images, images, data.binary)
    return few.evaluation_images(split, binarize=config.binarize, dequantize=config.dequantize)
