"""What a trained model is worth: its likelihood, its ELBO, its place in the Fisher–Shannon plane.

Nothing here knows an objective, so no penalty can enter a likelihood. Every function leaves the model's
mode, its gradients and the random state as it found them, and depends on its `seed` alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

from infoplane.estimate import Estimate, FisherShannonPoint
from infoplane_torch.information import entropy, fisher_information, has_closed_form, kl_divergence
from infoplane_torch.vae import VAE, code_center, evaluating


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


@dataclass(frozen=True)
class AggregatedInformation:
    """What codes tell about the images of a data set: KL = I + KL of the aggregate, in nats an image.

    Attributes
    ----------
    information : Estimate
        I(x; z) under the encoder, for x uniform over the data set of N images; at most log N.
    kl : Estimate
        E_x KL(q(z|x) ‖ p(z)), by the same draws; an upper bound of I.
    marginal_kl : Estimate
        KL(q(z) ‖ p(z)) of the aggregated posterior q(z) = mean of q(z|x) over the data set, the difference.
    """

    information: Estimate
    kl: Estimate
    marginal_kl: Estimate


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
    _require_positive(batch_size=batch_size)
    if len(x) < 2:
        raise ValueError(f"`x` must hold at least two images, got {len(x)}")
    with evaluating(vae, seed=0):
        means = torch.cat([code_center(vae.encode(batch)) for batch in _batches(vae, x, batch_size)])
    return int((means.var(0) > threshold).sum())


def aggregated_posterior_information(
    vae: VAE, x: Tensor, *, batch_size: int = 500, seed: int = 0
) -> AggregatedInformation:
    """Mutual information of image and code under the encoder, I = E[log q(z|x) − log q(z)], in nats.

    q(z) is the aggregated posterior, the exact mean of q(z|x) over the images given, by log-sum-exp.

    Parameters
    ----------
    vae : VAE
        The model.
    x : Tensor of shape (N, *event_shape)
        Images, all that q(z) is made of.
    batch_size : int, default 500
        Images at a time: memory grows with its square times the latent dimension.
    seed : int, default 0
        Decides the draws, one code for each image.

    Returns
    -------
    AggregatedInformation
        The standard errors are over images. That of I includes the noise of q(z), whose influence vanishes.

    Raises
    ------
    ValueError
        If `batch_size` is not positive, or `x` is empty or of a wrong shape.

    Notes
    -----
    It is the information of N images, at most log N (9.2 for 10,000): as soon as codes tell all images of
    the set apart it says log N and no more. *When not to use it:* as the information of the population, if
    it comes out near log N; then the KL is what is left as an upper bound. Cost O(N² d).

    References
    ----------
    Hoffman and Johnson, "ELBO surgery" (2016).

    Examples
    --------
    >>> import math, torch
    >>> from infoplane_torch import presets
    >>> from infoplane_torch.evaluation import aggregated_posterior_information
    >>> model, _ = presets.build(presets.vae(event_shape=(1, 8, 8), hidden=(16,), latent_dim=2))
    >>> bool(aggregated_posterior_information(model, torch.rand(9, 1, 8, 8)).information < math.log(9))
    True
    """
    _require_positive(batch_size=batch_size)
    with evaluating(vae, seed=seed):
        posteriors = [vae.encode(batch) for batch in _batches(vae, x, batch_size)]
        codes = [posterior.sample() for posterior in posteriors]  # (b, latent) each
        prior = vae.prior()
        conditionals, marginals = [], []  # log q(z|x) at its own image, and log q(z), (b,) each
        for own, z in zip(posteriors, codes, strict=True):
            tables = [(q, _pairwise_log_prob(q, z)) for q in posteriors]
            conditionals += [table.diagonal() for q, table in tables if q is own]
            marginals.append(torch.stack([table.logsumexp(1) for _, table in tables]).logsumexp(0))
        conditional, marginal = torch.cat(conditionals), torch.cat(marginals) - math.log(len(x))
        log_prior = torch.cat([prior.log_prob(z) for z in codes]).double()
    options: dict[str, Any] = {"method": "aggregated posterior", "d": vae.latent_dim}
    return AggregatedInformation(
        information=mean_over_images(conditional - marginal, **options),
        kl=mean_over_images(conditional - log_prior, **options),
        marginal_kl=mean_over_images(marginal - log_prior, **options),
    )


def _pairwise_log_prob(posterior: Distribution, z: Tensor) -> Tensor:
    """log q(z_i|x_j) of all codes under all posteriors of a batch, (i, j) in float64."""
    if not (isinstance(posterior, Independent) and type(posterior.base_dist) is Normal):
        return posterior.log_prob(z[:, None]).double()
    # Three products of matrices. The squares cancel where σ is small: float64 leaves 10⁻⁹ of 1/σ² = 10⁶.
    mean, precision, z = posterior.mean.double(), 1 / posterior.variance.double(), z.double()
    squares = z.square() @ precision.T - 2 * z @ (mean * precision).T + (mean.square() * precision).sum(1)
    constant = (precision.log() - math.log(2 * math.pi)).sum(1)
    return 0.5 * (constant - squares)


def variational_information(
    vae: VAE, reverse: nn.Module, *, num_samples: int = 10_000, batch_size: int = 500, seed: int = 0
) -> Estimate:
    """Lower bound of the mutual information under the model's joint p(z) p(x|z), in nats.

    Î = E[log r(z|x) − log p(z)] = H(z) + E[log r(z|x)], the bound that a mutual auto-encoder controls.

    Parameters
    ----------
    vae : VAE
        The model; only its prior and its likelihood count.
    reverse : nn.Module
        Turns images into the distribution r(z|x): that of the penalty, or the encoder itself,
        ``vae.posterior``, which is as valid a bound.
    num_samples : int, default 10000
        Pairs (z, x) to draw.
    batch_size : int, default 500
        Pairs at a time.
    seed : int, default 0
        Decides the draws.

    Returns
    -------
    Estimate
        Its standard error is over the pairs. Not the gap of the bound, E KL(p(z|x) ‖ r(z|x)).

    Raises
    ------
    ValueError
        If a number is not positive.

    References
    ----------
    Barber and Agakov, "The IM algorithm" (2003). Zheng et al., "Understanding VAEs in Fisher-Shannon Plane",
    eq. (14).

    Examples
    --------
    >>> import torch
    >>> from infoplane_torch import presets
    >>> from infoplane_torch.evaluation import variational_information
    >>> model, _ = presets.build(presets.vae(event_shape=(1, 8, 8), hidden=(16,), latent_dim=2))
    >>> variational_information(model, model.posterior, num_samples=100).n
    100
    """
    _require_positive(num_samples=num_samples, batch_size=batch_size)
    differences = []
    with evaluating(reverse, seed=seed), evaluating(vae, seed=seed):
        prior = vae.prior()
        for start in range(0, num_samples, batch_size):
            z = prior.sample(torch.Size((min(batch_size, num_samples - start),)))
            x = vae.decode(z).sample()
            differences.append(reverse(x).log_prob(z) - prior.log_prob(z))
    return mean_over_images(torch.cat(differences), method="barber agakov", d=vae.latent_dim)


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
