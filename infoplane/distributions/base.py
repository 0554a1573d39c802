"""What every distribution promises, and its affine images, under which all of them are closed."""

from __future__ import annotations

import math
import operator
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from numbers import Real
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from infoplane.estimate import Estimate, power_of_entropy
from infoplane.sample import as_array

Array = NDArray[np.float64]

# Linear maps worse conditioned than this lose the accuracy that is promised.
_WORST_CONDITION = 1e10


class Distribution(ABC):
    """A distribution on R^d whose entropy and Fisher information are known, not estimated.

    `A @ X + b`, `a * X` and `X - b` are the distributions of affine images, for invertible A. Points are
    rows: x has shape (n, d) or, if d = 1, (n,), as everywhere in the package, and samples have shape (n, d).
    Where a number takes Monte Carlo, it is an `Estimate` that carries its standard error.
    """

    # NumPy arrays then leave A @ X, a * X and b + X to the operators below.
    __array_ufunc__: ClassVar[None] = None

    @property
    @abstractmethod
    def d(self) -> int:
        """Number of dimensions."""

    def entropy(self) -> float:
        """Differential entropy H = −E log f(X), in nats; H(A X + b) = H(X) + log|det A|."""
        return self._entropy()

    def entropy_power(self) -> float:
        """Entropy power N = exp(2H/d)/(2πe), in squared units of x: |A|^{2/d}-fold for A X + b."""
        h = self._entropy()
        if isinstance(h, Estimate):
            return power_of_entropy(h)
        return math.exp(2 * h / self.d - 1) / (2 * math.pi)

    def fisher_information(self) -> Array:
        """Fisher information matrix J = E[s sᵀ], s = ∇ log f(X), in inverse squared units of x.

        Of location: A⁻ᵀ J A⁻¹ for A X + b. It exists where √f has a square-integrable gradient. Directions in
        which it does not (jumps, steep edges and cusps) have `inf` on the diagonal; an entry off the diagonal
        is `nan` where that leaves it undefined.
        """
        return self._fisher()

    def fisher_trace(self) -> float:
        """Trace of the Fisher information matrix, tr J = E|s|², in inverse squared units of x."""
        return self._trace(np.eye(self.d))

    def logpdf(self, x: ArrayLike) -> Array:
        """Logarithm of the density, −inf outside the support.

        Parameters
        ----------
        x : array_like of shape (n,) or (n, d)
            Points; if d = 1, a number is one.

        Returns
        -------
        ndarray of shape (n,), or () for a number
            log f(x).

        Raises
        ------
        ValueError, TypeError
            If `x` has another shape, or does not hold finite real numbers.
        """
        if self.d == 1 and np.ndim(x) == 0:
            return self._log_density(self._points(np.reshape(x, 1))).reshape(())
        return self._log_density(self._points(x))

    def pdf(self, x: ArrayLike) -> Array:
        """Density f, in inverse units of x to the power d; 0 outside the support.

        Parameters
        ----------
        x : array_like of shape (n,) or (n, d)
            Points; if d = 1, a number is one.

        Returns
        -------
        ndarray of shape (n,), or () for a number
            f(x).

        Raises
        ------
        ValueError, TypeError
            As `logpdf`.
        """
        return np.asarray(np.exp(self.logpdf(x)))

    def score(self, x: ArrayLike) -> Array:
        """Score s = ∇ log f, the derivative to be had at each single point; nan where f = 0.

        Parameters
        ----------
        x : array_like of shape (n,) or (n, d)
            Points.

        Returns
        -------
        ndarray of shape (n, d)
            s(x).

        Raises
        ------
        ValueError, TypeError
            As `logpdf`.
        """
        return self._score(self._points(x))

    def sample(self, n: int, rng: np.random.Generator | int) -> Array:
        """Independent draws.

        Parameters
        ----------
        n : int
            How many.
        rng : numpy.random.Generator or int
            Source of randomness, or its seed.

        Returns
        -------
        ndarray of shape (n, d)
            One draw a row.

        Raises
        ------
        ValueError
            If `n` is not positive.
        """
        if operator.index(n) < 1:
            raise ValueError(f"`n` must be at least 1, got {n!r}")
        return self._draw(np.random.default_rng(rng), n)

    def mean(self) -> Array:
        """E X, of shape (d,); nan where it does not exist."""
        return self._mean()

    def covariance(self) -> Array:
        """Covariance matrix Σ, of shape (d, d); inf or nan where second moments do not exist."""
        return self._covariance()

    def marginal(self, columns: Iterable[int]) -> Distribution:
        """Distribution of some of the coordinates.

        Parameters
        ----------
        columns : iterable of int
            Which, in which order: different numbers from 0 to d − 1.

        Returns
        -------
        Distribution
            Theirs.

        Raises
        ------
        ValueError
            If the columns are not such numbers.
        NotImplementedError
            If there is no closed form, as for linear mixtures of coordinates that are not normal.
        """
        chosen = indices_of(columns, "columns")
        if not chosen or len(set(chosen)) < len(chosen) or not set(chosen) <= set(range(self.d)):
            raise ValueError(f"`columns` must be different numbers from 0 to {self.d - 1}, got {chosen}")
        return self if chosen == [*range(self.d)] else self._marginal(chosen)

    # --- What a family fills in, for validated points of shape (n, d) -------------------------------------

    @abstractmethod
    def _entropy(self) -> float: ...

    @abstractmethod
    def _fisher(self) -> Array: ...

    @abstractmethod
    def _log_density(self, x: Array) -> Array: ...

    @abstractmethod
    def _score(self, x: Array) -> Array: ...

    @abstractmethod
    def _draw(self, rng: np.random.Generator, n: int) -> Array: ...

    @abstractmethod
    def _mean(self) -> Array: ...

    @abstractmethod
    def _covariance(self) -> Array: ...

    def _field(self, x: Array) -> tuple[Array, Array]:
        """Log density and score together, for those who get both for the price of one."""
        return self._log_density(x), self._score(x)

    def _trace(self, metric: Array) -> float:
        """tr(M J) for a positive semi-definite M."""
        j = self._fisher()
        if np.any(np.isinf(np.diag(j)) & (np.diag(metric) > 0)):
            return math.inf
        used = metric != 0
        return float(np.sum(metric[used] * j[used]))

    def _marginal(self, columns: list[int]) -> Distribution:
        raise NotImplementedError(f"no closed form for the marginals of {type(self).__name__}")

    def _image(self, matrix: Array, shift: Array) -> Distribution:
        """Distribution of `matrix` X + `shift`; overridden where the family is closed under such maps."""
        return Affine(self, matrix, shift)

    def _landmarks(self) -> Sequence[float]:
        """If d = 1: where the density has its bulk, a kink, a cusp or an edge; quadrature splits there."""
        raise NotImplementedError(f"no quadrature over {type(self).__name__}")

    def _spread(self) -> float:
        """If d = 1: the size of the bulk, to an order of magnitude."""
        raise NotImplementedError(f"no quadrature over {type(self).__name__}")

    # --- Affine images --------------------------------------------------------------------------------------

    def __rmatmul__(self, matrix: ArrayLike) -> Distribution:
        return self._image(invertible(matrix, self.d), np.zeros(self.d))

    def __mul__(self, factor: float) -> Distribution:
        if not isinstance(factor, Real):
            return NotImplemented
        return self._image(invertible(float(factor) * np.eye(self.d), self.d), np.zeros(self.d))

    __rmul__ = __mul__

    def __truediv__(self, divisor: float) -> Distribution:
        return self * (1 / divisor)

    def __neg__(self) -> Distribution:
        return self * -1.0

    def __add__(self, shift: ArrayLike) -> Distribution:
        if isinstance(shift, Distribution):
            raise TypeError("the sum of two independent variables is `convolution(x, y)`, not x + y")
        return self._image(np.eye(self.d), location(shift, self.d, "shift"))

    __radd__ = __add__

    def __sub__(self, shift: ArrayLike) -> Distribution:
        return self + -np.asarray(shift)

    def __rsub__(self, shift: ArrayLike) -> Distribution:
        return -self + shift

    def _points(self, x: ArrayLike) -> Array:
        points = as_array(x)
        if points.shape[1] != self.d:
            demand = "(n,) or (n, 1)" if self.d == 1 else f"(n, {self.d})"
            raise ValueError(f"`x` must have shape {demand}, got {np.shape(x)}")
        return points


class Affine(Distribution):
    """Distribution of A X + b, of which H = H(X) + log|det A| and J = A⁻ᵀ J(X) A⁻¹.

    Parameters
    ----------
    distribution : Distribution
        That of X.
    matrix : array_like of shape (d, d)
        A, invertible.
    shift : array_like of shape (d,)
        b.

    Notes
    -----
    `A @ X + b` writes the same, and takes the closed form of families that have one.

    References
    ----------
    A. Dembo, T. M. Cover, J. A. Thomas, IEEE Trans. Inf. Theory 37 (1991) 1501–1518.

    Examples
    --------
    >>> import numpy as np
    >>> from infoplane.distributions import Laplace, Product
    >>> x = Product(Laplace(), Laplace())
    >>> y = np.array([[1.0, 0.0], [1.0, 2.0]]) @ x + [3.0, 0.0]
    >>> y.fisher_information()
    array([[ 1.25, -0.25],
           [-0.25,  0.25]])
    >>> round(y.entropy() - x.entropy(), 6)  # log det A
    0.693147
    """

    def __init__(self, distribution: Distribution, matrix: ArrayLike, shift: ArrayLike) -> None:
        d = distribution.d
        self.matrix, self.shift = invertible(matrix, d), location(shift, d, "shift")
        self.distribution = distribution
        if isinstance(distribution, Affine):
            self.shift = self.shift + self.matrix @ distribution.shift
            self.matrix = self.matrix @ distribution.matrix
            self.distribution = distribution.distribution
        self._inverse = np.linalg.inv(self.matrix)
        self._log_volume = float(np.linalg.slogdet(self.matrix)[1])

    @property
    def d(self) -> int:
        """Number of dimensions."""
        return self.distribution.d

    def __repr__(self) -> str:
        return f"Affine({self.distribution!r}, {self.matrix.tolist()}, {self.shift.tolist()})"

    def _entropy(self) -> float:
        return total([self.distribution.entropy()], self._log_volume, self.d)

    def _fisher(self) -> Array:
        j, b = self.distribution.fisher_information(), self._inverse
        endless = np.isinf(np.diag(j))
        if not endless.any():
            return b.T @ j @ b
        result: Array = b.T @ np.where(np.isfinite(j), j, 0.0) @ b
        reached = b[endless] != 0
        result[(reached[:, :, None] & reached[:, None, :]).any(axis=0)] = math.nan
        result[np.diag_indices(self.d)] = np.where(reached.any(axis=0), math.inf, np.diag(result))
        return result

    def _trace(self, metric: Array) -> float:
        return self.distribution._trace(self._inverse @ metric @ self._inverse.T)

    def _field(self, x: Array) -> tuple[Array, Array]:
        log_density, score = self.distribution._field(self._before(x))
        return log_density - self._log_volume, score @ self._inverse

    def _log_density(self, x: Array) -> Array:
        return self.distribution._log_density(self._before(x)) - self._log_volume

    def _score(self, x: Array) -> Array:
        return self.distribution._score(self._before(x)) @ self._inverse

    def _before(self, x: Array) -> Array:
        return (x - self.shift) @ self._inverse.T

    def _draw(self, rng: np.random.Generator, n: int) -> Array:
        return self.distribution._draw(rng, n) @ self.matrix.T + self.shift

    def _mean(self) -> Array:
        return self.matrix @ self.distribution.mean() + self.shift

    def _covariance(self) -> Array:
        return self.matrix @ self.distribution.covariance() @ self.matrix.T

    def _landmarks(self) -> Sequence[float]:
        a, b = float(self.matrix[0, 0]), float(self.shift[0])
        return [a * mark + b for mark in self.distribution._landmarks()]

    def _spread(self) -> float:
        return abs(float(self.matrix[0, 0])) * self.distribution._spread()


def total(values: Sequence[float], constant: float, d: int) -> float:
    """Sum of numbers, some of them estimates, whose standard errors are added.

    Parameters
    ----------
    values : sequence of float
        Terms. Estimates may share their draws, so that the sum of the errors is what is certain.
    constant : float
        A further term.
    d : int
        Dimensions of the sum.
    """
    sum_ = math.fsum([*values, constant])
    estimates = [value for value in values if isinstance(value, Estimate)]
    if not estimates:
        return sum_
    error = math.fsum(value.standard_error for value in estimates)
    first = estimates[0]
    return Estimate(sum_, standard_error=error, method=first.method, n=first.n, d=d, positive=first.positive)


def invertible(matrix: ArrayLike, d: int) -> Array:
    """The matrix of a linear map that has an inverse.

    Parameters
    ----------
    matrix : array_like of shape (d, d)
        It.
    d : int
        Dimensions demanded.
    """
    a = np.array(matrix, dtype=np.float64)
    if a.shape != (d, d) or not np.isfinite(a).all():
        raise ValueError(f"`matrix` must be finite and have shape ({d}, {d}), got shape {a.shape}")
    condition = np.linalg.cond(a)
    if not condition < _WORST_CONDITION:
        raise ValueError(f"`matrix` must be invertible, got one of condition number {condition:.2g}")
    return a


def location(value: ArrayLike, d: int, name: str) -> Array:
    """A point of d coordinates; one number stands for all of them.

    Parameters
    ----------
    value : array_like of shape () or (d,)
        It.
    d : int
        Dimensions demanded.
    name : str
        How messages call it.
    """
    point = np.array(value, dtype=np.float64)
    if point.shape not in ((), (d,)) or not np.isfinite(point).all():
        raise ValueError(f"`{name}` must be finite and have shape ({d},), got {value!r}")
    return np.broadcast_to(point, (d,)).copy()


def scatter(matrix: ArrayLike, name: str, *, several: bool = False) -> Array:
    """A symmetric positive definite matrix, or several.

    Parameters
    ----------
    matrix : array_like of shape (d, d) or (K, d, d)
        It; a number if d = 1.
    name : str
        How messages call it.
    several : bool, default False
        Whether it is K of them.
    """
    s = np.atleast_2d(np.array(matrix, dtype=np.float64))
    if s.ndim != 2 + several or s.shape[-1] != s.shape[-2]:
        raise ValueError(f"`{name}` must have shape (d, d), got {np.shape(matrix)}")
    turned = s.swapaxes(-1, -2)
    if not np.isfinite(s).all() or (np.abs(s - turned) > 1e-9 * np.abs(s).max()).any():
        raise ValueError(f"`{name}` must be finite and symmetric, got {s.tolist()}")
    values = np.linalg.eigvalsh(s)
    if not (values[..., 0] > values[..., -1] / _WORST_CONDITION**1.5).all():
        raise ValueError(f"`{name}` must be positive definite, got eigenvalues {values.tolist()}")
    return np.asarray((s + turned) / 2, dtype=np.float64)


def indices_of(columns: Iterable[int], name: str) -> list[int]:
    """Numbers of columns, as a list.

    Parameters
    ----------
    columns : iterable of int
        They.
    name : str
        How the message calls the argument.

    Raises
    ------
    TypeError
        If it is no iterable of whole numbers.
    """
    try:
        return [operator.index(column) for column in columns]
    except TypeError as error:
        raise TypeError(
            f"`{name}` must be whole numbers in a sequence such as [0], got {columns!r}"
        ) from error
