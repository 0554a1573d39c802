"""Sums over posteriors from which a place in the Fisher–Shannon plane follows, with its standard errors."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.distributions import Distribution

from infoplane.estimate import Estimate, FisherShannonPoint
from infoplane_torch.information import entropy, fisher_information, has_closed_form
from infoplane_torch.networks import in_float64


class PlaneSums(NamedTuple):
    """Sums over images of H(Z|x), tr J(Z|x), their products and J: what adds up over batches and processes.

    Attributes
    ----------
    images : Tensor
        How many.
    first : Tensor of shape (2,)
        Σ H and Σ tr J.
    second : Tensor of shape (2, 2)
        Σ of the products of the two.
    fisher : Tensor of shape (d, d)
        Σ J. All are float64, on the device of the posterior (of MPS, on the CPU), without gradient.
    """

    images: Tensor
    first: Tensor
    second: Tensor
    fisher: Tensor

    @classmethod
    def of(cls, posterior: Distribution, *, num_samples: int = 256) -> PlaneSums:
        """Sums over a batch.

        Parameters
        ----------
        posterior : Distribution
            q(z|x), of batch shape (B,).
        num_samples : int, default 256
            Draws of the Monte Carlo for each image, if there is no closed form.
        """
        with torch.no_grad():
            fisher = in_float64(fisher_information(posterior, num_samples=num_samples))  # (B, d, d)
            h = in_float64(entropy(posterior, num_samples=num_samples))  # (B,)
            both = torch.stack((h, fisher.diagonal(dim1=-2, dim2=-1).sum(-1)))
        return cls(both.new_tensor(both.shape[1]), both.sum(1), both @ both.T, fisher.sum(0))

    def plus(self, other: PlaneSums) -> PlaneSums:
        """Add the sums of other images.

        Parameters
        ----------
        other : PlaneSums
            Of the same d.
        """
        images, first, second, fisher = (a + b for a, b in zip(self, other, strict=True))
        return PlaneSums(images, first, second, fisher)

    def point(self, *, method: str) -> FisherShannonPoint:
        """Place of the mean entropy and the mean Fisher information.

        Parameters
        ----------
        method : str
            What `Estimate.method` will say.

        Raises
        ------
        ValueError
            If there is no image, or H or tr J is not finite.
        """
        n, d = int(self.images), self.fisher.shape[0]
        if n == 0:
            raise ValueError("a place in the plane needs at least one image, got none")
        if not bool(self.first.isfinite().all()):
            h, trace = (self.first / n).tolist()
            raise ValueError(
                f"the posteriors must have finite H and tr J, got {h:g} and {trace:g} in the mean"
            )
        mean = (self.first / n).cpu()
        # Covariance of the two means; of a single image it is not known.
        spread = self.second.cpu() / n - torch.outer(mean, mean)
        covariance = spread / (n - 1) if n > 1 else torch.full_like(spread, math.nan)
        errors = covariance.diagonal().clamp(min=0).sqrt().tolist()
        h, trace = (
            Estimate(value, standard_error=error, method=method, n=n, d=d, positive=positive)
            for value, error, positive in zip(mean.tolist(), errors, (False, True), strict=True)
        )
        matrix = (self.fisher / n).cpu().numpy()
        return FisherShannonPoint.from_estimates(h, matrix, trace, covariance=float(covariance[0, 1]))


def method_of(posterior: Distribution) -> str:
    """How H and J of a posterior are found, for `Estimate.method`.

    Parameters
    ----------
    posterior : Distribution
        q(z|x).

    Returns
    -------
    str
        "closed form" or "monte carlo".

    Examples
    --------
    >>> from torch.distributions import Normal
    >>> from infoplane_torch.plane_sums import method_of
    >>> method_of(Normal(0.0, 1.0))
    'closed form'
    """
    return "closed form" if has_closed_form(posterior) else "monte carlo"
