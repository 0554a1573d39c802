"""Penalised log-splines: density, entropy, score and Fisher information of one variable."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from infoplane.errors import warn
from infoplane.estimators.base import Array, Ascending, EntropyFit, FisherFit, fisher_fit, least_rows
from infoplane.estimators.edges import infinite_at_an_edge
from infoplane.estimators.robust_units import (
    FAR,
    compress,
    compression_rate,
    expand,
    in_units,
    location_and_scale,
)
from infoplane.estimators.spline_density import LEAST_KNOTS, Cells, Field, SplineDensity
from infoplane.kernels.spacings import gaps_beyond
from infoplane.mass import Mass
from infoplane.sample import Sample

# A gap separates clusters if it is this many times as long as the stretch of the nearest ten points on
# either side of it: for exponential tails that has probability e⁻¹⁴.
_GAP = 5.0
_NEIGHBORS = 10
# Clusters with fewer points are taken as outliers.
_LEAST_CLUSTER = 10
# Cells of a lattice that the values were rounded to from one knot to the next, at least.
_CELLS_A_KNOT = 2.0
# Below this many rows a kink cannot be told from a density that is smooth beyond the resolution.
_LEAST_FOR_RISE = 1000
# Rise in standard errors, at that many rows, that is taken for a kink; the ratio falls for smooth densities.
_STEEP = 1.25


@dataclass(frozen=True)
class LogSpline:
    """Penalised log-spline density of one variable: the sharpest estimate of its Fisher information.

    log f is a quartic spline, fitted by penalised likelihood, with λ ∫ (log f)‴² as penalty and averaged
    over λ by leave-one-out likelihood. With ŝ₋ᵢ the score that has not seen x_i and V̂ its sampling
    variance, J = mean(−2ŝ′₋ᵢ − ŝ₋ᵢ² + V̂_i): the variational lower bound J ≥ −E[2v′ + v²], which falls short
    of J by E(ŝ − s)², with the variance part of that added back. It is raised to Cramér–Rao's J ≥ 1/σ̂².
    H is the mean of −log f̂ with half the effect of leaving each point out, which removes the bias df/2n.

    Parameters
    ----------
    knots : int, default 45
        Number of knots; smoothness comes from the penalty, so more change little.

    Notes
    -----
    Relative root mean square error of J 4–8 % at n = 10³ and 1–2.5 % at n = 10⁴ for smooth densities, about
    that of an efficient estimate. Below n ≈ 500 structure that the points do not yet show is smoothed away,
    and intervals cover less than they say unless the density is nearly normal. Biased low, and the standard
    error too small, where the density has kinks or J is barely finite: Laplace −9 %, gamma(3) −16 % at n =
    10⁴. What ten times the penalty takes away from J is added to the standard error in squares; if it
    exceeds 5/4 (1000/n)^{1/5} standard errors, a warning tells: in 40 % (Laplace) to 100 % (gamma(3)) of
    samples at n = 4000 and 93 to 100 % at 20 000; in none of 1000 for normal, t and logistic densities, in 5
    to 20 % for light or unequal tails (generalised normal with β = 4, Gumbel), and mostly where J is nearly
    as hard to find as at a kink (gamma(6), beta(4, 4)). Where J is infinite because the density ends in a
    jump (uniform, exponential) its value means nothing and H is a little high (uniform, +0.02 nats at n =
    10³): a warning tells, mostly, from n = 500. Clusters separated by wide gaps are fitted one by one; fewer
    than ten points far from all others add nothing to J. Samples with far tails (Cauchy) are fitted in units
    of asinh. Cost O(n log n): 7 ms for the fits, and one sort of the values, which at n = 10⁶ takes 40 % of
    30 ms; beyond 4000 points the rest is done on the means of narrow cells. Ties are refused. Do not use it
    for densities with spikes or jumps inside the support.

    Rows may have weights or counts p_i: the likelihood is weighted, leaving an observation out takes its own
    share u_i away (`Mass`), and in all that sets resolution n is the effective number of observations. Where
    rows were rounded knots are two steps δ apart or more, which leaves a bias of −δ²/12 E[(log f)″²]: −0.5 %
    at δ = σ/4 and −2 % at δ = σ/2 of normal data; the noise of "dither" adds as much. Cells of a `Histogram`
    give J of the rows themselves, to 10⁻⁴ of it.

    References
    ----------
    B. W. Silverman, "On the estimation of a probability density function by the maximum penalized
    likelihood method", Ann. Statist. 10 (1982) 795–810.
    A. J. Stam, Inf. Control 2 (1959) 101–112.
    A. Hyvärinen, J. Mach. Learn. Res. 6 (2005) 695–709.

    Examples
    --------
    >>> import numpy as np
    >>> from infoplane import fisher_trace
    >>> from infoplane.estimators.logspline import LogSpline
    >>> x = np.random.default_rng(0).logistic(size=2000)  # J = 1/3
    >>> abs(fisher_trace(x, method=LogSpline()) - 1 / 3) < 0.03
    True
    """

    knots: int = 45

    def __post_init__(self) -> None:
        if not isinstance(self.knots, int | np.integer) or self.knots < LEAST_KNOTS:
            raise ValueError(f"`knots` must be an integer of at least {LEAST_KNOTS}, got {self.knots!r}")

    @property
    def name(self) -> str:
        """What `Estimate.method` says."""
        return "logspline"

    def entropy(self, sample: Sample) -> EntropyFit:
        """Differential entropy in nats.

        Parameters
        ----------
        sample : Sample
            At least 20 distinct rows of one column, with weights or counts if need be.
        """
        mixture = self._mixture(sample)
        field = mixture.own_field()
        terms = mixture.average(-field.log_density - 0.5 * field.leverage)
        value = terms.value + math.log(mixture.scale) + sample.log_volume
        return EntropyFit(value, terms.standard_error, Ascending(sample, terms.deviations))

    def fisher(self, sample: Sample) -> FisherFit:
        """Fisher information in original units, as a matrix of one entry.

        Parameters
        ----------
        sample : Sample
            At least 20 distinct rows of one column.

        Warns
        -----
        InfoplaneWarning
            If the density seems to end in a jump, where J is infinite, or J still rises with the resolution.
        """
        mixture = self._mixture(sample)
        bound, noise = _bound_and_noise(mixture)
        value = max(bound.value + noise, sample.covariance_shrinkage)
        # The noise of ŝ acts on J in second order, with a standard deviation like its mean.
        error = math.hypot(bound.standard_error, noise)
        smoothed, less_noise = _bound_and_noise(mixture, smoother=True)
        rise = max(bound.value - smoothed.value + noise - less_noise, 0.0)
        n = sample.mass.effective_n
        if infinite_at_an_edge(*_in_order(sample)):
            warn(
                f"the density of `{sample.name}` seems to end in a jump or a steep edge (as those of uniform "
                "and exponential variables do), where the Fisher information is infinite: the value returned "
                "is that of the smooth part and no estimate of it"
            )
        elif n >= _LEAST_FOR_RISE and rise > _STEEP * error * (_LEAST_FOR_RISE / n) ** 0.2:
            warn(_rising(sample.name, rise / value, error / value))
        # What a little more resolution has still added, a little more yet may add.
        error = math.hypot(error, rise)
        metric = float(sample.metric[0, 0])
        influences = Ascending(sample, lambda: metric * bound.deviations())
        return fisher_fit(sample, np.array([[value]]), metric * error, influences)

    def score(self, sample: Sample, points: Array | None) -> Array:
        """Score in original units; between and beyond clusters that of the nearest cluster's end.

        Parameters
        ----------
        sample : Sample
            The data.
        points : ndarray of shape (m, 1) or None
            Whitened points; None for the sample's own, each left out.
        """
        mixture = self._mixture(sample)
        if points is None:
            score = Ascending(sample, lambda: mixture.own_score(_whitened_in_order(sample))).by_row
        else:
            score = mixture.score((points[:, 0] - mixture.center) / mixture.scale)
        return score[:, None] / mixture.scale @ sample.whitener.T

    def _mixture(self, sample: Sample) -> _Mixture:
        if sample.d != 1:
            raise ValueError(
                f"`{sample.name}` must have one column for method {self.name!r}, got d = {sample.d}"
            )
        sample.require_rows(least_rows(1), self.name)
        if sample.n < least_rows(1):
            raise ValueError(
                f"`{sample.name}` must have at least {least_rows(1)} distinct rows for method {self.name!r}, "
                f"got {sample.n}"
            )
        sample.require_distinct_rows(self.name, weights=True, counts=True, bears=sample.n)
        # Both quantities need it, and the plane needs both.
        return sample.once(self, lambda: self._fitted(sample))

    def _fitted(self, sample: Sample) -> _Mixture:
        return _Mixture(_whitened_in_order(sample), _in_order(sample)[1], self.knots, sample.rounding)


def _in_order(sample: Sample) -> tuple[Array, Mass]:
    """The values, ascending, and what they count."""
    if sample.mass.alike:
        return sample.ordered, sample.mass
    return sample.ordered, sample.mass.part(sample.order)


def _whitened_in_order(sample: Sample) -> Array:
    # Whitening one variable is increasing.
    return sample.whitening(sample.ordered[:, None])[:, 0]


def _bound_and_noise(mixture: _Mixture, *, smoother: bool = False) -> tuple[_Average, float]:
    """Mean of −2ŝ′ − ŝ² and of the sampling variance of ŝ, in units of the whitened data."""
    field, squared_unit = mixture.own_field(smoother=smoother), mixture.scale**2
    bound = mixture.average((-2 * field.slope - field.score**2) / squared_unit)
    return bound, mixture.average(field.variance).value / squared_unit


def _rising(name: str, rise: float, error: float) -> str:
    return (
        f"the Fisher information of `{name}` still rises with the resolution: by {100 * rise:.1f} % from ten "
        f"times the smoothing penalty on, with a standard error of {100 * error:.1f} %. Its density may have "
        "kinks (Laplace) or vanish too fast at an end (gamma), where no estimate has an error of the order "
        '1/√n; the value is low, and interval(method="conservative") allows for it'
    )


class _Average:
    """A mean over rows of which many share a value; its error is that of `Mass.average`."""

    def __init__(self, terms: Array, cells: Cells, mass: Mass) -> None:
        self.value = float(cells.share @ terms)
        self._apart, self._cells, self._mass = terms - self.value, cells, mass
        both = cells.share * cells.unit
        self.standard_error = math.sqrt(float(both @ self._apart**2) / (1 - float(both.sum())))

    def deviations(self) -> Array:
        """What each row adds to the error of the mean, times their number."""
        apart = np.repeat(self._apart, self._cells.rows)
        if self._mass.alike:
            return apart
        return np.asarray(apart * (apart.size * np.sqrt(self._mass.share * self._mass.unit)))


class _Mixture:
    """Log-splines of the clusters of a sample, in units of its robust scale about its median.

    Far outliers neither stretch these units nor the knots of the others: they are clusters of their own.
    Points come in ascending order, and so do the cells into which those of large clusters are gathered. They
    are brought to their units in place: for large samples fresh memory costs more than arithmetic.
    """

    def __init__(self, points: Array, mass: Mass, knots: int, rounding: float) -> None:
        self.center, self.scale = location_and_scale(points, mass)
        t = in_units(points, self.center, self.scale)
        starts = _cuts(t)
        masses = _divided(mass, starts)
        if max(map(_observations, masses)) < _LEAST_CLUSTER:
            starts, masses = starts[:0], [mass]
        self._starts, groups = starts, np.split(t, starts)
        self._ends = [(float(group[0]), float(group[-1])) for group in groups]
        self._clusters = {
            g: _Cluster(group, masses[g], knots, rounding / self.scale)
            for g, group in enumerate(groups)
            if _observations(masses[g]) >= _LEAST_CLUSTER
        }
        self._mass, self._shares = mass, _sums(mass, groups)
        own = [
            self._clusters[g].cells if g in self._clusters else Cells(
                np.array([group.size]), np.ones(1), np.array([masses[g].share @ masses[g].unit])
            )
            for g, group in enumerate(groups)
        ]  # fmt: skip
        self._cells = Cells(
            np.concatenate([cells.rows for cells in own]),
            np.concatenate([share * cells.share for share, cells in zip(self._shares, own, strict=True)]),
            np.concatenate([share * cells.unit for share, cells in zip(self._shares, own, strict=True)]),
        )

    def own_field(self, *, smoother: bool = False) -> Field:
        """Leave-one-out field at every cell; outliers have a flat density over the gap beside them."""
        parts = []
        for g, share in enumerate(self._shares):
            if g in self._clusters:
                part = self._clusters[g].own_field(smoother)
            else:
                part = Field(np.array([-math.log(self._room(g))]), *np.zeros((len(Field._fields) - 1, 1)))
            parts.append(part._replace(log_density=part.log_density + math.log(share)))
        return Field(*map(np.concatenate, zip(*parts, strict=True)))

    def own_score(self, points: Array) -> Array:
        """Leave-one-out score at every point, which are those that the mixture was made of."""
        t = in_units(points, self.center, self.scale)
        return np.concatenate([
            self._clusters[g].own_score(group) if g in self._clusters else np.zeros(group.size)
            for g, group in enumerate(np.split(t, self._starts))
        ])  # fmt: skip

    def average(self, terms: Array) -> _Average:
        """Mean over the points of what is given at the cells."""
        return _Average(terms, self._cells, self._mass)

    def score(self, t: Array) -> Array:
        """Score at other points, each taken to belong to the nearest cluster."""
        clusters = list(self._clusters.values())
        distance = np.array([np.maximum(c.low - t, t - c.high) for c in clusters])
        nearest = distance.argmin(axis=0)
        return np.choose(nearest, [c.score(t) for c in clusters])

    def _room(self, g: int) -> float:
        """Length of the shorter gap beside a group, with its own extent."""
        first, last = self._ends[g]
        gaps = []
        if g > 0:
            gaps.append(first - self._ends[g - 1][1])
        if g + 1 < len(self._ends):
            gaps.append(self._ends[g + 1][0] - last)
        return min(gaps) + last - first


class _Cluster:
    """Log-spline of one cluster, of x or, if that has far tails, of y = c·asinh(x/c)."""

    def __init__(self, t: Array, mass: Mass, knots: int, rounding: float) -> None:
        self.low, self.high = float(t[0]), float(t[-1])
        self._center, self._scale = location_and_scale(t, mass)
        x = in_units(t, self._center, self._scale)
        self._heavy = float(max(-x[0], x[-1])) > FAR
        # Knots as close as the cells of rounded data would show the cells, which compression only narrows.
        apart = _CELLS_A_KNOT * rounding / self._scale
        self._density = SplineDensity(compress(x) if self._heavy else x, knots, mass, apart)
        self.cells = self._density.cells

    def own_field(self, smoother: bool) -> Field:
        field, h = self._density.own_field(smoother=smoother), self._scale
        if self._heavy:
            field = _through_compression(field, expand(self._density.points))
        return Field(
            field.log_density - math.log(h),
            field.leverage,
            field.score / h,
            field.slope / h**2,
            field.variance / h**2,
        )

    def own_score(self, t: Array) -> Array:
        score = np.repeat(self._density.own_field().score, self.cells.rows)
        return self._uncompressed(in_units(t, self._center, self._scale), score)

    def score(self, t: Array) -> Array:
        x = (t - self._center) / self._scale
        return self._uncompressed(x, self._density.score(compress(x) if self._heavy else x))

    def _uncompressed(self, x: Array, score: Array) -> Array:
        if self._heavy:
            rate, shift, _ = compression_rate(x)
            score = score * rate + shift
        return score / self._scale


def _cuts(t: Array) -> NDArray[np.intp]:
    """Where clusters begin among ascending points; gaps are judged after compression, as tails are sparse."""
    n, k = t.size, _NEIGHBORS
    # Compression shrinks most what lies farthest out: a gap that is long after it has been longer still
    # beside the stretch on its inner side. Few are.
    at = np.flatnonzero(gaps_beyond(t, k, (1 - 1e-9) * _GAP))
    # Where fewer than ten points are left on one side, only the other tells what a gap is.
    before = np.where(at >= k, compress(t[at]) - compress(t[np.maximum(at - k, 0)]), 0.0)
    after = at + 1 + k
    beyond = np.where(after < n, compress(t[np.minimum(after, n - 1)]) - compress(t[at + 1]), 0.0)
    apart = compress(t[at + 1]) - compress(t[at])
    return at[apart > _GAP * np.maximum(before, beyond)] + 1


def _divided(mass: Mass, starts: NDArray[np.intp]) -> list[Mass]:
    """What the rows of each cluster count."""
    if starts.size == 0:
        return [mass]
    return [mass.part(rows) for rows in np.split(np.arange(mass.share.size), starts)]


def _observations(mass: Mass) -> float:
    """How many a cluster has: rows, or the effective number of them where weights make it less."""
    return mass.effective_n if mass.alike else min(mass.share.size, mass.effective_n)


def _sums(mass: Mass, groups: list[Array]) -> list[float]:
    """Share of each cluster."""
    sizes = np.array([group.size for group in groups])
    if mass.alike:
        return [float(share) for share in sizes / sizes.sum()]
    return [float(share) for share in np.add.reduceat(mass.share, np.cumsum(sizes) - sizes)]


def _through_compression(field: Field, x: Array) -> Field:
    """From the field of compressed values to that of x (`compression_rate`)."""
    rate, shift, slope_of_shift = compression_rate(x)
    return Field(
        field.log_density + np.log(rate),
        field.leverage,
        field.score * rate + shift,
        field.slope * rate**2 + field.score * rate * shift + slope_of_shift,
        field.variance * rate**2,
    )
