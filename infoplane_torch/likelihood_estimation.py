"""Likelihoods of images under a model: by importance sampling, and the evidence lower bound."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np
import torch
from torch import Tensor

from infoplane.estimate import Estimate
from infoplane_torch.image_batches import batches, mean_over_images, require_positive, require_support
from infoplane_torch.information import kl_divergence
from infoplane_torch.vae import VAE, evaluating, reseed

Precision = Literal["32-true", "bf16-mixed"]


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
    precision: Precision = "32-true",
    distributed: bool = False,
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
        Decides the draws, together with the number of the batch: they depend on `batch_size`, and not on
        how many processes share the batches.
    precision : {"32-true", "bf16-mixed"}, default "32-true"
        Whether the decoder computes in float32, or its products of matrices in bfloat16, at twice to ten
        times the speed; log-densities and their sums are float32 always.
    distributed : bool, default False
        Share the batches among the processes of `torch.distributed`, each of which has the model and all
        images on its own device; each gets the whole result. A collective call, as under ``torchrun`` or by
        Lightning Fabric. In float32 the result is that of one process.

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
    require_positive(num_samples=num_samples, chunk_size=chunk_size, batch_size=batch_size)
    if precision not in get_args(Precision):
        raise ValueError(f"`precision` must be one of {get_args(Precision)}, got {precision!r}")
    rank, processes = _processes(distributed)
    parameter = next(vae.parameters())
    dtype = torch.promote_types(parameter.dtype, torch.float32)
    sums = torch.zeros((2, len(x)), dtype=dtype, device=parameter.device)
    with evaluating(vae, seed=seed):
        for number, batch in enumerate(batches(vae, x, batch_size)):
            if number % processes == rank:
                reseed(_seed_of_batch(seed, number), parameter.device)
                own = slice(number * batch_size, number * batch_size + len(batch))
                sums[:, own] = _log_sums(vae, batch, num_samples, chunk_size, precision)
    if distributed:
        torch.distributed.all_reduce(sums)  # each image is zero in all processes but one
    log_sum, log_sum_squares = sums
    effective = torch.exp(2 * log_sum - log_sum_squares).clamp(1, num_samples)
    error = (1 / effective - 1 / num_samples).clamp(min=0).sqrt()
    return ImportanceSampling(log_sum - math.log(num_samples), error, effective)


def _log_sums(vae: VAE, batch: Tensor, num_samples: int, chunk_size: int, precision: Precision) -> Tensor:
    """log Σ w and log Σ w² of each image of a batch over importance samples in chunks, (2, b)."""
    posterior, prior = vae.encode(batch), vae.prior()
    log_sum = log_sum_squares = torch.tensor(-math.inf, device=batch.device)
    for start in range(0, num_samples, chunk_size):
        chunk = min(chunk_size, num_samples - start)
        z = posterior.sample(torch.Size((chunk,)))  # (chunk, b, latent)
        with torch.autocast(batch.device.type, torch.bfloat16, enabled=precision == "bf16-mixed"):
            likelihood = vae.decode(z)
            if start == 0:
                require_support(likelihood, batch)
            log_likelihoods = likelihood.log_prob(batch)
        log_w = log_likelihoods + prior.log_prob(z) - posterior.log_prob(z)  # (chunk, b)
        log_sum = torch.logaddexp(log_sum, log_w.logsumexp(0))
        log_sum_squares = torch.logaddexp(log_sum_squares, (2 * log_w).logsumexp(0))
    return torch.stack((log_sum, log_sum_squares))


def _processes(distributed: bool) -> tuple[int, int]:
    """Rank of this process among those that share the work, and their number."""
    if not distributed:
        return 0, 1
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        raise ValueError(
            "`distributed` needs the processes of torch.distributed, which is not initialised: start with "
            "torchrun, or launch Lightning Fabric"
        )
    return torch.distributed.get_rank(), torch.distributed.get_world_size()


def _seed_of_batch(seed: int, number: int) -> int:
    """A seed of its own for each batch, so that its draws do not depend on those before it."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1, np.uint64)[0] >> np.uint64(1))


def negative_log_likelihood(
    vae: VAE,
    x: Tensor,
    *,
    num_samples: int = 5000,
    chunk_size: int = 500,
    batch_size: int = 4,
    seed: int = 0,
    precision: Precision = "32-true",
    distributed: bool = False,
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
    precision : {"32-true", "bf16-mixed"}, default "32-true"
        Of the decoder.
    distributed : bool, default False
        Share the images among the processes of `torch.distributed`.

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
        vae, x, num_samples=num_samples, chunk_size=chunk_size, batch_size=batch_size, seed=seed,
        precision=precision, distributed=distributed,
    )  # fmt: skip
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
    require_positive(num_samples=num_samples, batch_size=batch_size)
    reconstructions, divergences = [], []
    with evaluating(vae, seed=seed):
        for batch in batches(vae, x, batch_size):
            posterior = vae.encode(batch)
            z = posterior.sample(torch.Size((num_samples,)))  # (S, b, latent)
            likelihood = vae.decode(z)
            require_support(likelihood, batch)
            reconstructions.append(likelihood.log_prob(batch).mean(0))
            divergences.append(kl_divergence(posterior, vae.prior(), z=z))
    reconstruction, kl = torch.cat(reconstructions), torch.cat(divergences)
    d = vae.event_shape.numel()
    return EvidenceLowerBound(
        negative_elbo=mean_over_images(kl - reconstruction, method="elbo", d=d),
        reconstruction=mean_over_images(reconstruction, method="elbo", d=d),
        kl=mean_over_images(kl, method="elbo", d=vae.latent_dim),
    )
