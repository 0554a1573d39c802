"""Independent axes with a log-spline on each: density and score of a product, in closed form."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import BSpline

from infoplane.estimators.independent_axes import independent_axes
from infoplane.estimators.robust_units import FAR, compress, compression_rate, location_and_scale
from infoplane.estimators.score_models import Array, Field
from infoplane.estimators.spline_density import SplineDensity

# Spacings at either end, whose mean tells how far beyond the sample the density may go on.
_SPACINGS = 4
_NODES = 20


@dataclass(frozen=True)
class IndependentScore:
    """Score of a product of log-spline densities along the axes of an independent component analysis.

    The axes are those of the whitened training rows that are farthest from normal (`independent_axes`); in
    one dimension it is the score of a penalised log-spline (`SplineDensity`).

    Parameters
    ----------
    knots : int, default 30
        Number of knots of each axis.
    """

    knots: int = 30

    def fit(self, rows: Array, rng: np.random.Generator) -> ProductField:
        """Find the axes, and fit the density of each.

        Parameters
        ----------
        rows : ndarray of shape (n, d)
            Training rows.
        rng : numpy.random.Generator
            Not used.
        """
        n, d = rows.shape
        center = rows.mean(axis=0)
        root = np.linalg.cholesky((rows - center).T @ (rows - center) / n)
        transform = np.linalg.inv(root).T
        if d > 1:
            transform = transform @ independent_axes((rows - center) @ transform).T
        axes = tuple(Axis.of(y, self.knots) for y in ((rows - center) @ transform).T)
        return ProductField(center, transform, axes)


@dataclass(frozen=True, eq=False)
class ProductField:
    """The density |det T|·Π_j f_j(y_j), y = (u − center) @ T, and its score.

    Attributes
    ----------
    center : ndarray of shape (d,)
        Mean of the training rows.
    transform : ndarray of shape (d, d)
        T.
    axes : tuple of Axis
        The f_j.
    """

    center: Array
    transform: Array
    axes: tuple[Axis, ...]

    def log_density(self, points: Array) -> Array:
        """Log density, of shape (m,): −∞ outside the support of any axis.

        Parameters
        ----------
        points : ndarray of shape (m, d)
            Where.
        """
        y = (points - self.center) @ self.transform
        total = np.full(len(points), float(np.linalg.slogdet(self.transform)[1]))
        for column, axis in zip(y.T, self.axes, strict=True):
            total += axis.log_density(column)
        return total

    def field(self, points: Array) -> Field:
        """Score and Jacobian.

        Parameters
        ----------
        points : ndarray of shape (m, d)
            Where.
        """
        y = (points - self.center) @ self.transform
        pairs = [axis.score(column) for column, axis in zip(y.T, self.axes, strict=True)]
        scores, slopes = np.transpose(pairs, (1, 2, 0))
        jacobian = (slopes[:, None, :] * self.transform) @ self.transform.T
        return Field(scores @ self.transform.T, jacobian)


@dataclass(frozen=True, eq=False)
class Axis:
    """Log-spline density of one variable, of x or, where that has far tails, of c·asinh(x/c).

    Attributes
    ----------
    center, scale : float
        Median and robust scale of the variable: x is what it is in these units.
    spline : scipy.interpolate.BSpline
        The log density but for a constant.
    log_mass : float
        That constant, which makes it integrate to one over `support`.
    support : tuple of float
        From one spacing below the sample to one above it.
    heavy : bool
        Whether it is that of the values after `compress`.
    """

    center: float
    scale: float
    spline: BSpline
    log_mass: float
    support: tuple[float, float]
    heavy: bool

    @classmethod
    def of(cls, y: Array, knots: int) -> Axis:
        """Fit.

        Parameters
        ----------
        y : ndarray of shape (n,)
            Values.
        knots : int
            Number of knots.
        """
        ordered = np.sort(y)
        center, scale = location_and_scale(ordered)
        ordered = (ordered - center) / scale
        heavy = bool(max(-ordered[0], ordered[-1]) > FAR)
        if heavy:
            ordered = compress(ordered)
        spline = SplineDensity(ordered, knots).spline
        low, high = spline.t[0], spline.t[-1]
        bottom = max(low, ordered[0] - (ordered[_SPACINGS] - ordered[0]) / _SPACINGS)
        top = min(high, ordered[-1] + (ordered[-1] - ordered[-1 - _SPACINGS]) / _SPACINGS)
        mass = 1 - _mass(spline, low, bottom) - _mass(spline, top, high)
        return cls(center, scale, spline, math.log(mass), (bottom, top), heavy)

    def log_density(self, y: Array) -> Array:
        """Log density: −∞ beyond the support.

        Parameters
        ----------
        y : ndarray of shape (m,)
            Where.
        """
        x, rate, *_ = self._inside(y)
        low, high = self.support
        value = self.spline(np.clip(x, low, high)) - self.log_mass + np.log(rate / self.scale)
        return np.where((x < low) | (x > high), -np.inf, value)

    def score(self, y: Array) -> tuple[Array, Array]:
        """Score and slope: beyond its ends the spline goes on as a straight line.

        Parameters
        ----------
        y : ndarray of shape (m,)
            Where.
        """
        x, rate, shift, slope_of_shift = self._inside(y)
        inside = np.clip(x, *self.spline.t[[0, -1]])
        score = self.spline(inside, 1)
        slope = np.where(inside == x, self.spline(inside, 2), 0.0)
        slope = slope * rate**2 + score * rate * shift + slope_of_shift
        score = score * rate + shift
        return score / self.scale, slope / self.scale**2

    def _inside(self, y: Array) -> tuple[Array, Array, Array, Array]:
        """The argument of the spline, and how scores change with it (`compression_rate`)."""
        x = (y - self.center) / self.scale
        if not self.heavy:
            return x, np.ones_like(x), np.zeros_like(x), np.zeros_like(x)
        return compress(x), *compression_rate(x)


def _mass(spline: BSpline, low: float, high: float) -> float:
    """∫ exp(spline) over a short piece, by Gauss–Legendre quadrature."""
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    half = (high - low) / 2
    return float(half * (weights @ np.exp(spline(low + half * (1 + nodes)))))
