"""From a user's array to a validated, whitened `Sample`: the only place where input is checked."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from infoplane.errors import DegenerateSampleError

Array = NDArray[np.float64]

# In two and more dimensions a few tied values in a column are chance (data kept in single precision);
# above this share of tied rows the column is discrete and the joint density does not exist.
_DISCRETE_SHARE = 0.1


def as_array(x: ArrayLike, *, name: str = "x") -> Array:
    """Convert an array-like to a finite, C-contiguous float64 array of shape (n, d).

    Parameters
    ----------
    x : array_like of shape (n,) or (n, d)
        Numbers of any real dtype: lists, NumPy arrays, pandas objects, torch tensors on the CPU.
        A vector is n observations of one variable.
    name : str, default "x"
        How error messages call the argument.

    Raises
    ------
    TypeError
        If the entries are not real numbers (complex, boolean, strings, objects, masked values).
    ValueError
        If the array is empty, has another rank, or holds NaN or infinity.
    """
    if np.ma.is_masked(x):
        raise TypeError(f"`{name}` has masked values: drop those rows first (`{name}.compressed()`)")
    try:
        array = np.asarray(x)
    except Exception as error:  # whatever a foreign object's conversion raises
        raise TypeError(f"`{name}` could not be converted to an array: {error}") from error
    if array.dtype.kind not in "iuf":
        raise TypeError(f"`{name}` must hold real numbers, got dtype {array.dtype}")
    if array.ndim not in (1, 2):
        raise ValueError(f"`{name}` must have shape (n,) or (n, d), got {array.shape}")
    if array.size == 0:
        raise ValueError(f"`{name}` must not be empty, got shape {array.shape}")
    if array.ndim == 1:
        array = array[:, None]
    result = np.ascontiguousarray(array, dtype=np.float64)
    finite = np.isfinite(result)
    if not finite.all():
        row, column = np.argwhere(~finite)[0]
        count = finite.size - np.count_nonzero(finite)
        raise ValueError(
            f"`{name}` must be finite, got {result[row, column]} in row {row}, column {column} "
            f"({count} such entries in all)"
        )
    return result


@dataclass(frozen=True, eq=False)
class Sample:
    """A validated sample and its whitening, z = (x − center) @ whitener.

    The whitened sample has mean zero and covariance exactly the identity, so every estimator works in
    units of the data's own; `log_volume` = −log|det whitener| is what this adds to the entropy, and
    J_x = whitener · J_z · whitenerᵀ.

    Attributes
    ----------
    values : ndarray of shape (n, d)
        The data as given, in float64.
    center : ndarray of shape (d,)
        Column means.
    whitener : ndarray of shape (d, d)
        The linear map to unit covariance.
    whitened : ndarray of shape (n, d)
        The whitened data.
    log_volume : float
        log √det S, S the sample covariance.
    name : str
        The argument's name in messages.
    """

    values: Array
    center: Array
    whitener: Array
    whitened: Array
    log_volume: float
    name: str = "x"

    @classmethod
    def of(cls, x: ArrayLike, *, name: str = "x") -> Sample:
        """Validate `x` and whiten it.

        Parameters
        ----------
        x : array_like of shape (n,) or (n, d)
            See `as_array`.
        name : str, default "x"
            How error messages call the argument.

        Raises
        ------
        DegenerateSampleError
            If a column is constant or the columns are linearly dependent (to rounding).
        ValueError
            If there are fewer than d + 3 observations, the least for an unbiased Fisher information.
        """
        values = as_array(x, name=name)
        n, d = values.shape
        if n < d + 3:
            hint = f"; if rows are variables, pass `{name}.T`" if n < d else ""
            raise ValueError(
                f"`{name}` must have at least d + 3 = {d + 3} rows (observations) "
                f"for its d = {d} columns, got {n}{hint}"
            )
        center, whitener, whitened, log_volume = _whiten(values, name)
        return cls(values, center, whitener, whitened, log_volume, name)

    @property
    def n(self) -> int:
        """Number of observations."""
        return self.values.shape[0]

    @property
    def d(self) -> int:
        """Number of dimensions."""
        return self.values.shape[1]

    @property
    def covariance_shrinkage(self) -> float:
        """The factor (n − d − 2)/(n − 1) that makes S⁻¹ an unbiased estimate of Σ⁻¹ for Gaussians."""
        return (self.n - self.d - 2) / (self.n - 1)

    @cached_property
    def radial_order(self) -> NDArray[np.intp]:
        """Row numbers by distance from the center in whitened units.

        An order that depends neither on that of the rows nor on the coordinates: picking every m-th row
        along it gives a subset that permutations and affine maps of the data leave as it is.
        """
        return np.argsort(np.einsum("ij,ij->i", self.whitened, self.whitened), kind="stable")

    def to_whitened(self, points: Array) -> Array:
        """Whiten other points with this sample's map."""
        # Two factors, as the product of a huge offset and a tiny scale may leave the float64 range.
        return np.ascontiguousarray((points - self.center) @ self.whitener)

    def matrix_from_whitened(self, fisher: Array) -> Array:
        """Carry a Fisher information matrix from whitened to original units.

        Raises
        ------
        OverflowError
            If the result leaves the range of float64.
        """
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            matrix = self.whitener @ fisher @ self.whitener.T
        diagonal = np.diag(matrix)
        if not (np.isfinite(matrix).all() and (diagonal > np.finfo(float).tiny).all()):
            raise OverflowError(
                f"the Fisher information of `{self.name}` is outside the range of float64; "
                f"rescale `{self.name}`"
            )
        return (matrix + matrix.T) / 2

    def require_rows(self, minimum: int, method: str) -> None:
        """Refuse a sample too small for a non-parametric method.

        Parameters
        ----------
        minimum : int
            The least number of rows.
        method : str
            Its name, for the message.

        Raises
        ------
        ValueError
            If n is below `minimum`.
        """
        if self.n < minimum:
            raise ValueError(
                f"`{self.name}` must have at least {minimum} rows for method {method!r} in d = {self.d}, "
                f'got {self.n}; method="gaussian" needs only {self.d + 3}, but assumes normality'
            )

    def require_distinct_rows(self, method: str) -> None:
        """Refuse ties, which no density has and to which distances react violently.

        Raises
        ------
        DegenerateSampleError
            If rows are repeated, or a column is discrete.
        """
        if self._tie_report is not None:
            raise DegenerateSampleError(
                f"`{self.name}` {self._tie_report}: a sample with ties has no density for method {method!r}. "
                "If the data are rounded, add uniform noise as wide as the rounding step; if they span many "
                'orders of magnitude, transform them; method="gaussian" needs no distinct rows'
            )

    @cached_property
    def _tie_report(self) -> str | None:
        repeated = _repeated_rows(self.values)
        if repeated:
            return f"has {repeated} repeated rows among {self.n}"
        coinciding = _repeated_rows(self.whitened)
        if coinciding:
            return f"spans so many orders of magnitude that {coinciding} rows coincide once it is centred"
        if self.d == 1:
            return None
        for j, column in enumerate(self.values.T):
            _, counts = np.unique(column, return_counts=True)
            tied = int(counts[counts > 1].sum())
            if tied > _DISCRETE_SHARE * self.n:
                return f"takes only {counts.size} different values in column {j} ({self.n} rows)"
        return None


def _repeated_rows(values: Array) -> int:
    """Count the rows that repeat an earlier one; sorts one column unless that one has ties."""
    order = np.argsort(values[:, 0])
    first = values[order, 0]
    equal_to_next = first[1:] == first[:-1]
    suspects = np.zeros(first.size, dtype=bool)
    suspects[1:] |= equal_to_next
    suspects[:-1] |= equal_to_next
    rows = values[order[suspects]]
    return 0 if rows.size == 0 else len(rows) - len(np.unique(rows, axis=0))


def _whiten(values: Array, name: str) -> tuple[Array, Array, Array, float]:
    """Center, scale and rotate to unit covariance by a singular value decomposition.

    Working on standardised columns and on singular values (never on a covariance matrix) keeps full
    relative accuracy for columns of very different scales and for strongly correlated ones; exact powers
    of two keep 1e±200 in range.
    """
    n, d = values.shape
    constant = np.flatnonzero(values.min(axis=0) == values.max(axis=0))
    if constant.size:
        raise DegenerateSampleError(
            f"`{name}` must vary in every column, got constant column(s) {constant.tolist()}"
        )
    exponent = np.frexp(np.abs(values).max(axis=0))[1]
    scaled = np.ldexp(values, -exponent)
    mean = scaled.mean(axis=0)
    scaled = scaled - mean
    spread = np.sqrt(np.einsum("ij,ij->j", scaled, scaled) / (n - 1))
    # The data themselves are known to half a unit in the last place of their largest entry.
    resolution = np.finfo(float).eps / spread
    standard = scaled / spread
    _, singular, rotation = np.linalg.svd(np.linalg.qr(standard, mode="r"))
    smallest = 32 * d * float(resolution.max())
    rank = int(np.count_nonzero(singular > smallest * singular[0]))
    if rank < d:
        raise DegenerateSampleError(
            f"`{name}` must have linearly independent columns, got rank {rank} for d = {d} "
            "(to rounding): the distribution has no density"
        )
    stretch = np.sqrt(n - 1) / singular
    whitened = np.ascontiguousarray((standard @ rotation.T) * stretch)
    log_volume = float(np.sum(np.log(spread) + exponent * np.log(2.0) - np.log(stretch)))
    with np.errstate(over="ignore", under="ignore"):
        whitener = np.ldexp((rotation.T * stretch) / spread[:, None], -exponent[:, None])
        center = np.ldexp(mean, exponent)
    return center, whitener, whitened, log_volume


def as_points(points: Any, sample: Sample, *, name: str = "points") -> Array:
    """Validate evaluation points against a sample and whiten them.

    Parameters
    ----------
    points : array_like of shape (m,) or (m, d)
        Where to evaluate.
    sample : Sample
        The sample that tells d and the whitening.
    name : str, default "points"
        How error messages call the argument.

    Raises
    ------
    ValueError
        If the points have another number of columns than the sample.
    """
    array = as_array(points, name=name)
    if array.shape[1] != sample.d:
        raise ValueError(
            f"`{name}` must have d = {sample.d} columns like `{sample.name}`, got shape {array.shape}"
        )
    return sample.to_whitened(array)
