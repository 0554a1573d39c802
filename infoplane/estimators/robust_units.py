"""Units of one variable that a few far values do not stretch, and a map that draws in far tails."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from infoplane.kernels.moments import central_moments
from infoplane.mass import Mass

Array = NDArray[np.float64]

# Samples that reach further than this many robust scales are fitted after `compress`.
FAR = 15.0
_CORE = 3.0
_QUARTERS = np.array([0.25, 0.5, 0.75])


def location_and_scale(ordered: Array, mass: Mass | None = None) -> tuple[float, float]:
    """Median, and the smaller of the standard deviation and the interquartile range over 1.349.

    Parameters
    ----------
    ordered : ndarray of shape (n,)
        Values in ascending order.
    mass : Mass, optional
        What they count; by default all alike.
    """
    if mass is None or mass.alike:
        n, share = float(ordered.size), None
        low, middle, high = at_ranks(ordered, _QUARTERS * (n - 1))
    else:
        n, share = mass.effective_n, mass.share
        low, middle, high = mass.quantiles(ordered, _QUARTERS)
    _, first, second = central_moments(ordered, share)
    spread = math.sqrt(max(second - first**2, 0.0) * n / (n - 1))
    return float(middle), min(spread, float(high - low) / 1.349)


def in_units(x: Array, center: float, scale: float) -> Array:
    """(x − center)/scale in the place of x.

    Parameters
    ----------
    x : ndarray of shape (n,)
        Values, overwritten.
    center, scale : float
        Location and unit.
    """
    x -= center
    x /= scale
    return x


def at_ranks(ordered: Array, ranks: Array) -> Array:
    """Values interpolated between those in order.

    Parameters
    ----------
    ordered : ndarray of shape (n,)
        Values in ascending order.
    ranks : ndarray of shape (q,)
        Places in that order, in [0, n − 1].
    """
    below = np.minimum(ranks.astype(np.intp), ordered.size - 2)
    low, high = ordered[below], ordered[below + 1]
    return np.asarray(low + (ranks - below) * (high - low))


def compress(x: Array) -> Array:
    """y = 3·asinh(x/3), which is x near the center and grows like a logarithm far from it.

    Parameters
    ----------
    x : ndarray of shape (n,)
        Values in robust units.
    """
    y = np.asarray(x / _CORE)
    np.arcsinh(y, out=y)
    y *= _CORE
    return y


def expand(y: Array) -> Array:
    """x = 3·sinh(y/3), the inverse of `compress`.

    Parameters
    ----------
    y : ndarray of shape (n,)
        Compressed values.
    """
    return np.asarray(_CORE * np.sinh(y / _CORE))


def compression_rate(x: Array) -> tuple[Array, Array, Array]:
    """Derivative y′ of `compress`, and the first two of log y′: those by which scores change.

    log f_x = log f_y + log y′, s_x = s_y y′ + (log y′)′ and s_x′ = s_y′ y′² + s_y y′ (log y′)′ + (log y′)″.

    Parameters
    ----------
    x : ndarray of shape (n,)
        Values in robust units.
    """
    rate = 1 / np.hypot(1.0, x / _CORE)
    shift = -x / _CORE**2 * rate**2
    return rate, shift, -(rate**2) / _CORE**2 + 2 * shift**2
