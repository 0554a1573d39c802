"""Symmetric families on the line with lighter tails than Student's: Laplace, logistic, generalised normal."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from infoplane.distributions.location_scale import LocationScale

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Laplace(LocationScale):
    """Laplace distribution, density ∝ exp(−|x − loc|/scale): H = 1 + log(2 scale), J = 1/scale².

    The score jumps at `loc`, where it is set to 0.

    Parameters
    ----------
    loc : float, default 0
        Mean.
    scale : float, default 1
        Mean distance from it.

    Examples
    --------
    >>> from infoplane.distributions import Laplace
    >>> x = Laplace(scale=0.5)
    >>> x.entropy(), x.fisher_trace()
    (1.0, 4.0)
    """

    loc: float = 0.0
    scale: float = 1.0
    _symmetric = True

    def _standard_entropy(self) -> float:
        return 1 + math.log(2)

    def _standard_fisher(self) -> float:
        return 1.0

    def _standard_moments(self) -> tuple[float, float]:
        return 0.0, 2.0

    def _standard_field(self, z: Array) -> tuple[Array, Array]:
        return -np.abs(z) - math.log(2), -np.sign(z)

    def _standard_draw(self, rng: np.random.Generator, n: int) -> Array:
        return rng.laplace(size=n)


@dataclass(frozen=True)
class Logistic(LocationScale):
    """Logistic distribution: H = 2 + log scale, J = 1/(3 scale²).

    Parameters
    ----------
    loc : float, default 0
        Mean.
    scale : float, default 1
        Unit of length; the variance is π²/3 of its square.

    Examples
    --------
    >>> from infoplane.distributions import Logistic
    >>> Logistic().score([-1.0, 0.0, 1.0]).round(4).ravel()  # −tanh(x/2)
    array([ 0.4621, -0.    , -0.4621])
    """

    loc: float = 0.0
    scale: float = 1.0
    _symmetric = True

    def _standard_entropy(self) -> float:
        return 2.0

    def _standard_fisher(self) -> float:
        return 1 / 3

    def _standard_moments(self) -> tuple[float, float]:
        return 0.0, math.pi**2 / 3

    def _standard_field(self, z: Array) -> tuple[Array, Array]:
        far = np.abs(z)
        return -far - 2 * np.log1p(np.exp(-far)), -np.tanh(z / 2)

    def _standard_draw(self, rng: np.random.Generator, n: int) -> Array:
        return rng.logistic(size=n)


@dataclass(frozen=True)
class GeneralizedNormal(LocationScale):
    """Density ∝ exp(−|z|^β), z = (x − loc)/scale: Laplace at β = 1, normal at 2, uniform as β → ∞.

    H = 1/β + log(2Γ(1/β)/β) + log scale, and J = β² Γ(2 − 1/β)/(Γ(1/β) scale²) for β > ½; for β ≤ ½ the cusp
    at `loc` makes it infinite.

    Parameters
    ----------
    beta : float
        β.
    loc : float, default 0
        Mean.
    scale : float, default 1
        Unit of length; √2 standard deviations for β = 2.

    References
    ----------
    E. Lutwak, D. Yang, G. Zhang, IEEE Trans. Inf. Theory 51 (2005) 473–478.

    Examples
    --------
    >>> from infoplane.distributions import GeneralizedNormal
    >>> x = GeneralizedNormal(4.0)
    >>> round(x.entropy_power() * x.fisher_trace(), 4)
    1.2866
    """

    beta: float
    loc: float = 0.0
    scale: float = 1.0
    _symmetric = True

    def _standard_entropy(self) -> float:
        return 1 / self.beta + self._log_norm()

    def _standard_fisher(self) -> float:
        if self.beta <= 0.5:
            return math.inf
        b = self.beta
        return float(b**2 * np.exp(special.gammaln(2 - 1 / b) - special.gammaln(1 / b)))

    def _standard_moments(self) -> tuple[float, float]:
        b = self.beta
        return 0.0, float(np.exp(special.gammaln(3 / b) - special.gammaln(1 / b)))

    def _standard_field(self, z: Array) -> tuple[Array, Array]:
        b, far = self.beta, np.abs(z)
        # A cusp (β < 1) has no slope: 0, as at the kink of Laplace.
        safe = np.where(far > 0, far, 1.0)
        return -(far**b) - self._log_norm(), -b * np.sign(z) * safe ** (b - 1)

    def _log_norm(self) -> float:
        return float(math.log(2 / self.beta) + special.gammaln(1 / self.beta))

    def _standard_draw(self, rng: np.random.Generator, n: int) -> Array:
        magnitude = rng.gamma(1 / self.beta, size=n) ** (1 / self.beta)
        return magnitude * rng.choice([-1.0, 1.0], n)
