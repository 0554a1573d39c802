"""Variances of means of serially correlated terms."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# Terms whose lag-one correlation comes nearer to one are taken to have this one: the lag must stay finite.
_MOST_CORRELATED = 0.97


def long_run_covariance(terms: Array) -> Array:
    """Long-run covariance Σ_k Cov(u_t, u_{t+k}) of stationary series: n times the covariance of their means.

    Parameters
    ----------
    terms : ndarray of shape (n, k)
        k series of mean zero, in order of time.

    Returns
    -------
    ndarray of shape (k, k)
        Positive semi-definite; Γ₀ + Σ_j (1 − j/(L + 1)) (Γ_j + Γ_jᵀ), with the lag L that would be best for
        first-order autoregressions of the series' lag-one correlations.

    References
    ----------
    W. K. Newey, K. D. West, Econometrica 55 (1987) 703–708; D. W. K. Andrews, Econometrica 59 (1991) 817–858,
    eqs. (5.3) and (6.4).

    Examples
    --------
    >>> import numpy as np
    >>> from infoplane.long_run import long_run_covariance
    >>> long_run_covariance(np.random.default_rng(0).standard_normal((10_000, 1))).round(1)
    array([[1.]])
    """
    n = len(terms)
    result = terms.T @ terms / n
    for lag in range(1, (reach := _reach(terms)) + 1):
        gamma = terms[lag:].T @ terms[:-lag] / n
        result += (1 - lag / (reach + 1)) * (gamma + gamma.T)
    return result


def _reach(terms: Array) -> int:
    """Andrews' lag for Bartlett weights: 1.1447 (α n)^{1/3}, α of first-order autoregressions."""
    n = len(terms)
    squares = np.square(terms).sum(axis=0)
    rho = np.clip((terms[1:] * terms[:-1]).sum(axis=0) / squares, -_MOST_CORRELATED, _MOST_CORRELATED)
    # Series are weighted to count alike, whatever their units.
    innovations = (1 - rho**2) ** 2
    numerator = 4 * rho**2 * innovations / ((1 - rho) ** 6 * (1 + rho) ** 2)
    alpha = float(numerator.sum() / (innovations / (1 - rho) ** 4).sum())
    return min(math.floor(1.1447 * (alpha * n) ** (1 / 3)), n - 1)
