"""Edges of a density at which its Fisher information is infinite, betrayed by the sample's extremes."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from infoplane.mass import Mass

Array = NDArray[np.float64]

# Values in a tail, be they cells of many observations, below which its shape does not show.
_LEAST_VALUES = 10
# Below this many observations an edge cannot be told from a short tail.
_LEAST = 500
# L-CV of the excesses over a threshold if the density vanishes like (b − x) at its end b.
_BORDER = 0.4
# Twice the standard deviation of √k times the L-CV at the border, which is 0.25 by simulation.
_MARGIN = 0.5


def infinite_at_an_edge(ordered: Array, mass: Mass | None = None) -> bool:
    """Whether the sample's extremes betray an end of the density so steep that J is infinite.

    If f falls like (b − x)^α towards an end b, then J < ∞ only for α > 1, and the excesses of the largest
    observations over a threshold tend to a generalised Pareto law with shape γ = −1/(1 + α). Its L-CV (half
    the relative mean difference) is 1/(2 − γ): 1/3 for a jump (uniform, exponential), 2/5 for the border
    α = 1, 1/2 for an exponential tail. J is called infinite if the L-CV of the k = n^{2/3} largest lies
    significantly below 2/5 at either end, and those of the k/2 and k/4 largest below it too, as is not so in
    the flank of a narrow cluster.

    Parameters
    ----------
    ordered : ndarray of shape (n,)
        The sample in ascending order; with fewer than 500 observations the answer is always no.
    mass : Mass, optional
        What they count; by default all alike. The k largest are then those with k/n of all, n the effective
        number of observations.

    Notes
    -----
    Found in 84 % (uniform) and 71 % (exponential) of samples at n = 1000, in 99 % and 96 % at 3000. False
    alarms in 500 samples at n = 1000: none for normal, t, logistic, Laplace, Gumbel and mixture densities,
    0.4 % where f falls like exp(−x⁸), 2.4 % for the lognormal, whose lower end is all but an edge. Jumps
    inside the support are not looked for. Cost O(n^{2/3}).

    References
    ----------
    J. R. M. Hosking, J. R. Wallis, Technometrics 29 (1987) 339–349.
    """
    n = ordered.size if mass is None else mass.effective_n
    if n < _LEAST:
        return False
    k = round(n ** (2 / 3))
    if mass is not None and not mass.alike:
        limits = {k: _BORDER - _MARGIN / math.sqrt(k), k // 2: _BORDER, k // 4: _BORDER}
        return any(
            all(_weighted_half_difference(x, share, unit, m / n) < limit for m, limit in limits.items())
            for x, share, unit in (
                (ordered, mass.share, mass.unit), (-ordered[::-1], mass.share[::-1], mass.unit[::-1])
            )
        )  # fmt: skip
    for largest in (ordered[-k - 1 :], -ordered[k::-1]):
        limits = {k: _BORDER - _MARGIN / math.sqrt(k), k // 2: _BORDER, k // 4: _BORDER}
        if all(_relative_half_difference(largest[-m - 1 :]) < limit for m, limit in limits.items()):
            return True
    return False


def _relative_half_difference(ordered: Array) -> float:
    """L-CV of the excesses of ascending values over the first of them."""
    excess = ordered[1:] - ordered[0]
    k = excess.size
    return float((2 * np.arange(k) - (k - 1)) @ excess / ((k - 1) * excess.sum()))


def _weighted_half_difference(ordered: Array, share: Array, unit: Array, portion: float) -> float:
    """L-CV of the excesses of the largest values, of the given portion of all; ∞ if these are too few.

    The threshold lies halfway to the value before: values may be those of cells.
    """
    first = int(np.searchsorted(np.cumsum(share), 1 - portion, side="right"))
    if first == 0 or ordered.size - first < _LEAST_VALUES:
        return math.inf
    excess = ordered[first:] - (ordered[first] + ordered[first - 1]) / 2
    total = float(share[first:].sum())
    p, u = share[first:] / total, unit[first:] / total
    # What is below a value less what is above it; an observation and itself are no pair.
    balance = 2 * (np.cumsum(p) - p) + p - 1
    return float(balance * p @ excess / (p @ excess)) / (1 - float(p @ u))
