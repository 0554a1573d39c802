"""Dependence from one neighbourhood, counted in the marginals: Kraskov–Stögbauer–Grassberger and after."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import digamma

from infoplane.estimators.base import Array
from infoplane.estimators.entropy_sums import InformationFit
from infoplane.kernels.ranges import box_counts, box_extents

# At independence, n = 300 to 3000 and 150 to 40 repeats: k times the variance of a single term and k^1.5 n
# times that of their mean, without and with a condition; the first falls to two thirds at k = 10, the second
# to half with the number of columns.
_TERM_NOISE, _TERM_NOISE_GIVEN = 1.2, 0.7
_MEAN_NOISE, _MEAN_NOISE_GIVEN = 4.2, 2.8


def shared_ball_information(x: Array, y: Array, given: Array | None = None, *, k: int = 3) -> InformationFit:
    """Mutual information I(X; Y), or conditional I(X; Y | Z), from neighbour counts.

    The k neighbours of a point in the joint space span a box; the logarithms of the numbers of points inside
    its shadows in the marginals estimate those of the marginal densities with nearly the same bias, so most
    of it cancels, and all of it at independence.

    Parameters
    ----------
    x, y : ndarray of shape (n, d_x) and (n, d_y)
        Distinct rows, on comparable scales.
    given : ndarray of shape (n, d_z), optional
        The condition.
    k : int, default 3
        Neighbour.

    Notes
    -----
    Without a condition algorithm 2 of Kraskov et al., ψ(k) − 1/k + ψ(n) − ⟨ψ(n_x) + ψ(n_y)⟩; with one the
    estimate of Frenzel and Pompe, ψ(k) − ⟨ψ(n_xz + 1) + ψ(n_yz + 1) − ψ(n_z + 1)⟩.

    References
    ----------
    A. Kraskov, H. Stögbauer, P. Grassberger, Phys. Rev. E 69 (2004) 066138, eq. (9).
    S. Frenzel, B. Pompe, Phys. Rev. Lett. 99 (2007) 204101, eq. (8).
    """
    n = len(x)
    if given is None:
        _, extents = box_extents((x, y), k)
        terms = digamma(k) - 1 / k + digamma(n)
        for block, extent in zip((x, y), extents.T, strict=True):
            terms = terms - digamma(box_counts(block, np.ascontiguousarray(extent)))
    else:
        radius = np.nextafter(box_extents((x, y, given), k)[0], 0.0)
        terms = digamma(k) + digamma(box_counts(given, radius) + 1)
        for block in (x, y):
            terms = terms - digamma(box_counts(np.hstack([block, given]), radius) + 1)
    noise = _TERM_NOISE if given is None else _TERM_NOISE_GIVEN
    of_density = max(float(terms.var(ddof=1)) - noise / k, 0.0)
    value = float(terms.mean())
    error = math.sqrt((of_density + shared_ball_variance(k, conditional=given is not None)) / n)
    return InformationFit(value, error, terms - value, "ksg" if given is None else "frenzel-pompe")


def shared_ball_variance(k: int, *, conditional: bool) -> float:
    """n·Var of the estimate at independence.

    Parameters
    ----------
    k : int
        Neighbour.
    conditional : bool
        Whether there is a condition.
    """
    return (_MEAN_NOISE_GIVEN if conditional else _MEAN_NOISE) / k**1.5
