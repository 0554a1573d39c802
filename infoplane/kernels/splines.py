"""Penalised likelihood of a log-spline: Newton's method on band matrices.

A B-spline of degree p is nonzero in p + 1 knot intervals, so a row of a basis is kept as the number of its
first nonzero function and p + 1 values, and a Gram matrix as a band of p diagonals below the main one: entry
(j + k, j) at [k, j].
"""

from __future__ import annotations

import math

import numpy as np

from infoplane.kernels.jit import kernel

# Backtracking ends at this step; the objective no longer resolves shorter ones.
_SHORTEST = 1e-6
# Decrement of the objective from which full steps converge, and that at which the minimum is reached.
_NEAR, _THERE = 1e-4, 1e-12
# A far too long step is to be refused, not to overflow.
_LARGEST = 300.0


@kernel
def local_basis(points, knots, degree, derivative):
    """First nonzero B-spline at each point, and the values of it and its next `degree`, or of a derivative.

    `knots` has `degree` copies of either end beside them. Points beyond the ends belong to the last interval.
    de Boor's recursion for the B-splines of lower degree, then the transpose of differencing coefficients,
    c_j → q (c_j − c_{j−1})/(t_{j+q} − t_j), once for each derivative.
    """
    m, last = points.size, knots.size - degree - 2
    first, values = np.empty(m, np.intp), np.empty((m, degree + 1))
    row = np.empty(degree + 1)
    lower = degree - derivative
    for i in range(m):
        x = points[i]
        s = min(max(np.searchsorted(knots, x, side="right") - 1, degree), last)
        first[i] = s - degree
        row[:] = 0.0
        row[degree] = 1.0
        for q in range(1, lower + 1):
            for a in range(degree - q, degree + 1):
                j = s - degree + a
                new = 0.0
                if a > degree - q:
                    new = (x - knots[j]) / (knots[j + q] - knots[j]) * row[a]
                if a < degree:
                    new += (knots[j + q + 1] - x) / (knots[j + q + 1] - knots[j + 1]) * row[a + 1]
                row[a] = new
        for q in range(lower + 1, degree + 1):
            for a in range(degree - q, degree + 1):
                j = s - degree + a
                new = 0.0
                if a > degree - q:
                    new = q * row[a] / (knots[j + q] - knots[j])
                if a < degree:
                    new -= q * row[a + 1] / (knots[j + q + 1] - knots[j + 1])
                row[a] = new
        values[i] = row
    return first, values


@kernel
def times(first, values, vector):
    """Rows times a vector, of shape (m,)."""
    out = np.empty(first.size)
    for i in range(first.size):
        total = 0.0
        for a in range(values.shape[1]):
            total += values[i, a] * vector[first[i] + a]
        out[i] = total
    return out


@kernel
def bilinear(first, left, right, matrix):
    """lᵀ M r for each pair of rows with the same support, of shape (m,)."""
    out = np.empty(first.size)
    width = left.shape[1]
    for i in range(first.size):
        start, total = first[i], 0.0
        for a in range(width):
            part = 0.0
            for b in range(width):
                part += matrix[start + a, start + b] * right[i, b]
            total += left[i, a] * part
        out[i] = total
    return out


@kernel
def banded_gram(first, values, weights, size):
    """Band of Σ_i w_i v_i v_iᵀ, of shape (p + 1, size)."""
    width = values.shape[1]
    band = np.zeros((width, size))
    for i in range(first.size):
        for a in range(width):
            weighted = weights[i] * values[i, a]
            for k in range(width - a):
                band[k, first[i] + a] += weighted * values[i, a + k]
    return band


@kernel
def weighted_sum(first, values, weights, size):
    """Σ_i w_i v_i, of shape (size,)."""
    out = np.zeros(size)
    for i in range(first.size):
        for a in range(values.shape[1]):
            out[first[i] + a] += weights[i] * values[i, a]
    return out


@kernel
def banded_times(band, vector):
    """A symmetric band matrix times a vector."""
    size = vector.size
    out = band[0] * vector
    for k in range(1, band.shape[0]):
        for j in range(size - k):
            out[j + k] += band[k, j] * vector[j]
            out[j] += band[k, j] * vector[j + k]
    return out


@kernel
def banded_cholesky(band):
    """Lower triangular factor of a positive definite band matrix, as a band."""
    width, size = band.shape
    factor = band.copy()
    for j in range(size):
        for k in range(1, min(width, j + 1)):
            # Column j − k reaches row j at its k-th subdiagonal.
            below = factor[k, j - k]
            for a in range(width - k):
                factor[a, j] -= below * factor[a + k, j - k]
        root = math.sqrt(factor[0, j])
        for a in range(min(width, size - j)):
            factor[a, j] /= root
    return factor


@kernel
def banded_solve(factor, vector):
    """Solve L Lᵀ x = b."""
    width, size = factor.shape
    x = vector.copy()
    for j in range(size):
        x[j] /= factor[0, j]
        for a in range(1, min(width, size - j)):
            x[j + a] -= factor[a, j] * x[j]
    for j in range(size - 1, -1, -1):
        for a in range(1, min(width, size - j)):
            x[j] -= factor[a, j] * x[j + a]
        x[j] /= factor[0, j]
    return x


@kernel
def _objective(theta, first, values, quadrature, mean, penalty):
    mass = times(first, values, theta)
    total = 0.0
    for i in range(mass.size):
        mass[i] = quadrature[i] * math.exp(min(mass[i], _LARGEST))
        total += mass[i]
    smooth = banded_times(penalty, theta)
    for j in range(theta.size):
        total += theta[j] * (0.5 * smooth[j] - mean[j])
    return total, mass, smooth


@kernel
def newton(theta, first, values, quadrature, mean, penalty, ridge, most_steps):
    """Minimise −φ̄ᵀθ + ∫ exp(θᵀφ) + ½ θᵀPθ; the minimum and the inverse of the Hessian there.

    The Hessian is scaled to a unit diagonal, as the mass in a tail may be 1e-6 of that in the core, and
    `ridge` added to it, which keeps it definite where there are neither data nor penalty.
    """
    size = theta.size
    width = penalty.shape[0]
    value, mass, smooth = _objective(theta, first, values, quadrature, mean, penalty)
    unit, factor = np.empty(size), np.empty((width, size))
    for _ in range(most_steps):
        hessian = banded_gram(first, values, mass, size) + penalty
        gradient = weighted_sum(first, values, mass, size) - mean + smooth
        unit = 1.0 / np.sqrt(hessian[0] + ridge**2)
        for k in range(width):
            for j in range(size - k):
                hessian[k, j] *= unit[j] * unit[j + k]
        hessian[0] += ridge
        factor = banded_cholesky(hessian)
        step = unit * banded_solve(factor, unit * gradient)
        decrement = 0.0
        for j in range(size):
            decrement += gradient[j] * step[j]
        length = 1.0
        while True:
            moved = theta - length * step
            new_value, mass, smooth = _objective(moved, first, values, quadrature, mean, penalty)
            if decrement < _NEAR or new_value <= value - 1e-4 * length * decrement or length < _SHORTEST:
                break
            length /= 2
        theta, value = moved, new_value
        if decrement < _THERE:
            break
    inverse = np.empty((size, size))
    for j in range(size):
        column = np.zeros(size)
        column[j] = 1.0
        inverse[j] = unit * banded_solve(factor, column) * unit[j]
    return theta, inverse
