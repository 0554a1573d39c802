"""What every family of estimators promises."""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from infoplane.sample import Sample

Array = NDArray[np.float64]


class EntropyFit(NamedTuple):
    """An entropy in nats, its standard error, and the influence of each row (NaN where not evaluated)."""

    value: float
    standard_error: float
    influence: Array


class FisherFit(NamedTuple):
    """A Fisher information matrix, and standard error and influence (as above) of its trace."""

    matrix: Array
    standard_error: float
    influence: Array


@runtime_checkable
class Estimator(Protocol):
    """A family of estimators with its options: a frozen dataclass with these four members."""

    @property
    def name(self) -> str:
        """What `Estimate.method` will say."""

    def entropy(self, sample: Sample) -> EntropyFit:
        """Differential entropy in nats."""

    def fisher(self, sample: Sample) -> FisherFit:
        """Fisher information matrix in original units."""

    def score(self, sample: Sample, points: Array | None) -> Array:
        """Score ∇ log f in original units, at whitened points or (None) at the sample, leaving each out."""


def least_rows(d: int) -> int:
    """Observations below which no non-parametric estimate is offered, max(5d, 20)."""
    return max(5 * d, 20)


def covariance(first: Array, second: Array) -> float:
    """Sampling covariance of two means, from the influences of the rows on them."""
    both = first * second
    shared = np.isfinite(both)
    if not shared.any():
        return 0.0
    per_row = float(np.mean(both[shared]))
    n_first, n_second = np.isfinite(first).sum(), np.isfinite(second).sum()
    return per_row * int(shared.sum()) / (int(n_first) * int(n_second))


def evenly(order: NDArray[np.intp], limit: int) -> NDArray[np.intp]:
    """At most `limit` entries of `order`, evenly spaced."""
    if order.size <= limit:
        return order
    return order[((np.arange(limit) + 0.5) * (order.size / limit)).astype(np.intp)]


def debiased(second_moment: Array, variance: Array) -> Array:
    """Second moment of a noisy score less the variance of the noise, kept at 30 % of itself or more.

    The floor holds in every direction, so the result is positive definite.
    """
    root = np.linalg.cholesky(second_moment)
    half = np.linalg.solve(root, variance)
    share = np.linalg.solve(root, half.T)
    values, vectors = np.linalg.eigh((share + share.T) / 2)
    kept = (vectors * np.clip(1.0 - values, 0.3, 1.0)) @ vectors.T
    return root @ kept @ root.T


def admissible(fisher: Array) -> Array:
    """Nearest symmetric matrix that respects the Cramér–Rao bound J ⪰ Σ⁻¹, which is I for whitened data.

    An estimate may fall below it by its noise, or far below where few points leave a method no resolution.
    """
    values, vectors = np.linalg.eigh((fisher + fisher.T) / 2)
    return (vectors * np.maximum(values, 1.0)) @ vectors.T
