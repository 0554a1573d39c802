"""Penalised likelihood of a log-spline: Newton's method on band matrices.

A B-spline of degree p is nonzero in p + 1 knot intervals, so a row of a basis is kept as the number of its
first nonzero function and p + 1 values, and a Gram matrix as a band of p diagonals below the main one: entry
(j + k, j) at [k, j].

All steps stand in one kernel of plain loops, each loop once: that is compiled in a quarter of the time that
kernels take which call each other and evaluate expressions of arrays.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack

from infoplane.kernels.jit import kernel

Array = NDArray[np.float64]

# Backtracking ends at this step; the objective no longer resolves shorter ones.
_SHORTEST = 1e-6
# Decrement of the objective from which full steps converge, and that at which the minimum is reached.
_NEAR, _THERE = 1e-4, 1e-12
# A far too long step is to be refused, not to overflow.
_LARGEST = 300.0


@kernel
def _newton(theta, first, values, quadrature, mean, penalty, ridge, most_steps, factor, work, mass):
    """Move `theta` to the minimum; set `work[0]` to the scale of the Hessian and `factor` to its root."""
    size, width = theta.size, penalty.shape[0]
    nodes = quadrature.size
    unit, moved, step, gradient = work[0], work[1], work[2], work[3]
    value, decrement, length, steps = np.inf, 1.0, 1.0, 0
    while True:
        total = 0.0
        for j in range(size):
            moved[j] = theta[j] - length * step[j]
            gradient[j] = 0.0
        for i in range(nodes):
            exponent = 0.0
            for a in range(width):
                exponent += values[i, a] * moved[first[i] + a]
            mass[i] = quadrature[i] * math.exp(min(exponent, _LARGEST))
            total += mass[i]
        for k in range(width):
            for j in range(size - k):
                gradient[j + k] += penalty[k, j] * moved[j]
                if k > 0:
                    gradient[j] += penalty[k, j] * moved[j + k]
        for j in range(size):
            total += moved[j] * (0.5 * gradient[j] - mean[j])
            gradient[j] -= mean[j]
        better = total <= value - 1e-4 * length * decrement
        if not better and decrement >= _NEAR and length >= _SHORTEST:
            length /= 2
            continue
        value = total
        for j in range(size):
            theta[j] = moved[j]
        if decrement < _THERE or steps == most_steps:
            break
        steps += 1
        length = 1.0
        for k in range(width):
            for j in range(size):
                factor[k, j] = penalty[k, j]
        for i in range(nodes):
            for a in range(width):
                weighted, j = mass[i] * values[i, a], first[i] + a
                gradient[j] += weighted
                for k in range(width - a):
                    factor[k, j] += weighted * values[i, a + k]
        for j in range(size):
            unit[j] = 1.0 / math.sqrt(factor[0, j] + ridge**2)
            step[j] = unit[j] * gradient[j]
        # Factor and forward solution, column by column: column j − k reaches row j at its k-th subdiagonal.
        for j in range(size):
            for a in range(min(width, size - j)):
                factor[a, j] *= unit[j] * unit[j + a]
            factor[0, j] += ridge
            for k in range(1, min(width, j + 1)):
                below = factor[k, j - k]
                step[j] -= below * step[j - k]
                for a in range(width - k):
                    factor[a, j] -= below * factor[a + k, j - k]
            root = math.sqrt(factor[0, j])
            step[j] /= root
            for a in range(min(width, size - j)):
                factor[a, j] /= root
        decrement = 0.0
        for j in range(size - 1, -1, -1):
            for a in range(1, min(width, size - j)):
                step[j] -= factor[a, j] * step[j + a]
            step[j] /= factor[0, j]
        for j in range(size):
            step[j] *= unit[j]
            decrement += gradient[j] * step[j]


def newton(
    start: Array,
    first: NDArray[np.intp],
    values: Array,
    quadrature: Array,
    mean: Array,
    penalty: Array,
    ridge: float,
    most_steps: int,
) -> tuple[Array, Array]:
    """Minimise −φ̄ᵀθ + ∫ exp(θᵀφ) + ½ θᵀPθ; the minimum and the inverse of the Hessian there.

    The Hessian is scaled to a unit diagonal, as the mass in a tail may be 1e-6 of that in the core, and
    `ridge` added to it, which keeps it definite where there are neither data nor penalty.

    Parameters
    ----------
    start : ndarray of shape (size,)
        Where the search begins.
    first, values : ndarray of shape (m,) and (m, p + 1)
        The basis φ at the nodes of the quadrature.
    quadrature : ndarray of shape (m,)
        Its weights.
    mean : ndarray of shape (size,)
        φ̄.
    penalty : ndarray of shape (p + 1, size)
        Band of P.
    ridge : float
        Relative to the diagonal.
    most_steps : int
        At most so many steps.
    """
    theta, factor, work = start.copy(), np.empty(penalty.shape), np.zeros((4, start.size))
    mass = np.empty(quadrature.size)
    _newton(theta, first, values, quadrature, mean, penalty, ridge, most_steps, factor, work, mass)
    unit = work[0]
    inverse, _ = lapack.dpbtrs(factor, np.diag(unit), lower=1)
    return theta, unit[:, None] * inverse
