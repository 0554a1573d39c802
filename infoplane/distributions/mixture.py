"""Mixtures, whose entropy and Fisher information take quadrature or Monte Carlo."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from infoplane.distributions.base import Distribution, scatter
from infoplane.distributions.normal import MultivariateNormal
from infoplane.distributions.quadrature import box_rule, integrals, line_rule, log_sum
from infoplane.estimate import Estimate

Array = NDArray[np.float64]

_LOG_2PI = math.log(2 * math.pi)
# Step of the double-exponential rule: narrow components beside wide ones cost resolution.
_STEP = 1 / 64
# Of trapezoids, in standard deviations of the narrowest component, and how far they reach.
_FINE, _FAR = 0.28, 9.0
# Nodes, and components times nodes, above which a grid is given up.
_MOST_NODES, _MOST_TERMS = 1_000_000, 300_000_000
# Numbers that a density of normals handles at once.
_AT_ONCE = 2_000_000


class Drawn(NamedTuple):
    """Draws from each component, and the field of the mixture there.

    Attributes
    ----------
    weights : ndarray of shape (K,)
        Of the components.
    log_densities : list of ndarray of shape (n_k,)
        log f at the draws from each.
    scores : list of ndarray of shape (n_k, d)
        ∇ log f there.
    """

    weights: Array
    log_densities: list[Array]
    scores: list[Array]


class Mixture(Distribution):
    """Mixture Σ w_k f_k of distributions of the same dimension.

    In one dimension H and J are found by quadrature, split where a component has its bulk, a kink or an edge;
    in more by Monte Carlo, stratified over the components, as `Estimate`s with standard errors.

    Parameters
    ----------
    parts : sequence of Distribution
        The f_k.
    weights : array_like of shape (K,), optional
        The w_k, positive, which are divided by their sum; equal by default.
    draws : int, default 50,000
        Of Monte Carlo.
    seed : int, default 0
        Of Monte Carlo, so that a mixture always gives the same number.

    Notes
    -----
    J is `nan`, not known, if that of a component is infinite: edges of components may cover or cancel each
    other (½ Exponential and its mirror image are Laplace's distribution). Quadrature is good to about 1e-9,
    unless J of a component is nearly infinite (as of `Gamma(2.1)`). By Monte Carlo the matrix J comes without
    errors; that of tr J tells their size.

    References
    ----------
    H. Takahasi, M. Mori, Publ. RIMS Kyoto Univ. 9 (1974) 721–741: the quadrature.

    Examples
    --------
    >>> from infoplane.distributions import Laplace, Logistic, Mixture
    >>> x = Mixture([Laplace(), Logistic(loc=4.0)], [0.7, 0.3])
    >>> round(x.entropy(), 6), round(x.fisher_trace(), 6)
    (2.175297, 0.64987)
    """

    def __init__(
        self,
        parts: Sequence[Distribution],
        weights: ArrayLike | None = None,
        *,
        draws: int = 50_000,
        seed: int = 0,
    ) -> None:
        self._parts = tuple(parts)
        if not self._parts or not all(isinstance(part, Distribution) for part in self._parts):
            raise TypeError(f"`parts` must be a sequence of distributions, got {parts!r}")
        dimensions = [part.d for part in self._parts]
        if len(set(dimensions)) > 1:
            raise ValueError(f"`parts` must have the same number of dimensions, got {dimensions}")
        self._weigh(weights, len(self._parts), draws, seed)

    def _weigh(self, weights: ArrayLike | None, count: int, draws: int, seed: int) -> None:
        self.weights = _shares(weights, count)
        if draws < 1:
            raise ValueError(f"`draws` must be at least 1, got {draws!r}")
        self.draws, self.seed = draws, seed

    @property
    def parts(self) -> tuple[Distribution, ...]:
        """The components."""
        return self._parts

    @property
    def d(self) -> int:
        """Number of dimensions."""
        return self.parts[0].d

    def __repr__(self) -> str:
        return f"Mixture({list(self.parts)!r}, {self.weights.tolist()})"

    def with_parts(self, parts: Sequence[Distribution]) -> Mixture:
        """Mixture of other components with the same weights.

        Parameters
        ----------
        parts : sequence of Distribution
            As many as there are weights.
        """
        return Mixture(parts, self.weights, draws=self.draws, seed=self.seed)

    # --- Density ------------------------------------------------------------------------------------------

    def _field(self, x: Array) -> tuple[Array, Array]:
        fields = [part._field(x) for part in self.parts]
        log_density, shares = log_sum(np.stack([f[0] for f in fields], axis=1) + np.log(self.weights))
        # A component that has no density here has no score to weigh; where none has, there is none.
        weighed = [(s, f[1]) for s, f in zip(shares.T[:, :, None], fields, strict=True)]
        with np.errstate(invalid="ignore"):
            return log_density, np.sum([np.where(s == 0, 0.0, s * score) for s, score in weighed], axis=0)

    def _log_density(self, x: Array) -> Array:
        return self._field(x)[0]

    def _score(self, x: Array) -> Array:
        return self._field(x)[1]

    # --- Integrals ----------------------------------------------------------------------------------------

    def _entropy(self) -> float:
        if self._integrals is not None:
            return self._integrals[0]
        return self._estimate([-logs for logs in self._drawn.log_densities], positive=False)

    def _fisher(self) -> Array:
        if not self._smooth:
            return np.full((self.d, self.d), math.nan)
        if self._integrals is not None:
            return self._integrals[1].copy()
        drawn = zip(self._drawn.weights, self._drawn.scores, strict=True)
        return np.sum([w * (s.T @ s) / len(s) for w, s in drawn], axis=0)

    def _trace(self, metric: Array) -> float:
        if not self._smooth:
            return math.nan
        if self._integrals is not None:
            return float(np.sum(metric * self._integrals[1]))
        return self._estimate([np.sum(s @ metric * s, axis=1) for s in self._drawn.scores], positive=True)

    @cached_property
    def _smooth(self) -> bool:
        return all(np.isfinite(part.fisher_trace()) for part in self.parts)

    @cached_property
    def _integrals(self) -> tuple[float, Array] | None:
        """H and J by quadrature, or None where that would take too many nodes."""
        if self.d > 1:
            return None
        nodes, weights = line_rule(self._landmarks(), self._spread(), _STEP)
        return integrals(self._field, nodes[:, None], weights)

    @cached_property
    def _drawn(self) -> Drawn:
        rng = np.random.default_rng(self.seed)
        fields = [
            self._field(part._draw(rng, max(100, round(w * self.draws))))
            for w, part in zip(self.weights, self.parts, strict=True)
        ]
        return Drawn(self.weights, [f[0] for f in fields], [f[1] for f in fields])

    def _estimate(self, terms: Sequence[Array], *, positive: bool) -> Estimate:
        """Mean over strata."""
        means, variances = np.array([(t.mean(), t.var() / (t.size - 1)) for t in terms]).T
        return Estimate(
            float(self.weights @ means),
            standard_error=math.sqrt(self.weights**2 @ variances),
            method="monte-carlo",
            n=sum(t.size for t in terms),
            d=self.d,
            positive=positive,
        )

    # --- The rest -------------------------------------------------------------------------------------------

    def _draw(self, rng: np.random.Generator, n: int) -> Array:
        x = np.empty((n, self.d))
        labels = rng.choice(len(self.parts), n, p=self.weights)
        for k in np.unique(labels):
            own = labels == k
            x[own] = self.parts[k]._draw(rng, int(own.sum()))
        return x

    def _mean(self) -> Array:
        return self.weights @ np.stack([part.mean() for part in self.parts])

    def _covariance(self) -> Array:
        means = np.stack([part.mean() for part in self.parts])
        within = np.einsum("k,kab->ab", self.weights, np.stack([part.covariance() for part in self.parts]))
        gaps = means - self.weights @ means
        return within + (gaps.T * self.weights) @ gaps

    def _marginal(self, columns: list[int]) -> Distribution:
        return self.with_parts([part.marginal(columns) for part in self.parts])

    def _image(self, matrix: Array, shift: Array) -> Distribution:
        return self.with_parts([part._image(matrix, shift) for part in self.parts])

    def _landmarks(self) -> Sequence[float]:
        return [mark for part in self.parts for mark in part._landmarks()]

    def _spread(self) -> float:
        return max(part._spread() for part in self.parts)


class GaussianMixture(Mixture):
    """Mixture of normal distributions N(μ_k, Σ_k).

    For d ≤ 2 H and J are found by the trapezoidal rule, to about 1e-9; beyond that, and where components
    are so narrow, or so many, that it would take too long, by Monte Carlo, as `Estimate`s.

    Parameters
    ----------
    weights : array_like of shape (K,)
        The w_k, positive, which are divided by their sum.
    means : array_like of shape (K,) or (K, d)
        The μ_k.
    covariances : array_like of shape (), (K,), (d, d) or (K, d, d)
        The Σ_k. A number stands for a variance in all directions; one matrix for that of all components.
    draws : int, default 50,000
        Of Monte Carlo.
    seed : int, default 0
        Of Monte Carlo.

    Raises
    ------
    ValueError
        If the shapes do not match, or a covariance is not positive definite.

    Notes
    -----
    Cost O(K) a node, some thousand nodes for components of similar size. With the rows of a sample as means
    and h² as the variance it is a kernel density estimate, for which the laws of information hold exactly.

    Examples
    --------
    >>> from infoplane.distributions import GaussianMixture
    >>> x = GaussianMixture([0.5, 0.5], [-1.5, 1.5], 1.0)
    >>> round(x.entropy(), 8), round(x.fisher_trace(), 8)
    (1.94571584, 0.55620437)
    """

    def __init__(
        self,
        weights: ArrayLike,
        means: ArrayLike,
        covariances: ArrayLike,
        *,
        draws: int = 50_000,
        seed: int = 0,
    ) -> None:
        centers = np.array(means, dtype=np.float64)
        if centers.ndim not in (1, 2) or not centers.size or not np.isfinite(centers).all():
            raise ValueError(f"`means` must be finite and have shape (K,) or (K, d), got {centers.shape}")
        self.means = centers.reshape(len(centers), -1)
        self.covariances = _covariances(covariances, *self.means.shape)
        self._weigh(weights, len(self.means), draws, seed)
        roots = np.linalg.cholesky(self.covariances)
        self._whiteners = np.linalg.inv(roots)
        self._log_peaks = np.log(self.weights) - 0.5 * self.d * _LOG_2PI
        self._log_peaks -= np.log(np.einsum("kaa->ka", roots)).sum(axis=1)

    @property
    def d(self) -> int:
        """Number of dimensions."""
        return self.means.shape[1]

    @property
    def parts(self) -> tuple[Distribution, ...]:
        """The components, which are made when they are asked for: there may be thousands."""
        return self._normals

    @cached_property
    def _normals(self) -> tuple[Distribution, ...]:
        return tuple(MultivariateNormal(m, c) for m, c in zip(self.means, self.covariances, strict=True))

    def __repr__(self) -> str:
        if len(self.weights) > 10:
            return f"GaussianMixture(of {len(self.weights)} components, d={self.d})"
        weights, means, covariances = (a.tolist() for a in (self.weights, self.means, self.covariances))
        return f"GaussianMixture({weights}, {means}, {covariances})"

    def conditional(self, given: Sequence[int], values: ArrayLike) -> GaussianMixture:
        """Distribution of the other coordinates, where some have given values.

        Parameters
        ----------
        given : sequence of int
            Coordinates of the condition.
        values : array_like of shape (len(given),)
            Their values.
        """
        condition = self.marginal(given)
        assert isinstance(condition, GaussianMixture)
        rest = [column for column in range(self.d) if column not in set(given)]
        if not rest:
            raise ValueError(f"`given` must leave a coordinate, got all {self.d}")
        point = np.asarray(values, dtype=np.float64).reshape(1, condition.d)
        logs = condition._component_logs(point)[0][0]
        slopes = np.einsum(
            "kab,kbc->kac", self.covariances[:, rest][:, :, list(given)], np.linalg.inv(condition.covariances)
        )
        means = self.means[:, rest] + np.einsum("kab,kb->ka", slopes, point - condition.means)
        covariances = self.covariances[:, rest][:, :, rest]
        covariances = covariances - slopes @ self.covariances[:, list(given)][:, :, rest]
        kept = logs > logs.max() - 700
        weights = np.exp(logs[kept] - logs.max())
        return GaussianMixture(weights, means[kept], covariances[kept], draws=self.draws, seed=self.seed)

    def _marginal(self, columns: list[int]) -> Distribution:
        covariances = self.covariances[:, columns][:, :, columns]
        return GaussianMixture(
            self.weights, self.means[:, columns], covariances, draws=self.draws, seed=self.seed
        )

    def _image(self, matrix: Array, shift: Array) -> Distribution:
        means, covariances = self.means @ matrix.T + shift, matrix @ self.covariances @ matrix.T
        return GaussianMixture(self.weights, means, covariances, draws=self.draws, seed=self.seed)

    def _component_logs(self, x: Array) -> tuple[Array, Array]:
        """Of each component at each point: log w_k f_k, (n, K), and −score, (n, K, d)."""
        z = np.einsum("kab,nkb->nka", self._whiteners, x[:, None] - self.means)
        return self._log_peaks - 0.5 * np.einsum("nka,nka->nk", z, z), np.einsum(
            "kba,nkb->nka", self._whiteners, z
        )

    def _field(self, x: Array) -> tuple[Array, Array]:
        rows = max(1, _AT_ONCE // self.means.size)
        pieces = []
        for start in range(0, len(x), rows):
            logs, falls = self._component_logs(x[start : start + rows])
            log_density, shares = log_sum(logs)
            pieces.append((log_density, -np.einsum("nk,nka->na", shares, falls)))
        return np.concatenate([p[0] for p in pieces]), np.concatenate([p[1] for p in pieces])

    @cached_property
    def _smooth(self) -> bool:
        return True

    @cached_property
    def _integrals(self) -> tuple[float, Array] | None:
        if self.d > 2:
            return None
        # In coordinates in which components are round on average.
        root = np.linalg.cholesky(np.einsum("k,kab->ab", self.weights, self.covariances))
        inverse = np.linalg.inv(root)
        means = self.means @ inverse.T
        covariances = inverse @ self.covariances @ inverse.T
        reach = _FAR * np.sqrt(np.einsum("kaa->ka", covariances))
        low, high = (means - reach).min(axis=0), (means + reach).max(axis=0)
        step = _FINE * math.sqrt(np.linalg.eigvalsh(covariances)[:, 0].min())
        nodes = np.prod((high - low) / step)
        if nodes > min(_MOST_NODES, _MOST_TERMS / len(self.weights)):
            return super()._integrals if self.d == 1 and len(self.weights) < 100 else None
        grid, area = box_rule(low, high, step)
        volume = abs(float(np.prod(np.diag(root))))
        return integrals(self._field, grid @ root.T, area * volume)


def _shares(weights: ArrayLike | None, count: int) -> Array:
    shares = np.ones(count) if weights is None else np.array(weights, dtype=np.float64)
    if shares.shape != (count,):
        raise ValueError(f"`weights` must have shape ({count},), got {shares.shape}")
    if not np.isfinite(shares).all() or not (shares > 0).all():
        raise ValueError(f"`weights` must be positive and finite, got {shares.tolist()}")
    return shares / shares.sum()


def _covariances(value: ArrayLike, count: int, d: int) -> Array:
    given = np.array(value, dtype=np.float64)
    if given.ndim <= 1 and given.shape in ((), (count,)):
        given = np.multiply.outer(np.broadcast_to(given, count), np.eye(d))
    if given.shape == (d, d):
        given = np.broadcast_to(given, (count, d, d))
    if given.shape != (count, d, d):
        raise ValueError(
            f"`covariances` must have shape (), ({count},), ({d}, {d}) or ({count}, {d}, {d}), "
            f"got {np.shape(value)}"
        )
    return scatter(given, "covariances", several=True)
