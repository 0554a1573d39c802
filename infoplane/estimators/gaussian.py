"""The analytic estimates of a normal distribution."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import digamma

from infoplane.estimators.base import Array, EntropyFit, FisherFit, fisher_fit
from infoplane.sample import Sample


@dataclass(frozen=True)
class Gaussian:
    """Unbiased entropy and Fisher information of a multivariate normal with unknown mean and covariance.

    H = ½[d log(πe) + log det((n−1)S) − Σ_{i<d} ψ((n−1−i)/2)] is the uniformly minimum-variance unbiased
    estimate (Ahmed and Gokhale 1989); J = (n−d−2)/(n−1)·S⁻¹, from the mean of the inverse Wishart
    distribution.

    Notes
    -----
    Cost O(n d²). Standard errors are those of the functionals ½ log det Σ and tr Σ⁻¹ whatever the
    distribution, so they stay right when it is not normal; the values are then those of the normal
    distribution of the same covariance: an upper bound of H, a lower bound of J. Ties do no harm. With
    weights, n is their effective number 1/Σ w_i², and the values are unbiased to first order only; with
    counts it is Σ c_i, and the result is that of the rows repeated. Do not use it as a measurement of
    anything but covariance unless the data are normal.

    References
    ----------
    N. A. Ahmed, D. V. Gokhale, "Entropy expressions and their estimators for multivariate
    distributions", IEEE Trans. Inf. Theory 35 (1989) 688–692.

    Examples
    --------
    >>> import numpy as np
    >>> from infoplane import Gaussian, entropy
    >>> x = np.random.default_rng(0).standard_normal(1000)
    >>> entropy(x, method=Gaussian())
    1.396 ± 0.024 (gaussian, n=1000)
    """

    @property
    def name(self) -> str:
        """What `Estimate.method` says."""
        return "gaussian"

    def entropy(self, sample: Sample) -> EntropyFit:
        """Unbiased entropy of the normal distribution with the sample's covariance, in nats.

        Parameters
        ----------
        sample : Sample
            At least d + 3 rows.
        """
        n, d = sample.mass.effective_n, sample.d
        log_det_scatter = 2 * sample.log_volume + d * math.log(n - 1)
        chi_square_logs = float(np.sum(digamma((n - 1 - np.arange(d)) / 2)))
        value = 0.5 * (d * math.log(math.pi * math.e) + log_det_scatter - chi_square_logs)
        half_squares = 0.5 * np.einsum("ij,ij->i", sample.whitened, sample.whitened)
        _, error, influence = sample.mass.average(half_squares)
        return EntropyFit(value, error, influence)

    def fisher(self, sample: Sample) -> FisherFit:
        """Unbiased inverse covariance.

        Parameters
        ----------
        sample : Sample
            At least d + 3 rows.
        """
        shrinkage, z = sample.covariance_shrinkage, sample.whitened
        squares = shrinkage**2 * np.einsum("ij,ij->i", z @ sample.metric, z)
        _, error, influence = sample.mass.average(-squares)
        return fisher_fit(sample, shrinkage * np.eye(sample.d), error, influence)

    def score(self, sample: Sample, points: Array | None) -> Array:
        """Score −Ĵ(x − μ̂) of the fitted normal distribution; sample points are not left out.

        Parameters
        ----------
        sample : Sample
            The data.
        points : ndarray of shape (m, d) or None
            Whitened points.
        """
        z = sample.whitened if points is None else points
        return -sample.covariance_shrinkage * z @ sample.whitener.T
