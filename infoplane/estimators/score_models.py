"""Score models that are fitted by score matching: normal and elliptical, and the frame they work in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import BSpline
from scipy.special import gammaincinv

Array = NDArray[np.float64]

_NU = 4.0
_FRAME_STEPS = 60
# Blocks of the training rows over which a model chooses its smoothing.
BLOCKS = 4
_DEGREE = 3
_EDGE_ROWS = 10


class Field(NamedTuple):
    """A vector field at some points.

    Attributes
    ----------
    score : ndarray of shape (m, d)
        s, meant to be ∇ log f.
    jacobian : ndarray of shape (m, d, d)
        ∇s, symmetric, as every model is the gradient of a function.
    """

    score: Array
    jacobian: Array


class ScoreField(Protocol):
    """A fitted score: a field that can be evaluated anywhere."""

    def field(self, points: Array) -> Field:
        """Score and Jacobian at points of shape (m, d)."""


class ScoreModel(Protocol):
    """A way to fit a score to training rows; a frozen dataclass of its options."""

    def fit(self, rows: Array, rng: np.random.Generator) -> ScoreField:
        """Fit to rows of shape (n, d) that are centred and scaled, in an order that carries no meaning."""


@dataclass(frozen=True, eq=False)
class Frame:
    """Robust affine coordinates u = (z − center) @ transform, in which most of the data are round and near 1.

    Location and scatter are the maximum-likelihood ones of a multivariate t with ν = 4 (Kent, Tyler and
    Vardi 1994), which far outliers hardly move; the scale makes the median of |u|² that of a normal
    distribution. Linear maps of the data leave u as it is, up to a rotation.

    Attributes
    ----------
    center : ndarray of shape (d,)
        The location.
    transform : ndarray of shape (d, d)
        The linear map.

    References
    ----------
    J. T. Kent, D. E. Tyler, Y. Vardi, "A curious likelihood identity for the multivariate
    t-distribution", Comm. Statist. Simulation Comput. 23 (1994) 441–453.
    """

    center: Array
    transform: Array

    @classmethod
    def of(cls, z: Array) -> Frame:
        """Fit the frame.

        Parameters
        ----------
        z : ndarray of shape (n, d)
            Rows of full rank.
        """
        d = z.shape[1]
        center, transform = z.mean(axis=0), np.eye(d)
        squared = np.empty(0)
        for _ in range(_FRAME_STEPS):
            u = (z - center) @ transform
            previous, squared = squared, np.einsum("ij,ij->i", u, u)
            if previous.size and np.abs(squared - previous).max() < 1e-10 * squared.max():
                break
            weights = 1 / (_NU + squared)
            weights /= weights.sum()
            step = weights @ u
            root = np.linalg.cholesky((u * weights[:, None]).T @ u - np.outer(step, step))
            # Updates are made in the current frame, so that no covariance of far outliers is inverted.
            center = center + np.linalg.solve(transform.T, step)
            transform = transform @ np.linalg.inv(root).T
        scale = np.sqrt(2 * gammaincinv(d / 2, 0.5) / np.median(squared))
        return cls(center, transform * scale)

    def to(self, z: Array) -> Array:
        """Coordinates of points.

        Parameters
        ----------
        z : ndarray of shape (m, d)
            The points.
        """
        return (z - self.center) @ self.transform

    def back(self, field: Field) -> Field:
        """Carry a field over u to one over z.

        Parameters
        ----------
        field : Field
            In units of the frame.
        """
        score = field.score @ self.transform.T
        return Field(score, self.transform @ field.jacobian @ self.transform.T)


@dataclass(frozen=True)
class GaussianScore:
    """Score −P(u − μ) of a normal distribution, P the unbiased estimate of its precision."""

    def fit(self, rows: Array, rng: np.random.Generator) -> LinearField:
        """Fit mean and precision.

        Parameters
        ----------
        rows : ndarray of shape (n, d)
            Training rows.
        rng : numpy.random.Generator
            Not used.
        """
        n, d = rows.shape
        mean = rows.mean(axis=0)
        centred = rows - mean
        precision = (n - d - 2) * np.linalg.inv(centred.T @ centred)
        return LinearField(mean, (precision + precision.T) / 2)


@dataclass(frozen=True, eq=False)
class LinearField:
    """The field −P(u − μ).

    Attributes
    ----------
    mean : ndarray of shape (d,)
        μ.
    precision : ndarray of shape (d, d)
        P.
    """

    mean: Array
    precision: Array

    def field(self, points: Array) -> Field:
        """Score and Jacobian.

        Parameters
        ----------
        points : ndarray of shape (m, d)
            Where.
        """
        m, d = points.shape
        return Field((self.mean - points) @ self.precision, np.broadcast_to(-self.precision, (m, d, d)))


@dataclass(frozen=True)
class EllipticalScore:
    """Score u·q(log(1 + |u|²/d)) of an elliptical distribution, q a penalised cubic spline.

    Score matching (Hyvärinen 2005) is quadratic in the coefficients; the penalty on q″ leaves the normal
    distribution, q = const, free, and its strength is chosen by cross-validation. Good for heavy tails.

    Parameters
    ----------
    knots : int, default 9
        Number of spline knots.
    """

    knots: int = 9

    def fit(self, rows: Array, rng: np.random.Generator) -> RadialField:
        """Fit q.

        Parameters
        ----------
        rows : ndarray of shape (n, d)
            Training rows.
        rng : numpy.random.Generator
            Not used.
        """
        n, d = rows.shape
        squared = np.einsum("ij,ij->i", rows, rows)
        at = np.log1p(squared / d)
        # Ends with a few rows beyond them: a spline that a single row holds swings.
        edge = min(_EDGE_ROWS / n, 0.1)
        low, high = np.quantile(at, [edge, 1 - edge])
        inner = np.linspace(low, high, self.knots)
        knots = np.r_[[inner[0]] * _DEGREE, inner, [inner[-1]] * _DEGREE]
        basis = BSpline(knots, np.eye(knots.size - _DEGREE - 1), _DEGREE)
        value, slope = _extended(basis, at)
        # div(u q) = d·q + 2|u|² q′ ∂log(1 + |u|²/d)/∂|u|².
        divergence = d * value + (2 * squared / (d + squared))[:, None] * slope
        parts = [slice(b, None, BLOCKS) for b in range(BLOCKS)]
        grams = np.array([(value[p] * squared[p, None]).T @ value[p] for p in parts])
        pulls = np.array([-divergence[p].sum(axis=0) for p in parts])
        bend = basis.derivative(2)(np.linspace(low, high, 20 * self.knots))
        penalty = bend.T @ bend * (high - low) / len(bend)
        _, coefficients = matched(grams, pulls, penalty, n, d * np.logspace(3, -2, 6))
        return RadialField(BSpline(knots, coefficients, _DEGREE))


@dataclass(frozen=True, eq=False)
class RadialField:
    """The field u·q(log(1 + |u|²/d)).

    Attributes
    ----------
    profile : scipy.interpolate.BSpline
        q between its first and last knot.
    """

    profile: BSpline

    def field(self, points: Array) -> Field:
        """Score and Jacobian.

        Parameters
        ----------
        points : ndarray of shape (m, d)
            Where.
        """
        d = points.shape[1]
        squared = np.einsum("ij,ij->i", points, points)
        q, slope = _extended(self.profile, np.log1p(squared / d))
        jacobian = (2 * slope / (d + squared))[:, None, None] * points[:, :, None] * points[:, None, :]
        jacobian += q[:, None, None] * np.eye(d)
        return Field(points * q[:, None], jacobian)


def _extended(spline: BSpline, at: Array) -> tuple[Array, Array]:
    """A spline and its slope: constant before the first knot, beyond the last e^{−v}, the tail of a t."""
    low, high = spline.t[0], spline.t[-1]
    inside = np.clip(at, low, high)
    shape = (-1,) + (1,) * (spline.c.ndim - 1)
    value = spline(inside) * np.exp(np.minimum(high - at, 0.0)).reshape(shape)
    before, after = (at < low).reshape(shape), (at > high).reshape(shape)
    return value, np.where(after, -value, np.where(before, 0.0, spline(inside, 1)))


def matched(grams: Array, pulls: Array, penalty: Array, rows: int, strengths: Array) -> tuple[float, Array]:
    """Minimise θᵀAθ − 2bᵀθ + λθᵀΩθ with the weakest λ that left-out blocks of rows support.

    A weaker λ must gain more than its standard error over the best one so far.

    Parameters
    ----------
    grams : ndarray of shape (q, p, p)
        Sums A over the rows of each block.
    pulls : ndarray of shape (q, p)
        Sums b.
    penalty : ndarray of shape (p, p)
        Ω.
    rows : int
        Number of rows in all.
    strengths : ndarray of shape (l,)
        The λ, from strong to weak.

    Returns
    -------
    gain : float
        Mean of 2bᵀθ − θᵀAθ over left-out rows.
    coefficients : ndarray of shape (p,)
        θ from all blocks.
    """
    total, pull = grams.sum(axis=0), pulls.sum(axis=0)
    share = 1 - 1 / len(grams)

    def solve(gram: Array, pull: Array, count: float, strength: float) -> Array:
        matrix = gram / count + strength * penalty
        matrix[np.diag_indices_from(matrix)] *= 1 + 1e-9
        return np.asarray(np.linalg.solve(matrix, pull / count))

    best, best_gains = strengths[0], np.full(len(grams), -np.inf)
    for strength in strengths:
        thetas = [
            solve(total - a, pull - b, share * rows, strength) for a, b in zip(grams, pulls, strict=True)
        ]
        gains = np.array([2 * b @ t - t @ a @ t for a, b, t in zip(grams, pulls, thetas, strict=True)])
        better = gains - best_gains
        # A gain of chance comes with fields that swing; blocks that agree on it tell a true one.
        if np.isinf(better).all() or better.mean() > better.std(ddof=1) / np.sqrt(len(grams)):
            best, best_gains = strength, gains
    return float(best_gains.sum()) / rows, solve(total, pull, rows, best)


def squared_distances(points: Array, centers: Array) -> Array:
    """Squared distances of shape (m, M), by one matrix product.

    Parameters
    ----------
    points : ndarray of shape (m, d)
        From.
    centers : ndarray of shape (M, d)
        To.
    """
    lengths = np.einsum("ij,ij->i", points, points)[:, None] + np.einsum("ij,ij->i", centers, centers)
    return np.maximum(lengths - 2 * points @ centers.T, 0.0)
