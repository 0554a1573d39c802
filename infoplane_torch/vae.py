"""The variational auto-encoder: a posterior, a likelihood and a prior, and what they do together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import NamedTuple, cast

import torch
from torch import Tensor, distributions, nn

from infoplane_torch.autoregressive_flow import InverseAutoregressiveFlow
from infoplane_torch.priors import StandardNormal

__all__ = ["ForwardPass", "StandardNormal", "VAE", "evaluating"]


class ForwardPass(NamedTuple):
    """What one pass of a VAE over a batch gives: all that an objective or a penalty may look at.

    Attributes
    ----------
    x : Tensor of shape (B, *event_shape)
        The images.
    posterior : Distribution
        q(z|x), of batch shape (B,).
    z : Tensor of shape (B, latent_dim)
        One draw from the posterior for each image, differentiable.
    likelihood : Distribution
        p(x|z) at that draw, of batch shape (B,).
    prior : Distribution
        p(z), of batch shape ().
    """

    x: Tensor
    posterior: distributions.Distribution
    z: Tensor
    likelihood: distributions.Distribution
    prior: distributions.Distribution


class VAE(nn.Module):
    """A variational auto-encoder (Kingma and Welling 2014), composed of a posterior, a likelihood, a prior.

    Parameters
    ----------
    posterior : nn.Module
        Its call turns images ``(B, *event_shape)`` into the distribution q(z|x).
    likelihood : nn.Module
        Its call turns codes ``(..., latent_dim)`` into the distribution p(x|z); has an ``event_shape``.
    prior : nn.Module
        Its call, without arguments, gives the distribution p(z); has a ``latent_dim``.

    Notes
    -----
    Posteriors, likelihoods and priors may be combined freely; `infoplane_torch.priors` has the priors.
    Calling the model gives the `ForwardPass` of a batch. How the model is trained is no part of it: see
    `infoplane_torch.objective`.

    Examples
    --------
    >>> import torch
    >>> from infoplane_torch.likelihoods import Bernoulli
    >>> from infoplane_torch.networks import MLP
    >>> from infoplane_torch.posteriors import DiagonalGaussian
    >>> from infoplane_torch.priors import StandardNormal
    >>> from infoplane_torch.vae import VAE
    >>> model = VAE(DiagonalGaussian(MLP(64, 4)), Bernoulli(MLP(2, 64), (1, 8, 8)), StandardNormal(2))
    >>> model.sample(3).shape
    torch.Size([3, 1, 8, 8])
    """

    def __init__(self, posterior: nn.Module, likelihood: nn.Module, prior: nn.Module) -> None:
        super().__init__()
        self.posterior = posterior
        self.likelihood = likelihood
        self.prior = prior

    @property
    def latent_dim(self) -> int:
        """Number of elements of a code."""
        return cast(int, self.prior.latent_dim)

    @property
    def event_shape(self) -> torch.Size:
        """Shape of one image."""
        return cast(torch.Size, self.likelihood.event_shape)

    def forward(self, x: Tensor) -> ForwardPass:
        """Encode a batch, draw one code for each image, and decode it.

        Parameters
        ----------
        x : Tensor of shape (B, *event_shape)
            Images, floating point.

        Returns
        -------
        ForwardPass
            Posterior, draw, likelihood and prior.
        """
        posterior = self.encode(x)
        z = posterior.rsample()
        return ForwardPass(x, posterior, z, self.decode(z), self.prior())

    def encode(self, x: Tensor) -> distributions.Distribution:
        """Return the posterior q(z|x).

        Parameters
        ----------
        x : Tensor of shape (B, *event_shape)
            Images, floating point.

        Returns
        -------
        Distribution
            Of batch shape (B,).

        Raises
        ------
        ValueError
            If `x` has another shape.
        TypeError
            If `x` is not floating point, or one of `x` and the weights is float64 and the other is not.
        """
        if x.ndim != 1 + len(self.event_shape) or x.shape[1:] != self.event_shape:
            shape = "".join(f", {size}" for size in self.event_shape)
            raise ValueError(f"`x` must have shape (B{shape}), got {tuple(x.shape)}")
        if not x.is_floating_point():
            raise TypeError(f"`x` must be floating point, got {x.dtype}")
        weight = next(self.parameters(), x)
        if (x.dtype == torch.float64) != (weight.dtype == torch.float64):  # autocast bridges all others
            raise TypeError(f"`x` must be {weight.dtype} like the weights of the model, got {x.dtype}")
        posterior: distributions.Distribution = self.posterior(x)
        return posterior

    def decode(self, z: Tensor) -> distributions.Distribution:
        """Return the likelihood p(x|z).

        Parameters
        ----------
        z : Tensor of shape (..., latent_dim)
            Codes.

        Returns
        -------
        Distribution
            Of batch shape ``z.shape[:-1]`` and event shape ``event_shape``.

        Raises
        ------
        ValueError
            If the last dimension of `z` is not ``latent_dim``.
        """
        if z.ndim == 0 or z.shape[-1] != self.latent_dim:
            raise ValueError(f"`z` must have shape (..., {self.latent_dim}), got {tuple(z.shape)}")
        likelihood: distributions.Distribution = self.likelihood(z)
        return likelihood

    @torch.no_grad()
    def sample(self, n: int, *, mean: bool = False) -> Tensor:
        """Draw images from the model: z from the prior, then x from p(x|z).

        Parameters
        ----------
        n : int
            Number of images.
        mean : bool, default False
            Give E[x|z], which looks smoother than a sample and is none.

        Returns
        -------
        Tensor of shape (n, *event_shape)

        Raises
        ------
        NotImplementedError
            If E[x|z] is asked of a likelihood that does not know it, like a PixelCNN.
        """
        likelihood = self.decode(self.prior().sample((n,)))
        return likelihood.mean if mean else likelihood.sample()

    @torch.no_grad()
    def reconstruct(self, x: Tensor) -> Tensor:
        """Give the mean image E[x|z] at the posterior mean of each image's code, or the `center` of a flow.

        A PixelCNN, which knows no mean, gives a sample of p(x|z): all that it shares with x is what the code
        holds.

        Parameters
        ----------
        x : Tensor of shape (B, *event_shape)
            Images.

        Returns
        -------
        Tensor of shape (B, *event_shape)
        """
        return shown_image(self.decode(code_center(self.encode(x))))

    @torch.no_grad()
    def interpolate(self, start: Tensor, end: Tensor, *, steps: int = 8) -> Tensor:
        """Give mean images along the straight line between the posterior means of two batches.

        Of a flow, which knows no mean, its `center` is taken, and of a PixelCNN a sample.

        Parameters
        ----------
        start, end : Tensor of shape (B, *event_shape)
            Images at the ends.
        steps : int, default 8
            Number of images on each line, both ends included.

        Returns
        -------
        Tensor of shape (steps, B, *event_shape)

        Raises
        ------
        ValueError
            If there are fewer than two steps.
        """
        if steps < 2:
            raise ValueError(f"`steps` must be at least 2, got {steps}")
        first, last = code_center(self.encode(start)), code_center(self.encode(end))
        weight = torch.linspace(0, 1, steps, dtype=first.dtype, device=first.device)[:, None, None]
        return shown_image(self.decode(torch.lerp(first, last, weight)))


def code_center(posterior: distributions.Distribution) -> Tensor:
    """The code that stands for each image: the posterior mean or, of a flow, which knows none, its `center`.

    Parameters
    ----------
    posterior : torch.distributions.Distribution
        q(z|x) of a batch of images.

    Returns
    -------
    Tensor of shape (B, d)

    Examples
    --------
    >>> import torch
    >>> from infoplane_torch.vae import StandardNormal, code_center
    >>> code_center(StandardNormal(2)())
    tensor([0., 0.])
    """
    return posterior.center if isinstance(posterior, InverseAutoregressiveFlow) else posterior.mean


def shown_image(likelihood: distributions.Distribution) -> Tensor:
    """The image that stands for each code: E[x|z] or, where it has no closed form as of a PixelCNN, a sample.

    Parameters
    ----------
    likelihood : torch.distributions.Distribution
        p(x|z) of a batch of codes.

    Returns
    -------
    Tensor of shape (*batch_shape, *event_shape)

    Examples
    --------
    >>> import torch
    >>> from infoplane_torch.vae import shown_image
    >>> shown_image(torch.distributions.Bernoulli(torch.tensor([0.2, 0.7])))
    tensor([0.2000, 0.7000])
    """
    try:
        return likelihood.mean
    except NotImplementedError:
        return likelihood.sample()


@contextmanager
def evaluating(model: nn.Module, *, seed: int) -> Iterator[None]:
    """Run a block in evaluation mode, without gradients and with random draws of its own.

    Parameters
    ----------
    model : nn.Module
        The mode of each of its modules is put back afterwards.
    seed : int
        Decides the draws in the block; the random state outside is put back afterwards, on the CPU and on
        the model's GPU.

    Examples
    --------
    >>> import torch
    >>> from infoplane_torch import presets
    >>> from infoplane_torch.vae import evaluating
    >>> model, _ = presets.build(presets.vae(event_shape=(1, 8, 8), hidden=(16,)))
    >>> with evaluating(model, seed=0):
    ...     first = model.sample(3)
    >>> with evaluating(model, seed=0):
    ...     again = model.sample(3)
    >>> torch.equal(first, again), model.training
    (True, True)
    """
    modes = {module: module.training for module in model.modules()}
    device = next(model.parameters()).device
    model.eval()
    try:
        with torch.no_grad(), kept_random_state(device):
            reseed(seed, device)
            yield
    finally:
        for module, training in modes.items():
            module.training = training


def kept_random_state(device: torch.device) -> AbstractContextManager[None]:
    """Leave the random states of the CPU and of one device as they are after a block, and no others.

    Parameters
    ----------
    device : torch.device
        Where a model is.

    Examples
    --------
    >>> import torch
    >>> from infoplane_torch.vae import kept_random_state
    >>> with kept_random_state(torch.device("cpu")):
    ...     first = torch.rand(1)
    >>> torch.equal(first, torch.rand(1))
    True
    """
    return torch.random.fork_rng([device] if device.type == "cuda" else [])


def reseed(seed: int, device: torch.device) -> None:
    """Seed the draws of one device and of the CPU, and of no other device.

    Parameters
    ----------
    seed : int
        The seed.
    device : torch.device
        Where a model is.

    Examples
    --------
    >>> import torch
    >>> from infoplane_torch.vae import reseed
    >>> with torch.random.fork_rng():
    ...     reseed(0, torch.device("cpu"))
    ...     torch.rand(2)
    tensor([0.4963, 0.7682])
    """
    # Not torch.manual_seed, which would also reseed devices that `evaluating` does not put back.
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)
