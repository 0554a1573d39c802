"""Families on an interval: uniform and beta."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from infoplane.distributions.location_scale import Supported

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Uniform(Supported):
    """Uniform distribution on [loc, loc + scale]: H = log scale, and J = ∞, because the density jumps.

    Parameters
    ----------
    loc : float, default 0
        Lower edge.
    scale : float, default 1
        Width.

    Examples
    --------
    >>> from infoplane.distributions import Uniform
    >>> x = Uniform(scale=3.0)
    >>> round(x.entropy(), 4), x.fisher_trace()
    (1.0986, inf)
    """

    loc: float = 0.0
    scale: float = 1.0
    _support = (0.0, 1.0)

    def _standard_entropy(self) -> float:
        return 0.0

    def _standard_fisher(self) -> float:
        return math.inf

    def _standard_moments(self) -> tuple[float, float]:
        return 0.5, 1 / 12

    def _inner_field(self, z: Array) -> tuple[Array, Array]:
        return np.zeros_like(z), np.zeros_like(z)

    def _standard_draw(self, rng: np.random.Generator, n: int) -> Array:
        return rng.uniform(size=n)


@dataclass(frozen=True)
class Beta(Supported):
    """Beta distribution, density ∝ z^{a−1}(1 − z)^{b−1}.

    H = log B(a, b) − (a − 1)ψ(a) − (b − 1)ψ(b) + (a + b − 2)ψ(a + b) + log scale, and for a, b > 2
    J = (a + b − 1)(a + b − 2)(a + b − 4)/((a − 2)(b − 2) scale²); it is infinite if a ≤ 2 or b ≤ 2.

    Parameters
    ----------
    a, b : float
        Shapes, which govern the lower and the upper edge.
    loc : float, default 0
        Lower edge.
    scale : float, default 1
        Width.

    Examples
    --------
    >>> from infoplane.distributions import Beta
    >>> Beta(3, 3).fisher_trace(), Beta(2, 5).fisher_trace()
    (40.0, inf)
    """

    a: float
    b: float
    loc: float = 0.0
    scale: float = 1.0
    _support = (0.0, 1.0)

    def _standard_entropy(self) -> float:
        a, b, psi = self.a, self.b, special.digamma
        return float(special.betaln(a, b) - (a - 1) * psi(a) - (b - 1) * psi(b) + (a + b - 2) * psi(a + b))

    def _standard_fisher(self) -> float:
        a, b = self.a, self.b
        if min(a, b) <= 2:
            return math.inf
        return (a + b - 1) * (a + b - 2) * (a + b - 4) / ((a - 2) * (b - 2))

    def _standard_moments(self) -> tuple[float, float]:
        s = self.a + self.b
        return self.a / s, self.a * self.b / (s**2 * (s + 1))

    def _inner_field(self, z: Array) -> tuple[Array, Array]:
        a, b = self.a, self.b
        log_density = special.xlogy(a - 1, z) + special.xlog1py(b - 1, -z) - special.betaln(a, b)
        return log_density, (a - 1) / z - (b - 1) / (1 - z)

    def _standard_draw(self, rng: np.random.Generator, n: int) -> Array:
        return rng.beta(self.a, self.b, n)
