"""Laws of one random vector: Stam, Cramér–Rao, maximum entropy, logarithmic Sobolev."""

from __future__ import annotations

import math

import numpy as np

from infoplane.distributions.base import Array
from infoplane.estimators import Estimator
from infoplane.inequalities.subject import Law, Ties, inverse, power, root, subject_of


def stam(
    x: Law,
    *,
    method: str | Estimator = "auto",
    ties: Ties = "raise",
    rng: np.random.Generator | int | None = None,
) -> float:
    """Stam's inequality, N·tr J/d − 1 ≥ 0: entropy power times Fisher information is at least one.

    Equality: isotropic normal distributions, and no others. It does not change under x → a x + b.

    Parameters
    ----------
    x : Distribution or array_like of shape (n,) or (n, d)
        A distribution, or a sample of one.
    method : str or estimator, default "auto"
        How to estimate from a sample, as in `infoplane.fisher_shannon`.
    ties : {"raise", "dither"}, default "raise"
        What becomes of rounded data, as in `infoplane.entropy`.
    rng : numpy.random.Generator or int, optional
        Source of noise for "dither".

    Returns
    -------
    float
        The residual; from a sample, or where Monte Carlo is used, an `Estimate` with its standard error. It
        is `inf` where J is.

    Raises
    ------
    ValueError, TypeError
        As `infoplane.fisher_shannon` from a sample.

    References
    ----------
    A. J. Stam, Inf. Control 2 (1959) 101–112; A. Dembo, T. M. Cover, J. A. Thomas, IEEE Trans. Inf. Theory
    37 (1991) 1501–1518, where it is the isoperimetric inequality for entropies. H. Zheng et al.,
    "Understanding VAEs in Fisher-Shannon Plane", AAAI 2019, eq. (5), has 1 in the place of d.

    Examples
    --------
    >>> from infoplane.distributions import Laplace, Normal
    >>> from infoplane.inequalities import stam
    >>> abs(stam(Normal(scale=3.0))) < 1e-12
    True
    >>> round(stam(Laplace()), 6)  # 2e/π − 1
    0.730512
    """
    v = subject_of(x, method, ties=ties, rng=rng)
    h, t = v.entropy, v.information()
    product = power(h, v.d) * t.value / v.d
    if not math.isfinite(product):
        return product
    return v.residual(product - 1, [(2 / v.d * product, h), (product / t.value, t)])


def stam_matrix(
    x: Law,
    *,
    method: str | Estimator = "auto",
    ties: Ties = "raise",
    rng: np.random.Generator | int | None = None,
) -> float:
    """Stam's inequality with the determinant, N·|J|^{1/d} − 1 ≥ 0, which is sharper: |J|^{1/d} ≤ tr J/d.

    Equality: normal distributions of any covariance, and no others. It does not change under x → A x + b.

    Parameters
    ----------
    x : Distribution or array_like of shape (n,) or (n, d)
        A distribution, or a sample of one.
    method : str or estimator, default "auto"
        As in `stam`.
    ties : {"raise", "dither"}, default "raise"
        What becomes of rounded data, as in `infoplane.entropy`.
    rng : numpy.random.Generator or int, optional
        Source of noise for "dither".

    Returns
    -------
    float
        The residual, as of `stam`; `nan` where J is infinite in directions that are not those of the axes.

    Raises
    ------
    ValueError, TypeError
        As `stam`.

    Notes
    -----
    It is Stam's inequality for J^{1/2} X, whose Fisher information is the identity.

    References
    ----------
    A. Dembo, T. M. Cover, J. A. Thomas, IEEE Trans. Inf. Theory 37 (1991) 1501–1518.

    Examples
    --------
    >>> from infoplane.distributions import MultivariateNormal
    >>> from infoplane.inequalities import stam, stam_matrix
    >>> x = MultivariateNormal([0, 0], [[4, 0], [0, 1]])
    >>> round(stam(x), 12), abs(stam_matrix(x)) < 1e-12
    (0.25, True)
    """
    v = subject_of(x, method, ties=ties, rng=rng)
    if not np.isfinite(v.fisher).all():
        return math.nan if np.isnan(v.fisher).any() else math.inf
    h, relative = v.entropy, v.information(inverse(v.fisher))
    product = power(h, v.d) * math.exp(np.linalg.slogdet(v.fisher)[1] / v.d)
    return v.residual(product - 1, [(2 / v.d * product, h), (product / v.d, relative)])


def cramer_rao(
    x: Law,
    *,
    method: str | Estimator = "auto",
    ties: Ties = "raise",
    rng: np.random.Generator | int | None = None,
) -> float:
    """Cramér–Rao bound of location, Σ ⪰ J⁻¹: the least eigenvalue of Σ^{1/2} J Σ^{1/2} − 1, ≥ 0.

    Equality: if a linear function of X is normal and independent of the others (after whitening); all
    eigenvalues are zero for normal distributions only. It does not change under x → A x + b.

    Parameters
    ----------
    x : Distribution or array_like of shape (n,) or (n, d)
        A distribution, or a sample of one.
    method : str or estimator, default "auto"
        As in `stam`.
    ties : {"raise", "dither"}, default "raise"
        What becomes of rounded data, as in `infoplane.entropy`.
    rng : numpy.random.Generator or int, optional
        Source of noise for "dither".

    Returns
    -------
    float
        The residual, as of `stam`; `inf` where second moments do not exist, `nan` where J is infinite in
        directions that are not those of the axes.

    Raises
    ------
    ValueError, TypeError
        As `stam`.

    Notes
    -----
    Most estimators keep their estimates of J above the inverse of the sample covariance: the residual of a
    sample is then never far below zero, whatever the data.

    References
    ----------
    H. Zheng et al., "Understanding VAEs in Fisher-Shannon Plane", AAAI 2019, eq. (12); A. Dembo, T. M. Cover,
    J. A. Thomas, IEEE Trans. Inf. Theory 37 (1991) 1501–1518.

    Examples
    --------
    >>> from infoplane.distributions import Logistic, Normal, Product
    >>> from infoplane.inequalities import cramer_rao
    >>> round(cramer_rao(Logistic()), 6)  # π²/9 − 1
    0.096623
    >>> abs(cramer_rao(Product(Logistic(), Normal()))) < 1e-12
    True
    """
    v = subject_of(x, method, ties=ties, rng=rng)
    if not np.isfinite(v.scatter).all():
        return math.inf
    if np.isnan(v.fisher).any():
        return math.nan
    kept = np.isfinite(np.diag(v.fisher))
    if not kept.any():
        return math.inf
    # Directions of infinite J take no part: the eigenvalues are those of J against Σ⁻¹ on the others, which
    # are independent of them, as J has no entries between.
    half = root(v.scatter[np.ix_(kept, kept)])
    values, vectors = np.linalg.eigh(half @ v.fisher[np.ix_(kept, kept)] @ half)
    least, direction = float(values[0]), np.zeros(v.d)
    direction[kept] = half @ vectors[:, 0]
    weight = np.zeros(v.d)
    weight[kept] = np.linalg.solve(half, vectors[:, 0])
    terms = [(1.0, v.information(_along(direction))), (least, v.spread(_along(weight)))]
    return v.residual(least - 1, terms)


def maximum_entropy(
    x: Law,
    *,
    method: str | Estimator = "auto",
    ties: Ties = "raise",
    rng: np.random.Generator | int | None = None,
) -> float:
    """Normal distributions have the largest entropy for their covariance: |Σ|^{1/d}/N − 1 ≥ 0.

    Equality: normal distributions, and no others. It does not change under x → A x + b.

    Parameters
    ----------
    x : Distribution or array_like of shape (n,) or (n, d)
        A distribution, or a sample of one.
    method : str or estimator, default "auto"
        As in `infoplane.entropy`.
    ties : {"raise", "dither"}, default "raise"
        What becomes of rounded data, as in `infoplane.entropy`.
    rng : numpy.random.Generator or int, optional
        Source of noise for "dither".

    Returns
    -------
    float
        The residual, as of `stam`; `inf` where second moments do not exist.

    Raises
    ------
    ValueError, TypeError
        As `infoplane.entropy` from a sample.

    References
    ----------
    C. E. Shannon, Bell Syst. Tech. J. 27 (1948) 623–656, section 20; T. M. Cover, J. A. Thomas, *Elements of
    Information Theory*, 2nd ed., Theorem 8.6.5.

    Examples
    --------
    >>> from infoplane.distributions import Uniform
    >>> from infoplane.inequalities import maximum_entropy
    >>> round(maximum_entropy(Uniform()), 6)  # πe/6 − 1
    0.423289
    """
    v = subject_of(x, method, ties=ties, rng=rng)
    if not np.isfinite(v.scatter).all():
        return math.inf
    h, relative = v.entropy, v.spread(inverse(v.scatter))
    ratio = math.exp(np.linalg.slogdet(v.scatter)[1] / v.d) / power(h, v.d)
    return v.residual(ratio - 1, [(-2 / v.d * ratio, h), (ratio / v.d, relative)])


def logarithmic_sobolev(
    x: Law,
    *,
    variance: float = 1.0,
    method: str | Estimator = "auto",
    ties: Ties = "raise",
    rng: np.random.Generator | int | None = None,
) -> float:
    """Logarithmic Sobolev inequality of γ = N(0, σ²I), ½σ² I(f‖γ) − D(f‖γ) ≥ 0, in nats.

    D is the relative entropy, I = E|∇ log f/γ|² the relative Fisher information. Second moments cancel, and
    what is left is ½σ² tr J − d + H − ½d log 2πσ².

    Equality: normal distributions with covariance σ²I, and any mean, and no others.

    Parameters
    ----------
    x : Distribution or array_like of shape (n,) or (n, d)
        A distribution, or a sample of one.
    variance : float, default 1
        σ². At d/tr J the inequality is sharpest, and is Stam's: ½d log(N·tr J/d) ≥ 0.
    method : str or estimator, default "auto"
        As in `stam`.
    ties : {"raise", "dither"}, default "raise"
        What becomes of rounded data, as in `infoplane.entropy`.
    rng : numpy.random.Generator or int, optional
        Source of noise for "dither".

    Returns
    -------
    float
        The residual, as of `stam`.

    Raises
    ------
    ValueError
        If the variance is not positive.
    TypeError
        As `stam`.

    References
    ----------
    L. Gross, Amer. J. Math. 97 (1975) 1061–1083; E. A. Carlen, J. Funct. Anal. 101 (1991) 194–211, for the
    equality and the relation to Stam's inequality.

    Examples
    --------
    >>> from infoplane.distributions import Normal
    >>> from infoplane.inequalities import logarithmic_sobolev
    >>> abs(logarithmic_sobolev(Normal(5.0))) < 1e-12
    True
    >>> round(logarithmic_sobolev(Normal(5.0), variance=2.0), 6)  # 1 − ½ − ½ log 2
    0.153426
    """
    if not 0 < variance < math.inf:
        raise ValueError(f"`variance` must be positive and finite, got {variance!r}")
    v = subject_of(x, method, ties=ties, rng=rng)
    h, t = v.entropy, v.information()
    value = variance / 2 * t.value - v.d + h.value - v.d / 2 * math.log(2 * math.pi * variance)
    return v.residual(value, [(1.0, h), (variance / 2, t)])


def _along(direction: Array) -> Array:
    return np.outer(direction, direction)
