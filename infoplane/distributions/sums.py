"""Sums of independent variables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from infoplane.distributions.base import Affine, Distribution
from infoplane.distributions.mixture import GaussianMixture, Mixture
from infoplane.distributions.normal import MultivariateNormal, Normal
from infoplane.distributions.product import Product
from infoplane.distributions.quadrature import exp_sinh, integrals, line_rule, log_sum, tanh_sinh

Array = NDArray[np.float64]

# Steps of the double-exponential rules for the density, and for its integrals.
_INNER, _OUTER = 1 / 14, 1 / 18
# Points times nodes that are handled at once: as many as stay in the cache.
_AT_ONCE = 10_000
# Components of a mixture of normals above which the sum of two is not written out.
_MOST_COMPONENTS = 100_000


def convolution(x: Distribution, y: Distribution) -> Distribution:
    """Distribution of X + Y for independent X and Y.

    Normal distributions and their mixtures add in closed form; products add part by part, and mixtures
    component by component; anything else in one dimension by quadrature.

    Parameters
    ----------
    x, y : Distribution
        Of the same dimension.

    Returns
    -------
    Distribution
        That of the sum.

    Raises
    ------
    ValueError
        If the dimensions differ.
    NotImplementedError
        If, in more than one dimension, the parts of the two do not match.

    Notes
    -----
    The quadrature, at several hundred nodes for each point, is good to about 1e-7 in H and J, and takes about
    20 ms; minutes for sums of three, of which no two are normal. J is `nan`, not known, where it is infinite
    for both X and Y.

    Examples
    --------
    >>> from infoplane.distributions import Laplace, Normal, convolution
    >>> convolution(Normal(1.0, 3.0), Normal(1.0, 4.0))
    Normal(loc=2.0, scale=5.0)
    >>> smoothed = convolution(Laplace(), Normal())
    >>> round(smoothed.fisher_trace(), 6)  # below 1, that of either
    0.368474
    """
    if x.d != y.d:
        raise ValueError(f"`x` and `y` must have the same number of dimensions, got {x.d} and {y.d}")
    if isinstance(y, LineSum):
        x, y = y, x
    for one, other in ((x, y), (y, x)):
        found = _sum_of_normals(one, other) or _line(one, other) or _sum_of_parts(one, other)
        if found is not None:
            return found
    raise NotImplementedError(f"no closed form for the sum of {type(x).__name__} and {type(y).__name__}")


def _sum_of_normals(x: Distribution, y: Distribution) -> Distribution | None:
    if isinstance(x, Normal) and isinstance(y, Normal):
        return Normal(x.loc + y.loc, math.hypot(x.scale, y.scale))
    normal = (Normal, MultivariateNormal)
    if isinstance(x, normal) and isinstance(y, normal):
        return MultivariateNormal(x.mean() + y.mean(), x.covariance() + y.covariance())
    if not isinstance(x, GaussianMixture):
        return None
    if isinstance(y, GaussianMixture):
        shares, means, covariances = y.weights, y.means, y.covariances
    elif isinstance(y, normal):
        shares, means, covariances = np.ones(1), y.mean()[None], y.covariance()[None]
    else:
        return None
    if len(shares) * len(x.weights) > _MOST_COMPONENTS:
        return None
    return GaussianMixture(
        np.multiply.outer(x.weights, shares).ravel(),
        (x.means[:, None] + means).reshape(-1, x.d),
        (x.covariances[:, None] + covariances).reshape(-1, x.d, x.d),
        draws=x.draws,
        seed=x.seed,
    )


def _line(x: Distribution, y: Distribution) -> Distribution | None:
    if x.d > 1:
        return None
    if isinstance(x, LineSum):
        # The heat flow goes on where it was: (X + Y) + Z = X + (Y + Z), if the latter has a closed form.
        for one, other in ((x.x, x.y), (x.y, x.x)):
            if (both := _sum_of_normals(one, y) or _sum_of_normals(y, one)) is not None:
                return LineSum(other, both)
    return LineSum(x, y)


def _sum_of_parts(x: Distribution, y: Distribution) -> Distribution | None:
    """Part by part, if that is how x is made."""
    if isinstance(x, Mixture):
        return x.with_parts([convolution(part, y) for part in x.parts])
    if isinstance(x, Affine):
        if isinstance(y, Affine) and np.array_equal(x.matrix, y.matrix):
            inner = convolution(x.distribution, y.distribution)
            return x.matrix @ inner + (x.shift + y.shift)
        before = x._inverse @ y
        # Another map would come back and forth without end.
        return (
            None if isinstance(before, Affine) else x.matrix @ convolution(x.distribution, before) + x.shift
        )
    if isinstance(x, Product):
        others = _split(y, x.blocks)
        if others is not None:
            return Product(*(convolution(p, q) for p, q in zip(x.parts, others, strict=True)))
    return None


def _split(y: Distribution, blocks: Sequence[slice]) -> list[Distribution] | None:
    """Independent parts of y over the blocks, if it has them."""
    columns = [list(range(b.start, b.stop)) for b in blocks]
    if isinstance(y, Product):
        ends = {b.stop for b in y.blocks}
        return [y.marginal(c) for c in columns] if all(b.stop in ends for b in blocks) else None
    if isinstance(y, MultivariateNormal):
        between = y.cov.copy()
        for b in blocks:
            between[b, b] = 0.0
        if np.abs(between).max() <= 1e-12 * np.abs(y.cov).max():
            return [y.marginal(c) for c in columns]
    return None


class LineSum(Distribution):
    """Distribution of X + Y on the line, f(z) = ∫ f_X(x) f_Y(z − x) dx, by double-exponential quadrature.

    Its score is E[s_X(X) | X + Y = z], for which X is the one with the smaller Fisher information.

    Parameters
    ----------
    x, y : Distribution
        Independent, of one dimension.

    References
    ----------
    N. M. Blachman, IEEE Trans. Inf. Theory 11 (1965) 267–271: the score of a sum.
    """

    def __init__(self, x: Distribution, y: Distribution) -> None:
        self.x, self.y = x, y
        information = [math.inf if math.isnan(j := p.fisher_trace()) else j for p in (x, y)]
        self._smooth = math.isfinite(min(information))
        self._carrier, self._other = (x, y) if information[0] <= information[1] else (y, x)

    @property
    def d(self) -> int:
        """Number of dimensions, 1."""
        return 1

    def __repr__(self) -> str:
        return f"convolution({self.x!r}, {self.y!r})"

    def _entropy(self) -> float:
        return self._integrals[0]

    def _fisher(self) -> Array:
        return self._integrals[1].copy() if self._smooth else np.full((1, 1), math.nan)

    @cached_property
    def _integrals(self) -> tuple[float, Array]:
        nodes, weights = line_rule(self._landmarks(), self._spread(), _OUTER)
        return integrals(self._field, nodes[:, None], weights)

    def _field(self, x: Array) -> tuple[Array, Array]:
        marks = len(self._carrier._landmarks()) + len(self._other._landmarks())
        rows = max(1, _AT_ONCE // (marks * len(tanh_sinh(_INNER)[0])))
        pieces = [self._convolved(x[start : start + rows, 0]) for start in range(0, len(x), rows)]
        return np.concatenate([p[0] for p in pieces]), np.concatenate([p[1] for p in pieces])

    def _convolved(self, z: Array) -> tuple[Array, Array]:
        """Log density and score: for each z the line is split at the landmarks of f_X and of f_Y(z − ·)."""
        own = np.tile(self._carrier._landmarks(), (len(z), 1))
        marks = np.sort(np.hstack([own, z[:, None] - np.asarray(self._other._landmarks())]), axis=1)
        beyond, share = exp_sinh(_INNER)
        left, right, weights = tanh_sinh(_INNER)
        spread = self._spread()
        low, gap = marks[:, :-1, None], np.diff(marks, axis=1)[:, :, None]
        inner = np.where(left < 0.5, low + gap * left, low + gap - gap * right)
        nodes = np.hstack(
            [marks[:, :1] - spread * beyond, marks[:, -1:] + spread * beyond, inner.reshape(len(z), -1)]
        )
        tails = np.broadcast_to(spread * share, (len(z), share.size))
        areas = np.hstack([tails, tails, (gap * weights).reshape(len(z), -1)])
        log_x, score = self._carrier._field(nodes.reshape(-1, 1))
        log_y = self._other._log_density((z[:, None] - nodes).reshape(-1, 1))
        logs = (log_x + log_y).reshape(nodes.shape)
        with np.errstate(divide="ignore"):
            # A node on an edge may have an infinite density, and no weight to speak of.
            logs = np.where(logs < math.inf, logs, -math.inf) + np.log(areas)
        log_density, shares = log_sum(logs)
        with np.errstate(invalid="ignore"):
            slopes = np.where(shares == 0, 0.0, shares * score.reshape(nodes.shape))
        return log_density, slopes.sum(axis=1)[:, None]

    def _log_density(self, x: Array) -> Array:
        return self._field(x)[0]

    def _score(self, x: Array) -> Array:
        return self._field(x)[1]

    def _draw(self, rng: np.random.Generator, n: int) -> Array:
        return self.x._draw(rng, n) + self.y._draw(rng, n)

    def _mean(self) -> Array:
        return self.x.mean() + self.y.mean()

    def _covariance(self) -> Array:
        return self.x.covariance() + self.y.covariance()

    def _landmarks(self) -> Sequence[float]:
        return [p + q for p in self.x._landmarks() for q in self.y._landmarks()]

    def _spread(self) -> float:
        return math.hypot(self.x._spread(), self.y._spread())
