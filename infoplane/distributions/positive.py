"""Skewed families: on a half line (gamma, exponential, Weibull, log-normal), and Gumbel's on the line.

On a half line J is finite if the density vanishes at the edge, and does so smoothly enough for ∫ f′²/f.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from infoplane.distributions.location_scale import LocationScale, Supported

Array = NDArray[np.float64]

_EULER = float(np.euler_gamma)


@dataclass(frozen=True)
class Gamma(Supported):
    """Gamma distribution, density ∝ z^{a−1} exp(−z): H = a + log Γ(a) + (1 − a)ψ(a) + log scale.

    J = 1/((a − 2) scale²) for a > 2. It is infinite for a ≤ 2: the density then jumps (a ≤ 1) at `loc`, or
    rises from it too steeply, like z^{a−1}.

    Parameters
    ----------
    a : float
        Shape.
    loc : float, default 0
        Lower edge.
    scale : float, default 1
        Unit of length.

    Examples
    --------
    >>> from infoplane.distributions import Gamma
    >>> Gamma(4).fisher_trace(), Gamma(2).fisher_trace()
    (0.5, inf)
    """

    a: float
    loc: float = 0.0
    scale: float = 1.0

    def _standard_entropy(self) -> float:
        a = self.a
        return float(a + special.gammaln(a) + (1 - a) * special.digamma(a))

    def _standard_fisher(self) -> float:
        return 1 / (self.a - 2) if self.a > 2 else math.inf

    def _standard_moments(self) -> tuple[float, float]:
        return self.a, self.a

    def _inner_field(self, z: Array) -> tuple[Array, Array]:
        a = self.a
        return special.xlogy(a - 1, z) - z - special.gammaln(a), (a - 1) / z - 1

    def _standard_draw(self, rng: np.random.Generator, n: int) -> Array:
        return rng.gamma(self.a, size=n)


@dataclass(frozen=True)
class Exponential(Supported):
    """Exponential distribution: H = 1 + log scale, and J = ∞, because the density jumps at `loc`.

    The mean of the squared score, 1/scale², is not its Fisher information of location: it misses the jump.

    Parameters
    ----------
    loc : float, default 0
        Lower edge.
    scale : float, default 1
        Mean distance from it.

    Examples
    --------
    >>> from infoplane.distributions import Exponential
    >>> Exponential(scale=2.0).fisher_trace()
    inf
    """

    loc: float = 0.0
    scale: float = 1.0

    def _standard_entropy(self) -> float:
        return 1.0

    def _standard_fisher(self) -> float:
        return math.inf

    def _standard_moments(self) -> tuple[float, float]:
        return 1.0, 1.0

    def _inner_field(self, z: Array) -> tuple[Array, Array]:
        return -z, np.full_like(z, -1.0)

    def _standard_draw(self, rng: np.random.Generator, n: int) -> Array:
        return rng.exponential(size=n)


@dataclass(frozen=True)
class Weibull(Supported):
    """Weibull's distribution, density c z^{c−1} exp(−z^c): H = γ(1 − 1/c) − log c + 1 + log scale.

    J = (c − 1)² Γ(1 − 2/c)/scale² for c > 2, infinite for c ≤ 2; γ is Euler's constant.

    Parameters
    ----------
    c : float
        Shape; `scipy.stats.weibull_min` has the same.
    loc : float, default 0
        Lower edge.
    scale : float, default 1
        Unit of length.

    Examples
    --------
    >>> from infoplane.distributions import Weibull
    >>> round(Weibull(4).fisher_trace(), 4)  # 9 √π
    15.9521
    """

    c: float
    loc: float = 0.0
    scale: float = 1.0

    def _standard_entropy(self) -> float:
        return _EULER * (1 - 1 / self.c) - math.log(self.c) + 1

    def _standard_fisher(self) -> float:
        return (self.c - 1) ** 2 * math.gamma(1 - 2 / self.c) if self.c > 2 else math.inf

    def _standard_moments(self) -> tuple[float, float]:
        first, second = special.gamma(1 + np.array([1.0, 2.0]) / self.c)
        return float(first), float(second - first**2)

    def _inner_field(self, z: Array) -> tuple[Array, Array]:
        c = self.c
        return math.log(c) + special.xlogy(c - 1, z) - z**c, (c - 1) / z - c * z ** (c - 1)

    def _standard_draw(self, rng: np.random.Generator, n: int) -> Array:
        return rng.weibull(self.c, n)


@dataclass(frozen=True)
class LogNormal(Supported):
    """Log-normal distribution, log z ~ N(0, s²): H = ½ log(2πe s²) + log scale.

    J = exp(2s²)(1 + 1/s²)/scale² is always finite: the density vanishes at the edge with all its derivatives.

    Parameters
    ----------
    s : float
        Standard deviation of log z.
    loc : float, default 0
        Lower edge.
    scale : float, default 1
        Median distance from it, exp μ.

    Examples
    --------
    >>> from infoplane.distributions import LogNormal
    >>> round(LogNormal(1.0).fisher_trace(), 4)  # 2e²
    14.7781
    """

    s: float
    loc: float = 0.0
    scale: float = 1.0

    def _standard_entropy(self) -> float:
        return 0.5 * (math.log(2 * math.pi) + 1) + math.log(self.s)

    def _standard_fisher(self) -> float:
        return math.exp(2 * self.s**2) * (1 + 1 / self.s**2)

    def _standard_moments(self) -> tuple[float, float]:
        return math.exp(self.s**2 / 2), math.expm1(self.s**2) * math.exp(self.s**2)

    def _inner_field(self, z: Array) -> tuple[Array, Array]:
        # At the edge itself the density is zero.
        y = np.log(np.where(z > 0, z, 1.0))
        log_density = -0.5 * (y / self.s) ** 2 - y - math.log(self.s * math.sqrt(2 * math.pi))
        return np.where(z > 0, log_density, -math.inf), -(1 + y / self.s**2) / z

    def _standard_draw(self, rng: np.random.Generator, n: int) -> Array:
        return rng.lognormal(sigma=self.s, size=n)

    def _standard_landmarks(self) -> Sequence[float]:
        return (0.0, 1.0)


@dataclass(frozen=True)
class Gumbel(LocationScale):
    """Gumbel's distribution of maxima, density exp(−z − exp(−z)): H = 1 + γ + log scale, J = 1/scale².

    γ is Euler's constant.

    Parameters
    ----------
    loc : float, default 0
        Mode; `scipy.stats.gumbel_r` has the same.
    scale : float, default 1
        Unit of length; the variance is π²/6 of its square.

    Examples
    --------
    >>> from infoplane.distributions import Gumbel
    >>> x = Gumbel()
    >>> round(x.entropy(), 4), x.fisher_trace()
    (1.5772, 1.0)
    """

    loc: float = 0.0
    scale: float = 1.0

    def _standard_entropy(self) -> float:
        return 1 + _EULER

    def _standard_fisher(self) -> float:
        return 1.0

    def _standard_moments(self) -> tuple[float, float]:
        return _EULER, math.pi**2 / 6

    def _standard_field(self, z: Array) -> tuple[Array, Array]:
        hazard = np.exp(-z)
        return -z - hazard, hazard - 1

    def _standard_draw(self, rng: np.random.Generator, n: int) -> Array:
        return rng.gumbel(size=n)
