"""What is known of the ball to the k-th neighbour: its bias under a normal law, and its noise."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from scipy.special import (
    betainccinv,
    betaincinv,
    chndtrix,
    digamma,
    gammainccinv,
    gammaincinv,
    gammaln,
    ndtr,
)


def log_ball_volume(d: int) -> float:
    """Logarithm of the volume of the unit ball.

    Parameters
    ----------
    d : int
        Its dimension.
    """
    return 0.5 * d * math.log(math.pi) - float(gammaln(0.5 * d + 1))


@lru_cache(maxsize=4096)
def normal_bias(n: int, d: int, k: int) -> float:
    """Bias of the Kozachenko–Leonenko estimator under N(0, I), to about 1e-6.

    Around a point with |x|² = λ ~ χ²_d the squared distances are noncentral χ²; the probability content
    of the k-th ball is U ~ Beta(k, n − k). Both are quantile maps of normal variables, over which
    Gauss–Hermite quadrature converges fast.

    Parameters
    ----------
    n, d, k : int
        Sample size, dimension and neighbour.
    """
    nodes, weights = np.polynomial.hermite_e.hermegauss(32)
    weights = weights / weights.sum()
    tail, upper = ndtr(-np.abs(nodes)), nodes > 0
    radius = 2 * np.where(upper, gammainccinv(0.5 * d, tail), gammaincinv(0.5 * d, tail))
    content = np.where(upper, betainccinv(k, n - k, tail), betaincinv(k, n - k, tail))
    log_squared = np.log(chndtrix(content[None, :], d, radius[:, None]))
    mean_log = 0.5 * d * float(weights @ log_squared @ weights)
    entropy = 0.5 * d * math.log(2 * math.pi * math.e)
    return float(digamma(n) - digamma(k)) + log_ball_volume(d) + mean_log - entropy


def ball_variance(k: int, d: int) -> float:
    """n·Var of the mean of d·log ε_k over n uniform points on a torus, interpolated in a simulated table.

    Parameters
    ----------
    k, d : int
        Neighbour and dimension.
    """
    log_v = [np.interp(math.log(k), np.log(_TABLE_K), np.log(row)) for row in _TABLE_V]
    return float(np.exp(np.interp(math.log(d), np.log(_TABLE_D), log_v)))


# Simulated with n = 2000 to 3000 and 700 to 3000 repeats (relative standard error 3 to 5 %).
_TABLE_K = (1, 2, 3, 4, 5, 7, 10, 15, 20, 30)
_TABLE_D = (1, 2, 3, 5, 8)
_TABLE_V = (
    (2.095, 0.935, 0.601, 0.457, 0.359, 0.254, 0.173, 0.116, 0.088, 0.061),
    (2.327, 0.982, 0.619, 0.457, 0.361, 0.250, 0.170, 0.111, 0.085, 0.054),
    (2.413, 1.010, 0.618, 0.444, 0.342, 0.236, 0.165, 0.113, 0.086, 0.054),
    (2.558, 1.078, 0.644, 0.468, 0.362, 0.254, 0.176, 0.116, 0.087, 0.056),
    (2.670, 1.085, 0.727, 0.518, 0.399, 0.272, 0.172, 0.106, 0.078, 0.054),
)
