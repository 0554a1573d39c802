"""Student's t distribution, on the line and in space."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special
from scipy.linalg import solve_triangular

from infoplane.distributions.base import Distribution, location, scatter
from infoplane.distributions.location_scale import LocationScale

Array = NDArray[np.float64]

# From here on ψ(x + ½) − ψ(x) is its asymptotic series to rounding, where the difference would cancel.
_FAR = 100.0


@dataclass(frozen=True)
class StudentT(LocationScale):
    """Student's t distribution with ν = df degrees of freedom: J = (ν + 1)/((ν + 3) scale²).

    H = ½(ν + 1)(ψ(½(ν + 1)) − ψ(½ν)) + log(√ν B(½ν, ½)) + log scale. ν = 1 is Cauchy's distribution; the
    variance is infinite for ν ≤ 2, and there is no mean for ν ≤ 1.

    Parameters
    ----------
    df : float
        ν.
    loc : float, default 0
        Centre.
    scale : float, default 1
        Unit of length; not the standard deviation, which is √(ν/(ν − 2)) units.

    Examples
    --------
    >>> from infoplane.distributions import StudentT
    >>> x = StudentT(5)
    >>> x.fisher_trace(), round(x.entropy_power() * x.fisher_trace(), 4)
    (0.75, 1.1382)
    """

    df: float
    loc: float = 0.0
    scale: float = 1.0
    _symmetric = True

    def _standard_entropy(self) -> float:
        return _entropy(self.df, 1)

    def _standard_fisher(self) -> float:
        return (self.df + 1) / (self.df + 3)

    def _standard_moments(self) -> tuple[float, float]:
        return _moments(self.df)

    def _standard_field(self, z: Array) -> tuple[Array, Array]:
        nu = self.df
        power = -0.5 * (nu + 1)
        return _log_constant(nu, 1) + power * np.log1p(z * z / nu), 2 * power * z / (nu + z * z)

    def _standard_draw(self, rng: np.random.Generator, n: int) -> Array:
        return rng.standard_t(self.df, n)


class MultivariateT(Distribution):
    """Student's t distribution in d dimensions: J = (ν + d)/(ν + d + 2) · shape⁻¹.

    A normal vector over √(χ²_ν/ν), the same for all coordinates: they are dependent even where they are
    uncorrelated. The covariance is ν/(ν − 2) · shape.

    Parameters
    ----------
    loc : array_like of shape (d,)
        Centre.
    shape : array_like of shape (d, d)
        Scatter matrix, positive definite.
    df : float
        ν.

    References
    ----------
    S. Kotz, S. Nadarajah, *Multivariate t Distributions and Their Applications*, Cambridge 2004, section 1.

    Examples
    --------
    >>> from infoplane.distributions import MultivariateT
    >>> MultivariateT([0, 0], [[1, 0], [0, 1]], df=6).fisher_trace()  # d(ν + d)/(ν + d + 2)
    1.6
    """

    def __init__(self, loc: ArrayLike, shape: ArrayLike, df: float) -> None:
        if not isinstance(df, int | float | np.number):
            raise TypeError(f"`df` must be a number, after `loc` and `shape`, got {df!r}")
        if not 0 < df < math.inf:
            raise ValueError(f"`df` must be positive and finite, got {df!r}")
        self.shape, self.df = scatter(shape, "shape"), float(df)
        self.loc = location(loc, len(self.shape), "loc")
        self._root = np.linalg.cholesky(self.shape)
        self._log_volume = float(np.log(np.diag(self._root)).sum())

    @property
    def d(self) -> int:
        """Number of dimensions."""
        return len(self.loc)

    def __repr__(self) -> str:
        return f"MultivariateT({self.loc.tolist()}, {self.shape.tolist()}, {self.df})"

    def _entropy(self) -> float:
        return self._log_volume + _entropy(self.df, self.d)

    def _fisher(self) -> Array:
        shrunk = (self.df + self.d) / (self.df + self.d + 2) * np.linalg.inv(self.shape)
        return np.asarray(shrunk, dtype=np.float64)

    def _field(self, x: Array) -> tuple[Array, Array]:
        z = solve_triangular(self._root, (x - self.loc).T, lower=True)
        squared = np.sum(z * z, axis=0)
        power = -0.5 * (self.df + self.d)
        log_density = _log_constant(self.df, self.d) - self._log_volume + power * np.log1p(squared / self.df)
        ray = solve_triangular(self._root, z, lower=True, trans="T")
        return log_density, (2 * power / (self.df + squared) * ray).T

    def _log_density(self, x: Array) -> Array:
        return self._field(x)[0]

    def _score(self, x: Array) -> Array:
        return self._field(x)[1]

    def _draw(self, rng: np.random.Generator, n: int) -> Array:
        z = rng.standard_normal((n, self.d)) / np.sqrt(rng.chisquare(self.df, (n, 1)) / self.df)
        return self.loc + z @ self._root.T

    def _mean(self) -> Array:
        return self.loc + _moments(self.df)[0]

    def _covariance(self) -> Array:
        variance = _moments(self.df)[1]
        if math.isfinite(variance):
            return variance * self.shape
        return np.where(self.shape == 0, math.nan, np.copysign(variance, self.shape))

    def _marginal(self, columns: list[int]) -> Distribution:
        return MultivariateT(self.loc[columns], self.shape[np.ix_(columns, columns)], self.df)

    def _image(self, matrix: Array, shift: Array) -> Distribution:
        return MultivariateT(matrix @ self.loc + shift, matrix @ self.shape @ matrix.T, self.df)

    def _landmarks(self) -> Sequence[float]:
        return [float(self.loc[0])]

    def _spread(self) -> float:
        return float(self._root[0, 0])


def _moments(nu: float) -> tuple[float, float]:
    """Mean and variance of a coordinate of unit scale."""
    variance = nu / (nu - 2) if nu > 2 else math.inf if nu > 1 else math.nan
    return 0.0 if nu > 1 else math.nan, variance


def _log_constant(nu: float, d: int) -> float:
    """log Γ(½(ν + d))/(Γ(½ν)(νπ)^{d/2}), without the cancellation of large gamma functions."""
    return float(special.gammaln(d / 2) - special.betaln(nu / 2, d / 2) - d / 2 * math.log(nu * math.pi))


def _entropy(nu: float, d: int) -> float:
    return (nu + d) / 2 * _digamma_step(nu / 2, d) - _log_constant(nu, d)


def _digamma_step(x: float, d: int) -> float:
    """ψ(x + d/2) − ψ(x)."""
    odd = d % 2
    whole = math.fsum(1 / (x + odd / 2 + k) for k in range(d // 2))
    if not odd:
        return whole
    if x < _FAR:
        return whole + float(special.digamma(x + 0.5) - special.digamma(x))
    return whole + 1 / (2 * x) + 1 / (8 * x**2) - 1 / (64 * x**4) + 1 / (128 * x**6)
