"""Moments of numbers to their last digits, and how close they lie, without arrays in between."""

from __future__ import annotations

import numpy as np

from infoplane.kernels.jit import kernel

# Differences held at a time, in the first-level cache.
_BLOCK = 1024


@kernel
def central_moments(x, share):
    """Mean, the mean of what it leaves, and the mean square of that, with shares of sum 1 or None for 1/n.

    The second is the rounding of the first, which a large offset makes felt. Differences are stored before
    they are added: fast arithmetic might otherwise take their terms apart.
    """
    mean = 0.0
    if share is None:
        for i in range(x.size):
            mean += x[i]
        mean /= x.size
    else:
        for i in range(x.size):
            mean += share[i] * x[i]
    apart, weighted = np.empty(_BLOCK), np.empty(_BLOCK)
    first, second = 0.0, 0.0
    for start in range(0, x.size, _BLOCK):
        size = min(_BLOCK, x.size - start)
        values = x[start : start + size]
        for j in range(size):
            apart[j] = values[j] - mean
        if share is None:
            weighted = apart
        else:
            shares = share[start : start + size]
            for j in range(size):
                weighted[j] = shares[j] * apart[j]
        one, two = 0.0, 0.0
        for j in range(size):
            one += weighted[j]
            two += weighted[j] * apart[j]
        first += one
        second += two
    if share is None:
        first /= x.size
        second /= x.size
    return mean, first, second


@kernel
def count_close(ordered, tolerance):
    """How many neighbours of ascending numbers are no further apart than this."""
    low, high = ordered[:-1], ordered[1:]
    count = 0.0
    for i in range(low.size):
        count += 0.0 if high[i] - low[i] > tolerance else 1.0
    return count
