"""Independent variables side by side."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import block_diag

from infoplane.distributions.base import Distribution, total

Array = NDArray[np.float64]


class Product(Distribution):
    """Joint distribution of independent variables: H is the sum of theirs, J has theirs as its blocks.

    Parameters
    ----------
    *parts : Distribution
        The variables, in the order of their coordinates.

    Examples
    --------
    >>> from infoplane.distributions import Logistic, Normal, Product
    >>> x = Product(Normal(scale=0.5), Logistic())
    >>> x.fisher_trace()  # 4 + 1/3
    4.333333333333333
    """

    def __init__(self, *parts: Distribution) -> None:
        if not parts:
            raise ValueError("`parts` must hold at least one distribution, got none")
        for part in parts:
            if not isinstance(part, Distribution):
                raise TypeError(f"`parts` must be distributions, got {part!r}")
        inner = [p.parts if isinstance(p, Product) else (p,) for p in parts]
        self.parts: tuple[Distribution, ...] = tuple(part for group in inner for part in group)
        ends = np.cumsum([part.d for part in self.parts])
        self.blocks = [slice(int(e) - p.d, int(e)) for e, p in zip(ends, self.parts, strict=True)]

    @property
    def d(self) -> int:
        """Number of dimensions."""
        return self.blocks[-1].stop

    def __repr__(self) -> str:
        return f"Product({', '.join(map(repr, self.parts))})"

    def _entropy(self) -> float:
        return total([part.entropy() for part in self.parts], 0.0, self.d)

    def _fisher(self) -> Array:
        return block_diag(*(part.fisher_information() for part in self.parts))

    def _trace(self, metric: Array) -> float:
        traces = [part._trace(metric[b, b]) for part, b in zip(self.parts, self.blocks, strict=True)]
        return total(traces, 0.0, self.d)

    def _field(self, x: Array) -> tuple[Array, Array]:
        fields = [part._field(x[:, b]) for part, b in zip(self.parts, self.blocks, strict=True)]
        return np.sum([f[0] for f in fields], axis=0), np.hstack([f[1] for f in fields])

    def _log_density(self, x: Array) -> Array:
        return self._field(x)[0]

    def _score(self, x: Array) -> Array:
        return self._field(x)[1]

    def _draw(self, rng: np.random.Generator, n: int) -> Array:
        return np.hstack([part._draw(rng, n) for part in self.parts])

    def _mean(self) -> Array:
        return np.concatenate([part.mean() for part in self.parts])

    def _covariance(self) -> Array:
        return block_diag(*(part.covariance() for part in self.parts))

    def _marginal(self, columns: list[int]) -> Distribution:
        owner = np.repeat(np.arange(len(self.parts)), [part.d for part in self.parts])
        groups = [(k, [*group]) for k, group in groupby(columns, key=owner.__getitem__)]
        if len(groups) > len({k for k, _ in groups}):
            raise NotImplementedError(f"columns of one part must follow each other, got {columns}")
        chosen = [self.parts[k].marginal([c - self.blocks[k].start for c in own]) for k, own in groups]
        return chosen[0] if len(chosen) == 1 else Product(*chosen)

    def _image(self, matrix: Array, shift: Array) -> Distribution:
        mixing = matrix.copy()
        for block in self.blocks:
            mixing[block, block] = 0.0
        if mixing.any():
            return super()._image(matrix, shift)
        pairs = zip(self.parts, self.blocks, strict=True)
        return Product(*(part._image(matrix[b, b], shift[b]) for part, b in pairs))

    def _landmarks(self) -> Sequence[float]:
        return self.parts[0]._landmarks()

    def _spread(self) -> float:
        return self.parts[0]._spread()
