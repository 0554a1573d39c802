"""Weighted nearest neighbours: an ensemble of Kozachenko–Leonenko estimates without their leading bias."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.special import digamma, gammaln, polygamma

from infoplane.estimators.base import Array, EntropyFit, Estimator, least_rows
from infoplane.estimators.entropy_only import EntropyOnly
from infoplane.estimators.knn import KNN
from infoplane.estimators.nearest_balls import log_ball_volume, normal_bias
from infoplane.kernels.neighbors import kth_distances
from infoplane.sample import Sample

# What the overlap of neighbourhoods multiplies the variance of the mean noise by (simulated).
_OVERLAP = 1.6
# Standard error, in nats a dimension, that cancelling a second term of the bias may cost.
_TOLERATED_NOISE = 0.02
# From this dimension on the bias of plain neighbours is larger than the noise of weighted ones.
_WEIGHTED_FROM = 4


def best_neighbors(d: int) -> Estimator:
    """Nearest neighbours of the least error in d dimensions: plain ones up to d = 3, weighted ones beyond.

    Parameters
    ----------
    d : int
        Number of dimensions.
    """
    return KNN(k=3) if d < _WEIGHTED_FROM else WeightedKNN()


@dataclass(frozen=True)
class WeightedKNN(EntropyOnly):
    """Entropy from a weighted sum of Kozachenko–Leonenko estimates of orders 1 to k, in nats.

    H = Σ_j w_j H_j, H_j = ψ(n) − ψ(j) + log V_d + (d/n) Σ log ε_j(i) + log √det S on whitened data, each
    less its exact bias under a normal distribution. The bias of H_j elsewhere is a series in (E/n)^{2l/d},
    whose mean over the mass E of the j-th ball is Γ(j + 2l/d)/Γ(j): the weights sum to one and make
    Σ_j w_j Γ(j + 2l/d)/Γ(j) vanish for l = 1 … `terms` (Berrett, Samworth and Yuan 2019, eq. 2). Among
    those they are the ones of least variance, the covariance of log E_j and log E_l being ψ₁(max(j, l)).

    Parameters
    ----------
    k : int, optional
        Highest order; by default n/25, at least 10 and at most 40.
    terms : int, optional
        Terms of the bias series to cancel; by default 2 where their noise stays below 0.02 d nats, else 1.
    calibrate : bool, default True
        Subtract the normal bias of every order.

    Notes
    -----
    Cost as of `KNN` with the same k. For skewed, heavy-tailed, curved and bounded densities in three and more
    dimensions the bias is a half to a fifth of that of plain nearest neighbours, at a larger variance.
    Not for d = 1, where spacings are better. Above d ≈ 10 the weights, of both signs, grow and with them the
    noise: beyond d = 15 a second term needs n of 10⁴ and more. Clustered data are underestimated by up to 0.1
    nats. The first call for an n, d and k takes half a second for the calibration. Ties are refused.

    References
    ----------
    T. B. Berrett, R. J. Samworth, M. Yuan, "Efficient multivariate entropy estimation via k-nearest
    neighbour distances", Ann. Statist. 47 (2019) 288–318, who take the weights of least norm.

    Examples
    --------
    >>> import numpy as np
    >>> from infoplane import entropy
    >>> from infoplane.estimators.weighted_knn import WeightedKNN
    >>> x = np.random.default_rng(0).uniform(size=(1000, 3))  # H = 0
    >>> entropy(x, method=WeightedKNN()) < entropy(x, method="knn")
    True
    """

    k: int | None = None
    terms: int | None = None
    calibrate: bool = True

    def __post_init__(self) -> None:
        for name, least in (("k", 1), ("terms", 0)):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int | np.integer) or value < least):
                raise ValueError(f"`{name}` must be an integer of at least {least}, got {value!r}")
        if self.k is not None and self.terms is not None and self.k <= self.terms:
            raise ValueError(f"`k` must exceed `terms`, got k = {self.k} and terms = {self.terms}")

    @property
    def name(self) -> str:
        """What `Estimate.method` says."""
        return "weighted-knn"

    def entropy(self, sample: Sample) -> EntropyFit:
        """Differential entropy in nats.

        Parameters
        ----------
        sample : Sample
            At least max(5d, 20, k + 2) distinct rows.
        """
        n, d = sample.n, sample.d
        k = self.k or min(max(n // 25, 10), 40)
        sample.require_rows(max(least_rows(d), k + 2), self.name)
        sample.require_distinct_rows(self.name)
        weights = self._weights(n, d, k)
        noise = float(weights @ _log_covariance(k) @ weights)
        orders = np.arange(1, k + 1)
        at_point = d * np.log(kth_distances(sample.whitened, *orders)) @ weights
        constant = digamma(n) - weights @ digamma(orders) + log_ball_volume(d)
        value = float(at_point.mean() + constant) + sample.log_volume
        if self.calibrate:
            value -= sum(w * normal_bias(n, d, int(j)) for w, j in zip(weights, orders, strict=True))
        of_density = max(float(at_point.var(ddof=1)) - noise, 0.0)
        error = math.sqrt((of_density + _OVERLAP * noise) / n)
        return EntropyFit(value, error, at_point - at_point.mean())

    def _weights(self, n: int, d: int, k: int) -> Array:
        if self.terms is not None or k < 3:
            return neighbor_weights(k, d, min(1 if self.terms is None else self.terms, k - 1))
        weights = neighbor_weights(k, d, 2)
        noise = math.sqrt(_OVERLAP * (weights @ _log_covariance(k) @ weights) / n)
        return weights if noise < _TOLERATED_NOISE * d else neighbor_weights(k, d, 1)


@lru_cache(maxsize=64)
def neighbor_weights(k: int, d: int, terms: int) -> Array:
    """Weights of least variance that sum to one and cancel the leading terms of the bias.

    Parameters
    ----------
    k : int
        Number of orders.
    d : int
        Number of dimensions.
    terms : int
        Terms of the bias series to cancel, fewer than k.

    Returns
    -------
    ndarray of shape (k,)
        Read-only.
    """
    orders = np.arange(1, k + 1)
    powers = 2 / d * np.arange(terms + 1)[:, None]
    constraints = np.exp(gammaln(orders + powers) - gammaln(orders))
    scale = np.linalg.norm(constraints, axis=1)
    constraints /= scale[:, None]
    target = np.zeros(terms + 1)
    target[0] = 1 / scale[0]
    # With L Lᵀ the covariance, least ‖u‖ of u = Lᵀw under the constraints; the pseudo-inverse keeps accuracy
    # where these are nearly equal, in many dimensions.
    root = np.linalg.cholesky(_log_covariance(k))
    u = np.linalg.pinv(np.linalg.solve(root, constraints.T).T) @ target
    weights: Array = np.linalg.solve(root.T, u)
    weights.flags.writeable = False
    return weights


def _log_covariance(k: int) -> Array:
    """Covariance of the logarithms of the masses of the 1st to k-th ball: sums of independent increments."""
    orders = np.arange(1, k + 1)
    result: Array = polygamma(1, np.maximum(orders[:, None], orders))
    return result
