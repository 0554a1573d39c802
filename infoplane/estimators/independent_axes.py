"""Independent component analysis: the rotation of whitened data that is farthest from normal."""

from __future__ import annotations

import math

import numpy as np
from scipy.linalg import expm

from infoplane.estimators.base import Array

# E log cosh Z for standard normal Z.
_NORMAL_CONTRAST = 0.374567207491438
# Curvatures below this are noise: a rotation within a nearly normal plane then takes moderate steps.
_LEAST_CURVATURE = 1e-4
_LARGEST_ANGLE = 0.5
_STEPS = 100
_SHORTEST_STEP = 1e-6
# Gains of less than this share of the sum's own noise, which is of the order of 1/n, are not worth a step.
_GAIN = 1e-3


def independent_axes(z: Array) -> Array:
    """Rotation W that makes the columns of z Wᵀ as far from normal as it can, Σ_j (E log cosh y_j − c)².

    That sum approximates the negentropies of the columns (Hyvärinen 1999), which are largest where the
    columns are independent. Newton steps in the plane of each pair of axes, with the curvature that
    independence would give and shortened until the sum grows, start from the eigenvectors of E|z|²zzᵀ
    (Cardoso 1989): nothing is random, and rotating z rotates W with it up to order and signs of the axes.

    Parameters
    ----------
    z : ndarray of shape (n, d)
        Whitened data.

    Returns
    -------
    ndarray of shape (d, d)
        Orthogonal; a local optimum.

    References
    ----------
    J.-F. Cardoso, "Source separation using higher order moments", ICASSP (1989) 2109–2112.
    A. Hyvärinen, "Fast and robust fixed-point algorithms for independent component analysis", IEEE Trans.
    Neural Netw. 10 (1999) 626–634.
    P. Ablin, J.-F. Cardoso, A. Gramfort, "Faster ICA under orthogonal constraint", ICASSP (2018) 4464–4468.
    """
    squared = np.einsum("ij,ij->i", z, z)
    rotation = np.linalg.eigh((z * squared[:, None]).T @ z / len(z))[1].T
    y = z @ rotation.T
    contrast = _contrast(y)
    step = 1.0
    for _ in range(_STEPS):
        angles, slope = _newton_angles(y, contrast)
        gain = float(np.sum(np.triu(slope) * angles))
        if gain < _GAIN / len(z):
            break
        step = min(1.0, 2 * step)
        while True:
            turn = expm(step * angles)
            turned = y @ turn.T
            new = _contrast(turned)
            if new @ new > contrast @ contrast + 0.1 * step * gain:
                break
            step /= 2
            if step < _SHORTEST_STEP:
                return rotation
        y, contrast, rotation = turned, new, turn @ rotation
    return rotation


def _contrast(y: Array) -> Array:
    """E log cosh y_j less its value for a normal column."""
    size = np.abs(y)
    log_cosh: Array = size + np.log1p(np.exp(-2 * size)) - math.log(2)
    return log_cosh.mean(axis=0) - _NORMAL_CONTRAST


def _newton_angles(y: Array, contrast: Array) -> tuple[Array, Array]:
    """Antisymmetric matrices of the angles to turn by in each plane, and of the slope of the sum there."""
    g = np.tanh(y)
    mixed = g.T @ y / len(y)
    pull = 2 * contrast[:, None] * mixed
    slope = pull - pull.T
    curvature = 2 * contrast * (1 - np.mean(g**2, axis=0) - np.diag(mixed))
    bend = np.maximum(-(curvature[:, None] + curvature), _LEAST_CURVATURE)
    return np.clip(slope / bend, -_LARGEST_ANGLE, _LARGEST_ANGLE), slope
