"""Units of one variable that a few far values do not stretch, and a map that draws in far tails."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# Samples that reach further than this many robust scales are fitted after `compress`.
FAR = 15.0
_CORE = 3.0


def location_and_scale(x: Array) -> tuple[float, float]:
    """Median, and the smaller of the standard deviation and the interquartile range over 1.349.

    Parameters
    ----------
    x : ndarray of shape (n,)
        Values.
    """
    low, middle, high = np.quantile(x, [0.25, 0.5, 0.75])
    return float(middle), float(min(x.std(ddof=1), (high - low) / 1.349))


def compress(x: Array) -> Array:
    """y = 3·asinh(x/3), which is x near the center and grows like a logarithm far from it.

    Parameters
    ----------
    x : ndarray of shape (n,)
        Values in robust units.
    """
    return np.asarray(_CORE * np.arcsinh(x / _CORE))


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
