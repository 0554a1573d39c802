"""Families of distributions with their exact entropy H and Fisher information tr J, and a sampler.

Closed forms where there are any, otherwise quadrature to about 1e-9. "held out" families were not looked at
while the estimators were made.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from infoplane import distributions

Array = NDArray[np.float64]
Draw = Callable[[np.random.Generator, int, int], Array]
Density = Callable[[Array], tuple[Array, Array]]

HALF_LOG = 0.5 * math.log(2 * math.pi * math.e)


@dataclass(frozen=True)
class Family:
    """A distribution in each dimension d.

    `draw(rng, n, d)` is an (n, d) sample, `entropy(d)` H in nats, `fisher(d)` tr J. `spread` is sd(ψ)/J of
    the efficient influence function at d = 1: no regular estimate of J has a relative error below spread/√n.
    """

    draw: Draw
    entropy: Callable[[int], float]
    fisher: Callable[[int], float]
    held_out: bool = False
    smooth: bool = True
    spread: float | None = None


def sample(name: str, d: int, n: int, seed: int) -> Array:
    """The sample that every method sees: a function of its arguments alone."""
    rng = np.random.default_rng(np.random.SeedSequence([*name.encode(), d, n, seed]))
    return FAMILIES[name].draw(rng, n, d)


# --- Independent coordinates ------------------------------------------------------------------------------


def product(draw: Callable[..., Array], h: float, j: float, *, rotate: bool = False, **facts: Any) -> Family:
    """Independent coordinates with entropy h and Fisher information j each, in given or in turned axes."""

    def drawn(rng: np.random.Generator, n: int, d: int) -> Array:
        x = draw(rng, (n, d))
        return x @ rotation(d) if rotate else x

    return Family(drawn, lambda d: d * h, lambda d: d * j, **facts)


@cache
def rotation(d: int) -> Array:
    """A rotation in general position."""
    return np.linalg.qr(np.random.default_rng(d).standard_normal((d, d)))[0]


def _of(x: distributions.Distribution, draw: Callable[..., Array], **facts: Any) -> Family:
    """Independent coordinates of a known distribution."""
    return product(draw, x.entropy(), x.fisher_trace(), **facts)


def gamma(shape: float, **facts: Any) -> Family:
    x = distributions.Gamma(shape)
    return _of(x, lambda rng, size: rng.gamma(shape, size=size), smooth=False, **facts)


def beta(a: float, b: float) -> Family:
    """Of infinite Fisher information: a ≤ 2 here, so the score is not square-integrable at 0."""
    return _of(distributions.Beta(a, b), lambda rng, size: rng.beta(a, b, size), smooth=False)


def generalized_normal(power: float, **facts: Any) -> Family:
    """Density ∝ exp(−|x|^power)."""

    def draw(rng: np.random.Generator, size: tuple[int, int]) -> Array:
        magnitude = rng.gamma(1 / power, size=size) ** (1 / power)
        return magnitude * rng.choice([-1.0, 1.0], size)

    return _of(distributions.GeneralizedNormal(power), draw, **facts)


def sech(rng: np.random.Generator, size: tuple[int, int]) -> Array:
    """Density ½ sech(πx/2), by inversion."""
    return 2 / math.pi * np.log(np.tan(math.pi / 2 * rng.uniform(size=size)))


def lognormal(rng: np.random.Generator, size: tuple[int, int]) -> Array:
    return np.exp(rng.standard_normal(size))


# --- Densities on the line without a closed form ----------------------------------------------------------


def skew_normal(x: Array, slant: float = 4.0) -> tuple[Array, Array]:
    """log 2φ(x)Φ(slant·x) and its derivative."""
    log_normal, log_share = -0.5 * x**2 - 0.5 * math.log(2 * math.pi), special.log_ndtr(slant * x)
    hazard = np.exp(-0.5 * (slant * x) ** 2 - 0.5 * math.log(2 * math.pi) - log_share)
    return math.log(2) + log_normal + log_share, -x + slant * hazard


def draw_skew_normal(rng: np.random.Generator, n: int, d: int, slant: float = 4.0) -> Array:
    share = slant / math.hypot(1, slant)
    z = rng.standard_normal((2, n, d))
    return share * np.abs(z[0]) + math.sqrt(1 - share**2) * z[1]


def two_t(x: Array, half: float = 2.5, nu: float = 5.0) -> tuple[Array, Array]:
    """Equal mixture of two Student distributions at ±half."""
    u = x[..., None] - np.array([-half, half])
    constant = special.gammaln((nu + 1) / 2) - special.gammaln(nu / 2) - 0.5 * math.log(nu * math.pi)
    logs = constant - (nu + 1) / 2 * np.log1p(u**2 / nu) - math.log(2)
    return mixed(logs, -(nu + 1) * u / (nu + u**2))


def draw_two_t(rng: np.random.Generator, n: int, d: int) -> Array:
    x = rng.standard_t(5, (n, d))
    x[:, 0] += 2.5 * rng.choice([-1.0, 1.0], n)
    return x @ rotation(d)


def mixed(logs: Array, scores: Array) -> tuple[Array, Array]:
    """log density and score of a mixture, from those of its components along the last axis."""
    log_density = special.logsumexp(logs, axis=-1)
    return log_density, np.sum(np.exp(logs - log_density[..., None]) * scores, axis=-1)


@cache
def on_the_line(density: Density) -> tuple[float, float]:
    """H and J by the trapezoidal rule in u, x = sinh u: exponentially accurate for smooth densities."""
    u = np.linspace(-14, 14, 56_001)
    log_density, score = density(np.sinh(u))
    mass = np.exp(log_density) * np.cosh(u) * (u[1] - u[0])
    return -float(mass @ log_density), float(mass @ score**2)


# --- Mixtures of normals ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class NormalMixture:
    """Normals that differ from each other in a core of one or two coordinates, and are round in the others.

    Component k has mean `means[k]` and covariance `cores[k]` in the core, variance `rounds[k]` in the other
    coordinates; `rotated` says whether the whole is turned.
    """

    weights: Array
    means: Array
    cores: Array
    rounds: Array
    rotated: bool = False

    def draw(self, rng: np.random.Generator, n: int, d: int) -> Array:
        core = self.means.shape[1]
        k = rng.choice(self.weights.size, n, p=self.weights)
        x = rng.standard_normal((n, d)) * np.sqrt(self.rounds)[k, None]
        noise = rng.standard_normal((n, core))
        x[:, :core] = self.means[k] + np.einsum("nab,nb->na", np.linalg.cholesky(self.cores)[k], noise)
        return x @ rotation(d) if self.rotated else x

    def truth(self, d: int) -> tuple[float, float]:
        """H and tr J by quadrature over the core (trapezoids) and the radius in the rest (Gauss–Legendre)."""
        points, area = self._grid()
        logs, scores = self._core(points)
        rest = d - self.means.shape[1]
        if rest == 0:
            return self._integral(logs, scores, area, np.zeros(1), np.ones(1), np.zeros_like(logs[:1]))
        reach = math.sqrt(self.rounds.max()) * (math.sqrt(rest) + 9)
        nodes, gauss = np.polynomial.legendre.leggauss(96)
        radii = reach / 2 * (nodes + 1)
        sphere = math.log(2) + rest / 2 * math.log(math.pi) - special.gammaln(rest / 2)
        shells = gauss * reach / 2 * np.exp(sphere + (rest - 1) * np.log(radii))
        rounds = -0.5 * radii[:, None] ** 2 / self.rounds - rest / 2 * np.log(2 * math.pi * self.rounds)
        return self._integral(logs, scores, area, radii, shells, rounds)

    def _grid(self) -> tuple[Array, float]:
        sds = np.sqrt(np.linalg.eigvalsh(self.cores))
        step, reach = sds.min() / 3, 9 * sds.max()
        axes = [
            np.arange(low - reach, high + reach, step)
            for low, high in zip(self.means.min(0), self.means.max(0), strict=True)
        ]
        return np.stack([g.ravel() for g in np.meshgrid(*axes)], axis=-1), step ** len(axes)

    def _core(self, points: Array) -> tuple[Array, Array]:
        """Of each component at each point: log weight and density, (m, K), and score, (m, q, K)."""
        gaps = points[:, None] - self.means
        scores = -np.einsum("kab,mkb->mak", np.linalg.inv(self.cores), gaps)
        log_det = np.linalg.slogdet(2 * math.pi * self.cores)[1]
        logs = np.log(self.weights) - 0.5 * log_det + 0.5 * np.einsum("mka,mak->mk", gaps, scores)
        return logs, scores

    def _integral(
        self, logs: Array, scores: Array, area: float, radii: Array, shells: Array, rounds: Array
    ) -> tuple[float, float]:
        h = j = 0.0
        for radius, shell, log_round in zip(radii, shells, rounds, strict=True):
            terms = logs + log_round
            log_density = special.logsumexp(terms, axis=1)
            shares = np.exp(terms - log_density[:, None])
            slope = np.einsum("mak,mk->ma", scores, shares)
            square = np.einsum("ma,ma->m", slope, slope) + (radius * (shares @ (1 / self.rounds))) ** 2
            mass = np.exp(log_density) * area * shell
            h -= float(mass @ log_density)
            j += float(mass @ square)
        return h, j


def two_normals(d: int) -> NormalMixture:
    one = np.ones((2, 1, 1))
    return NormalMixture(np.array([0.5, 0.5]), np.array([[-1.5], [1.5]]), one, np.ones(2))


def three_normals(d: int) -> NormalMixture:
    """Of unequal weight, size and shape."""
    variances = np.array([1.0, 0.4, 0.8])
    weights, q = np.array([0.5, 0.3, 0.2]), min(d, 2)
    means = np.array([[0.0, 0.0], [3.0, 2.0], [-2.5, 2.0]])[:, :q]
    cores = variances[:, None, None] * np.eye(q)
    if d > 1:
        cores[0, 0, 1] = cores[0, 1, 0] = 0.6
    return NormalMixture(weights, means, cores, variances)


def clusters(d: int) -> NormalMixture:
    """Three round clusters in general position: centres normal with sd 4.5/√d, sizes 0.5, 1 and 0.3."""
    centers = np.random.default_rng(11).standard_normal((3, d)) * 4.5 / math.sqrt(d)
    variances = np.array([0.5, 1.0, 0.3]) ** 2
    gaps = centers - centers[0]
    if d > 2:  # coordinates in the plane of the centres
        gaps = gaps @ np.linalg.qr(gaps[1:].T)[0]
    cores = variances[:, None, None] * np.eye(gaps.shape[1])
    return NormalMixture(np.array([0.4, 0.35, 0.25]), gaps, cores, variances, rotated=True)


def normals(make: Callable[[int], NormalMixture], spread: float | None = None) -> Family:
    truth = cache(lambda d: make(d).truth(d))
    return Family(
        lambda rng, n, d: make(d).draw(rng, n, d), lambda d: truth(d)[0], lambda d: truth(d)[1], spread=spread
    )


# --- Dependent coordinates --------------------------------------------------------------------------------


def student(nu: float, **facts: Any) -> Family:
    """Multivariate Student distribution of unit scale."""

    def draw(rng: np.random.Generator, n: int, d: int) -> Array:
        return rng.standard_normal((n, d)) / np.sqrt(rng.chisquare(nu, (n, 1)) / nu)

    def x(d: int) -> distributions.Distribution:
        return distributions.MultivariateT(np.zeros(d), np.eye(d), nu)

    return Family(draw, lambda d: x(d).entropy(), lambda d: x(d).fisher_trace(), **facts)


def draw_banana(rng: np.random.Generator, n: int, d: int) -> Array:
    """x₂ | x₁ ~ N(0.7(x₁² − 1), 0.7²), the others standard normal."""
    x = rng.standard_normal((n, d))
    x[:, 1] = 0.7 * x[:, 1] + 0.7 * (x[:, 0] ** 2 - 1)
    return x


def draw_bananas(rng: np.random.Generator, n: int, d: int) -> Array:
    """Pairs (a, a² + b/2) of normal a, b."""
    x = rng.standard_normal((n, d))
    x[:, 1::2] = 0.5 * x[:, 1::2] + x[:, : 2 * (d // 2) : 2] ** 2
    return x


def draw_funnel(rng: np.random.Generator, n: int, d: int, growth: float = 0.6) -> Array:
    """x₁ ~ N(0, 1), the others N(0, exp(2·growth·x₁)) given it: strongly heteroscedastic."""
    x = rng.standard_normal((n, d))
    x[:, 1:] *= np.exp(growth * x[:, :1])
    return x


def funnel_fisher(d: int, growth: float = 0.6) -> float:
    return 1 + 2 * growth**2 * (d - 1) + (d - 1) * math.exp(2 * growth**2)


def draw_shell(rng: np.random.Generator, n: int, d: int, shape: float = 40.0) -> Array:
    """Uniform direction, radius of the gamma distribution."""
    x = rng.standard_normal((n, d))
    return x / np.linalg.norm(x, axis=1, keepdims=True) * rng.gamma(shape, size=(n, 1))


def shell_entropy(d: int, shape: float = 40.0) -> float:
    sphere = math.log(2) + d / 2 * math.log(math.pi) - math.lgamma(d / 2)
    radius = shape + math.lgamma(shape) + (1 - shape) * special.digamma(shape)
    return float(radius + sphere + (d - 1) * special.digamma(shape))


def shell_fisher(d: int, shape: float = 40.0) -> float:
    """E[((shape − d)/r − 1)²]."""
    first, second = 1 / (shape - 1), 1 / ((shape - 1) * (shape - 2))
    return (shape - d) ** 2 * second - 2 * (shape - d) * first + 1


T5 = (student(5).entropy(1), 6 / 8)  # H and J of one coordinate
GUMBEL = (1 + float(np.euler_gamma), 1.0)


def standard(rng: np.random.Generator, size: tuple[int, int]) -> Array:
    return rng.standard_normal(size)


def laplace(rng: np.random.Generator, size: tuple[int, int]) -> Array:
    return rng.laplace(size=size)


def uniform(rng: np.random.Generator, size: tuple[int, int]) -> Array:
    return rng.uniform(size=size)


def gumbel(rng: np.random.Generator, size: tuple[int, int]) -> Array:
    return rng.gumbel(size=size)


FAMILIES = {
    "normal": product(standard, HALF_LOG, 1.0, spread=math.sqrt(2)),
    "t5": student(5, spread=1.91),
    "t3": student(3),
    "logistic": product(lambda rng, size: rng.logistic(size=size), 2.0, 1 / 3, spread=1.79),
    "generalised normal 4": generalized_normal(4, spread=2.03),
    "two normals": normals(two_normals, spread=2.63),
    "three normals": normals(three_normals, spread=3.53),
    "clusters": normals(clusters),
    "laplace": product(laplace, 1 + math.log(2), 1.0, smooth=False),
    "laplace rotated": product(laplace, 1 + math.log(2), 1.0, smooth=False, rotate=True),
    "gamma 3": gamma(3),
    "gamma 2": gamma(2),
    "gamma 0.5": gamma(0.5),
    "exponential": gamma(1),
    "uniform": product(uniform, 0.0, math.inf, smooth=False),
    "uniform rotated": product(uniform, 0.0, math.inf, smooth=False, rotate=True),
    "beta 0.5, 0.5": beta(0.5, 0.5),
    "beta 2, 5": beta(2, 5),
    "lognormal": product(lognormal, HALF_LOG, 2 * math.e**2, smooth=False),
    "banana": Family(draw_banana, lambda d: d * HALF_LOG + math.log(0.7), lambda d: 5 + 1 / 0.49 + (d - 2)),
    "bananas": Family(
        draw_bananas,
        lambda d: d * HALF_LOG - d // 2 * math.log(2),
        lambda d: 21 * (d // 2) + d % 2,
    ),
    "gumbel": product(gumbel, *GUMBEL, held_out=True),
    "skew normal": Family(
        draw_skew_normal,
        lambda d: d * on_the_line(skew_normal)[0],
        lambda d: d * on_the_line(skew_normal)[1],
        held_out=True,
    ),
    "hyperbolic secant": product(sech, math.log(4), math.pi**2 / 8, held_out=True),
    "two t": Family(
        draw_two_t,
        lambda d: on_the_line(two_t)[0] + (d - 1) * T5[0],
        lambda d: on_the_line(two_t)[1] + (d - 1) * T5[1],
        held_out=True,
    ),
    "gumbel rotated": product(gumbel, *GUMBEL, held_out=True, rotate=True),
    "gamma 4 rotated": gamma(4, held_out=True, rotate=True),
    "funnel": Family(draw_funnel, lambda d: d * HALF_LOG, funnel_fisher, held_out=True),
    "shell": Family(draw_shell, shell_entropy, shell_fisher, held_out=True),
}
