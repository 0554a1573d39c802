"""Laws of the heat flow X + √t Z, Z standard normal: de Bruijn's identity and Costa's concavity."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

from infoplane.estimators import Estimator
from infoplane.inequalities.subject import Law, Observed, Subject, Ties, power, subject_of

# Gauss–Legendre nodes in t^{1/4}, in which H is smooth even from kinks, cusps and jumps at t = 0 on.
_NODES = 8


def de_bruijn(
    x: Law,
    *,
    times: tuple[float, float] | None = None,
    method: str | Estimator = "auto",
    ties: Ties = "raise",
    rng: np.random.Generator | int | None = None,
) -> float:
    """De Bruijn's identity dH/dt = ½ tr J along the heat flow X + √t Z, integrated over t, in nats.

    The difference H(t₁) − H(t₀) − ½ ∫ tr J dt, over times t₀ to t₁, is 0.

    Parameters
    ----------
    x : Distribution or array_like of shape (n,) or (n, d)
        A distribution, or a sample of one.
    times : (float, float), optional
        t₀ and t₁, 0 ≤ t₀ < t₁, in squared units of x; by default N/4 and N, N the entropy power of X.
    method : str or estimator, default "auto"
        How to estimate from a sample, as in `infoplane.fisher_shannon`.
    ties : {"raise", "dither"}, default "raise"
        What becomes of rounded data, as in `infoplane.entropy`.
    rng : numpy.random.Generator or int, optional
        Source of the noise Z that is added to a sample (and of noise for "dither"), or its seed; required
        then, and not used else.

    Returns
    -------
    float
        The difference: of a distribution below about 1e-8, and 1e-5 if t₀ = 0 and J is infinite; of a sample
        an `Estimate` with its standard error (besides which it has the biases of the method).

    Raises
    ------
    NotImplementedError
        If the distribution of the sum is not known, see `infoplane.distributions.convolution`.
    ValueError
        If the times do not increase from 0, or a sample comes without `rng`.
    TypeError
        As `infoplane.fisher_shannon`.

    Notes
    -----
    A kernel density estimate is a `GaussianMixture` of the rows, for which the identity holds exactly.
    Costs ten densities.

    References
    ----------
    A. J. Stam, Inf. Control 2 (1959) 101–112, who gives it to N. G. de Bruijn; T. M. Cover, J. A. Thomas,
    *Elements of Information Theory*, 2nd ed., section 17.7.

    Examples
    --------
    >>> from infoplane.distributions import GaussianMixture, Laplace
    >>> from infoplane.inequalities import de_bruijn
    >>> abs(de_bruijn(Laplace(), times=(0.0, 1.0))) < 1e-7
    True
    >>> kernels = GaussianMixture([1, 1, 1], [0.0, 0.7, 3.0], 0.2)
    >>> abs(de_bruijn(kernels)) < 1e-9
    True
    """
    v = _flowing(x, method, ties, rng)
    early, late = _increasing(times or (power(v.entropy, v.d) / 4, power(v.entropy, v.d)), 2)
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    low, high = early**0.25, late**0.25
    roots = (low + high) / 2 + (high - low) / 2 * nodes
    # dt = 4u³ du, and the identity has a factor of ½.
    shares = (high - low) * weights * roots**3
    begin, end = v.smoothed(early).entropy, v.smoothed(late).entropy
    traces = [v.smoothed(float(r) ** 4).information() for r in roots]
    gained = math.fsum(s * t.value for s, t in zip(shares, traces, strict=True))
    terms = [(1.0, end), (-1.0, begin), *((-float(s), t) for s, t in zip(shares, traces, strict=True))]
    return v.residual(end.value - begin.value - gained, terms)


def costa(
    x: Law,
    *,
    times: tuple[float, float, float] | None = None,
    method: str | Estimator = "auto",
    ties: Ties = "raise",
    rng: np.random.Generator | int | None = None,
) -> float:
    """Costa's concavity of entropy power along the heat flow: N(t₁) lies above the chord from t₀ to t₂.

    The residual is that height over N(t₁), ≥ 0, N(t) the entropy power of X + √t Z.

    Equality: isotropic normal distributions, for which N(t) = N(0) + t, and no others.

    Parameters
    ----------
    x : Distribution or array_like of shape (n,) or (n, d)
        A distribution, or a sample of one.
    times : (float, float, float), optional
        t₀ < t₁ < t₂ from 0, in squared units of x; by default 0, N and 2N.
    method : str or estimator, default "auto"
        How to estimate from a sample, as in `infoplane.entropy`.
    ties : {"raise", "dither"}, default "raise"
        What becomes of rounded data, as in `infoplane.entropy`.
    rng : numpy.random.Generator or int, optional
        As in `de_bruijn`.

    Returns
    -------
    float
        The residual; from a sample, or where Monte Carlo is used, an `Estimate` with its standard error.

    Raises
    ------
    NotImplementedError, ValueError, TypeError
        As `de_bruijn`.

    References
    ----------
    M. H. M. Costa, "A new entropy power inequality", IEEE Trans. Inf. Theory 31 (1985) 751–760; C. Villani,
    "A short proof of the concavity of entropy power", IEEE Trans. Inf. Theory 46 (2000) 1695–1696.

    Examples
    --------
    >>> from infoplane.distributions import Normal, Uniform
    >>> from infoplane.inequalities import costa
    >>> abs(costa(Normal(scale=2.0))) < 1e-12
    True
    >>> costa(Uniform()) > 0.01
    True
    """
    v = _flowing(x, method, ties, rng)
    n = power(v.entropy, v.d)
    points = _increasing(times or (0.0, n, 2 * n), 3)
    entropies = [v.smoothed(t).entropy for t in points]
    early, middle, late = (power(h, v.d) for h in entropies)
    share = (points[1] - points[0]) / (points[2] - points[0])
    below = (1 - share) * early / middle, share * late / middle
    slopes = -below[0], sum(below), -below[1]
    return v.residual(1 - sum(below), [(2 / v.d * s, h) for s, h in zip(slopes, entropies, strict=True)])


def _flowing(x: Law, method: str | Estimator, ties: Ties, rng: np.random.Generator | int | None) -> Subject:
    v = subject_of(x, method, ties=ties, rng=rng, flowing=True)
    if isinstance(v, Observed) and rng is None:
        raise ValueError(
            "`rng` must be a generator or a seed for a sample, to which noise is added, got None"
        )
    return v


def _increasing(times: tuple[float, ...], count: int) -> tuple[float, ...]:
    if len(times) != count or times[0] < 0 or not all(a < b < math.inf for a, b in pairwise(times)):
        raise ValueError(f"`times` must be {count} increasing numbers from 0, got {times}")
    return times
