"""What every evaluation does: images in batches, means over images with their standard errors."""

from __future__ import annotations

import math
from collections.abc import Iterator

from torch import Tensor
from torch.distributions import Distribution

from infoplane.estimate import Estimate
from infoplane_torch.networks import in_float64
from infoplane_torch.vae import VAE


def batches(vae: VAE, x: Tensor, batch_size: int) -> Iterator[Tensor]:
    """Split images into batches, on the device of the model.

    Parameters
    ----------
    vae : VAE
        The model.
    x : Tensor of shape (n, *event_shape)
        Images, on any device.
    batch_size : int
        Images in a batch; the last may hold fewer.

    Raises
    ------
    ValueError
        If there is no image, or the batch size is not positive.

    Examples
    --------
    >>> import torch
    >>> from infoplane_torch import presets
    >>> from infoplane_torch.image_batches import batches
    >>> model, _ = presets.build(presets.vae(event_shape=(1, 8, 8), hidden=(16,), latent_dim=2))
    >>> [len(batch) for batch in batches(model, torch.zeros(5, 1, 8, 8), 2)]
    [2, 2, 1]
    """
    require_positive(batch_size=batch_size)
    if x.ndim == 0 or len(x) == 0:
        raise ValueError(f"`x` must hold at least one image, got shape {tuple(x.shape)}")
    device = next(vae.parameters()).device
    for batch in x.split(batch_size):
        yield batch.to(device)


def require_positive(**numbers: int) -> None:
    """Refuse numbers below 1.

    Parameters
    ----------
    **numbers
        By the names that messages call them.

    Raises
    ------
    ValueError
        If there is one.

    Examples
    --------
    >>> from infoplane_torch.image_batches import require_positive
    >>> require_positive(num_samples=5000, batch_size=4)
    """
    for name, number in numbers.items():
        if number < 1:
            raise ValueError(f"`{name}` must be at least 1, got {number}")


def require_support(likelihood: Distribution, x: Tensor, *, name: str = "x") -> None:
    """Refuse images that a likelihood does not know, like grey ones for a Bernoulli.

    Parameters
    ----------
    likelihood : Distribution
        p(x|z).
    x : Tensor of shape (B, *event_shape)
        Images.
    name : str, default "x"
        What messages call them.

    Raises
    ------
    ValueError
        If there is one.

    Examples
    --------
    >>> import torch
    >>> from torch.distributions import Bernoulli
    >>> from infoplane_torch.image_batches import require_support
    >>> require_support(Bernoulli(torch.tensor([0.5])), torch.tensor([[0.0], [1.0]]))
    """
    try:
        support = likelihood.support
    except NotImplementedError:  # of a user's own distribution, which need not have one
        return
    if support is not None and not bool(support.check(x).all()):
        raise ValueError(
            f"`{name}` must lie in the support of the likelihood, {support}, got values in "
            f"[{float(x.min()):g}, {float(x.max()):g}]; binarise grey images for a Bernoulli"
        )


def mean_over_images(values: Tensor, *, method: str, d: int, positive: bool = False) -> Estimate:
    """Mean over images with its standard error, in the unit of the values.

    Parameters
    ----------
    values : Tensor of shape (n,)
        One number an image; for a paired comparison, the differences of two models on the same images.
    method : str
        How they were computed, for `Estimate.method`.
    d : int
        Number of dimensions that they speak of.
    positive : bool, default False
        Whether the quantity is positive by definition.

    Returns
    -------
    Estimate
        With sd/√n as standard error, `nan` for a single image.

    Examples
    --------
    >>> import torch
    >>> from infoplane_torch.evaluation import mean_over_images
    >>> mean_over_images(torch.tensor([1.0, 2.0, 3.0]), method="importance sampling", d=784)
    2.00 ± 0.58 (importance sampling, n=3)
    """
    n = len(values)
    values = in_float64(values)
    error = float(values.std()) / math.sqrt(n) if n > 1 else math.nan
    return Estimate(float(values.mean()), standard_error=error, method=method, n=n, d=d, positive=positive)
