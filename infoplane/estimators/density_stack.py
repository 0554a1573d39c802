"""Densities fitted to the same rows, and the mixture of them that other rows find likeliest."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln, logsumexp

from infoplane.estimators.independent_score import IndependentScore, ProductField
from infoplane.estimators.mixture import Mixture, MixtureScore
from infoplane.estimators.score_models import Array, Frame

_WEIGHT_STEPS = 50
# Degrees of freedom of the Student densities: tails of every weight.
_FREEDOMS = np.array([1.0, 4.0, 16.0])
# Rows that every density is credited with beyond those that choose the weights.
_CREDIT = 0.1


@dataclass(frozen=True, eq=False)
class DensityStack:
    """Three Student densities, a Gaussian mixture and a product of log-splines along independent axes.

    Heavy tails, clusters and edges each have a density that knows them, and the Student ones are positive
    everywhere and fall slowly: −log q has moments even for Cauchy data.

    Attributes
    ----------
    frame : Frame
        The robust frame of the training rows.
    mixture : Mixture
        The Gaussian mixture, in the frame.
    product : ProductField
        The product, in the frame.
    """

    frame: Frame
    mixture: Mixture
    product: ProductField

    @classmethod
    def fit(cls, rows: Array, rng: np.random.Generator) -> DensityStack:
        """Fit all densities.

        Parameters
        ----------
        rows : ndarray of shape (n, d)
            Training rows; nothing else is seen.
        rng : numpy.random.Generator
            For the start of the mixture.
        """
        frame = Frame.of(rows)
        inside = frame.to(rows)
        return cls(frame, MixtureScore().fit(inside, rng), IndependentScore().fit(inside, rng))

    def log_densities(self, points: Array) -> Array:
        """Log densities of shape (m, 5), in the units of the training rows.

        Parameters
        ----------
        points : ndarray of shape (m, d)
            Where.
        """
        u = self.frame.to(points)
        logs = np.column_stack([_students(u), self.mixture.log_density(u), self.product.log_density(u)])
        return logs + float(np.linalg.slogdet(self.frame.transform)[1])


def likeliest_weights(log_densities: Array) -> Array:
    """Weights of a mixture of given densities with the highest likelihood, by expectation–maximisation.

    Parameters
    ----------
    log_densities : ndarray of shape (m, p)
        At rows that the densities have not seen; at least one of each row finite.
    """
    m, p = log_densities.shape
    relative = np.exp(log_densities - log_densities.max(axis=1, keepdims=True))
    weights = np.full(p, 1 / p)
    for _ in range(_WEIGHT_STEPS):
        joint = relative * weights
        weights = (joint / joint.sum(axis=1, keepdims=True)).sum(axis=0) + _CREDIT
        weights /= m + p * _CREDIT
    return weights


def mean_log_density(log_densities: Array, weights: Array) -> Array:
    """Log of the mean over several stacks of Σ w_p q_p.

    Parameters
    ----------
    log_densities : ndarray of shape (s, m, p)
        One entry a stack.
    weights : ndarray of shape (p,)
        w.
    """
    return np.asarray(logsumexp(log_densities + np.log(weights), axis=(0, 2)) - math.log(len(log_densities)))


def _students(u: Array) -> Array:
    """Log densities of standard multivariate t variables, one column a number of degrees of freedom."""
    d, nu = u.shape[1], _FREEDOMS
    squared = np.einsum("ij,ij->i", u, u)[:, None]
    constant = gammaln((nu + d) / 2) - gammaln(nu / 2) - 0.5 * d * np.log(nu * math.pi)
    return np.asarray(constant - 0.5 * (nu + d) * np.log1p(squared / nu))
