"""What codes and images tell of each other: informations and conditional entropies of a model."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

from infoplane.estimate import Estimate
from infoplane_torch.image_batches import batches, mean_over_images, require_positive
from infoplane_torch.networks import in_float64
from infoplane_torch.vae import VAE, evaluating


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
    require_positive(batch_size=batch_size)
    with evaluating(vae, seed=seed):
        posteriors = [vae.encode(batch) for batch in batches(vae, x, batch_size)]
        codes = [posterior.sample() for posterior in posteriors]  # (b, latent) each
        prior = vae.prior()
        conditionals, marginals = [], []  # log q(z|x) at its own image, and log q(z), (b,) each
        for own, z in zip(posteriors, codes, strict=True):
            tables = [(q, _pairwise_log_prob(q, z)) for q in posteriors]
            conditionals += [table.diagonal() for q, table in tables if q is own]
            marginals.append(torch.stack([table.logsumexp(1) for _, table in tables]).logsumexp(0))
        conditional, marginal = torch.cat(conditionals), torch.cat(marginals) - math.log(len(x))
        log_prior = in_float64(torch.cat([prior.log_prob(z) for z in codes]))
    options: dict[str, Any] = {"method": "aggregated posterior", "d": vae.latent_dim}
    return AggregatedInformation(
        information=mean_over_images(conditional - marginal, **options),
        kl=mean_over_images(conditional - log_prior, **options),
        marginal_kl=mean_over_images(marginal - log_prior, **options),
    )


def _pairwise_log_prob(posterior: Distribution, z: Tensor) -> Tensor:
    """log q(z_i|x_j) of all codes under all posteriors of a batch, (i, j) in float64."""
    if not (isinstance(posterior, Independent) and type(posterior.base_dist) is Normal):
        return in_float64(posterior.log_prob(z[:, None]))
    # Three products of matrices. The squares cancel where σ is small: float64 leaves 10⁻⁹ of 1/σ² = 10⁶.
    mean, variance, z = (in_float64(part) for part in (posterior.mean, posterior.variance, z))
    precision = 1 / variance
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
    require_positive(num_samples=num_samples, batch_size=batch_size)
    differences = []
    with evaluating(reverse, seed=seed), evaluating(vae, seed=seed):
        prior = vae.prior()
        for start in range(0, num_samples, batch_size):
            z = prior.sample(torch.Size((min(batch_size, num_samples - start),)))
            x = vae.decode(z).sample()
            differences.append(reverse(x).log_prob(z) - prior.log_prob(z))
    return mean_over_images(torch.cat(differences), method="barber agakov", d=vae.latent_dim)


@dataclass(frozen=True)
class ConditionalEntropies:
    """What stays unknown of codes given their image, and of images given their code, in nats.

    Attributes
    ----------
    codes_given_images : Estimate
        H(Z|X) = E_x H(q(z|x)) of the encoder, a differential entropy.
    images_given_codes : Estimate
        H(X|Z) = E_z H(p(x|z)) of the decoder, a differential entropy or, for discrete pixels, an entropy.
    """

    codes_given_images: Estimate
    images_given_codes: Estimate


def conditional_entropies(
    vae: VAE, x: Tensor, *, num_samples: int = 16, batch_size: int = 100, seed: int = 0
) -> ConditionalEntropies:
    """Conditional entropies H(Z|X) of the encoder and H(X|Z) of the decoder over a set of images, in nats.

    Parameters
    ----------
    vae : VAE
        The model.
    x : Tensor of shape (n, *event_shape)
        Images.
    num_samples : int, default 16
        Codes drawn from q(z|x) for each image, at which the decoder's entropy is taken; also the draws of
        the Monte Carlo for each, where an entropy has no closed form.
    batch_size : int, default 100
        Images at a time.
    seed : int, default 0
        Decides the draws.

    Returns
    -------
    ConditionalEntropies
        The standard errors are over images, the Monte Carlo's noise included.

    Raises
    ------
    ValueError
        If a number is not positive, or `x` is empty or of a wrong shape.

    Notes
    -----
    The codes are those of the images, z from the aggregated posterior q(z), not of the prior. H(X|Z) is that
    of the decoder, what it believes to be unknown. The conditional entropy of the images under the encoder's
    joint q(x) q(z|x) is at most the cross-entropy −E log p(x|z), the reconstruction term of
    `infoplane_torch.evaluation.elbo`. *When not to use it:* to compare decoders of discrete and of continuous
    pixels, whose entropies are of different kinds.

    References
    ----------
    T. M. Cover, J. A. Thomas, "Elements of Information Theory", 2nd ed. (2006), eqs. (2.10) and (8.33).

    Examples
    --------
    >>> import torch
    >>> from infoplane_torch import presets
    >>> from infoplane_torch.evaluation import conditional_entropies
    >>> model, _ = presets.build(presets.vae(event_shape=(1, 8, 8), hidden=(16,), latent_dim=2))
    >>> result = conditional_entropies(model, torch.zeros(9, 1, 8, 8))
    >>> bool(0 < result.images_given_codes < 64 * math.log(2))
    True
    """
    require_positive(num_samples=num_samples)
    codes, images = [], []
    with evaluating(vae, seed=seed):
        for batch in batches(vae, x, batch_size):
            posterior = vae.encode(batch)
            codes.append(_entropy(posterior, num_samples))
            # One code at a time, as decoders may be large.
            at_codes = [_entropy(vae.decode(posterior.sample()), num_samples) for _ in range(num_samples)]
            images.append(torch.stack(at_codes).mean(0))
    return ConditionalEntropies(
        codes_given_images=mean_over_images(torch.cat(codes), method="posteriors", d=vae.latent_dim),
        images_given_codes=mean_over_images(
            torch.cat(images), method="likelihoods", d=vae.event_shape.numel()
        ),
    )


def _entropy(distribution: Distribution, num_samples: int) -> Tensor:
    """Entropy of each element of a batch, discrete or differential, in float64."""
    try:
        return in_float64(distribution.entropy())
    except NotImplementedError:
        logs = [in_float64(distribution.log_prob(distribution.sample())) for _ in range(num_samples)]
        return -torch.stack(logs).mean(0)
