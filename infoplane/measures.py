"""The quantities by name: what a user calls."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from infoplane.blocks import Blocks
from infoplane.dask_arrays import DaskSample
from infoplane.estimate import Estimate, FisherShannonPoint
from infoplane.estimators import Estimator
from infoplane.kernels.linear_algebra import on_one_blas_thread
from infoplane.measured import MeasuredSample
from infoplane.methods import fisher_estimator, warn_beyond_trust, with_rtol
from infoplane.progress import shown
from infoplane.sample import Sample, as_points, is_dask

Array = NDArray[np.float64]


@on_one_blas_thread
def entropy(
    x: ArrayLike,
    *,
    method: str | Estimator = "auto",
    base: float | None = None,
    weights: ArrayLike | None = None,
    counts: ArrayLike | None = None,
    ties: Literal["raise", "dither"] = "raise",
    rng: np.random.Generator | int | None = None,
    rtol: float | None = None,
    progress: bool = False,
) -> Estimate:
    """Differential entropy H = −E log f(X), in nats.

    Under x → a x + b it grows by d·log|a|; it may be negative, and it is −∞ where there is no density.

    Parameters
    ----------
    x : array_like of shape (n,) or (n, d)
        n independent observations of d variables, taken jointly. A dask array is measured by its own graph
        (Notes).
    method : str or estimator, default "auto"
        One of "gaussian", "knn", "kde", "spacing" (d = 1), "logspline" (d = 1), "copula" and "weighted-knn",
        or an object such as ``KNN(k=5)`` that carries options. "auto" takes spacings in one dimension, and in
        more the lowest of nearest neighbours, two copula estimates and, from d = 8, a mixture, whose biases
        are mostly positive; for weighted rows in d ≥ 2, and for counts, kernels. "bound" gives an upper bound
        instead, whose `interval` is one-sided and holds whatever the density.
    base : float, optional
        Unit: e (None) for nats, 2 for bits, 10 for hartleys.
    weights : array_like of shape (n,), optional
        Positive weights of the rows, of which only the ratios matter, as of importance sampling: the law
        under study is Σ w_i δ(x_i)/Σ w_i. For "gaussian", "kde" and, if d = 1, "spacing" and "logspline".
    counts : array_like of shape (n,), optional
        How often each row was seen. For "gaussian", and, if the rows were rounded to a lattice, "kde" and
        "logspline" (d = 1).
    ties : {"raise", "dither"}, default "raise"
        Rounded data have ties, and no density. "dither" adds uniform noise as wide as the rounding step,
        which it finds, to every column with ties; it is an error if the ties are not due to rounding.
    rng : numpy.random.Generator or int, optional
        Source of that noise, and of random points and blocks, or a seed; required by "dither".
    rtol : float, optional
        Relative standard error of the entropy power and of tr J that is enough, for "kde" in d ≥ 3: pairs are
        summed at as many random points as that takes, drawn by `rng`. By default at 20,000 points at most.
    progress : bool, default False
        Show a bar for each stage that takes longer than half a second, by tqdm (extra ``progress``).

    Returns
    -------
    Estimate
        The entropy with its standard error.

    Raises
    ------
    DegenerateSampleError
        If the sample has ties (except with "gaussian"), a constant column or dependent columns.
    ValueError
        If `x` is empty, not finite, of wrong rank, or has too few rows, if weights or counts are not positive
        or the method takes none, or if "dither" comes without `rng`.
    TypeError
        If `x` does not hold real numbers.

    Warns
    -----
    InfoplaneWarning
        If "auto" is used above d = 10.

    Notes
    -----
    Cost O(n log n) up to d = 10, with a constant that grows with d. Observations must be independent:
    neighbours in time count as neighbours in value. "auto" follows scaling, shifts and permutations of the
    columns exactly, but rotations only where another candidate than the copula in given axes is lowest.

    The rows of a dask array (extra ``dask``) are counted in a `Histogram` in one and two dimensions and
    measured by "kde" (or "gaussian", or "logspline" if d = 1, which "auto" takes for J there). In more, 2 to
    32 blocks of 20,000 random rows at most are measured where they lie and averaged, with `rng` as seed;
    ``method=Blocks(…)`` says how many and how. The bias is then that of a block: see `Estimate.bias`. The
    same holds for `entropy_power`, `fisher_information`, `fisher_trace` and `fisher_shannon`; other functions
    take arrays in memory.

    See `Spacing`, `KNN`, `WeightedKNN`, `Copula`, `KDE`, `Gaussian` and `Bound` for bias and for when not to
    use them, and `Blocks` for samples too large for a method.

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
    with shown(progress):
        return _measured(x, method, weights, counts, ties, rng, rtol).entropy(base)


@on_one_blas_thread
def entropy_power(
    x: ArrayLike,
    *,
    method: str | Estimator = "auto",
    weights: ArrayLike | None = None,
    counts: ArrayLike | None = None,
    ties: Literal["raise", "dither"] = "raise",
    rng: np.random.Generator | int | None = None,
    rtol: float | None = None,
    progress: bool = False,
) -> Estimate:
    """Entropy power N = exp(2H/d)/(2πe), in squared units of the data.

    The variance of the isotropic Gaussian with the entropy of X: N ≤ |Σ|^{1/d}, with equality for Gaussians.
    Under x → a x + b it is multiplied by a².

    Parameters
    ----------
    x : array_like of shape (n,) or (n, d)
        n independent observations of d variables, taken jointly.
    method : str or estimator, default "auto"
        As in `entropy`.
    weights, counts : array_like of shape (n,), optional
        What the rows count, as in `entropy`.
    ties : {"raise", "dither"}, default "raise"
        What becomes of rounded data, as in `entropy`.
    rng : numpy.random.Generator or int, optional
        Source of noise for "dither".
    rtol : float, optional
        What precision is enough for "kde", as in `entropy`.
    progress : bool, default False
        Show stages that take long, as in `entropy`.

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
    with shown(progress):
        return _measured(x, method, weights, counts, ties, rng, rtol).entropy_power()


@on_one_blas_thread
def fisher_information(
    x: ArrayLike,
    *,
    method: str | Estimator = "auto",
    weights: ArrayLike | None = None,
    counts: ArrayLike | None = None,
    ties: Literal["raise", "dither"] = "raise",
    rng: np.random.Generator | int | None = None,
    rtol: float | None = None,
    progress: bool = False,
) -> Array:
    """Fisher information matrix J = E[s sᵀ], s = ∇ log f(X), in inverse squared units of the data.

    This is the non-parametric (location) Fisher information: derivatives are with respect to x, not to a
    parameter. Under x → A x + b it becomes A⁻ᵀ J A⁻¹, and J ⪰ Σ⁻¹ (Cramér–Rao), with equality for Gaussians.

    Parameters
    ----------
    x : array_like of shape (n,) or (n, d)
        n independent observations of d variables, taken jointly.
    method : str or estimator, default "auto"
        One of "gaussian", "knn", "kde", "logspline" (d = 1) and "stack" (d ≥ 2), or an object that carries
        options. "auto" takes log-splines in one dimension (from 30 rows), and in more the stack of score
        models (from 50 rows, 10 a dimension, below d = 50), which takes about a second at n = 10³ and ten at
        10⁴; else kernels, for weights and counts in d ≥ 2 always, and from d = 10 nearest neighbours. "bound"
        gives a lower bound instead.
    weights, counts : array_like of shape (n,), optional
        What the rows count, as in `entropy`.
    ties : {"raise", "dither"}, default "raise"
        What becomes of rounded data, as in `entropy`.
    rng : numpy.random.Generator or int, optional
        Source of noise for "dither".
    rtol : float, optional
        What precision is enough for "kde", as in `entropy`.
    progress : bool, default False
        Show stages that take long, as in `entropy`.

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
    an estimate merely grows with n (in one dimension "auto" warns of it). See `LogSpline`, `Stack`, `KDE`,
    `KNN`, `Gaussian` and `Bound` for bias and cost.

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
    with shown(progress):
        return _measured(x, method, weights, counts, ties, rng, rtol).fisher_information()


@on_one_blas_thread
def fisher_trace(
    x: ArrayLike,
    *,
    method: str | Estimator = "auto",
    weights: ArrayLike | None = None,
    counts: ArrayLike | None = None,
    ties: Literal["raise", "dither"] = "raise",
    rng: np.random.Generator | int | None = None,
    rtol: float | None = None,
    progress: bool = False,
) -> Estimate:
    """Trace of the Fisher information matrix, tr J = E|∇ log f(X)|², in inverse squared units of the data.

    Under x → a x + b it is divided by a².

    Parameters
    ----------
    x : array_like of shape (n,) or (n, d)
        n independent observations of d variables, taken jointly.
    method : str or estimator, default "auto"
        As in `fisher_information`.
    weights, counts : array_like of shape (n,), optional
        What the rows count, as in `entropy`.
    ties : {"raise", "dither"}, default "raise"
        What becomes of rounded data, as in `entropy`.
    rng : numpy.random.Generator or int, optional
        Source of noise for "dither".
    rtol : float, optional
        What precision is enough for "kde", as in `entropy`.
    progress : bool, default False
        Show stages that take long, as in `entropy`.

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
    with shown(progress):
        return _measured(x, method, weights, counts, ties, rng, rtol).fisher_trace()


@on_one_blas_thread
def fisher_shannon(
    x: ArrayLike,
    *,
    method: str | Estimator = "auto",
    weights: ArrayLike | None = None,
    counts: ArrayLike | None = None,
    ties: Literal["raise", "dither"] = "raise",
    rng: np.random.Generator | int | None = None,
    rtol: float | None = None,
    progress: bool = False,
) -> FisherShannonPoint:
    """Place of a sample in the Fisher–Shannon plane: H, N, J, tr J and the product N·tr J/d.

    Parameters
    ----------
    x : array_like of shape (n,) or (n, d)
        n independent observations of d variables, taken jointly.
    method : str or estimator, default "auto"
        Used for both quantities; "auto" chooses for each as `entropy` and `fisher_information` do.
    weights, counts : array_like of shape (n,), optional
        What the rows count, as in `entropy`.
    ties : {"raise", "dither"}, default "raise"
        What becomes of rounded data, as in `entropy`.
    rng : numpy.random.Generator or int, optional
        Source of noise for "dither".
    rtol : float, optional
        What precision is enough for "kde", as in `entropy`.
    progress : bool, default False
        Show stages that take long, as in `entropy`.

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
    with shown(progress):
        return _measured(x, method, weights, counts, ties, rng, rtol).fisher_shannon()


@on_one_blas_thread
def score(
    x: ArrayLike,
    points: ArrayLike | None = None,
    *,
    method: str | Estimator = "auto",
    weights: ArrayLike | None = None,
    counts: ArrayLike | None = None,
    ties: Literal["raise", "dither"] = "raise",
    rng: np.random.Generator | int | None = None,
    progress: bool = False,
) -> Array:
    """Score s = ∇ log f, the direction and relative rate in which the density grows, in inverse data units.

    Under x → a x + b it is divided by a.

    Parameters
    ----------
    x : array_like of shape (n,) or (n, d)
        The sample that tells the density.
    points : array_like of shape (m,) or (m, d), optional
        Where to evaluate; by default at the sample's own points, each left out of its own estimate.
    method : str or estimator, default "auto"
        As in `fisher_information`.
    weights, counts : array_like of shape (n,), optional
        What the rows count, as in `entropy`.
    ties : {"raise", "dither"}, default "raise"
        What becomes of rounded data, as in `entropy`.
    rng : numpy.random.Generator or int, optional
        Source of noise for "dither".
    progress : bool, default False
        Show stages that take long, as in `entropy`.

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
    if is_dask(x):
        raise TypeError(
            "`x` must be an array in memory for a score, got a dask array; pass `x[:m].compute()`"
        )
    with shown(progress):
        sample = _sample(x, method, weights, counts, ties, rng)
        at = None if points is None else as_points(points, sample)
        return fisher_estimator(method, sample).score(sample, at)


def _measured(
    x: Any,
    method: str | Estimator,
    weights: ArrayLike | None,
    counts: ArrayLike | None,
    ties: Literal["raise", "dither"],
    rng: np.random.Generator | int | None,
    rtol: float | None,
) -> MeasuredSample | DaskSample:
    """The rows with the method that measures them, wherever they lie."""
    method = with_rtol(method, rtol, rng)
    if not is_dask(x):
        return MeasuredSample(_sample(x, method, weights, counts, ties, rng), method)
    if weights is not None or counts is not None or ties != "raise":
        raise ValueError("`weights`, `counts` and `ties` are not taken with a dask array")
    measured = DaskSample(x, method, rng)
    warn_beyond_trust(_of_a_block(method), measured.d)
    return measured


def _sample(
    x: ArrayLike,
    method: str | Estimator,
    weights: ArrayLike | None,
    counts: ArrayLike | None,
    ties: Literal["raise", "dither"],
    rng: np.random.Generator | int | None,
) -> Sample:
    sample = Sample.of(x, weights=weights, counts=counts, ties=ties, rng=rng)
    warn_beyond_trust(_of_a_block(method), sample.d)
    return sample


def _of_a_block(method: str | Estimator) -> str | Estimator:
    return method.method if isinstance(method, Blocks) else method
