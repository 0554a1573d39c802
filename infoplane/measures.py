"""The quantities by name: what a user calls."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from infoplane.errors import InfoplaneWarning
from infoplane.estimate import Estimate, FisherShannonPoint, power_of_entropy
from infoplane.estimators import (
    KDE,
    KNN,
    BestEntropy,
    Copula,
    Estimator,
    Gaussian,
    LogSpline,
    Spacing,
    Stack,
    WeightedKNN,
)
from infoplane.estimators.base import EntropyFit, FisherFit, covariance
from infoplane.sample import Sample, as_points

Array = NDArray[np.float64]

_FAMILIES: dict[str, Callable[[], Estimator]] = {
    "gaussian": Gaussian,
    "knn": KNN,
    "kde": KDE,
    "spacing": Spacing,
    "logspline": LogSpline,
    "stack": Stack,
    "copula": Copula,
    "weighted-knn": WeightedKNN,
}

# From this dimension on the smoothing bias of the kernel density estimate exceeds that of neighbours.
_KNN_FISHER_DIMENSIONS = 10

# Below this many rows log-splines break up where kernels only blur.
_LOGSPLINE_ROWS = 30

# Beyond this "auto" warns: only near-Gaussian shapes are measured well.
_TRUSTED_DIMENSIONS = 10


def entropy(x: ArrayLike, *, method: str | Estimator = "auto", base: float | None = None) -> Estimate:
    """Differential entropy H = −E log f(X), in nats.

    Under x → a x + b it grows by d·log|a|; it may be negative, and it is −∞ where there is no density.

    Parameters
    ----------
    x : array_like of shape (n,) or (n, d)
        n independent observations of d variables, taken jointly.
    method : {"auto", "gaussian", "knn", "kde", "spacing", "logspline", "copula", "weighted-knn"} or estimator
        How to estimate. "auto", the default, takes spacings in one dimension, and in more the lowest of
        nearest neighbours and two copula estimates, whose biases are mostly positive. An object such as
        ``KNN(k=5)`` carries options.
    base : float, optional
        Unit: e (None) for nats, 2 for bits, 10 for hartleys.

    Returns
    -------
    Estimate
        The entropy with its standard error.

    Raises
    ------
    DegenerateSampleError
        If the sample has ties (except with "gaussian"), a constant column or dependent columns.
    ValueError
        If `x` is empty, not finite, of wrong rank, or has too few rows.
    TypeError
        If `x` does not hold real numbers.

    Warns
    -----
    InfoplaneWarning
        If "auto" is used above d = 10.

    Notes
    -----
    Cost O(n log n) up to d = 12, with a constant that grows with d. Observations must be independent:
    neighbours in time count as neighbours in value. "auto" follows scaling, shifts and permutations of the
    columns exactly, but rotations only where another candidate than the copula in given axes is lowest. See
    `Spacing`, `KNN`, `WeightedKNN`, `Copula`, `KDE` and `Gaussian` for bias and for when not to use them.

    References
    ----------
    C. E. Shannon, Bell Syst. Tech. J. 27 (1948) 623–656, section 20.

    Examples
    --------
    >>> import numpy as np
    >>> from infoplane import entropy
    >>> x = np.random.default_rng(0).standard_normal(10_000)  # H = ½ log 2πe = 1.4189
    >>> entropy(x)
    1.4193 ± 0.0071 (spacing, n=10000)
    """
    if base is not None and not 1 < base < math.inf:
        raise ValueError(f"`base` must be a number above 1, got {base!r}")
    sample = _sample(x, method)
    return _entropy_estimate(method, sample, 1.0 if base is None else math.log(base))[0]


def entropy_power(x: ArrayLike, *, method: str | Estimator = "auto") -> Estimate:
    """Entropy power N = exp(2H/d)/(2πe), in squared units of the data.

    The variance of the isotropic Gaussian with the entropy of X: N ≤ |Σ|^{1/d}, with equality for Gaussians.
    Under x → a x + b it is multiplied by a².

    Parameters
    ----------
    x : array_like of shape (n,) or (n, d)
        n independent observations of d variables, taken jointly.
    method : str or estimator, default "auto"
        As in `entropy`.

    Returns
    -------
    Estimate
        The entropy power with its standard error N·(2/d)·se(H), corrected for the curvature of exp.

    Raises
    ------
    OverflowError
        If the result is outside the range of float64 (data of the order of 1e±160).
    ValueError, TypeError
        As in `entropy`.

    References
    ----------
    C. E. Shannon, Bell Syst. Tech. J. 27 (1948) 623–656, section 21.
    A. J. Stam, Inf. Control 2 (1959) 101–112.
    H. Zheng et al., "Understanding VAEs in Fisher-Shannon Plane", AAAI 2019, writes the scalar form in its
    eq. (2) also for vectors.

    Examples
    --------
    >>> import numpy as np
    >>> from infoplane import entropy_power
    >>> x = np.random.default_rng(0).normal(scale=2.0, size=10_000)  # N = 4
    >>> entropy_power(x)
    4.003 ± 0.057 (spacing, n=10000)
    """
    sample = _sample(x, method)
    return power_of_entropy(_entropy_estimate(method, sample)[0])


def fisher_information(x: ArrayLike, *, method: str | Estimator = "auto") -> Array:
    """Fisher information matrix J = E[s sᵀ], s = ∇ log f(X), in inverse squared units of the data.

    This is the non-parametric (location) Fisher information: derivatives are with respect to x, not to a
    parameter. Under x → A x + b it becomes A⁻ᵀ J A⁻¹, and J ⪰ Σ⁻¹ (Cramér–Rao), with equality for Gaussians.

    Parameters
    ----------
    x : array_like of shape (n,) or (n, d)
        n independent observations of d variables, taken jointly.
    method : {"auto", "gaussian", "knn", "kde", "logspline", "stack"} or estimator
        How to estimate; "auto", the default, takes log-splines in one dimension (from 30 rows), kernel
        densities below d = 10 and nearest neighbours from there. From d = 2 "stack" is the more accurate on
        mixtures and curved data, and takes seconds.

    Returns
    -------
    ndarray of shape (d, d)
        Symmetric and positive definite. `fisher_trace` gives its trace with a standard error.

    Raises
    ------
    OverflowError
        If the result is outside the range of float64.
    DegenerateSampleError, ValueError, TypeError
        As in `entropy`.

    Notes
    -----
    J is finite only where the density has no jump: for uniform or exponential data it is infinite, and
    an estimate merely grows with n (in one dimension "auto" warns of it). See `LogSpline`, `KDE`, `KNN` and
    `Gaussian` for bias and cost.

    References
    ----------
    A. J. Stam, Inf. Control 2 (1959) 101–112; H. Zheng et al., "Understanding VAEs in Fisher-Shannon
    Plane", AAAI 2019, eq. (1).

    Examples
    --------
    >>> import numpy as np
    >>> from infoplane import fisher_information
    >>> x = np.random.default_rng(0).multivariate_normal([0, 0], [[2, 1], [1, 1]], size=5000)
    >>> fisher_information(x).round(1)  # the inverse covariance
    array([[ 1., -1.],
           [-1.,  2.]])
    """
    sample = _sample(x, method)
    return _fisher_estimator(method, sample).fisher(sample).matrix


def fisher_trace(x: ArrayLike, *, method: str | Estimator = "auto") -> Estimate:
    """Trace of the Fisher information matrix, tr J = E|∇ log f(X)|², in inverse squared units of the data.

    Under x → a x + b it is divided by a².

    Parameters
    ----------
    x : array_like of shape (n,) or (n, d)
        n independent observations of d variables, taken jointly.
    method : {"auto", "gaussian", "knn", "kde"} or estimator, default "auto"
        As in `fisher_information`.

    Returns
    -------
    Estimate
        The trace with its standard error.

    Raises
    ------
    OverflowError, DegenerateSampleError, ValueError, TypeError
        As in `fisher_information`.

    Notes
    -----
    The sum over dimensions; divide by d for the mean, which is what the plane shows on its axis.

    References
    ----------
    A. J. Stam, Inf. Control 2 (1959) 101–112.

    Examples
    --------
    >>> import numpy as np
    >>> from infoplane import fisher_trace
    >>> x = np.random.default_rng(0).logistic(size=10_000)  # J = 1/3
    >>> j = fisher_trace(x)
    >>> abs(j - 1 / 3) < 3 * j.standard_error
    True
    """
    sample = _sample(x, method)
    return _trace_estimate(method, sample)[0]


def fisher_shannon(x: ArrayLike, *, method: str | Estimator = "auto") -> FisherShannonPoint:
    """Place of a sample in the Fisher–Shannon plane: H, N, J, tr J and the product N·tr J/d.

    Parameters
    ----------
    x : array_like of shape (n,) or (n, d)
        n independent observations of d variables, taken jointly.
    method : {"auto", "gaussian", "knn", "kde"} or estimator, default "auto"
        Used for both quantities; "auto" chooses for each as `entropy` and `fisher_information` do.

    Returns
    -------
    FisherShannonPoint
        All with standard errors; that of the product takes the correlation of N and tr J into account,
        which is strongly negative.

    Raises
    ------
    OverflowError, DegenerateSampleError, ValueError, TypeError
        As in `fisher_information` and `entropy_power`.

    Notes
    -----
    Stam's inequality N·tr J ≥ d holds for every density; the product says how far from an isotropic
    Gaussian a distribution is. It does not change under x → a x + b for a number a, but does under
    unequal scaling of the variables: an anisotropic Gaussian has a product above 1.

    References
    ----------
    C. Vignat, J.-F. Bercher, Phys. Lett. A 312 (2003) 27–33; A. Dembo, T. M. Cover, J. A. Thomas, IEEE
    Trans. Inf. Theory 37 (1991) 1501–1518; H. Zheng et al., "Understanding VAEs in Fisher-Shannon Plane",
    AAAI 2019, eqs. (1)–(5), where eq. (5) has the bound 1 in the place of d.

    Examples
    --------
    >>> import numpy as np
    >>> from infoplane import fisher_shannon
    >>> x = np.random.default_rng(0).standard_normal((5000, 2))
    >>> point = fisher_shannon(x)
    >>> abs(point.product - 1) < 3 * point.product.standard_error + 0.03
    True
    """
    sample = _sample(x, method)
    h, shannon = _entropy_estimate(method, sample)
    trace, fisher = _trace_estimate(method, sample)
    return FisherShannonPoint.from_estimates(
        h, fisher.matrix, trace, covariance=covariance(shannon.influence, fisher.influence)
    )


def score(x: ArrayLike, points: ArrayLike | None = None, *, method: str | Estimator = "auto") -> Array:
    """Score s = ∇ log f, the direction and relative rate in which the density grows, in inverse data units.

    Under x → a x + b it is divided by a.

    Parameters
    ----------
    x : array_like of shape (n,) or (n, d)
        The sample that tells the density.
    points : array_like of shape (m,) or (m, d), optional
        Where to evaluate; by default at the sample's own points, each left out of its own estimate.
    method : {"auto", "gaussian", "knn", "kde"} or estimator, default "auto"
        As in `fisher_information`.

    Returns
    -------
    ndarray of shape (m, d)
        One row a point.

    Raises
    ------
    ValueError
        If `points` has another number of columns than `x`, and as in `entropy`.
    DegenerateSampleError, TypeError
        As in `entropy`.

    Notes
    -----
    Passing the sample itself as `points` leaves nothing out, and the estimate is then biased towards each
    point. The mean of |s|² over a sample is a biased estimate of tr J: use `fisher_trace`.

    References
    ----------
    A. Hyvärinen, J. Mach. Learn. Res. 6 (2005) 695–709.

    Examples
    --------
    >>> import numpy as np
    >>> from infoplane import score
    >>> x = np.random.default_rng(0).standard_normal(10_000)  # s(x) = -x
    >>> score(x, [-1.0, 0.0, 1.0]).round(2).ravel()
    array([ 1.01,  0.01, -0.99])
    """
    sample = _sample(x, method)
    at = None if points is None else as_points(points, sample)
    return _fisher_estimator(method, sample).score(sample, at)


def _sample(x: ArrayLike, method: str | Estimator) -> Sample:
    sample = Sample.of(x)
    if method == "auto" and sample.d > _TRUSTED_DIMENSIONS:
        message = (
            f"in d = {sample.d} > {_TRUSTED_DIMENSIONS} dimensions no method here resolves clustered or "
            "curved data: H may be wrong by a nat and J low by half, whatever the standard errors say; "
            'compare with method="gaussian"'
        )
        warnings.warn(message, InfoplaneWarning, stacklevel=3)
    return sample


def _fisher_estimator(method: str | Estimator, sample: Sample) -> Estimator:
    if method != "auto":
        return _named(method)
    if sample.d == 1 and sample.n >= _LOGSPLINE_ROWS:
        return LogSpline()
    return KDE() if sample.d < _KNN_FISHER_DIMENSIONS else KNN()


def _named(method: str | Estimator) -> Estimator:
    if isinstance(method, str):
        if method not in _FAMILIES:
            raise ValueError(
                f"`method` must be one of {['auto', *_FAMILIES]} or an estimator, got {method!r}"
            )
        return _FAMILIES[method]()
    if isinstance(method, type) or not isinstance(method, Estimator):
        raise TypeError(f"`method` must be a name or an estimator such as KNN(k=3), got {method!r}")
    return method


def _entropy_estimate(
    method: str | Estimator, sample: Sample, unit: float = 1.0
) -> tuple[Estimate, EntropyFit]:
    if method == "auto":
        estimator, fit = BestEntropy().best(sample)
    else:
        estimator = _named(method)
        fit = estimator.entropy(sample)
    estimate = Estimate(
        fit.value / unit,
        standard_error=fit.standard_error / unit,
        method=estimator.name,
        n=sample.n,
        d=sample.d,
    )
    return estimate, fit


def _trace_estimate(method: str | Estimator, sample: Sample) -> tuple[Estimate, FisherFit]:
    estimator = _fisher_estimator(method, sample)
    fit = estimator.fisher(sample)
    estimate = Estimate(
        float(np.trace(fit.matrix)),
        standard_error=fit.standard_error,
        method=estimator.name,
        n=sample.n,
        d=sample.d,
        positive=True,
    )
    return estimate, fit
