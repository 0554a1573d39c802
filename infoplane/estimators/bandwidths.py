"""Bandwidths of Gaussian kernel density estimates on a line, by the names of their authors."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike
from scipy import fft
from scipy.optimize import brentq

from infoplane.errors import warn
from infoplane.estimators.kernel_density import LineKernels
from infoplane.kernels.binning import BinnedSample
from infoplane.sample import Sample

# Where roots are sought, relative to the normal reference bandwidth.
_NARROWEST, _WIDEST = 0.02, 2.0
# Farther apart than this, in robust scales, points do not see each other.
_REACH = 10.0
_STAGES = 7


def scott(x: ArrayLike) -> float:
    """Normal reference bandwidth h = (4/3)^{1/5} σ̂ n^{-1/5}, in units of the data.

    It minimises the asymptotic integrated squared error of the density if that is normal.

    Parameters
    ----------
    x : array_like of shape (n,)
        The sample.

    Notes
    -----
    Much too wide for clustered or heavy-tailed data. SciPy's ``scott_factor`` leaves out (4/3)^{1/5} = 1.06.

    References
    ----------
    D. W. Scott, "Multivariate Density Estimation", Wiley 1992, eq. (6.17).

    Examples
    --------
    >>> from infoplane.estimators.bandwidths import scott
    >>> round(scott([1.0, 2.0, 3.0, 4.0, 5.0]), 4)
    1.2138
    """
    sample = _line(x)
    return (4 / (3 * sample.n)) ** 0.2 * _deviation(sample)


def silverman(x: ArrayLike) -> float:
    """Rule of thumb h = 0.9 min(σ̂, IQR/1.34) n^{-1/5}, in units of the data.

    Parameters
    ----------
    x : array_like of shape (n,)
        The sample.

    Notes
    -----
    Robust against outliers; still too wide for densities with several modes. R's ``bw.nrd0``.

    References
    ----------
    B. W. Silverman, "Density Estimation", Chapman and Hall 1986, eq. (3.31).

    Examples
    --------
    >>> from infoplane.estimators.bandwidths import silverman
    >>> round(silverman([1.0, 2.0, 3.0, 4.0, 9.0]), 4)
    0.9736
    """
    sample = _line(x)
    z = sample.whitened[:, 0]
    spread = float(np.subtract(*np.quantile(z, [0.75, 0.25]))) / 1.34
    return 0.9 * (min(1.0, spread) if spread > 0 else 1.0) * sample.n**-0.2 * _deviation(sample)


def sheather_jones(x: ArrayLike) -> float:
    """Solve-the-equation bandwidth of Sheather and Jones, in units of the data.

    h solves h = [2√π n R̂(g(h))]^{-1/5}, R̂(g) the estimate of ∫ f″² with kernels of width g(h) ∝ h^{5/7}.

    Parameters
    ----------
    x : array_like of shape (n,)
        The sample.

    Warns
    -----
    InfoplaneWarning
        If the equation has no solution; the result is then Silverman's.

    Notes
    -----
    Cost O(n + G log G) through binning at a fifth of the narrowest kernel considered. Diagonal terms are
    kept, as in R's ``bw.SJ``.

    References
    ----------
    S. J. Sheather, M. C. Jones, J. R. Statist. Soc. B 53 (1991) 683–690, eq. (12).

    Examples
    --------
    >>> import numpy as np
    >>> from infoplane.estimators.bandwidths import sheather_jones
    >>> round(sheather_jones(np.random.default_rng(0).standard_normal(2000)), 2)
    0.24
    """
    sample = _line(x)
    roughness, n = _Roughness(sample), sample.n
    # Sheather and Jones normalise by n(n − 1).
    curvature = n / (n - 1) * roughness(2, 1.24 * n ** (-1 / 7))
    next_order = n / (n - 1) * roughness(3, 1.23 * n ** (-1 / 9))
    ratio = 1.357 * (curvature / next_order) ** (1 / 7)

    def excess(log_h: float) -> float:
        h = math.exp(log_h)
        estimate = n / (n - 1) * roughness(2, ratio * h ** (5 / 7))
        return log_h + 0.2 * math.log(2 * math.sqrt(math.pi) * n * estimate)

    return _solve(excess, sample, roughness.scale)


def improved_sheather_jones(x: ArrayLike) -> float:
    """Botev, Grotowski and Kroese's plug-in bandwidth, free of a normal reference, in units of the data.

    h solves h = [2√π n ‖f″‖²]^{-1/5} with ‖f^{(j)}‖ estimated at a bandwidth that ‖f^{(j+1)}‖ tells, from
    j = 7 down to 2, where the first bandwidth is h itself.

    Parameters
    ----------
    x : array_like of shape (n,)
        The sample.

    Warns
    -----
    InfoplaneWarning
        If the equation has no solution; the result is then Silverman's.

    Notes
    -----
    The best of these for clustered data. The authors work with cosine series on an interval; here sums over
    pairs on the whole line are used, which is the same without reflection at its ends. For the smallest
    samples (n < 50) the equation often has no solution.

    References
    ----------
    Z. I. Botev, J. F. Grotowski, D. P. Kroese, Ann. Statist. 38 (2010) 2916–2957, algorithm 1, eqs. (28–31).

    Examples
    --------
    >>> import numpy as np
    >>> from infoplane.estimators.bandwidths import improved_sheather_jones
    >>> round(improved_sheather_jones(np.random.default_rng(0).standard_normal(2000)), 2)
    0.25
    """
    sample = _line(x)
    roughness, n = _Roughness(sample), sample.n

    def excess(log_h: float) -> float:
        width = math.exp(log_h)
        for j in range(_STAGES - 1, 1, -1):
            odd_product = math.prod(range(1, 2 * j, 2))
            factor = (1 + 0.5 ** (j + 0.5)) / 3 * odd_product / math.sqrt(math.pi / 2)
            # A density smoothed by `width` twice over is a sum over pairs of kernels of √2 `width`.
            norm = roughness(j + 1, math.sqrt(2) * width)
            width = (factor / (n * norm)) ** (1 / (3 + 2 * j))
        return log_h + 0.2 * math.log(2 * math.sqrt(math.pi) * n * roughness(2, math.sqrt(2) * width))

    return _solve(excess, sample, roughness.scale)


def likelihood_cv(x: ArrayLike) -> float:
    """Bandwidth that maximises the leave-one-out log-likelihood, in units of the data.

    Parameters
    ----------
    x : array_like of shape (n,)
        The sample, without ties.

    Raises
    ------
    DegenerateSampleError
        If there are ties, at which the likelihood has no maximum.

    Notes
    -----
    Minimises the Kullback–Leibler distance to the density, mixed with a Student t of mass 1/n, without which
    an outlier would dictate h.

    References
    ----------
    R. P. W. Duin, IEEE Trans. Comput. C-25 (1976) 1175–1179.

    Examples
    --------
    >>> import numpy as np
    >>> from infoplane.estimators.bandwidths import likelihood_cv
    >>> 0.1 < likelihood_cv(np.random.default_rng(0).standard_normal(2000)) < 0.4
    True
    """
    sample = _line(x)
    sample.require_distinct_rows("likelihood_cv")
    line = LineKernels(sample.whitened[:, 0])
    return line.bandwidth * line.scale * _deviation(sample)


class _Roughness:
    """Estimates of ∫ (f^{(r)})² = (−1)^r ΣΣ φ_g^{(2r)}(x_i − x_j)/n², in units of the sample's robust scale.

    By Parseval the double sum is one over the frequencies of the binned sample.
    """

    def __init__(self, sample: Sample) -> None:
        z = sample.whitened[:, 0]
        spread = float(np.subtract(*np.quantile(z, [0.75, 0.25]))) / 1.349
        self.scale = min(1.0, spread) if spread > 0 else 1.0
        spacing = 0.2 * _NARROWEST * _reference(sample.n)
        binned = BinnedSample(z / self.scale, spacing, reach=_REACH)
        size = int(fft.next_fast_len(int(binned.cell[-1]) + math.ceil(_REACH / spacing), real=True))
        grid = np.zeros(size)
        grid[binned.cell] = binned.counts / sample.n
        frequency = 2 * np.pi * fft.rfftfreq(size, spacing)[1:]
        self._squared = frequency**2
        self._power = 2 * np.abs(fft.rfft(grid)[1:]) ** 2 / (size * spacing)

    def __call__(self, order: int, g: float) -> float:
        # Beyond this exponent the Gaussian is below 1e-26, and its product with any power used is nothing.
        m = int(np.searchsorted(self._squared, 120 / g**2))
        squared = self._squared[:m]
        return float(self._power[:m] @ (squared**order * np.exp(-0.5 * g**2 * squared)))


def _solve(excess: Callable[[float], float], sample: Sample, scale: float) -> float:
    """Largest h at which `excess(log h)` turns from positive to negative, in units of the data."""
    grid = np.log(_reference(sample.n)) + np.linspace(math.log(_WIDEST), math.log(_NARROWEST), 24)
    upper = grid[0]
    if excess(upper) > 0:
        for lower in grid[1:]:
            if excess(lower) <= 0:
                return math.exp(brentq(excess, lower, upper, xtol=1e-10)) * scale * _deviation(sample)
            upper = lower
    message = f"the equation for the bandwidth of `{sample.name}` has no solution; using Silverman's rule"
    warn(message)
    return silverman(sample.values)


def _line(x: ArrayLike) -> Sample:
    sample = Sample.of(x)
    if sample.d != 1:
        raise ValueError(f"`x` must have one column, got d = {sample.d}")
    return sample


def _deviation(sample: Sample) -> float:
    return 1 / abs(float(sample.whitener[0, 0]))


def _reference(n: int) -> float:
    return (4 / (3 * n)) ** 0.2
