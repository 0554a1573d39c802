"""The normal distribution, on the line and in space."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import solve_triangular

from infoplane.distributions.base import Distribution, location, scatter
from infoplane.distributions.location_scale import LocationScale

Array = NDArray[np.float64]

_LOG_2PI = math.log(2 * math.pi)


@dataclass(frozen=True)
class Normal(LocationScale):
    """Normal distribution N(loc, scale²): H = ½ log(2πe scale²), J = 1/scale².

    The one for which N = σ² = 1/J, so that Stam's, Cramér and Rao's and the entropy power inequalities
    are equalities.

    Parameters
    ----------
    loc : float, default 0
        Mean.
    scale : float, default 1
        Standard deviation σ.

    Examples
    --------
    >>> from infoplane.distributions import Normal
    >>> x = Normal(scale=2.0)
    >>> round(x.entropy_power(), 12), x.fisher_trace()
    (4.0, 0.25)
    """

    loc: float = 0.0
    scale: float = 1.0
    _symmetric = True

    def _standard_entropy(self) -> float:
        return 0.5 * (_LOG_2PI + 1)

    def _standard_fisher(self) -> float:
        return 1.0

    def _standard_moments(self) -> tuple[float, float]:
        return 0.0, 1.0

    def _standard_field(self, z: Array) -> tuple[Array, Array]:
        return -0.5 * (z * z + _LOG_2PI), -z

    def _standard_draw(self, rng: np.random.Generator, n: int) -> Array:
        return rng.standard_normal(n)


class MultivariateNormal(Distribution):
    """Normal distribution N(μ, Σ) in d dimensions: H = ½ log|2πe Σ|, J = Σ⁻¹.

    Parameters
    ----------
    mean : array_like of shape (d,)
        μ.
    cov : array_like of shape (d, d)
        Σ, positive definite.

    Examples
    --------
    >>> from infoplane.distributions import MultivariateNormal
    >>> x = MultivariateNormal([0, 0], [[2, 1], [1, 1]])
    >>> round(x.entropy_power(), 12)  # |Σ|^{1/2}
    1.0
    >>> x.fisher_information().round(12)
    array([[ 1., -1.],
           [-1.,  2.]])
    """

    def __init__(self, mean: ArrayLike, cov: ArrayLike) -> None:
        self.cov = scatter(cov, "cov")
        self.loc = location(mean, len(self.cov), "mean")
        self.root = np.linalg.cholesky(self.cov)
        self._log_volume = float(np.log(np.diag(self.root)).sum())

    @property
    def d(self) -> int:
        """Number of dimensions."""
        return len(self.loc)

    def __repr__(self) -> str:
        return f"MultivariateNormal({self.loc.tolist()}, {self.cov.tolist()})"

    def _entropy(self) -> float:
        return self._log_volume + 0.5 * self.d * (_LOG_2PI + 1)

    def _fisher(self) -> Array:
        return np.asarray(np.linalg.inv(self.cov), dtype=np.float64)

    def _field(self, x: Array) -> tuple[Array, Array]:
        z = solve_triangular(self.root, (x - self.loc).T, lower=True)
        score = -solve_triangular(self.root, z, lower=True, trans="T").T
        return -0.5 * (np.sum(z * z, axis=0) + self.d * _LOG_2PI) - self._log_volume, score

    def _log_density(self, x: Array) -> Array:
        return self._field(x)[0]

    def _score(self, x: Array) -> Array:
        return self._field(x)[1]

    def _draw(self, rng: np.random.Generator, n: int) -> Array:
        return self.loc + rng.standard_normal((n, self.d)) @ self.root.T

    def _mean(self) -> Array:
        return self.loc.copy()

    def _covariance(self) -> Array:
        return self.cov.copy()

    def _marginal(self, columns: list[int]) -> Distribution:
        return MultivariateNormal(self.loc[columns], self.cov[np.ix_(columns, columns)])

    def _image(self, matrix: Array, shift: Array) -> Distribution:
        return MultivariateNormal(matrix @ self.loc + shift, matrix @ self.cov @ matrix.T)

    def _landmarks(self) -> Sequence[float]:
        return [float(self.loc[0])]

    def _spread(self) -> float:
        return float(self.root[0, 0])
