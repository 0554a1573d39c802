"""From a user's array to a validated, whitened `Sample`: the only place where input is checked."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from infoplane.errors import DegenerateSampleError
from infoplane.lazy import lazy
from infoplane.mass import Mass
from infoplane.ties import alike_by_chance, dithered, require_fine, resolution, tie_report, well_apart
from infoplane.whitening import Whitening

Array = NDArray[np.float64]
_T = TypeVar("_T")


def is_dask(x: object) -> bool:
    """Whether `x` is a dask array.

    Parameters
    ----------
    x : object
        Anything.
    """
    return type(x).__module__.startswith("dask.array") and hasattr(x, "dask")


def require_in_memory(x: object, *, name: str = "x") -> None:
    """Refuse what dask is still to compute: NumPy would silently load all of it.

    Parameters
    ----------
    x : object
        Anything.
    name : str, default "x"
        How the error message calls it.

    Raises
    ------
    TypeError
        If it is a dask array, data frame or other collection.
    """
    graph = getattr(x, "__dask_graph__", None)
    # Collections of other libraries (xarray) have a graph only where they hold a dask array.
    if callable(graph) and graph() is not None:
        raise TypeError(
            f"`{name}` must be in memory, got {type(x).__name__} of dask: pass `{name}.compute()`; only "
            "`entropy`, `entropy_power`, `fisher_information`, `fisher_trace`, `fisher_shannon` and "
            "`Histogram.update` take arrays of dask"
        )


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
        If the entries are not real numbers (complex, boolean, strings, objects, masked values), or lie in
        an array of dask.
    ValueError
        If the array is empty, has another rank, or holds NaN or infinity.
    """
    require_in_memory(x, name=name)
    if np.ma.is_masked(x):
        dropped = f"{name}.compressed()" if np.ndim(x) == 1 else f"np.ma.compress_rows({name})"
        raise TypeError(f"`{name}` has masked values: drop those rows first (`{dropped}`)")
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
    J_x = whitener · J_z · whitenerᵀ. Moments are those of the weighted rows, with m/(m − 1) for the mean that
    was subtracted, m the effective number of observations.

    Attributes
    ----------
    values : ndarray of shape (n, d)
        The data as given, in float64.
    whitening : Whitening
        The affine map to mean zero and unit covariance.
    mass : Mass
        What each row counts.
    widths : ndarray of shape (d,)
        Widths of the noise that resolved ties, column by column; 0 without.
    name : str
        The argument's name in messages.
    cells : ndarray of shape (d,), optional
        Widths of the cells of which the rows are the centres, if they are.
    """

    values: Array
    whitening: Whitening
    mass: Mass
    widths: Array
    name: str = "x"
    cells: Array | None = None

    @classmethod
    def of_cells(cls, values: Array, counts: Array, widths: Array, *, name: str = "x") -> Sample:
        """Take the cells of a histogram for a sample, of rows that were rounded to their centres.

        Parameters
        ----------
        values : ndarray of shape (n, d)
            Centres of the cells that are not empty.
        counts : ndarray of shape (n,)
            How many rows lie in each.
        widths : ndarray of shape (d,)
            Of the cells.
        name : str, default "x"
            How error messages call the sample.

        Raises
        ------
        DegenerateSampleError, ValueError
            As in `of`.
        """
        return replace(cls.of(values, name=name, counts=counts), cells=widths)

    @classmethod
    def of(
        cls,
        x: ArrayLike,
        *,
        name: str = "x",
        ties: Literal["raise", "dither"] = "raise",
        rng: np.random.Generator | int | None = None,
        weights: ArrayLike | None = None,
        counts: ArrayLike | None = None,
    ) -> Sample:
        """Validate `x`, resolve its ties if asked to, and whiten it.

        Parameters
        ----------
        x : array_like of shape (n,) or (n, d)
            See `as_array`.
        name : str, default "x"
            How error messages call the argument.
        ties : {"raise", "dither"}, default "raise"
            What becomes of repeated values. "raise" leaves them to the methods, which refuse them where they
            do harm; "dither" adds independent uniform noise on (−δ/2, δ/2) to every column that has ties, δ
            the step of the lattice on which its values lie. Columns without ties stay as they are.
        rng : numpy.random.Generator or int, optional
            Source of that noise, or a seed for one; required by "dither". Draws follow the order of the rows.
        weights : array_like of shape (n,), optional
            Positive weights of the rows, of which only the ratios matter: the law under study is
            Σ w_i δ(x_i)/Σ w_i, as of importance or inverse-probability weights.
        counts : array_like of shape (n,), optional
            How often each row was seen, positive whole numbers.

        Raises
        ------
        DegenerateSampleError
            If a column is constant or the columns are linearly dependent (to rounding); with "dither", if a
            column is discrete (δ above half its spread) or its repeated values lie on no lattice.
        ValueError
            If there are fewer than d + 3 observations, the least for an unbiased Fisher information, or
            weights no better than so few; if `weights` or `counts` are not positive, of another length or
            both given; if "dither" comes without `rng` or with `counts`.

        Notes
        -----
        Dithered data have the density of the histogram with cells of width δ about the values. For a smooth
        density its entropy is higher by δ²J/24, J the Fisher information (de Bruijn's identity for the
        variance δ²/12 of the noise), and methods that look no closer than several δ see rounding and noise
        alike, a bias of δ²J/12; J is lowered by a factor of about 1 − δ²J/6. At δ = σ/10 of normal data these
        are +0.0004 to +0.0008 nats and −0.2 %, at the limit δ = σ/2 +0.01 to +0.02 nats and −4 %. The steps
        of that histogram have an infinite J; "kde" and "logspline" mind `rounding` and do not resolve them.
        """
        values = as_array(x, name=name)
        n, d = values.shape
        mass = _mass(weights, counts, n)
        if mass.effective_n < d + 3:
            hint = f"; if rows are variables, pass `{name}.T`" if n < d else ""
            raise ValueError(
                f"`{name}` must have at least d + 3 = {d + 3} rows (observations) "
                f"for its d = {d} columns, got {_number_of_rows(mass)}{hint}"
            )
        ends_alike = np.flatnonzero(values[0] == values[-1])
        constant = [int(j) for j in ends_alike if (values[:, j] == values[0, j]).all()]
        if constant:
            raise DegenerateSampleError(
                f"`{name}` must vary in every column, got constant column(s) {constant}"
            )
        values, widths = _resolved(values, ties, rng, mass, name)
        return cls(values, Whitening.of(values, mass, name), mass, widths, name)

    def halves(self) -> tuple[Sample, Sample]:
        """Two disjoint halves of the rows, alike in their distances from the center."""
        pairs = np.random.default_rng(0).permuted(np.tile([0, 1], (-(-self.n // 2), 1)), axis=1)
        half = pairs.ravel()[: self.n]
        first, second = (self._part(self.radial_order[half == side]) for side in (0, 1))
        return first, second

    def _part(self, rows: NDArray[np.intp]) -> Sample:
        values, mass = np.ascontiguousarray(self.values[rows]), self.mass.part(rows)
        return Sample(values, Whitening.of(values, mass, self.name), mass, self.widths, self.name)

    @property
    def n(self) -> int:
        """Number of rows."""
        return self.values.shape[0]

    @property
    def d(self) -> int:
        """Number of dimensions."""
        return self.values.shape[1]

    @lazy
    def center(self) -> Array:
        """Column means, weighted, of shape (d,)."""
        return self.whitening.center

    @lazy
    def whitener(self) -> Array:
        """The linear map to unit covariance, of shape (d, d)."""
        return self.whitening.matrix

    @lazy
    def metric(self) -> Array:
        """M with tr J = `trace_unit` · tr(M J_z), of entries of the order of one or less.

        Influences on tr J are found in this unit: J may be in range where their squares are not.
        """
        relative, _ = self.whitening.relative_matrix
        with np.errstate(under="ignore"):
            return relative.T @ relative

    @lazy
    def trace_unit(self) -> float:
        """A power of two of the order of tr J, in inverse squared units of the data."""
        with np.errstate(over="ignore", under="ignore"):
            return float(np.ldexp(1.0, 2 * self.whitening.relative_matrix[1]))

    @lazy
    def log_volume(self) -> float:
        """log √det S, S the sample covariance."""
        return self.whitening.log_volume

    @lazy
    def whitened(self) -> Array:
        """The whitened data, of shape (n, d)."""
        return self.whitening(self.values)

    @lazy
    def ordered(self) -> Array:
        """Values of one variable in ascending order: sorted once, for all that ask."""
        return np.sort(self.values[:, 0])

    @lazy
    def order(self) -> NDArray[np.intp]:
        """Row numbers of one variable by value. Finding them takes three times as long as sorting values."""
        return np.argsort(self.values[:, 0])

    @property
    def covariance_shrinkage(self) -> float:
        """The factor (n − d − 2)/(n − 1) that makes S⁻¹ an unbiased estimate of Σ⁻¹ for Gaussians.

        With weights n is the effective number of observations, and the factor is an approximation.
        """
        n = self.mass.effective_n
        return (n - self.d - 2) / (n - 1)

    @property
    def lattice(self) -> Array | None:
        """Steps between the centres of cells in whitened units, one a row; None without cells."""
        return None if self.cells is None else self.cells[:, None] * self.whitener

    @lazy
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
        if self.mass.effective_n < minimum:
            raise ValueError(
                f"`{self.name}` must have at least {minimum} rows for method {method!r} in d = {self.d}, "
                f'got {_number_of_rows(self.mass)}; method="gaussian" needs only {self.d + 3}, '
                "but assumes normality"
            )

    def require_distinct_rows(
        self, method: str, *, weights: bool = False, counts: bool = False, bears: int = 1
    ) -> None:
        """Refuse ties, which no density has and to which distances react violently, and unexpected weights.

        Parameters
        ----------
        method : str
            The method's name, for the message.
        weights, counts : bool, default False
            Whether the method takes weights, and rows that were seen several times.
        bears : int, default 1
            How many values of one variable may be equal by chance, as in single precision, without harm.

        Raises
        ------
        DegenerateSampleError
            If rows are repeated, or a column is discrete.
        ValueError
            If the rows do not count alike, in a way that the method does not take.
        """
        if self.mass.has_repeats and not counts:
            raise ValueError(
                f"method {method!r} takes no `counts`; methods 'gaussian', 'kde' and 'logspline' (d = 1) do, "
                f'and so does every method with ties="dither" for `np.repeat({self.name}, counts, axis=0)`'
            )
        if not (self.mass.equal_units or weights):
            raise ValueError(
                f"method {method!r} takes no `weights`; methods 'gaussian', 'kde', 'spacing' and "
                "'logspline' (d = 1) do"
            )
        if self._tie_report is not None and not 1 < self._alike_by_chance <= bears:
            raise DegenerateSampleError(
                f"`{self.name}` {self._tie_report}: a sample with ties has no density for method {method!r}. "
                'If the data are rounded, ties="dither" with an `rng` resolves them by noise as wide as the '
                "rounding step; if they span many orders of magnitude, transform them; "
                'method="gaussian" needs no distinct rows'
            )

    def once(self, key: Hashable, compute: Callable[[], _T]) -> _T:
        """What a method derives from the sample, computed when it is first asked for and kept.

        Parameters
        ----------
        key : hashable
            The method, with its options.
        compute : callable
            Derives it.
        """
        if key not in self._derived:
            self._derived[key] = compute()
        return cast(_T, self._derived[key])

    @lazy
    def _derived(self) -> dict[Hashable, Any]:
        return {}

    @lazy
    def rounding(self) -> float:
        """Largest extent of the cells to which rows are known to be rounded, in whitened units; 0 if none is.

        They are those of the noise that resolved ties, or of the values where rows were seen several times.
        A method that looks closer sees the lattice instead of the density.

        Raises
        ------
        DegenerateSampleError
            If a row was seen several times, but its values lie on no lattice or on too coarse a one.
        """
        widths = self.widths.copy() if self.cells is None else self.cells
        for j, column in enumerate(self.values.T if self.mass.has_repeats and self.cells is None else ()):
            width = resolution(column)
            if width is None:
                raise DegenerateSampleError(
                    f"column {j} of `{self.name}` lies on no lattice, as rounded data would: "
                    "`counts` above 1 of such values have no density; rows that merely count more "
                    "than others take `weights`"
                )
            widths[j] = width.max()
            require_fine(column, widths[j], self.mass, f"column {j} of `{self.name}`")
        return float(np.linalg.norm(widths[:, None] * self.whitener, 2))

    @lazy
    def _alike_by_chance(self) -> int:
        if self.d > 1 or not self.mass.alike:
            return 0
        # Values that coincide only once they are centred do not by chance.
        coinciding = [np.count_nonzero(np.diff(x) == 0) for x in (self.ordered, np.sort(self.whitened[:, 0]))]
        return alike_by_chance(self.ordered) if coinciding[0] == coinciding[1] else 0

    @lazy
    def _tie_report(self) -> str | None:
        if self.d == 1 and well_apart(self.ordered):
            return None
        return tie_report(self.values, self.whitened, self.mass, rounded=self.cells is not None)


def _resolved(values: Array, ties: str, rng: Any, mass: Mass, name: str) -> tuple[Array, Array]:
    if ties not in ("raise", "dither"):
        raise ValueError(f'`ties` must be "raise" or "dither", got {ties!r}')
    if ties == "raise":
        return values, np.zeros(values.shape[1])
    if rng is None:
        raise ValueError('ties="dither" must come with an `rng`: a numpy.random.Generator or a seed')
    if mass.has_repeats:
        raise ValueError(
            '`counts` must not be given with ties="dither": pass the repeated rows '
            f"`np.repeat({name}, counts, axis=0)`, each of which gets noise of its own"
        )
    return dithered(values, mass, np.random.default_rng(rng), name)


def _mass(weights: ArrayLike | None, counts: ArrayLike | None, n: int) -> Mass:
    if weights is not None and counts is not None:
        raise ValueError("`weights` and `counts` must not be given together")
    if weights is not None:
        return Mass.of_weights(_one_a_row(weights, n, "weights"))
    if counts is not None:
        whole = _one_a_row(counts, n, "counts")
        broken = np.flatnonzero(whole != np.rint(whole))
        if broken.size:
            raise ValueError(f"`counts` must be whole numbers, got {whole[broken[0]]} in row {broken[0]}")
        return Mass.of_counts(whole)
    return Mass.equal(n)


def _one_a_row(numbers: ArrayLike, n: int, name: str) -> Array:
    if np.shape(numbers) != (n,):
        raise ValueError(f"`{name}` must have shape ({n},), one a row, got {np.shape(numbers)}")
    array = as_array(numbers, name=name)[:, 0]
    # What vanishes beside the largest is zero too.
    bad = np.flatnonzero(~(array > np.finfo(float).tiny * array.max()))
    if bad.size:
        raise ValueError(
            f"`{name}` must be positive, got {array[bad[0]]} in row {bad[0]} ({bad.size} such rows in all; "
            "leave out rows that do not count)"
        )
    return array


def _number_of_rows(mass: Mass) -> str:
    if mass.equal_units:
        return str(mass.observations)
    return f"{mass.share.size} weighted as unequally as {mass.effective_n:.3g} equal ones (1/Σ w²)"


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
