"""Independent Bernoulli pixels, whose log-probability costs a third of that by PyTorch's cross-entropy."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributions

# Factors of a product: each is at least 1/2, so that it stays in the range of float32.
_MOST_FACTORS = 100


class BernoulliPixels(distributions.Independent):
    """Independent Bernoulli variables, log p(x) = Σ x·l − softplus(l).

    Parameters
    ----------
    base_distribution : torch.distributions.Bernoulli
        The pixels.
    reinterpreted_batch_ndims : int
        How many of the last dimensions are one event, at least one.
    validate_args : bool, optional
        Check arguments, as PyTorch's distributions do.

    Notes
    -----
    softplus(l) = max(l, 0) − log σ(|l|), and the sum of logarithms is that of products of up to a hundred
    factors: on a processor logarithms are what is dear. In float32 it differs from the sum of logarithms by
    some 10⁻⁵, as sums in another order do. Elsewhere, where launches are dear, PyTorch's own is used.

    Examples
    --------
    >>> import torch
    >>> from infoplane_torch.bernoulli_pixels import BernoulliPixels
    >>> images = BernoulliPixels(torch.distributions.Bernoulli(logits=torch.zeros(5, 1, 28, 28)), 3)
    >>> images.batch_shape, images.event_shape
    (torch.Size([5]), torch.Size([1, 28, 28]))
    >>> images.log_prob(torch.ones(1, 28, 28)).div(784).exp()
    tensor([0.5000, 0.5000, 0.5000, 0.5000, 0.5000])
    """

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-probability of images.

        Parameters
        ----------
        value : Tensor of shape (..., *event_shape)
            Zeros and ones.

        Returns
        -------
        Tensor of shape (...)
        """
        if self.base_dist._validate_args:
            self.base_dist._validate_sample(value)
        logits: Tensor = self.base_dist.logits
        if logits.device.type != "cpu":
            return super().log_prob(value)
        value, logits = torch.broadcast_tensors(value.to(logits.dtype), logits)
        dims = self.reinterpreted_batch_ndims
        result: Tensor = _LogProbability.apply(value.flatten(-dims), logits.flatten(-dims))
        return result


class _LogProbability(torch.autograd.Function):
    """Σ x·l − softplus(l) over the last dimension, with the gradients x − σ(l) and l."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, logits: Tensor) -> Tensor:
        factors = logits.abs().sigmoid_().unflatten(-1, (-1, _factors(logits.shape[-1])))
        logarithms = factors.prod(-1).log_().sum(-1)
        return (x * logits).sub_(logits.relu()).sum(-1) + logarithms

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, logits = ctx.saved_tensors
        gradient = gradient.unsqueeze(-1)
        of_x, of_logits = ctx.needs_input_grad
        return (
            gradient * logits if of_x else None,
            gradient * (x - logits.sigmoid()) if of_logits else None,
        )


def _factors(pixels: int) -> int:
    """The greatest number of factors of a product that divides the number of pixels."""
    return max(number for number in range(1, _MOST_FACTORS + 1) if pixels % number == 0)
