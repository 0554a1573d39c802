"""Mutual information from normal scores, which increasing maps of the variables leave as they are."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import polygamma

from infoplane.estimators.base import Array, EntropyFit, Estimator
from infoplane.estimators.copula import Copula, rank_bias
from infoplane.estimators.entropy_sums import InformationFit, entropy_sum
from infoplane.estimators.knn import KNN
from infoplane.estimators.nearest_balls import ball_variance
from infoplane.estimators.shared_balls import shared_ball_information
from infoplane.estimators.weighted_knn import WeightedKNN, neighbor_weights
from infoplane.sample import Sample

_LOG_2PIE = math.log(2 * math.pi * math.e)
# Highest order of the weighted neighbours, and what the overlap of neighbourhoods multiplies their noise by.
_ORDERS, _MORE_ORDERS = 20, 40
_OVERLAP = 1.6
# From this dimension on a second term of the bias is cancelled, if the noise stays below this many nats a
# dimension.
_SECOND_TERM_FROM = 4
_TOLERATED_NOISE = 0.01
# Rows for each entry of a rotation, below which axes found in the data overfit by more than the error.
_ROWS_OF_ROTATION = 2
# Neighbour of the estimates of little noise and more bias.
_STEADY = 10
# Standard deviation, in that of the difference, of what noise alone moves the steady estimate by.
_NOISE_OF_MOVING = 0.41


def copula_information(x: Array, y: Array) -> InformationFit:
    """Mutual information I(X; Y) of normal scores, in nats.

    Two variables: log(2πe) − H, H the joint entropy by weighted neighbours (`WeightedKNN`) less the bias of
    ranks; the marginals are known, and normal data of any correlation are measured without bias.

    More: H(X, Y′) − H(X, Y), where Y′ is Y with its rows exchanged in pairs, hence independent of X. Both
    entropies are of the same dimension and of the same blocks, so what is hard to measure within the blocks
    cancels, all of it at independence. Neighbours (k = 10) are steady and low at strong dependence; the
    accurate estimate, by the lower of weighted neighbours and the copula in independent axes, and half of it
    from the entropies of X and Y themselves, is noisy. The first is moved to the second, where that is
    higher, by the share of their difference that noise does not explain.

    Parameters
    ----------
    x, y : ndarray of shape (n, d_x) and (n, d_y)
        Normal scores of each column.
    """
    if x.shape[1] == y.shape[1] == 1:
        return _of_two_variables(np.hstack([x, y]))
    n, d = len(x), x.shape[1] + y.shape[1]
    joint = _sample(x, y)
    apart = _sample(x, y[_exchanged(joint.radial_order)])
    neighbors = KNN(k=_STEADY)
    together = neighbors.entropy(joint)
    steady = neighbors.entropy(apart).value - together.value
    accurate = 0.5 * (_lowest(x) + _lowest(y) + _lowest(apart.values)) - _lowest(joint.values)
    influence = _block(x, neighbors).influence + _block(y, neighbors).influence - together.influence
    noise = float(polygamma(1, _STEADY)) * sum(width > 1 for width in (x.shape[1], y.shape[1], d))
    # Half the entropy of the pairs apart, and that of the pairs together: variances in 1 to 4.
    difference = 1.25 * _noise(_weights(n, d)) / n
    value, share = _moved(steady, accurate, difference)
    variance = max(share, _NOISE_OF_MOVING) ** 2 * difference
    variance += (max(float(influence.var(ddof=1)) - noise, 0.0) + 2 * ball_variance(_STEADY, d)) / n
    return InformationFit(value, math.sqrt(variance), influence, "copula")


def conditional_copula_information(x: Array, y: Array, given: Array) -> InformationFit:
    """Conditional mutual information I(X; Y | Z) of normal scores, in nats.

    The steady estimate is that of Frenzel and Pompe (`shared_ball_information`, k = 10), unbiased at
    conditional independence and low beyond; the accurate one H(X, Z) + H(Y, Z) − H(X, Y, Z) − H(Z) by
    weighted neighbours. They are combined as in `copula_information`.

    Parameters
    ----------
    x, y, given : ndarray of shape (n, d_x), (n, d_y) and (n, d_z)
        Normal scores of each column.
    """
    n = len(x)
    steady = shared_ball_information(x, y, given, k=_STEADY)
    sides = [(1, (x, given)), (1, (y, given)), (-1, (x, y, given)), (-1, (given,))]
    accurate = entropy_sum([(sign, _weighted(*blocks)) for sign, blocks in sides], "copula")
    noise = sum(_noise(_weights(n, sum(block.shape[1] for block in blocks))) for _, blocks in sides) / n
    value, share = _moved(steady.value, accurate.value, noise)
    # The noise of the four entropies' terms is correlated, that of their means is not: it is added in full.
    of_accurate = float(accurate.influence.var(ddof=1)) / n + noise
    of_moving = (1 - share) * _NOISE_OF_MOVING**2 * noise
    variance = (1 - share) * steady.standard_error**2 + share * of_accurate + of_moving
    return InformationFit(value, math.sqrt(variance), accurate.influence, "copula")


def _of_two_variables(scores: Array) -> InformationFit:
    n = len(scores)
    fit = _weighted(scores)
    value = _LOG_2PIE - fit.value
    influence = 0.5 * np.sum(scores**2, axis=1) - fit.influence
    influence -= influence.mean()
    noise = _noise(_weights(n, 2))
    of_density = max(float(influence.var(ddof=1)) - noise / _OVERLAP, 0.0)
    return InformationFit(value, math.sqrt((of_density + noise) / n), influence, "copula")


def _moved(steady: float, accurate: float, variance: float) -> tuple[float, float]:
    """The steady estimate moved up to the accurate one, and by what share of the difference.

    The share is that of a positive-part James–Stein estimate, 1 − variance/difference²: nearly nothing where
    noise explains the difference, nearly everything where it does not.
    """
    rise = max(accurate - steady, 0.0)
    share = 1.0 - variance / rise**2 if rise**2 > variance else 0.0
    return steady + share * rise, share


def _exchanged(order: NDArray[np.intp]) -> NDArray[np.intp]:
    """Rows exchanged in random pairs: the same pairs in whatever order the rows come, and for X as for Y."""
    half = order.size // 2
    shuffled = order[np.random.default_rng(0).permutation(order.size)]
    rows = np.arange(order.size)
    rows[shuffled[:half]], rows[shuffled[half : 2 * half]] = shuffled[half : 2 * half], shuffled[:half]
    return rows


def _block(scores: Array, estimator: Estimator) -> EntropyFit:
    """Entropy of one side; that of a single variable's scores is known."""
    if scores.shape[1] > 1:
        return estimator.entropy(_sample(scores))
    terms = 0.5 * (scores[:, 0] ** 2 - 1)
    return EntropyFit(0.5 * _LOG_2PIE, 0.0, terms - terms.mean())


def _lowest(scores: Array) -> float:
    """The lower of two entropies whose biases are mostly positive."""
    n, d = scores.shape
    if d == 1:
        return 0.5 * _LOG_2PIE
    weighted = _weighted(scores).value
    if n < _ROWS_OF_ROTATION * d**2:
        return weighted
    return min(weighted, Copula(axes="independent").entropy(_sample(scores)).value)


def _weighted(*scores: Array) -> EntropyFit:
    """Entropy by weighted neighbours, less the bias of ranks."""
    n, d = len(scores[0]), sum(block.shape[1] for block in scores)
    k, terms = _order_and_terms(n, d)
    fit = _block(np.hstack(scores), WeightedKNN(k=k, terms=terms))
    bias = sum(w * rank_bias(n, d, j) for j, w in enumerate(_weights(n, d), start=1)) if d > 1 else 0.0
    return replace(fit, value=fit.value - bias)


def _order_and_terms(n: int, d: int) -> tuple[int, int]:
    if d >= _SECOND_TERM_FROM:
        k = min(max(n // 25, 10), _MORE_ORDERS)
        if math.sqrt(_noise(neighbor_weights(k, d, 2)) / n) < _TOLERATED_NOISE * d:
            return k, 2
    return min(max(n // 10, 6), _ORDERS), 1


def _weights(n: int, d: int) -> Array:
    """Those of the neighbours; the entropy of one variable's scores is known and needs none."""
    k, terms = _order_and_terms(n, d)
    return neighbor_weights(k, d, terms) if d > 1 else np.zeros(1)


def _noise(weights: Array) -> float:
    """n·Var that weighted neighbours add to an entropy."""
    orders = np.arange(1, weights.size + 1)
    return _OVERLAP * float(weights @ polygamma(1, np.maximum(orders[:, None], orders)) @ weights)


def _sample(*blocks: Array) -> Sample:
    return Sample.of(np.hstack(blocks), name="the normal scores")
