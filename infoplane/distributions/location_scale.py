"""Families on the line that are closed under shifts and scaling."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from infoplane.distributions.base import Affine, Distribution

Array = NDArray[np.float64]


class LocationScale(Distribution):
    """A family x = loc + scale·z, for which a subclass describes z; parameters are those of scipy.stats.

    Subclasses are frozen dataclasses whose fields are positive numbers, but for `loc`.
    """

    loc: float
    scale: float
    _symmetric: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Check the parameters."""
        for field in fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            try:
                number = float(value)
            except (TypeError, ValueError):
                raise TypeError(f"`{field.name}` must be a number, got {value!r}") from None
            if field.name == "loc" and not math.isfinite(number):
                raise ValueError(f"`loc` must be finite, got {value!r}")
            if field.name != "loc" and not 0 < number < math.inf:
                raise ValueError(f"`{field.name}` must be positive and finite, got {value!r}")
            object.__setattr__(self, field.name, number)

    @property
    def d(self) -> int:
        """Number of dimensions, 1."""
        return 1

    # --- What a family says of z = (x − loc)/scale ----------------------------------------------------------

    @abstractmethod
    def _standard_entropy(self) -> float: ...

    @abstractmethod
    def _standard_fisher(self) -> float: ...

    @abstractmethod
    def _standard_moments(self) -> tuple[float, float]:
        """Mean and variance."""

    @abstractmethod
    def _standard_field(self, z: Array) -> tuple[Array, Array]:
        """Log density and score."""

    @abstractmethod
    def _standard_draw(self, rng: np.random.Generator, n: int) -> Array: ...

    def _standard_landmarks(self) -> Sequence[float]:
        return (0.0,)

    # --- From z to x ----------------------------------------------------------------------------------------

    def _entropy(self) -> float:
        return self._standard_entropy() + math.log(self.scale)

    def _fisher(self) -> Array:
        standard = self._standard_fisher()
        with np.errstate(over="ignore", under="ignore"):
            fisher = float(np.float64(standard) / self.scale / self.scale)
        # What is infinite is the law's own; what became so is not.
        if (math.isinf(fisher) and math.isfinite(standard)) or fisher == 0 != standard:
            raise OverflowError(f"the Fisher information of {self!r} is outside the range of float64")
        return np.array([[fisher]])

    def _field(self, x: Array) -> tuple[Array, Array]:
        # Far out powers overflow, and at edges logarithms are infinite: no harm where f = 0.
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            log_density, score = self._standard_field((x[:, 0] - self.loc) / self.scale)
            return log_density - math.log(self.scale), score[:, None] / self.scale

    def _log_density(self, x: Array) -> Array:
        return self._field(x)[0]

    def _score(self, x: Array) -> Array:
        return self._field(x)[1]

    def _draw(self, rng: np.random.Generator, n: int) -> Array:
        return self.loc + self.scale * self._standard_draw(rng, n)[:, None]

    def _mean(self) -> Array:
        return np.array([self.loc + self.scale * self._standard_moments()[0]])

    def _covariance(self) -> Array:
        return np.array([[self.scale**2 * self._standard_moments()[1]]])

    def _image(self, matrix: Array, shift: Array) -> Distribution:
        a, b = float(matrix[0, 0]), float(shift[0])
        if a < 0 and not self._symmetric:
            return Affine(self, matrix, shift)
        changed: dict[str, Any] = {"loc": a * self.loc + b, "scale": abs(a) * self.scale}
        return replace(self, **changed)  # type: ignore[type-var]

    def _landmarks(self) -> Sequence[float]:
        return [self.loc + self.scale * mark for mark in self._standard_landmarks()]

    def _spread(self) -> float:
        deviation = math.sqrt(self._standard_moments()[1])
        return self.scale * (deviation if math.isfinite(deviation) else 1.0)


class Supported(LocationScale):
    """A family whose z has a density on an interval only."""

    _support: ClassVar[tuple[float, float]] = (0.0, math.inf)

    @abstractmethod
    def _inner_field(self, z: Array) -> tuple[Array, Array]:
        """Log density and score, on the support."""

    def _standard_field(self, z: Array) -> tuple[Array, Array]:
        low, high = self._support
        inside = (low <= z) & (z <= high)
        log_density, score = self._inner_field(np.where(inside, z, 0.5))
        return np.where(inside, log_density, -math.inf), np.where(inside, score, math.nan)

    def _standard_landmarks(self) -> Sequence[float]:
        return (*(edge for edge in self._support if math.isfinite(edge)), self._standard_moments()[0])
