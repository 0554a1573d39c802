"""Maximum mean discrepancy between codes and the prior: InfoVAE's penalty."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

from torch import Tensor

from infoplane_torch.penalties import require_not_negative
from infoplane_torch.vae import ForwardPass

Kernel = Literal["inverse multiquadratic", "gaussian"]


@dataclass(frozen=True)
class MMD:
    """Maximum mean discrepancy between the aggregated posterior and the prior, λ MMD²(q(z), p(z)).

    Parameters
    ----------
    weight : float
        λ ≥ 0, in nats per unit of MMD², which is at most 2.
    kernel : {"inverse multiquadratic", "gaussian"}, default "inverse multiquadratic"
        c/(c + |z − z'|²), whose tails still feel a code far away, or exp(−|z − z'|²/c).
    scale : float, default 1.0
        s > 0 of c = 2 d s²: with s = 1, c is the mean squared distance of two draws of a standard normal.

    Raises
    ------
    ValueError
        If `weight` is negative, `scale` not positive, or `kernel` unknown.

    Notes
    -----
    The U-statistic over the batch's codes, one for each image, and as many fresh draws of the prior. It is
    unbiased, so it may be negative, and it is zero on average once q(z) is the prior: unlike the KL term it
    leaves the information between x and z alone. Cost O(B² d). In the notation of InfoVAE, λ is α + λ − 1
    and 1 − α the weight of the KL term (`Objective.beta`). *When not to use it:* with batches of a few
    images, where noise of order 1/B outweighs it.

    References
    ----------
    Gretton et al., "A kernel two-sample test" (2012), eq. (3). Zhao, Song, Ermon, "InfoVAE" (2019).
    Tolstikhin et al., "Wasserstein auto-encoders" (2018), for the kernel and its scale.

    Examples
    --------
    >>> from infoplane_torch.objective import Objective
    >>> from infoplane_torch.discrepancy import MMD
    >>> Objective({"mmd": MMD(weight=100)}, beta=0.5)
    Objective(penalties={'mmd': MMD(weight=100, kernel='inverse multiquadratic', scale=1.0)}, beta=0.5)
    """

    varies: ClassVar[tuple[str, ...]] = ("weight", "scale")  # see `infoplane_torch.penalties.Penalty`

    weight: float
    kernel: Kernel = "inverse multiquadratic"
    scale: float = 1.0

    def __post_init__(self) -> None:
        require_not_negative(weight=self.weight)
        if not 0 < self.scale < float("inf"):
            raise ValueError(f"`scale` must be finite and positive, got {self.scale!r}")
        if self.kernel not in get_args(Kernel):
            raise ValueError(f"`kernel` must be one of {get_args(Kernel)}, got {self.kernel!r}")

    def __call__(self, forward: ForwardPass) -> Tensor:
        """Evaluate the penalty of one pass over a batch.

        Parameters
        ----------
        forward : ForwardPass
            One pass of the VAE over a batch; the prior draws from PyTorch's random state.

        Returns
        -------
        Tensor
            A scalar; zero for a single image, whose distance to others there is none of.
        """
        return self.of_codes(forward.z, forward.prior.sample(forward.z.shape[:1]))

    def of_codes(self, codes: Tensor, draws: Tensor) -> Tensor:
        """Evaluate the penalty of codes that come from elsewhere, for example from one's own VAE.

        Parameters
        ----------
        codes, draws : Tensor of shape (B, d)
            One code for each image, and as many draws from the prior.

        Returns
        -------
        Tensor
            A scalar.

        Raises
        ------
        ValueError
            If the shapes differ.
        """
        if codes.ndim != 2 or codes.shape != draws.shape:
            raise ValueError(
                f"`codes` and `draws` must have one shape (B, d), got {tuple(codes.shape)} and "
                f"{tuple(draws.shape)}"
            )
        count = len(codes)
        if count < 2:
            return 0 * codes.sum()
        # With h(i, j) = k(z, z') + k(y, y') − k(z, y') − k(z', y), summed over i ≠ j: eq. (4) of the paper.
        total = codes.new_zeros(())
        for first, second, sign in ((codes, codes, 1), (draws, draws, 1), (codes, draws, -2)):
            gram = self._gram(first, second)
            total = total + sign * (gram.sum() - gram.diagonal().sum())
        return self.weight * total / (count * (count - 1))

    def _gram(self, first: Tensor, second: Tensor) -> Tensor:
        """k(z_i, z'_j), (B, B)."""
        c = 2 * first.shape[1] * self.scale**2
        squares = first.square().sum(1)[:, None] + second.square().sum(1) - 2 * first @ second.T
        squares = squares.clamp(min=0) / c
        return 1 / (1 + squares) if self.kernel == "inverse multiquadratic" else (-squares).exp()
