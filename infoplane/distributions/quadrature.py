"""Integrals of −f log f and of s sᵀ f: double-exponential on the line, trapezoids for smooth densities."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Field = Callable[[Array], tuple[Array, Array]]

# Logarithmic distance from a landmark, in units of the spread, at which tails are cut: what is left of the
# heaviest tail allowed, x^{−1.5}, is e^{−35}.
_REACH = 70.0
# Points that a field sees at once.
_AT_ONCE = 200_000


@cache
def tanh_sinh(step: float) -> tuple[Array, Array, Array]:
    """Nodes of the unit interval as distances from either end, and weights.

    The distances are dense about both ends, so that algebraic and logarithmic singularities do no harm.

    Parameters
    ----------
    step : float
        Of the trapezoidal rule after the transformation: halving it squares the error.

    References
    ----------
    H. Takahasi, M. Mori, Publ. RIMS Kyoto Univ. 9 (1974) 721–741.
    """
    t = step * np.arange(-math.floor(3.6 / step), math.floor(3.6 / step) + 1)
    slope = math.pi * np.sinh(t)
    left, right = 1 / (1 + np.exp(-slope)), 1 / (1 + np.exp(slope))
    return left, right, step * math.pi * np.cosh(t) * left * right


@cache
def exp_sinh(step: float) -> tuple[Array, Array]:
    """Nodes and weights of the half line (0, ∞), for integrands that decay algebraically or faster.

    Parameters
    ----------
    step : float
        Of the trapezoidal rule after the transformation.
    """
    ends = math.asinh(_REACH / (math.pi / 2)), math.asinh(40 / (math.pi / 2))
    t = step * np.arange(-math.floor(ends[1] / step), math.floor(ends[0] / step) + 1)
    nodes = np.exp(math.pi / 2 * np.sinh(t))
    return nodes, step * math.pi / 2 * np.cosh(t) * nodes


def line_rule(landmarks: Sequence[float], spread: float, step: float) -> tuple[Array, Array]:
    """Nodes and weights of the line, split at the landmarks.

    Parameters
    ----------
    landmarks : sequence of float
        Where the integrand has its bulk, or a kink, cusp or edge.
    spread : float
        Size of the bulk beyond the outermost landmarks, to an order of magnitude.
    step : float
        As in `tanh_sinh`.
    """
    marks = np.unique(np.asarray(landmarks, dtype=np.float64))
    beyond, share = exp_sinh(step)
    left, right, weights = tanh_sinh(step)
    nodes = [marks[0] - spread * beyond, marks[-1] + spread * beyond]
    masses = [spread * share, spread * share]
    for low, high in pairwise(marks):
        gap = high - low
        nodes.append(np.where(left < 0.5, low + gap * left, high - gap * right))
        masses.append(gap * weights)
    x, w = np.concatenate(nodes), np.concatenate(masses)
    # Rounding puts some nodes on a landmark, where a density may be infinite.
    inner = ~np.isin(x, marks)
    return x[inner], w[inner]


def box_rule(low: Array, high: Array, step: float) -> tuple[Array, float]:
    """Nodes of a box, and their common weight: spectrally accurate for smooth densities that vanish outside.

    Parameters
    ----------
    low, high : ndarray of shape (d,)
        Corners.
    step : float
        Distance of neighbours.
    """
    axes = [np.arange(a, b + step, step) for a, b in zip(low, high, strict=True)]
    grid = np.stack([g.ravel() for g in np.meshgrid(*axes, indexing="ij")], axis=-1)
    return grid, step ** len(axes)


def log_sum(logs: Array) -> tuple[Array, Array]:
    """Logarithm of sums of exponentials along the last axis, and the share of each term; nan of nothing.

    Parameters
    ----------
    logs : ndarray of shape (n, K)
        Logarithms of the terms, −inf for none.
    """
    peaks = logs.max(axis=1, keepdims=True)
    peaks[peaks == -math.inf] = 0.0
    shares = np.exp(logs - peaks)
    sums = shares.sum(axis=1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        shares /= sums
        return (peaks + np.log(sums))[:, 0], shares


def integrals(field: Field, nodes: Array, weights: Array | float) -> tuple[float, Array]:
    """H = −∫ f log f and J = ∫ s sᵀ f.

    Parameters
    ----------
    field : callable
        Log density and score at points of shape (n, d).
    nodes : ndarray of shape (n, d)
        Of the rule.
    weights : ndarray of shape (n,) or float
        Of the rule.
    """
    n, d = nodes.shape
    h, j = 0.0, np.zeros((d, d))
    weights = np.broadcast_to(weights, n)
    for start in range(0, n, _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        log_density, score = field(nodes[part])
        mass = np.exp(log_density) * weights[part]
        used = mass > 0
        mass, score = mass[used], score[used]
        h -= float(mass @ log_density[used])
        j += (score.T * mass) @ score
    return h, j
