"""What a trained model is worth: its likelihood, its ELBO, its place in the Fisher–Shannon plane.

Nothing here knows an objective, so no penalty can enter a likelihood. Every function leaves the model's
mode, its gradients and the random state as it found them, and depends on its `seed` alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution

from infoplane.estimate import Estimate, FisherShannonPoint
from infoplane_torch.information import entropy, fisher_information, has_closed_form, kl_divergence
from infoplane_torch.vae import VAE, evaluating


class ImportanceSampling(NamedTuple):
    """Likelihoods of single images by importance sampling, and how far to trust them.

    Attributes
    ----------
    log_likelihood : Tensor of shape (n,)
        log p̂(x) in nats.
    standard_error : Tensor of shape (n,)
        Its standard error √(1/ESS − 1/S) from the finite number S of samples, by the delta method.
    effective_sample_size : Tensor of shape (n,)
        ESS = (Σ w)²/Σ w², between 1 and S.
    """

    log_likelihood: Tensor
    standard_error: Tensor
    effective_sample_size: Tensor


@dataclass(frozen=True)
class NegativeLogLikelihood:
    """−log p(x) of a set of images, in nats an image.

    Attributes
    ----------
    nll : Estimate
        The mean; its standard error is that over images.
    sampling_error : float
        The part of the error that comes from the finite number of importance samples.
    ess_median : float
        Median effective sample size over images.
    num_samples : int
        Importance samples for each image.
    """

    nll: Estimate
    sampling_error: float
    ess_median: float
    num_samples: int


@dataclass(frozen=True)
class EvidenceLowerBound:
    """The ELBO of a set of images and its parts, means in nats an image with standard errors over images.

    Attributes
    ----------
    negative_elbo : Estimate
        kl − reconstruction, an upper bound of −log p(x).
    reconstruction : Estimate
        E log p(x|z).
    kl : Estimate
        KL(q(z|x) ‖ p(z)).
    """

    negative_elbo: Estimate
    reconstruction: Estimate
    kl: Estimate


def log_likelihood(
    vae: VAE,
    x: Tensor,
    *,
    num_samples: int = 5000,
    chunk_size: int = 500,
    batch_size: int = 4,
    seed: int = 0,
) -> ImportanceSampling:
    """Importance-sampled log p(x) = log mean_s p(x|z_s) p(z_s)/q(z_s|x) of each image, in nats.

    Parameters
    ----------
    vae : VAE
        The model.
    x : Tensor of shape (n, *event_shape)
        Images, on any device.
    num_samples : int, default 5000
        Importance samples S for each image, exactly.
    chunk_size, batch_size : int, default 500 and 4
        Samples and images at a time: memory grows with their product and not with S or n. On a GPU take
        larger batches.
    seed : int, default 0
        Decides the draws.

    Returns
    -------
    ImportanceSampling

    Raises
    ------
    ValueError
        If a number is not positive, `x` is empty, of a wrong shape, or holds values that the likelihood
        does not know, like grey levels for a Bernoulli.

    Notes
    -----
    Each image is encoded once; chunks are added by log-sum-exp. The estimate is unbiased for p(x) but low
    for log p(x), by about (1/ESS − 1/S)/2. *When not to trust it:* an ESS of a few samples means that the
    posterior misses mass, and the standard error is then itself too small. The paper's 5,000 importance
    samples are for each image, over the whole test set.

    References
    ----------
    Burda, Grosse, Salakhutdinov, "Importance weighted autoencoders" (2016), eq. (8).

    Examples
    --------
    >>> import torch
    >>> from infoplane_torch import presets
    >>> from infoplane_torch.evaluation import log_likelihood
    >>> model, _ = presets.build(presets.vae(event_shape=(1, 8, 8), hidden=(16,), latent_dim=2))
    >>> log_likelihood(model, torch.zeros(3, 1, 8, 8), num_samples=100).log_likelihood.shape
    torch.Size([3])
    """
    _require_positive(num_samples=num_samples, chunk_size=chunk_size, batch_size=batch_size)
    log_p, ess = [], []
    with evaluating(vae, seed=seed):
        for batch in _batches(vae, x, batch_size):
            posterior, prior = vae.encode(batch), vae.prior()
            log_sum = batch.new_full(batch.shape[:1], -math.inf)  # log Σ w, (b,)
            log_sum_squares = log_sum.clone()  # log Σ w², (b,)
            for start in range(0, num_samples, chunk_size):
                chunk = min(chunk_size, num_samples - start)
                z = posterior.sample(torch.Size((chunk,)))  # (chunk, b, latent)
                likelihood = vae.decode(z)
                if start == 0:
                    _require_support(likelihood, batch)
                log_w = likelihood.log_prob(batch) + prior.log_prob(z) - posterior.log_prob(z)  # (chunk, b)
                log_sum = torch.logaddexp(log_sum, log_w.logsumexp(0))
                log_sum_squares = torch.logaddexp(log_sum_squares, (2 * log_w).logsumexp(0))
            log_p.append(log_sum - math.log(num_samples))
            ess.append(torch.exp(2 * log_sum - log_sum_squares))
    effective = torch.cat(ess).clamp(1, num_samples)
    error = (1 / effective - 1 / num_samples).clamp(min=0).sqrt()
    return ImportanceSampling(torch.cat(log_p), error, effective)


def negative_log_likelihood(
    vae: VAE,
    x: Tensor,
    *,
    num_samples: int = 5000,
    chunk_size: int = 500,
    batch_size: int = 4,
    seed: int = 0,
) -> NegativeLogLikelihood:
    """Mean −log p(x) over images by importance sampling, in nats an image.

    Parameters
    ----------
    vae : VAE
        The model.
    x : Tensor of shape (n, *event_shape)
        Images.
    num_samples : int, default 5000
        Importance samples for each image.
    chunk_size, batch_size : int, default 500 and 4
        Samples and images at a time.
    seed : int, default 0
        Decides the draws.

    Returns
    -------
    NegativeLogLikelihood

    Raises
    ------
    ValueError
        As `log_likelihood`.

    Notes
    -----
    See `log_likelihood`. Compare two models on the same images, by the standard error of the paired
    differences of their `log_likelihood`, which is far smaller than that of either mean.

    Examples
    --------
    >>> import torch
    >>> from infoplane_torch import presets
    >>> from infoplane_torch.evaluation import negative_log_likelihood
    >>> model, _ = presets.build(presets.vae(event_shape=(1, 8, 8), hidden=(16,), latent_dim=2))
    >>> result = negative_log_likelihood(model, torch.zeros(3, 1, 8, 8), num_samples=100)
    >>> result.nll.method, result.nll.n, result.nll.d
    ('importance sampling', 3, 64)
    """
    result = log_likelihood(
        vae, x, num_samples=num_samples, chunk_size=chunk_size, batch_size=batch_size, seed=seed
    )
    return NegativeLogLikelihood(
        nll=mean_over_images(-result.log_likelihood, method="importance sampling", d=vae.event_shape.numel()),
        sampling_error=float(result.standard_error.square().sum().sqrt() / len(x)),
        ess_median=float(result.effective_sample_size.median()),
        num_samples=num_samples,
    )


def elbo(
    vae: VAE, x: Tensor, *, num_samples: int = 1, batch_size: int = 500, seed: int = 0
) -> EvidenceLowerBound:
    """Mean ELBO over images, E log p(x|z) − KL(q(z|x) ‖ p(z)), in nats an image: β = 1 and no penalty.

    Parameters
    ----------
    vae : VAE
        The model.
    x : Tensor of shape (n, *event_shape)
        Images.
    num_samples : int, default 1
        Draws of z for each image.
    batch_size : int, default 500
        Images at a time.
    seed : int, default 0
        Decides the draws.

    Returns
    -------
    EvidenceLowerBound

    Raises
    ------
    ValueError
        As `log_likelihood`.

    Examples
    --------
    >>> import torch
    >>> from infoplane_torch import presets
    >>> from infoplane_torch.evaluation import elbo
    >>> model, _ = presets.build(presets.vae(event_shape=(1, 8, 8), hidden=(16,), latent_dim=2))
    >>> bound = elbo(model, torch.zeros(3, 1, 8, 8))
    >>> abs(bound.negative_elbo - (bound.kl - bound.reconstruction)) < 1e-4
    True
    """
    _require_positive(num_samples=num_samples, batch_size=batch_size)
    reconstructions, divergences = [], []
    with evaluating(vae, seed=seed):
        for batch in _batches(vae, x, batch_size):
            posterior = vae.encode(batch)
            z = posterior.sample(torch.Size((num_samples,)))  # (S, b, latent)
            likelihood = vae.decode(z)
            _require_support(likelihood, batch)
            reconstructions.append(likelihood.log_prob(batch).mean(0))
            divergences.append(kl_divergence(posterior, vae.prior(), z=z))
    reconstruction, kl = torch.cat(reconstructions), torch.cat(divergences)
    d = vae.event_shape.numel()
    return EvidenceLowerBound(
        negative_elbo=mean_over_images(kl - reconstruction, method="elbo", d=d),
        reconstruction=mean_over_images(reconstruction, method="elbo", d=d),
        kl=mean_over_images(kl, method="elbo", d=vae.latent_dim),
    )


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
    _require_positive(num_samples=num_samples, batch_size=batch_size)
    entropies, traces, closed = [], [], True
    matrix = np.zeros((vae.latent_dim, vae.latent_dim))
    with evaluating(vae, seed=seed):
        for batch in _batches(vae, x, batch_size):
            posterior = vae.encode(batch)
            closed = closed and has_closed_form(posterior)
            information = fisher_information(posterior, num_samples=num_samples).double()  # (b, d, d)
            entropies.append(entropy(posterior, num_samples=num_samples).double())
            traces.append(information.diagonal(dim1=-2, dim2=-1).sum(-1))
            matrix += information.sum(0).cpu().numpy() / len(x)
    h, trace = torch.cat(entropies), torch.cat(traces)
    method = "closed form" if closed else "monte carlo"
    covariance = float(torch.cov(torch.stack((h, trace)))[0, 1]) / len(x) if len(x) > 1 else math.nan
    return FisherShannonPoint.from_estimates(
        mean_over_images(h, method=method, d=vae.latent_dim),
        matrix,
        mean_over_images(trace, method=method, d=vae.latent_dim, positive=True),
        covariance=covariance,
    )


def active_units(vae: VAE, x: Tensor, *, threshold: float = 0.01, batch_size: int = 500) -> int:
    """Count the latent dimensions whose posterior mean varies over images: Var_x E[z_i|x] > threshold.

    Parameters
    ----------
    vae : VAE
        The model; its posterior must know its mean.
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
    _require_positive(batch_size=batch_size)
    if len(x) < 2:
        raise ValueError(f"`x` must hold at least two images, got {len(x)}")
    with evaluating(vae, seed=0):
        means = torch.cat([vae.encode(batch).mean for batch in _batches(vae, x, batch_size)])
    return int((means.var(0) > threshold).sum())


def _batches(vae: VAE, x: Tensor, batch_size: int) -> Iterator[Tensor]:
    """Split images into batches, on the device of the model."""
    if x.ndim == 0 or len(x) == 0:
        raise ValueError(f"`x` must hold at least one image, got shape {tuple(x.shape)}")
    device = next(vae.parameters()).device
    for batch in x.split(batch_size):
        yield batch.to(device)


def _require_support(likelihood: Distribution, x: Tensor) -> None:
    support = likelihood.support
    if support is not None and not bool(support.check(x).all()):
        raise ValueError(
            f"`x` must lie in the support of the likelihood, {support}, got values in "
            f"[{float(x.min()):g}, {float(x.max()):g}]; binarise grey images for a Bernoulli"
        )


def _require_positive(**numbers: int) -> None:
    for name, number in numbers.items():
        if number < 1:
            raise ValueError(f"`{name}` must be at least 1, got {number}")


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
    values = values.double()
    error = float(values.std()) / math.sqrt(n) if n > 1 else math.nan
    return Estimate(float(values.mean()), standard_error=error, method=method, n=n, d=d, positive=positive)
