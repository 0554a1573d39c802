"""Where a model stands: its place in the Fisher–Shannon plane, and how many of its units are active."""

from __future__ import annotations

import torch
from torch import Tensor

from infoplane.estimate import FisherShannonPoint
from infoplane_torch.image_batches import batches, require_positive
from infoplane_torch.plane_sums import PlaneSums, method_of
from infoplane_torch.vae import VAE, code_center, evaluating


def plane_point(
    vae: VAE, x: Tensor, *, num_samples: int = 256, batch_size: int = 500, seed: int = 0
) -> FisherShannonPoint:
    """Place of a model in the Fisher–Shannon plane, from its posteriors over a set of images.

    N comes from the mean over x of H(Z|x), J is the mean over x of the Fisher information matrix of Z|x.

    Parameters
    ----------
    vae : VAE
        The model.
    x : Tensor of shape (n, *event_shape)
        Images.
    num_samples : int, default 256
        Draws of the Monte Carlo for each image, if the posterior has no closed form.
    batch_size : int, default 500
        Images at a time.
    seed : int, default 0
        Decides these draws.

    Returns
    -------
    FisherShannonPoint
        With d the latent dimension; the standard errors are over images, the correlation of H and tr J
        included. The diagonal of its ``fisher_information`` shows how J is spread over dimensions: a few
        sharp ones often carry the mean.

    Raises
    ------
    ValueError
        If a number is not positive, or `x` is empty or of a wrong shape.

    Notes
    -----
    Each Gaussian Z|x lies on or above the curve N·tr J/d = 1, on it only if all its variances are equal;
    the average over x alone moves the model further above it (arithmetic above geometric mean).

    References
    ----------
    Zheng et al., "Understanding VAEs in Fisher-Shannon Plane", figure 1.

    Examples
    --------
    >>> import torch
    >>> from infoplane_torch import presets
    >>> from infoplane_torch.evaluation import plane_point
    >>> model, _ = presets.build(presets.vae(event_shape=(1, 8, 8), hidden=(16,), latent_dim=2))
    >>> bool(plane_point(model, torch.rand(10, 1, 8, 8)).product >= 1)
    True
    """
    require_positive(num_samples=num_samples, batch_size=batch_size)
    sums, closed = None, True
    with evaluating(vae, seed=seed):
        for batch in batches(vae, x, batch_size):
            posterior = vae.encode(batch)
            closed = closed and method_of(posterior) == "closed form"
            part = PlaneSums.of(posterior, num_samples=num_samples)
            sums = part if sums is None else sums.plus(part)
    assert sums is not None  # `batches` gives one at least
    return sums.point(method="closed form" if closed else "monte carlo")


def active_units(vae: VAE, x: Tensor, *, threshold: float = 0.01, batch_size: int = 500) -> int:
    """Count the latent dimensions whose posterior mean varies over images: Var_x E[z_i|x] > threshold.

    Parameters
    ----------
    vae : VAE
        The model; of a flow, which knows no mean, the `center` is taken.
    x : Tensor of shape (n, *event_shape)
        At least two images.
    threshold : float, default 0.01
        The variance that counts as active.
    batch_size : int, default 500
        Images at a time.

    Returns
    -------
    int
        Between 0 and the latent dimension.

    Raises
    ------
    ValueError
        If there are fewer than two images.

    References
    ----------
    Burda, Grosse, Salakhutdinov, "Importance weighted autoencoders" (2016), section 5.2.

    Examples
    --------
    >>> import torch
    >>> from infoplane_torch import presets
    >>> from infoplane_torch.evaluation import active_units
    >>> model, _ = presets.build(presets.vae(event_shape=(1, 8, 8), hidden=(16,), latent_dim=2))
    >>> active_units(model, torch.zeros(10, 1, 8, 8))
    0
    """
    require_positive(batch_size=batch_size)
    if len(x) < 2:
        raise ValueError(f"`x` must hold at least two images, got {len(x)}")
    with evaluating(vae, seed=0):
        means = torch.cat([code_center(vae.encode(batch)) for batch in batches(vae, x, batch_size)])
    return int((means.var(0) > threshold).sum())
