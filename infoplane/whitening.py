"""The affine map that gives a sample mean zero and unit covariance."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from infoplane.errors import DegenerateSampleError
from infoplane.kernels.moments import central_moments
from infoplane.mass import Mass

Array = NDArray[np.float64]

# Binary exponents of one variable whose squares stay in range.
_MODERATE = 400
# Exponents of which the power itself is in range.
_LARGEST_POWER = 1000


@dataclass(frozen=True, eq=False)
class Whitening:
    """z = ((x·2^−e − μ − μ′)/σ) Vᵀ diag(a), column by column up to the rotation V; increasing if d = 1.

    Attributes
    ----------
    exponent : ndarray of shape (d,)
        e: exact powers of two keep 1e±200 in range.
    mean, correction : ndarray of shape (d,)
        μ, and the mean μ′ of what it leaves.
    spread : ndarray of shape (d,)
        Standard deviations σ.
    rotation : ndarray of shape (d, d)
        V.
    stretch : ndarray of shape (d,)
        a.
    """

    exponent: NDArray[np.intc]
    mean: Array
    correction: Array
    spread: Array
    rotation: Array
    stretch: Array

    @classmethod
    def of(cls, values: Array, mass: Mass, name: str = "x") -> Whitening:
        """The whitening of a sample.

        Parameters
        ----------
        values : ndarray of shape (n, d)
            The rows.
        mass : Mass
            What they count.
        name : str, default "x"
            How the error message calls them.

        Raises
        ------
        DegenerateSampleError
            If the columns are linearly dependent to rounding.
        """
        return _of_line(values[:, 0], mass, name) if values.shape[1] == 1 else _of_several(values, mass, name)

    def __call__(self, values: Array) -> Array:
        """Whiten the rows of the sample.

        Parameters
        ----------
        values : ndarray of shape (m, d)
            All of them or some, in any order.
        """
        scaled = _scaled(values, self.exponent) - self.mean
        scaled -= self.correction
        scaled /= self.spread
        if self.mean.size == 1:
            return scaled
        return np.ascontiguousarray((scaled @ self.rotation.T) * self.stretch)

    @property
    def center(self) -> Array:
        """Column means in original units."""
        with np.errstate(over="ignore", under="ignore"):
            return np.asarray(np.ldexp(self.mean + self.correction, self.exponent))

    @property
    def matrix(self) -> Array:
        """The linear map W in z = (x − center) W."""
        with np.errstate(over="ignore", under="ignore"):
            return np.asarray(np.ldexp(self._unscaled, -self.exponent[:, None]))

    @property
    def relative_matrix(self) -> tuple[Array, int]:
        """W/2^p, with the power of two that leaves its largest entry in [1, 2), and p."""
        largest = np.frexp(np.abs(self._unscaled).max(axis=1))[1] - self.exponent
        power = int(largest.max()) - 1
        with np.errstate(under="ignore"):
            return np.asarray(np.ldexp(self._unscaled, -self.exponent[:, None] - power)), power

    @property
    def _unscaled(self) -> Array:
        """W but for the powers of two in its rows."""
        return np.asarray((self.rotation.T * self.stretch) / self.spread[:, None])

    @property
    def log_volume(self) -> float:
        """−log|det W|, the logarithm of the root of the determinant of the covariance."""
        return float(np.sum(np.log(self.spread) + self.exponent * np.log(2.0) - np.log(self.stretch)))


def _of_line(column: Array, mass: Mass, name: str) -> Whitening:
    power = np.frexp([max(float(column.max()), -float(column.min()))])[1]
    exponent = np.where(np.abs(power) > _MODERATE, power, 0)
    column = _scaled(column, exponent)
    mean, first, second = central_moments(column, None if mass.alike else mass.share)
    n = mass.effective_n
    spread = math.sqrt(max(second - first**2, 0.0) * n / (n - 1))
    # The data themselves are known to half a unit in the last place of their largest entry.
    if spread <= 32 * np.finfo(float).eps * math.ldexp(1.0, int(power[0] - exponent[0])):
        raise DegenerateSampleError(
            f"`{name}` must vary by more than rounding, got a standard deviation of "
            f"{_in_units(spread, exponent)} at values of {_in_units(abs(mean) + abs(first), exponent)}, "
            "which float64 does not resolve: subtract the offset where it is exact, as by "
            f"`{name} - {name}[0]`"
        )
    one = np.ones(1)
    return Whitening(exponent, mean * one, first * one, spread * one, np.ones((1, 1)), one)


def _of_several(values: Array, mass: Mass, name: str) -> Whitening:
    """By a singular value decomposition of standardised columns, never of a covariance matrix.

    This keeps full relative accuracy for columns of very different scales and for strongly correlated ones.
    """
    n, d = values.shape
    exponent = np.frexp(np.abs(values).max(axis=0))[1]
    scaled = _scaled(values, exponent)
    mean = mass.share @ scaled
    scaled = scaled - mean
    scaled -= (correction := mass.share @ scaled)
    # Rows of one unit of weight each, n − 1 in all, so that the sums of their squares are covariances.
    unit = np.sqrt(mass.share * (n - 1) * mass.effective_n / (mass.effective_n - 1))[:, None]
    spread = np.sqrt(np.square(scaled * unit).sum(axis=0) / (n - 1))
    scaled /= spread
    _, singular, rotation = np.linalg.svd(np.linalg.qr(scaled * unit, mode="r"))
    # As on a line, in units of the largest entry.
    smallest = 32 * d * float((np.finfo(float).eps / spread).max())
    rank = int(np.count_nonzero(singular > smallest * singular[0]))
    if rank < d:
        raise _dependent(name, rank, d)
    return Whitening(exponent, mean, correction, spread, rotation, np.sqrt(n - 1) / singular)


def _scaled(values: Array, exponent: NDArray[np.intc]) -> Array:
    """x·2^−e; the values themselves where all e are zero."""
    if not exponent.any():
        return values
    if np.abs(exponent).max() > _LARGEST_POWER:
        return np.asarray(np.ldexp(values, -exponent))
    return values * np.ldexp(1.0, -exponent)


def _in_units(number: float, exponent: NDArray[np.intc]) -> str:
    with np.errstate(over="ignore", under="ignore"):
        return f"{np.ldexp(number, int(exponent[0])):.3g}"


def _dependent(name: str, rank: int, d: int) -> DegenerateSampleError:
    return DegenerateSampleError(
        f"`{name}` must have linearly independent columns, got rank {rank} for d = {d} "
        "(to rounding): the distribution has no density"
    )
