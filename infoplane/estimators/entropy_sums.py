"""Mutual information as a signed sum of entropies, with the errors of its parts and their correlation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import digamma

from infoplane.estimators.base import Array, EntropyFit, covariance
from infoplane.estimators.knn import KNN
from infoplane.estimators.spacing import Spacing
from infoplane.estimators.weighted_knn import best_neighbors
from infoplane.sample import Sample


class InformationFit(NamedTuple):
    """An estimated mutual information, or a conditional one.

    Attributes
    ----------
    value : float
        I in nats.
    standard_error : float
        Its standard error.
    influence : ndarray of shape (n,)
        What each row adds to the error of I, times n; NaN at rows that were not evaluated.
    method : str
        What was really used.
    """

    value: float
    standard_error: float
    influence: Array
    method: str


def entropy_sum(fits: Sequence[tuple[int, EntropyFit]], method: str, *, degrees: int = 0) -> InformationFit:
    """Signed sum of entropies of the same rows.

    The variance of an estimate is that of its influences and the noise of its own; the first are correlated
    and mostly cancel, the second adds up.

    Parameters
    ----------
    fits : sequence of (int, EntropyFit)
        Signs and entropies.
    method : str
        What the result calls itself.
    degrees : int, default 0
        Degrees of freedom m of the dependence, d_x d_y. At independence the influence of a mutual information
        vanishes and what is left of the error is of second order, χ²_m/(2n) for normal data, while estimated
        influences have a variance of m/n.

    Raises
    ------
    ValueError
        If one of them is a bound.
    """
    if any(fit.bound is not None for _, fit in fits):
        raise ValueError("sums must be of estimates of entropy, got a bound, whose difference bounds nothing")
    n = fits[0][1].influence.size
    variance = 0.0
    for sign, fit in fits:
        # Variances and covariances by one formula, as they cancel to the second order in 1/n.
        variance += fit.standard_error**2 - _error_of_mean(fit.influence)
        variance += sum(sign * s * covariance(fit.influence, f.influence) for s, f in fits)
    error = math.sqrt(max(variance - degrees / n**2, 0.0) + degrees / (2 * n**2))
    value = sum(sign * fit.value for sign, fit in fits)
    return InformationFit(value, error, np.sum([s * f.influence for s, f in fits], axis=0), method)


def _error_of_mean(influence: Array) -> float:
    rows = influence[np.isfinite(influence)]
    return float(rows.var(ddof=1)) / rows.size if rows.size > 1 else 0.0


def plain_entropy(sample: Sample) -> EntropyFit:
    """Entropy of the data as given: spacings on the line, nearest neighbours of whitened points beyond it.

    It uses no ranks, so that a joint distribution much narrower than its marginals is resolved.

    Parameters
    ----------
    sample : Sample
        At least max(5d, 20) distinct rows.
    """
    if sample.d == 1:
        return Spacing().entropy(sample)
    return best_neighbors(sample.d).entropy(sample)


def collapse(sample: Sample) -> float:
    """How fast the entropy rises with the scale it is measured at: 0 for a density, 1 for a curve in a plane.

    Where points fill only m of d dimensions the distance to the k-th neighbour grows as k^{1/m}, and the
    entropy from it by (d/m − 1) log k.

    Parameters
    ----------
    sample : Sample
        At least max(5d, 20) distinct rows.
    """
    near, far = 3, 12
    change = KNN(k=far).entropy(sample).value - KNN(k=near).entropy(sample).value
    return change / float(digamma(far) - digamma(near))
