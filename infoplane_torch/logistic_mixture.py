"""The discretised logistic mixture: a density on the grey or colour levels of an image."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Size, Tensor
from torch.distributions import Distribution, constraints
from torch.nn import functional

_LOG_SCALE_BOUND = 7.0  # that of PixelCNN++ below, and as much above


class Levels(constraints.Constraint):
    """The numbers k/(levels − 1), k = 0, …, levels − 1.

    Parameters
    ----------
    levels : int
        How many.

    Examples
    --------
    >>> import torch
    >>> from infoplane_torch.logistic_mixture import Levels
    >>> Levels(256).check(torch.tensor([0.0, 17 / 255, 0.5, 2.0]))
    tensor([ True,  True, False, False])
    """

    is_discrete = True

    def __init__(self, levels: int) -> None:
        self.levels = levels
        super().__init__()

    def check(self, value: Tensor) -> Tensor:
        """Say of each number whether it is one of them, but for rounding.

        Parameters
        ----------
        value : Tensor
            Any numbers.

        Returns
        -------
        Tensor of bool
        """
        steps = value * (self.levels - 1)
        return (value >= 0) & (value <= 1) & ((steps - steps.round()).abs() < 1e-2)

    def __repr__(self) -> str:
        return f"Levels({self.levels})"


class DiscretizedLogisticMixture(Distribution):
    """Images of k/255: each pixel a mixture of logistics, rounded to levels and cut at black and white.

    Within a pixel all channels share the component, and the mean of each is linear in those before it.

    Parameters
    ----------
    parameters : Tensor of shape (..., P, H, W)
        With K components and C channels, P = K·(1 + 2 C + C (C − 1)/2): K logits of the weights, then K·C
        means, K·C log scales and K·C (C − 1)/2 coefficients, through tanh, of red for green, of red and green
        for blue, … Means, scales and coefficients are those of images between −1 and 1.
    channels : int
        C.
    levels : int, default 256
        Number of levels of a pixel.

    Raises
    ------
    ValueError
        If P fits no K, or there are fewer than two levels.

    Notes
    -----
    Images hold k/(levels − 1), k = 0, …, levels − 1: what `infoplane_torch.data` makes of uint8 without
    binarisation. ``log_prob`` is the logarithm of a probability, not of a density: the probabilities of all
    images sum to 1. A level has σ(a) − σ(b) with a and b its upper and lower edge in units of the scale,
    black everything below its upper edge, white all above its lower one.
    log(σ(a) − σ(b)) = log σ(a) + log σ(−b) + log(1 − e^(b − a)) is exact and never underflows; b − a is the
    same for all levels. log scales are clamped to ±7.

    References
    ----------
    Salimans, Karpathy, Chen, Kingma, "PixelCNN++" (2017), eqs. (1)–(3). There the log of the difference is
    replaced by that of a density where it is small.

    Examples
    --------
    >>> import torch
    >>> from infoplane_torch.logistic_mixture import DiscretizedLogisticMixture
    >>> outputs = DiscretizedLogisticMixture.outputs(3, 10)
    >>> images = DiscretizedLogisticMixture(torch.zeros(5, outputs, 32, 32), 3)
    >>> outputs, images.sample((2,)).shape, images.log_prob(torch.zeros(3, 32, 32)).shape
    (100, torch.Size([2, 5, 3, 32, 32]), torch.Size([5]))
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}
    has_rsample = False

    def __init__(self, parameters: Tensor, channels: int, *, levels: int = 256) -> None:
        each = self.outputs(channels, 1)
        if parameters.ndim < 3 or parameters.shape[-3] % each:
            raise ValueError(
                f"`parameters` must have shape (..., a multiple of {each}, H, W) for {channels} channels, "
                f"got {tuple(parameters.shape)}"
            )
        if levels < 2:
            raise ValueError(f"`levels` must be at least 2, got {levels}")
        self.parameters, self.channels, self.levels = parameters, channels, levels
        components = parameters.shape[-3] // each
        pairs = channels * (channels - 1) // 2
        sizes = [components, components * channels, components * channels, components * pairs]
        weights, means, log_scales, coefficients = parameters.split(sizes, dim=-3)
        self.log_weights = functional.log_softmax(weights, dim=-3)  # (..., K, H, W)
        self._means = means.unflatten(-3, (components, channels))  # (..., K, C, H, W)
        bounded = log_scales.clamp(-_LOG_SCALE_BOUND, _LOG_SCALE_BOUND)
        self.scales = bounded.exp().unflatten(-3, (components, channels))  # (..., K, C, H, W)
        self._coefficients = coefficients.tanh().unflatten(-3, (components, pairs))
        height, width = parameters.shape[-2:]
        super().__init__(parameters.shape[:-3], Size((channels, height, width)), validate_args=False)

    @staticmethod
    def outputs(channels: int, components: int) -> int:
        """Count the parameters of one pixel, P = K·(1 + 2 C + C (C − 1)/2).

        Parameters
        ----------
        channels, components : int
            C and K.

        Returns
        -------
        int
        """
        return components * (1 + 2 * channels + channels * (channels - 1) // 2)

    @property
    def support(self) -> constraints.Constraint:
        """Images of k/(levels − 1)."""
        return constraints.independent(Levels(self.levels), 3)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log probability of images, in nats.

        Parameters
        ----------
        value : Tensor of shape (..., C, H, W)
            Images of k/(levels − 1), broadcast against the batch.

        Returns
        -------
        Tensor of shape (...)
        """
        y = (2 * value - 1).unsqueeze(-4)  # (..., 1, C, H, W), between −1 and 1
        half = 1 / (self.levels - 1)  # half the distance of two levels
        shifted = y - self._conditional_means(y)
        upper = functional.logsigmoid((shifted + half) / self.scales)  # log σ(a)
        lower = functional.logsigmoid((half - shifted) / self.scales)  # log σ(−b)
        width = (-torch.expm1(-2 * half / self.scales)).log()
        black, white = y < half - 1, y > 1 - half
        log_p = upper.where(~white, 0) + lower.where(~black, 0) + width.where(~(black | white), 0)
        return (self.log_weights + log_p.sum(-3)).logsumexp(-3).sum((-2, -1))

    @torch.no_grad()
    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Draw images: one component a pixel, then channel after channel.

        Parameters
        ----------
        sample_shape : sequence of int, default ()
            How many.

        Returns
        -------
        Tensor of shape (*sample_shape, *batch_shape, C, H, W)
        """
        shape = self._extended_shape(torch.Size(sample_shape))
        batch, pixels = shape[:-3], shape[-2:]
        # Gumbel's trick: the largest of log w − log(−log u) is a draw from the weights.
        weights = self.log_weights.expand(*batch, -1, *pixels)
        noise = torch.rand_like(weights).clamp(min=torch.finfo(weights.dtype).tiny)
        chosen = (weights - (-noise.log()).log()).argmax(-3, keepdim=True)  # (..., 1, H, W)

        def of_chosen(part: Tensor) -> Tensor:
            part = part.expand(*batch, *part.shape[-4:])
            index = chosen.unsqueeze(-3).expand(*batch, 1, *part.shape[-3:])
            return part.gather(-4, index).squeeze(-4)

        means, scales, coefficients = map(of_chosen, (self._means, self.scales, self._coefficients))
        logistic = torch.logit(torch.rand_like(means))  # −∞ once in 2²⁴ draws, which is black
        drawn: list[Tensor] = []
        for c in range(self.channels):
            mean = _conditional_mean(means, coefficients, drawn)
            level = (
                (mean + scales[..., c, :, :] * logistic[..., c, :, :] + 1) / 2 * (self.levels - 1)
            ).round()
            drawn.append(2 * level.clamp(0, self.levels - 1) / (self.levels - 1) - 1)
        return ((torch.stack(drawn, dim=-3) + 1) / 2 * (self.levels - 1)).round() / (self.levels - 1)

    @property
    def mean(self) -> Tensor:
        """E[x]: that of logistics cut at black and white, in closed form.

        Notes
        -----
        Rounding to levels changes a mean by less than half a level. Each channel's is taken at the mean of
        those before it, which is exact but for what the cut does to their spread.
        """
        means: list[Tensor] = []
        for c in range(self.channels):
            centre, scale = (
                _conditional_mean(self._means, self._coefficients, means),
                self.scales[..., c, :, :],
            )
            # ∫ σ((centre − t)/scale) dt from −1 to 1, above −1
            above = functional.softplus((centre + 1) / scale) - functional.softplus((centre - 1) / scale)
            means.append((scale * above - 1).clamp(-1, 1))
        mean = (self.log_weights.exp().unsqueeze(-3) * torch.stack(means, dim=-3)).sum(-4)
        return (mean + 1) / 2

    def _conditional_means(self, y: Tensor) -> Tensor:
        """Means of all channels given those before, (..., K, C, H, W)."""
        channels = list(y.unbind(-3))
        means = [
            _conditional_mean(self._means, self._coefficients, channels[:c]) for c in range(self.channels)
        ]
        shape = torch.broadcast_shapes(*(mean.shape for mean in means))
        return torch.stack([mean.expand(shape) for mean in means], dim=-3)


def _conditional_mean(means: Tensor, coefficients: Tensor, before: list[Tensor]) -> Tensor:
    """Mean of the next channel given those before it, each (..., H, W)."""
    c = len(before)
    mean = means[..., c, :, :]
    for j, channel in enumerate(before):
        mean = mean + coefficients[..., c * (c - 1) // 2 + j, :, :] * channel
    return mean
