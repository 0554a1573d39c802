"""Geometry and statistics of the Fisher–Shannon plane: places, curves, means of points, groups of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from infoplane.distributions import Distribution
from infoplane.estimate import Estimate

Array = NDArray[np.float64]

# Scatter of points of a worse condition number is along a line.
_WORST_CONDITION = 1e10
# How far rounding puts a normal distribution below the boundary on which it lies.
_ROUNDING = 1e-9


class PlanePoint(Protocol):
    """Anything with a place in the plane, such as a `FisherShannonPoint`."""

    @property
    def entropy_power(self) -> float:
        """N."""

    @property
    def fisher_trace(self) -> float:
        """tr J."""

    @property
    def d(self) -> int:
        """Number of dimensions."""


@dataclass(frozen=True)
class Place:
    """A place in the plane: what `plot.plane` draws, and all that is left of a mean of points.

    Attributes
    ----------
    entropy_power : float
        N, in squared units of the data; an `Estimate` where it has an error.
    fisher_trace : float
        tr J, in inverse squared units of the data; an `Estimate` where it has an error.
    d : int
        Number of dimensions.

    Raises
    ------
    ValueError
        If N or tr J is not positive; infinity is, and is the tr J of densities with a jump.
    """

    entropy_power: float
    fisher_trace: float
    d: int

    def __post_init__(self) -> None:
        for name in ("entropy_power", "fisher_trace", "d"):
            if not getattr(self, name) > 0:
                raise ValueError(f"`{name}` must be positive, got {getattr(self, name)!r}")

    @property
    def information(self) -> float:
        """Fisher information per dimension, tr J/d: the abscissa."""
        return float(self.fisher_trace) / self.d

    @property
    def product(self) -> float:
        """N·tr J/d, at least 1."""
        return float(self.entropy_power) * self.information

    @classmethod
    def of(cls, distribution: Distribution) -> Place:
        """Where a distribution lies.

        Parameters
        ----------
        distribution : Distribution
            One whose N is positive; where J is infinite, so is the place, and `plot.plane` cannot show it.

        Examples
        --------
        >>> from infoplane.distributions import Laplace
        >>> from infoplane.plane import Place
        >>> round(Place.of(Laplace(scale=3.0)).product, 6)  # 2e/π, at any scale
        1.730512
        """
        return cls(distribution.entropy_power(), distribution.fisher_trace(), distribution.d)


def is_defined(point: PlanePoint) -> bool:
    """Whether a point has a place on the logarithmic plane: N and tr J are positive and finite.

    Parameters
    ----------
    point : FisherShannonPoint, Place or the like
        The point; that of a window without a density (`infoplane.windows`) is of NaN.

    Examples
    --------
    >>> import math
    >>> from infoplane.plane import Place, is_defined
    >>> is_defined(Place(1.0, 2.0, d=2)), is_defined(Place(1.0, math.inf, d=2))
    (True, False)
    """
    return 0 < float(point.entropy_power) < math.inf and 0 < float(point.fisher_trace) < math.inf


def as_points(points: Iterable[PlanePoint], name: str) -> list[PlanePoint]:
    """The points of a group or of a path as a list.

    Parameters
    ----------
    points : iterable of FisherShannonPoint, Place or the like
        Such as a `Trajectory`.
    name : str
        How the message calls them.

    Raises
    ------
    TypeError
        If it is a data frame of windows, which holds figures and no points.
    """
    if hasattr(points, "iloc"):
        raise TypeError(
            f"`{name}` must hold points, got a {type(points).__name__}: "
            "`windows(..., as_frame=False)` returns trajectories"
        )
    return list(points)


def admissible(point: PlanePoint, *, level: float = 0.999) -> bool:
    """Whether a point can be that of a distribution, N·tr J ≥ d, as far as its errors tell.

    Parameters
    ----------
    point : FisherShannonPoint, Place or the like
        The point. The error of its product is `point.product.standard_error` if it has one, else it is put
        together from those of N and tr J as if they were independent, which is too large for most samples.
    level : float, default 0.999
        How sure a violation must be: it lies below the boundary at this one-sided confidence.

    Returns
    -------
    bool
        False if the point lies in the forbidden region: something is wrong with it. True where nothing can
        tell: of an undefined point, of one of unknown errors (NaN), and where N or tr J is a lower bound.

    Raises
    ------
    ValueError
        If `level` is not in [0.5, 1).

    Notes
    -----
    Estimators have biases beside their errors: see their notes.

    References
    ----------
    A. J. Stam, Inf. Control 2 (1959) 101–112; C. Vignat, J.-F. Bercher, Phys. Lett. A 312 (2003) 27–33.

    Examples
    --------
    >>> from infoplane.plane import Place, admissible
    >>> admissible(Place(1.0, 2.0, d=2)), admissible(Place(1.0, 1.9, d=2))
    (True, False)
    """
    if not 0.5 <= level < 1:
        raise ValueError(f"`level` must lie in [0.5, 1), got {level!r}")
    n, t = point.entropy_power, point.fisher_trace
    if not is_defined(point) or "lower" in (getattr(n, "bound", None), getattr(t, "bound", None)):
        return True
    product = float(n) * float(t) / point.d
    known = getattr(getattr(point, "product", None), "standard_error", math.nan)
    apart = math.hypot(_relative_error(n), _relative_error(t))
    relative = apart if math.isnan(known) else known / product
    return math.isnan(relative) or math.log(product) >= -NormalDist().inv_cdf(level) * relative - _ROUNDING


def constant_product(information: ArrayLike, product: float = 1.0) -> Array:
    """Curve of constant product: the entropy power N = product/(tr J/d) at given information per dimension.

    It is the path of one shape of distribution under scaling, x → a x: 1 is the boundary, on which isotropic
    normal distributions lie.

    Parameters
    ----------
    information : array_like
        tr J/d, positive.
    product : float, default 1
        N·tr J/d, at least 1: below that nothing lies.

    Returns
    -------
    ndarray
        N, of the shape of `information`.

    Raises
    ------
    ValueError
        If `information` is not positive or `product` is below 1.

    References
    ----------
    H. Zheng et al., "Understanding VAEs in Fisher-Shannon Plane", AAAI 2019, eqs. (4) and (5).

    Examples
    --------
    >>> from infoplane.plane import constant_product
    >>> constant_product([0.5, 1.0, 2.0], product=1.5)
    array([3.  , 1.5 , 0.75])
    """
    x = np.asarray(information, dtype=np.float64)
    if not (x > 0).all():
        raise ValueError(f"`information` must be positive, got {information!r}")
    if not product >= 1 - _ROUNDING:
        raise ValueError(f"`product` must be at least 1, got {product!r}")
    return np.asarray(product / x, dtype=np.float64)


def reference_curve(
    family: Callable[[float], Distribution],
    parameters: Iterable[float],
    *,
    fixed: Literal["variance", "power", "information"] = "variance",
    value: float = 1.0,
) -> list[Place]:
    """Path of a family of shapes through the plane, all scaled alike.

    Along its path one shape turns into another: of `StudentT` with growing ν into the normal distribution, of
    `GeneralizedNormal` from Laplace's (β = 1) by the normal (2) to the uniform one.

    Parameters
    ----------
    family : callable
        From a parameter to a distribution, such as the class ``StudentT`` or ``GeneralizedNormal``.
    parameters : iterable of float
        The parameters.
    fixed : {"variance", "power", "information"}, default "variance"
        What all are scaled to have in common: tr Σ/d, N or tr J/d.
    value : float, default 1
        Its value.

    Returns
    -------
    list of Place
        One for each parameter.

    Raises
    ------
    ValueError
        If what is fixed is infinite for a member of the family, or `fixed` is unknown.

    References
    ----------
    C. Vignat, J.-F. Bercher, Phys. Lett. A 312 (2003) 27–33, where such curves bound what families can reach.

    Examples
    --------
    >>> from infoplane.distributions import GeneralizedNormal
    >>> from infoplane.plane import reference_curve
    >>> [round(place.product, 4) for place in reference_curve(GeneralizedNormal, [1.0, 2.0, 4.0])]
    [1.7305, 1.0, 1.2866]
    """
    if fixed not in ("variance", "power", "information"):
        raise ValueError(f"`fixed` must be 'variance', 'power' or 'information', got {fixed!r}")
    places = []
    for parameter in parameters:
        x = family(parameter)
        own = {
            "variance": lambda x: float(np.trace(x.covariance())) / x.d,
            "power": lambda x: float(x.entropy_power()),
            "information": lambda x: x.d / float(x.fisher_trace()),
        }[fixed](x)
        if not 0 < own < math.inf:
            raise ValueError(f"the {fixed} of {x!r} is not finite: fix something else")
        wanted = 1 / value if fixed == "information" else value
        places.append(Place.of(math.sqrt(wanted / own) * x))
    return places


def mean_place(points: Sequence[PlanePoint], *, error: Literal["spread", "sampling"] = "spread") -> Place:
    """Arithmetic mean of points, (mean N, mean tr J), with standard errors.

    By convexity it lies above the boundary if the points do, and strictly so if they differ: points on the
    boundary have a mean off it (the mean of N exceeds the inverse of the mean of 1/N).

    Parameters
    ----------
    points : sequence of FisherShannonPoint, Place or the like
        Points of the same dimension, each of which counts the same; undefined ones, of NaN, do not count.
    error : {"spread", "sampling"}, default "spread"
        Where the standard errors come from: "spread" is that of the points about their mean, for points that
        are a sample of many; "sampling" is only that of the points' own errors, for just these points.

    Returns
    -------
    Place
        The mean; its N and tr J are `Estimate`s whose n is the number of points.

    Raises
    ------
    ValueError
        If there are no points (for "spread" fewer than two), one is infinite, or their dimensions differ.

    References
    ----------
    H. Zheng et al., "Understanding VAEs in Fisher-Shannon Plane", AAAI 2019, Figure 1, where each model is
    the mean over its images.

    Examples
    --------
    >>> from infoplane.plane import Place, mean_place
    >>> middle = mean_place([Place(0.5, 2.0, d=1), Place(2.0, 0.5, d=1)])
    >>> middle.product  # 1.25²
    1.5625
    """
    if error not in ("spread", "sampling"):
        raise ValueError(f"`error` must be 'spread' or 'sampling', got {error!r}")
    points, d = _counted(points, least=2 if error == "spread" else 1, name="points")

    def mean(values: Sequence[float]) -> Estimate:
        plain = np.array([float(v) for v in values])
        if error == "spread":
            uncertain = float(plain.std(ddof=1)) / math.sqrt(plain.size)
        else:
            uncertain = math.hypot(*(getattr(v, "standard_error", 0.0) for v in values)) / plain.size
        return Estimate(
            float(plain.mean()), standard_error=uncertain, method="mean", n=plain.size, d=d, positive=True
        )

    return Place(mean([p.entropy_power for p in points]), mean([p.fisher_trace for p in points]), d)


class Comparison(NamedTuple):
    """Difference of two groups of points, on logarithmic axes.

    Attributes
    ----------
    log_power : Estimate
        Mean log N of the first group less that of the second.
    log_information : Estimate
        The same of log tr J/d.
    log_product : Estimate
        The same of log N·tr J/d, which tells a change of shape from one of scale.
    p_values : tuple of float
        Two-sided, of the three differences in turn, by Welch's test.
    p_value : float
        Of both coordinates together, by Hotelling's T² with Yao's degrees of freedom; `nan` if all points
        lie on a line, such as a curve of constant product.
    """

    log_power: Estimate
    log_information: Estimate
    log_product: Estimate
    p_values: tuple[float, float, float]
    p_value: float


def compare(first: Sequence[PlanePoint], second: Sequence[PlanePoint]) -> Comparison:
    """Compare two groups of points, such as windows before and after an event.

    Groups may differ in size and in scatter. What is compared are means of log N and log tr J/d, so that
    ratios count and units cancel.

    Parameters
    ----------
    first, second : sequence of FisherShannonPoint, Place or the like
        At least three independent points each, of the same dimension; undefined ones, of NaN, do not count.

    Returns
    -------
    Comparison
        Differences with standard errors from the scatter of the points, and p-values.

    Raises
    ------
    ValueError
        If a group has fewer than three points, one is infinite, or dimensions differ.

    Notes
    -----
    Windows that overlap, or follow each other in a slow process, are not independent: p-values are then too
    small. Exact for normal log N and log tr J with equal covariances, else approximate.

    References
    ----------
    B. L. Welch, Biometrika 34 (1947) 28–35; Y. Yao, Biometrika 52 (1965) 139–147.

    Examples
    --------
    >>> import numpy as np
    >>> from infoplane.plane import Place, compare
    >>> rng = np.random.default_rng(0)
    >>> calm = [Place(n, p / n, d=1) for n, p in np.exp(rng.normal([0.0, 0.1], 0.1, (20, 2)))]
    >>> wild = [Place(n, p / n, d=1) for n, p in np.exp(rng.normal([0.0, 0.4], 0.1, (20, 2)))]
    >>> difference = compare(wild, calm)
    >>> abs(difference.log_product - 0.3) < 2 * difference.log_product.standard_error
    True
    >>> difference.p_value < 1e-6
    True
    """
    first, d = _counted(first, least=3, name="first")
    second, other = _counted(second, least=3, name="second")
    if other != d:
        raise ValueError(f"`first` and `second` must have the same dimension, got {d} and {other}")
    groups = [_coordinates(first), _coordinates(second)]
    gap = groups[0].mean(axis=0) - groups[1].mean(axis=0)
    count = len(first) + len(second)
    differences, p_values = [], []
    for direction in np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]):
        difference, variances = float(direction @ gap), [_variance(g @ direction) for g in groups]
        error = math.sqrt(sum(variances))
        differences.append(Estimate(difference, standard_error=error, method="mean", n=count, d=d))
        freedom = error**4 / sum(v**2 / (len(g) - 1) for v, g in zip(variances, groups, strict=True) if v)
        p_values.append(float(2 * special.stdtr(freedom, -abs(difference) / error)) if error else math.nan)
    power, information, product = differences
    each = (p_values[0], p_values[1], p_values[2])
    return Comparison(power, information, product, each, _hotelling(groups, gap))


def _hotelling(groups: Sequence[Array], gap: Array) -> float:
    """p-value of a difference of mean vectors; the degrees of freedom are Yao's."""
    scatters = [np.cov(g.T) / len(g) for g in groups]
    both = scatters[0] + scatters[1]
    if not np.linalg.cond(both) < _WORST_CONDITION or not gap.any():
        return 1.0 if not gap.any() else math.nan
    direction = np.linalg.solve(both, gap)
    squared, rank = float(gap @ direction), gap.size
    shares = [
        (float(direction @ s @ direction) / squared) ** 2 / (len(g) - 1)
        for s, g in zip(scatters, groups, strict=True)
    ]
    freedom = 1 / sum(shares)
    ratio = squared * (freedom - rank + 1) / (freedom * rank)
    return float(special.fdtrc(rank, freedom - rank + 1, ratio))


def _coordinates(points: Sequence[PlanePoint]) -> Array:
    return np.log([[float(p.entropy_power), float(p.fisher_trace) / p.d] for p in points])


def _variance(values: Array) -> float:
    """Of the mean."""
    return float(values.var(ddof=1)) / values.size


def _counted(points: Sequence[PlanePoint], *, least: int, name: str) -> tuple[list[PlanePoint], int]:
    """The points that are defined, and their dimension."""
    every = as_points(points, name)
    given = [p for p in every if not math.isnan(float(p.entropy_power) * float(p.fisher_trace))]
    dimensions = {point.d for point in given}
    if len(given) < least or len(dimensions) != 1:
        without = f" and {len(every) - len(given)} undefined ones" if len(given) < len(every) else ""
        raise ValueError(
            f"`{name}` must hold at least {least} points of one dimension, got {len(given)} "
            f"of {sorted(dimensions)}{without}"
        )
    if not all(is_defined(point) for point in given):
        raise ValueError(f"`{name}` must have positive, finite N and tr J")
    return given, dimensions.pop()


def _relative_error(value: float) -> float:
    return value.standard_error / float(value) if isinstance(value, Estimate) else 0.0
