"""Spacings on a line: their logarithms, the moments of these without keeping them, and long ones."""

from __future__ import annotations

import numpy as np

from infoplane.kernels.exp import log
from infoplane.kernels.jit import kernel

# Logarithms held at a time, in the first-level cache.
_BLOCK = 1024


@kernel
def log_spacings(ordered, order, shift, out):
    """log(x₍i+o₎ − x₍i₎), and a number added to it, for all n − o spacings of an order o, all positive."""
    count = ordered.size - order
    low, high = ordered[:count], ordered[order:]
    for i in range(count):
        out[i] = log(high[i] - low[i]) + shift


@kernel
def moments_of_log_spacings(ordered, order):
    """Mean of log(x₍i+o₎ − x₍i₎) over all n − o spacings, and the sum of squares of what differs from it.

    Block by block, each about its own mean, so that no digit is lost (T. F. Chan, G. H. Golub, R. J. LeVeque,
    Am. Stat. 37 (1983) 242–247).
    """
    count = ordered.size - order
    block = np.empty(_BLOCK)
    mean, squares = 0.0, 0.0
    for start in range(0, count, _BLOCK):
        size = min(_BLOCK, count - start)
        low, high = ordered[start : start + size], ordered[start + order : start + order + size]
        total = 0.0
        for j in range(size):
            logarithm = log(high[j] - low[j])
            block[j] = logarithm
            total += logarithm
        part = total / size
        about = 0.0
        for j in range(size):
            about += (block[j] - part) ** 2
        apart = part - mean
        mean += apart * size / (start + size)
        squares += about + apart**2 * start * size / (start + size)
    return mean, squares


@kernel
def gaps_apart(ordered, order, ratio, apart):
    """Whether each gap exceeds that times the spacings of an order next to it, on both sides.

    Of n points, the n − 2·order − 1 gaps that have both.
    """
    count = apart.size
    first, low, high = ordered[:count], ordered[order:][:count], ordered[order + 1 :][:count]
    last = ordered[2 * order + 1 :][:count]
    for i in range(count):
        gap = high[i] - low[i]
        apart[i] = (gap > ratio * (low[i] - first[i])) & (gap > ratio * (last[i] - high[i]))


@kernel
def gaps_beyond(ordered, order, ratio):
    """Whether each gap exceeds that times the spacing of an order next to it, on its side towards zero.

    Where that spacing reaches across zero, the answer is yes.
    """
    n = ordered.size
    beyond = np.ones(n - 1, np.bool_)
    center = np.searchsorted(ordered, 0.0)
    low = ordered[: max(center - order, 0)]
    for i in range(low.size - 1):
        beyond[i] = low[i + 1] - low[i] > ratio * (ordered[i + 1 + order] - low[i + 1])
    high, flags = ordered[min(center + order, n) :], beyond[min(center + order, n - 1) :]
    inner = ordered[min(center, n) :]
    for i in range(high.size - 1):
        flags[i] = high[i + 1] - high[i] > ratio * (high[i] - inner[i])
    return beyond
