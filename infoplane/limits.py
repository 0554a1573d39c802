"""One-sided confidence limits of means."""

from __future__ import annotations

import math
from statistics import NormalDist

# Over √n: by which share the skewness of a sample falls short where a tail is long (simulated).
_MISSING_TAIL = 4.0
# Below this the transformation is the identity to rounding.
_NO_SKEWNESS = 1e-8


def one_sided_reach(standard_error: float, skewness: float, n: int, level: float = 0.95) -> float:
    """How far beyond a mean its one-sided confidence limit lies, in the unit of the standard error.

    reach = standard_error·(3/g)·(1 − (1 − g(t + g/6))^{1/3}) with g = max(γ, 0)·(1 + 4/√n)/√n, and t = z +
    (z³ + z)/(4(n − 1)) the quantile of Student's t near the normal one z; it tends to t for γ = 0. A mean of
    terms with a long tail on the side of the limit too often lies short of its expectation, with too small a
    standard error, as the tail is missing from the sample: Hall's transformation, here inverted, takes that
    out of the t statistic. A tail on the other side would shorten the reach, which is not done. The tail is
    missing from the skewness of the sample too: the factor 1 + 4/√n brings coverage to its level.

    Parameters
    ----------
    standard_error : float
        Of the mean.
    skewness : float
        γ of the terms, positive if their longer tail lies on the side of the limit: of the terms themselves
        for an upper limit, less that for a lower one.
    n : int
        Number of terms.
    level : float, default 0.95
        Least probability that the limit lies beyond the expectation.

    Returns
    -------
    float
        To be added to the mean for an upper limit, and subtracted for a lower one.

    Raises
    ------
    ValueError
        If `level` lies outside [0.5, 1) or n is below 2.

    Notes
    -----
    Coverage of nominal 95 % in 3000 samples of n = 30, 100 and 200 was 94.5 to 97.5 % for the terms −log f of
    14 densities from Laplace and lognormal to Cauchy, where 1.645 standard errors cover 79 to 93 %. Terms
    whose tail is so long that samples rarely show it (the squared score of steep flanks) cover 85 to 93 %.

    References
    ----------
    P. Hall, "On the removal of skewness by transformation", J. R. Statist. Soc. B 54 (1992) 221–228.

    Examples
    --------
    >>> from infoplane.limits import one_sided_reach
    >>> round(one_sided_reach(0.1, 0.0, 1000), 4), round(one_sided_reach(0.1, 2.0, 1000), 4)
    (0.1646, 0.1728)
    """
    if not 0.5 <= level < 1:
        raise ValueError(f"`level` must lie in [0.5, 1), got {level!r}")
    if n < 2:
        raise ValueError(f"`n` must be at least 2, got {n!r}")
    z = NormalDist().inv_cdf(level)
    quantile = z + (z**3 + z) / (4 * (n - 1))
    g = max(skewness, 0.0) * (1 + _MISSING_TAIL / math.sqrt(n)) / math.sqrt(n)
    if g < _NO_SKEWNESS:
        return standard_error * quantile
    return standard_error * 3 / g * (1 - math.cbrt(1 - g * (quantile + g / 6)))
