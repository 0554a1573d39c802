"""Nearest neighbours: Kozachenko–Leonenko entropy and the mean-shift score."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import digamma, polygamma

from infoplane.estimators.base import (
    Array,
    EntropyFit,
    FisherFit,
    admissible,
    evenly,
    fisher_fit,
    least_rows,
)
from infoplane.estimators.nearest_balls import ball_variance, log_ball_volume, normal_bias
from infoplane.kernels.jit import over_rows
from infoplane.kernels.neighbors import Neighbors, kth_distances, line_shifts
from infoplane.sample import Sample

_BLOCKS = 10


@dataclass(frozen=True)
class KNN:
    """Kozachenko–Leonenko entropy and calibrated mean-shift Fisher information on whitened data.

    Entropy: H = ψ(n) − ψ(k) + log V_d + (d/n) Σ log ε_k(i) + log √det S, ε_k(i) the Euclidean distance of
    the whitened point i to its k-th neighbour (Kozachenko and Leonenko 1987; Kraskov et al. 2004, eq. 20),
    less its exact bias under a normal distribution.

    Fisher information: within the ball of radius r_k around a point the mean of its neighbours is shifted by
    r²/(d+2)·∇log f (Fukunaga and Hostetler 1975, eq. 30), which gives a leave-one-out score ŝ with a known
    sampling variance V̂. Stein's identity E[s zᵀ] = −I then fixes its scale:
    J_z = M⁻¹(mean ŝŝᵀ − V̂)M⁻ᵀ, M = −mean ŝzᵀ, raised to J_z ⪰ I (Cramér–Rao) where it falls below.

    Parameters
    ----------
    k : int, optional
        Neighbour of the entropy; by default 3, and 10 in one dimension.
    k_score : int, optional
        Neighbours of the score; by default the larger of 0.6 n^{6/(d+6)} and √n.
    calibrate : bool, default True
        Subtract the normal bias of the entropy; False is the plain (whitened) estimator.
    max_points : int, default 20000
        Points at which the score is evaluated at most (evenly spread over the sample's radii).
    seed : int, default 0
        Of the random blocks that give the standard error of the Fisher information.

    Notes
    -----
    Entropy costs O(n log n) up to d = 10 and O(n² d) beyond, Fisher information O(m k_score d²) and more for
    m evaluation points. The entropy's bias grows with d and with departure from normal shape: beyond d ≈ 10
    do not use it for rotated, clustered or curved data. The calibration takes the covariance as known: where
    n is below 50 d the estimate is low by up to 0.05 nats a dimension. The Fisher information is biased low
    on such data (see the table of estimators in the README) and, unlike a cross-fitted one, no lower bound.
    It is not robust: whitening and Stein's identity weigh an outlier by its distance, and one at 10⁶ standard
    deviations takes J to zero. Ties are refused: they put ε_k = 0.

    References
    ----------
    L. F. Kozachenko, N. N. Leonenko, Probl. Inf. Transm. 23 (1987) 95–101.
    A. Kraskov, H. Stögbauer, P. Grassberger, Phys. Rev. E 69 (2004) 066138.
    K. Fukunaga, L. D. Hostetler, IEEE Trans. Inf. Theory 21 (1975) 32–40.

    Examples
    --------
    >>> import numpy as np
    >>> from infoplane import KNN, entropy
    >>> x = np.random.default_rng(0).standard_normal((2000, 2))
    >>> abs(entropy(x, method=KNN(k=5)) - 2.838) < 0.06
    True
    """

    k: int | None = None
    k_score: int | None = None
    calibrate: bool = True
    max_points: int = 20_000
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("k", "k_score", "max_points"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int | np.integer) or value < 1):
                raise ValueError(f"`{name}` must be a positive integer, got {value!r}")
        if self.k_score is not None and self.k_score < 3:
            raise ValueError(f"`k_score` must be at least 3, got {self.k_score}")

    @property
    def name(self) -> str:
        """What `Estimate.method` says."""
        return "knn"

    def entropy(self, sample: Sample) -> EntropyFit:
        """Differential entropy in nats.

        Parameters
        ----------
        sample : Sample
            At least max(5d, 20, k + 2) distinct rows.
        """
        n, d = sample.n, sample.d
        k = self.k or (10 if d == 1 else 3)
        sample.require_rows(max(least_rows(d), k + 2), self.name)
        sample.require_distinct_rows(self.name, bears=k)
        distance = kth_distances(sample.whitened, k)[:, 0]
        terms = digamma(n) - digamma(k) + log_ball_volume(d) + d * np.log(distance)
        value = float(terms.mean()) + sample.log_volume
        if self.calibrate:
            value -= normal_bias(n, d, k)
        # var(terms) holds the spread of log f plus the noise ψ₁(k) of a single log ε; the mean of that
        # noise over overlapping neighbourhoods has variance v/n instead.
        of_density = max(float(terms.var(ddof=1)) - float(polygamma(1, k)), 0.0)
        error = math.sqrt((of_density + ball_variance(k, d)) / n)
        return EntropyFit(value, error, terms - terms.mean())

    def fisher(self, sample: Sample) -> FisherFit:
        """Fisher information matrix in original units; the error is from disjoint random blocks.

        Parameters
        ----------
        sample : Sample
            At least max(5d, 20) distinct rows.
        """
        n, d = sample.n, sample.d
        sample.require_rows(max(least_rows(d), (self.k_score or 0) + 2), self.name)
        sample.require_distinct_rows(self.name, bears=self._k_score(n // _BLOCKS, d))
        order = sample.radial_order
        rows = evenly(order, self.max_points)
        whitened = admissible(self._whitened_fisher(sample.whitened, rows, self._k_score(n, d)))
        # Blocks drawn from the radial order do not depend on the order or the coordinates of the rows.
        shuffled = order[np.random.default_rng(self.seed).permutation(n)]
        blocks = np.array_split(shuffled, min(max(n // least_rows(d), 2), _BLOCKS))
        traces = np.array([np.sum(sample.metric * self._block_fisher(sample, block)) for block in blocks])
        influence = np.empty(n)
        for block, trace in zip(blocks, traces, strict=True):
            # Constant on a block, and scaled so that its covariance with the influences of another
            # estimate is that of the block means.
            influence[block] = (trace - traces.mean()) * n / (len(blocks) - 1)
        error = float(traces.std(ddof=1)) / math.sqrt(len(blocks))
        return fisher_fit(sample, sample.covariance_shrinkage * whitened, error, influence)

    def score(self, sample: Sample, points: Array | None) -> Array:
        """Calibrated mean-shift score in original units.

        Parameters
        ----------
        sample : Sample
            The data.
        points : ndarray of shape (m, d) or None
            Whitened points; None for the sample's own, each left out of its own neighbourhood.
        """
        sample.require_rows(max(least_rows(sample.d), (self.k_score or 0) + 2), self.name)
        sample.require_distinct_rows(self.name, bears=self._k_score(sample.n, sample.d))
        z, k = sample.whitened, self._k_score(sample.n, sample.d)
        rows = evenly(sample.radial_order, self.max_points)
        own, _ = _mean_shift(z, z[rows], k, leave_out=True)
        stein = _stein_matrix(own, z[rows])
        if points is not None:
            own, _ = _mean_shift(z, points, k, leave_out=False)
        elif rows.size < sample.n:
            own, _ = _mean_shift(z, z, k, leave_out=True)
        else:
            own = own[np.argsort(rows)]
        return np.linalg.solve(stein, own.T).T @ sample.whitener.T

    def _k_score(self, n: int, d: int) -> int:
        if self.k_score is not None:
            return min(self.k_score, n - 2)
        # The noise d/(k r²) of a mean shift balances its squared bias ∝ r⁴, r ∝ (k/n)^{1/d}, at this rate.
        return min(max(round(0.6 * n ** (6 / (d + 6))), round(math.sqrt(n)), d + 3), n - 2)

    def _whitened_fisher(self, z: Array, rows: NDArray[np.intp], k: int) -> Array:
        score, variance = _mean_shift(z, z[rows], k, leave_out=True)
        inverse = np.linalg.inv(_stein_matrix(score, z[rows]))
        fisher: Array = inverse @ (score.T @ score / len(rows) - variance) @ inverse.T
        return fisher

    def _block_fisher(self, sample: Sample, block: NDArray[np.intp]) -> Array:
        part = sample.whitened[block]
        rows = np.arange(min(len(block), max(1, self.max_points // _BLOCKS)))
        return self._whitened_fisher(part, rows, self._k_score(len(block), sample.d))


def _mean_shift(z: Array, targets: Array, k: int, *, leave_out: bool) -> tuple[Array, Array]:
    """Uncalibrated score at the targets, and the mean over them of its sampling covariance.

    Of the k neighbours the farthest only sets the radius: given it, the k − 1 others are independent and
    uniform in the ball to first order.
    """
    d = z.shape[1]
    if d == 1:
        return _line_mean_shift(z[:, 0], targets[:, 0], k, leave_out=leave_out)
    neighbors = Neighbors(z)
    score = np.empty_like(targets)
    variance = np.zeros((d, d))
    skip = 1 if leave_out else 0
    rows = max(1, 2**21 // (k * d))
    for first in range(0, len(targets), rows):
        part = slice(first, first + rows)
        distances, indices = neighbors.query(targets[part], k + skip)
        inside = z[indices[:, skip:-1]] - targets[part, None, :]
        gain = (d + 2) / distances[:, -1] ** 2
        mean = inside.mean(axis=1)
        score[part] = gain[:, None] * mean
        inside -= mean[:, None, :]
        inside *= (gain / math.sqrt(k - 2) / math.sqrt(k - 1))[:, None, None]
        flat = inside.reshape(-1, d)
        variance += flat.T @ flat
    return score, variance / len(targets)


def _line_mean_shift(z: Array, targets: Array, k: int, *, leave_out: bool) -> tuple[Array, Array]:
    ordered = np.sort(z)
    median = ordered[z.size // 2]
    ordered -= median
    sums, squares = _running_sums(ordered), _running_sums(ordered**2)
    mean, variance, radius = np.empty((3, targets.size))
    at = targets - median
    over_rows(line_shifts, targets.size, at, ordered, sums, squares, k, leave_out, mean, variance, radius)
    gain = 3 / radius**2
    # Sample variance (k − 1)/(k − 2) times the moment one, of a mean of k − 1 points.
    return (gain * mean)[:, None], np.array([[np.mean(gain**2 * variance) / (k - 2)]])


def _running_sums(values: Array) -> Array:
    """Sums of the first i values, i = 0 … n, less that of half of them, so that far ends drown nothing."""
    middle = values.size // 2
    left, right = np.cumsum(values[:middle][::-1])[::-1], np.cumsum(values[middle:])
    return np.concatenate([-left, [0.0], right])


def _stein_matrix(score: Array, z: Array) -> Array:
    """M = −mean ŝzᵀ, the identity for the true score; floored so that its inverse cannot explode."""
    u, singular, vt = np.linalg.svd(-score.T @ z / len(z))
    return (u * np.maximum(singular, 0.2)) @ vt
