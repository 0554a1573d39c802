"""Laws of sums of two independent vectors: entropy power, Blachman–Stam, data processing."""

from __future__ import annotations

import math

import numpy as np

from infoplane.estimators import Estimator
from infoplane.inequalities.subject import Law, Ties, pair_of, power, root


def entropy_power_inequality(
    x: Law,
    y: Law,
    *,
    method: str | Estimator = "auto",
    ties: Ties = "raise",
    rng: np.random.Generator | int | None = None,
) -> float:
    """Entropy power inequality, N(X + Y)/(N(X) + N(Y)) − 1 ≥ 0 for independent X and Y.

    Equality: normal X and Y of proportional covariances, and no others (of finite N).

    Parameters
    ----------
    x, y : Distribution or array_like of shape (n,) or (n, d)
        Two distributions; or samples with the same number of rows that are independent of each other, which
        are added row by row.
    method : str or estimator, default "auto"
        How to estimate from samples, as in `infoplane.entropy`.
    ties : {"raise", "dither"}, default "raise"
        What becomes of rounded data, as in `infoplane.entropy`.
    rng : numpy.random.Generator or int, optional
        Source of noise for "dither".

    Returns
    -------
    float
        The residual; from samples, or where Monte Carlo is used, an `Estimate` with its standard error.

    Raises
    ------
    NotImplementedError
        If the distribution of the sum is not known, see `infoplane.distributions.convolution`.
    ValueError, TypeError
        If `x` and `y` differ in dimension, rows or kind.

    References
    ----------
    C. E. Shannon, Bell Syst. Tech. J. 27 (1948) 623–656, Theorem 15; A. J. Stam, Inf. Control 2 (1959)
    101–112; O. Rioul, IEEE Trans. Inf. Theory 63 (2017) 3641–3651, eq. (1).

    Examples
    --------
    >>> from infoplane.distributions import Normal, Uniform
    >>> from infoplane.inequalities import entropy_power_inequality
    >>> abs(entropy_power_inequality(Normal(scale=3.0), Normal(scale=4.0))) < 1e-12
    True
    >>> round(entropy_power_inequality(Uniform(), Uniform()), 6)  # ½e − 1
    0.359141
    """
    one, other = pair_of(x, y, method, ties=ties, rng=rng)
    both, d = one.plus(other), one.d
    powers = power(one.entropy, d), power(other.entropy, d)
    ratio = power(both.entropy, d) / sum(powers)
    slope = 2 / d * ratio
    terms = [(slope, both.entropy)]
    terms += [(-slope * n / sum(powers), v.entropy) for n, v in zip(powers, (one, other), strict=True)]
    return one.residual(ratio - 1, terms)


def blachman_stam(
    x: Law,
    y: Law,
    *,
    method: str | Estimator = "auto",
    ties: Ties = "raise",
    rng: np.random.Generator | int | None = None,
) -> float:
    """Fisher information inequality of Stam and Blachman, with T = tr J and X and Y independent.

    The residual is (1/T(X + Y))/(1/T(X) + 1/T(Y)) − 1 ≥ 0.

    Equality: normal X and Y of proportional covariances, and no others (of finite J).

    Parameters
    ----------
    x, y : Distribution or array_like of shape (n,) or (n, d)
        As in `entropy_power_inequality`.
    method : str or estimator, default "auto"
        How to estimate from samples, as in `infoplane.fisher_trace`.
    ties : {"raise", "dither"}, default "raise"
        What becomes of rounded data, as in `infoplane.entropy`.
    rng : numpy.random.Generator or int, optional
        Source of noise for "dither".

    Returns
    -------
    float
        The residual, as of `entropy_power_inequality`; `inf` if T is infinite for both.

    Raises
    ------
    NotImplementedError, ValueError, TypeError
        As `entropy_power_inequality`.

    References
    ----------
    A. J. Stam, Inf. Control 2 (1959) 101–112; N. M. Blachman, IEEE Trans. Inf. Theory 11 (1965) 267–271.

    Examples
    --------
    >>> from infoplane.distributions import Laplace, Normal
    >>> from infoplane.inequalities import blachman_stam
    >>> abs(blachman_stam(Normal(scale=3.0), Normal(scale=4.0))) < 1e-12
    True
    >>> round(blachman_stam(Laplace(), Laplace()), 4)
    0.6769
    """
    one, other = pair_of(x, y, method, ties=ties, rng=rng)
    traces = one.information(), other.information()
    inverse = sum(1 / t.value for t in traces)
    if inverse == 0:
        return math.inf
    t = one.plus(other).information()
    ratio = 1 / (t.value * inverse)
    terms = [(-ratio / t.value, t)]
    terms += [(ratio / (inverse * own.value) / own.value, own) for own in traces if math.isfinite(own.value)]
    return one.residual(ratio - 1, terms)


def data_processing(
    x: Law,
    y: Law,
    *,
    method: str | Estimator = "auto",
    ties: Ties = "raise",
    rng: np.random.Generator | int | None = None,
) -> float:
    """Data processing for J: independent noise Y takes information away, J(X + Y) ⪯ J(X).

    The residual is 1 − λ ≥ 0, λ the largest eigenvalue of J(X)^{−1/2} J(X + Y) J(X)^{−1/2}.

    Equality: none, unless Y is constant; by `blachman_stam` in one dimension 1 − λ ≥ J(X)/(J(X) + J(Y)).

    Parameters
    ----------
    x, y : Distribution or array_like of shape (n,) or (n, d)
        As in `entropy_power_inequality`. J(X) must be finite.
    method : str or estimator, default "auto"
        How to estimate from samples, as in `infoplane.fisher_trace`.
    ties : {"raise", "dither"}, default "raise"
        What becomes of rounded data, as in `infoplane.entropy`.
    rng : numpy.random.Generator or int, optional
        Source of noise for "dither".

    Returns
    -------
    float
        The residual, as of `entropy_power_inequality`; `nan` if J(X) is not finite.

    Raises
    ------
    NotImplementedError, ValueError, TypeError
        As `entropy_power_inequality`.

    References
    ----------
    R. Zamir, "A proof of the Fisher information inequality via a data processing argument", IEEE Trans. Inf.
    Theory 44 (1998) 1246–1250.

    Examples
    --------
    >>> from infoplane.distributions import Normal
    >>> from infoplane.inequalities import data_processing
    >>> round(data_processing(Normal(scale=3.0), Normal(scale=4.0)), 12)  # 1 − 9/25
    0.64
    """
    one, other = pair_of(x, y, method, ties=ties, rng=rng)
    if not np.isfinite(one.fisher).all():
        return math.nan
    both = one.plus(other)
    back = np.linalg.inv(root(one.fisher))
    values, vectors = np.linalg.eigh(back @ both.fisher @ back)
    largest, direction = float(values[-1]), back @ vectors[:, -1]
    metric = np.outer(direction, direction)
    terms = [(-1.0, both.information(metric)), (largest, one.information(metric))]
    return one.residual(1 - largest, terms)
