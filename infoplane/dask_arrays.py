"""Dask arrays: counted in a `Histogram` in one and two dimensions, measured in random blocks in more.

Both are graphs of dask's own, so that they run where the array lives and no machine holds all of it. dask is
imported only where an array of its kind has come in.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from infoplane.blocks import Blocks, block_entropy, block_fisher, joined_entropy, joined_fisher
from infoplane.errors import DegenerateSampleError
from infoplane.estimate import Estimate, FisherShannonPoint, power_of_entropy
from infoplane.estimators import KDE, Estimator, Gaussian, LogSpline
from infoplane.estimators.base import EntropyFit, FisherFit, covariance
from infoplane.histogram import Histogram
from infoplane.methods import estimator_of, extrapolated_bias, unit_of

Array = NDArray[np.float64]
# What measures one block, by a method, under a name.
Measure = Callable[[Array, str | Estimator, str], EntropyFit | FisherFit]

# Chunks that tell the width of cells, the first, the last and some between, and how many rows of each; no
# fewer do in all.
_TELLING_CHUNKS, _TELLING_ROWS = 4, 1000
# Histograms that are merged by one task.
_FAN_IN = 8
# Blocks of an array of which nothing else is said: rows of one, and the least and greatest number of them.
_BLOCK_ROWS, _LEAST_BLOCKS, _MOST_BLOCKS = 20_000, 2, 32
# Blocks whose halves are measured too, for the bias.
_HALVED = 4


class DaskSample:
    """The rows of a dask array, of which only sums and blocks are ever held.

    In one and two dimensions "auto", "kde", "logspline" and "gaussian" measure a `Histogram` of all rows:
    each chunk is counted where it lies, in cells that rows of four chunks call for (or, if these do not vary,
    its own), and counts are merged in a tree. All other methods, and all in more dimensions, measure random
    blocks as `Blocks` does: by default 2 to 32 of 20,000 rows at most, drawn in proportion from all chunks.
    Their bias, that of a block, is told by the halves of four blocks.

    Parameters
    ----------
    x : dask.array.Array of shape (n,) or (n, d)
        The rows.
    method : str or estimator
        As in `infoplane.entropy`; `Blocks` sets number and size of blocks.
    rng : numpy.random.Generator or int, optional
        Of the drawing of blocks; by default that of `Blocks`.

    Attributes
    ----------
    d : int
        Number of dimensions.
    """

    def __init__(self, x: Any, method: str | Estimator, rng: np.random.Generator | int | None = None) -> None:
        if x.ndim not in (1, 2):
            raise ValueError(f"`x` must have shape (n,) or (n, d), got {x.shape}")
        rows = (x[:, None] if x.ndim == 1 else x).rechunk({1: -1})
        if any(math.isnan(size) for size in rows.chunks[0]):
            rows = rows.compute_chunk_sizes()
        self.d, self._sizes = int(rows.shape[1]), [int(size) for size in rows.chunks[0]]
        chunks = rows.to_delayed().ravel()
        self._chunks = [chunk for chunk, size in zip(chunks, self._sizes, strict=True) if size]
        self._sizes = [size for size in self._sizes if size]
        if not self._chunks:
            raise ValueError(f"`x` must not be empty, got shape {x.shape}")
        self._method = method
        self._seed = None if rng is None else int(np.random.default_rng(rng).integers(2**32))

    def entropy(self, base: float | None = None) -> Estimate:
        """Differential entropy, in nats.

        Parameters
        ----------
        base : float, optional
            Unit: e (None) for nats, 2 for bits, 10 for hartleys.
        """
        unit = unit_of(base)
        if self._by_histogram:
            return self._histogram().entropy(method=self._method, base=base)
        return self._entropy(*self._fits(block_entropy), unit)[0]

    def entropy_power(self) -> Estimate:
        """Entropy power N = exp(2H/d)/(2πe), in squared units of the data."""
        return power_of_entropy(self.entropy())

    def fisher_information(self) -> Array:
        """Fisher information matrix, in inverse squared units of the data."""
        if self._by_histogram:
            return self._histogram().fisher_information(method=self._method)
        return self._trace(*self._fits(block_fisher))[1].matrix

    def fisher_trace(self) -> Estimate:
        """Trace of the Fisher information matrix, with its standard error."""
        if self._by_histogram:
            return self._histogram().fisher_trace(method=self._method)
        return self._trace(*self._fits(block_fisher))[0]

    def fisher_shannon(self) -> FisherShannonPoint:
        """Place in the Fisher–Shannon plane."""
        if self._by_histogram:
            return self._histogram().fisher_shannon(method=self._method)
        h, shannon = self._entropy(*self._fits(block_entropy), 1.0)
        trace, fisher = self._trace(*self._fits(block_fisher))
        shared = covariance(shannon.influence, fisher.influence)
        return FisherShannonPoint.from_estimates(h, fisher.matrix, trace, covariance=shared)

    @property
    def _by_histogram(self) -> bool:
        if self.d > 2:
            return False
        return self._method == "auto" or isinstance(estimator_of(self._method), KDE | Gaussian | LogSpline)

    def _histogram(self) -> Histogram:
        """Count chunks where they are, and merge the counts in a tree."""
        import dask

        d, counted, merged = self.d, dask.delayed(_counted), dask.delayed(_merged)
        some = np.unique(np.linspace(0, len(self._chunks) - 1, _TELLING_CHUNKS).astype(int))
        spacing = dask.delayed(_spacing)([dask.delayed(_scattered)(self._chunks[i]) for i in some], d)
        layer = [counted(chunk, d, spacing) for chunk in self._chunks]
        while len(layer) > 1:
            layer = [merged(layer[i : i + _FAN_IN]) for i in range(0, len(layer), _FAN_IN)]
        histogram: Histogram = dask.compute(layer[0])[0]
        return histogram

    @property
    def _blocks(self) -> Blocks:
        if isinstance(self._method, Blocks):
            return self._method
        count = min(max(sum(self._sizes) // _BLOCK_ROWS, _LEAST_BLOCKS), _MOST_BLOCKS)
        return Blocks(count, self._method, rows=_BLOCK_ROWS)

    def _fits(self, measure: Measure) -> tuple[list[Any], list[Any]]:
        """What is measured of every block with its number of rows, and of the halves of some."""
        import dask

        blocks = self._blocks
        n = sum(self._sizes)
        share = min(1.0, blocks.rows * blocks.count / n) if blocks.rows else 1.0
        seeds = np.random.SeedSequence(blocks.seed if self._seed is None else self._seed).spawn(
            len(self._chunks)
        )
        # Cumulated, so that the rounded numbers add up to their total.
        drawn = np.diff(np.rint(share * np.cumsum([0, *self._sizes]))).astype(int)
        pieces = [
            dask.delayed(_pieces, nout=blocks.count)(chunk, int(m), blocks.count, seed)
            for chunk, m, seed in zip(self._chunks, drawn, seeds, strict=True)
        ]
        whole, halves = dask.delayed(_whole), dask.delayed(_halves)
        fits, half_fits = [], []
        for k in range(blocks.count):
            block = [piece[k] for piece in pieces]
            fits.append(whole(block, measure, blocks.method))
            if k < _HALVED:
                half_fits.append(halves(block, measure, blocks.method))
        found = dask.compute(fits, half_fits)
        return list(found[0]), [fit for pair in found[1] for fit in pair]

    def _entropy(
        self, fits: list[EntropyFit], halves: list[EntropyFit], unit: float
    ) -> tuple[Estimate, EntropyFit]:
        fit = joined_entropy(fits, *_places(fits))
        some = float(np.mean([f.value for f in fits[:_HALVED]]))
        bias = extrapolated_bias("entropy", some, [f.value for f in halves], self.d)
        return self._estimate(fit.value, fit, bias, unit), fit

    def _trace(self, fits: list[FisherFit], halves: list[FisherFit]) -> tuple[Estimate, FisherFit]:
        fit = joined_fisher(fits, *_places(fits))
        some = float(np.mean([np.trace(f.matrix) for f in fits[:_HALVED]]))
        bias = extrapolated_bias("fisher", some, [float(np.trace(f.matrix)) for f in halves], self.d)
        return self._estimate(float(np.trace(fit.matrix)), fit, bias), fit

    def _estimate(
        self, value: float, fit: EntropyFit | FisherFit, bias: float, unit: float = 1.0
    ) -> Estimate:
        return Estimate(
            value / unit,
            standard_error=fit.standard_error / unit,
            method=self._blocks.name,
            n=fit.influence.size,
            d=self.d,
            positive=isinstance(fit, FisherFit),
            bound=fit.bound,
            skewness=fit.skewness,
            bias=bias / unit,
        )


def _scattered(chunk: Array) -> Array:
    """Rows from all over a chunk."""
    return np.array(chunk[:: max(1, len(chunk) // _TELLING_ROWS)])


def _spacing(parts: Sequence[Array], d: int) -> Array | None:
    """Width of cells that some rows of some chunks call for; None if they are too few or do not vary."""
    rows = np.concatenate(parts)
    if len(rows) < _TELLING_ROWS:
        return None
    try:
        return Histogram(d).update(rows).spacing
    except DegenerateSampleError:
        return None


def _counted(chunk: Array, d: int, spacing: Array | None) -> Histogram:
    # Without a common width rows wait for those of other chunks, or set their own; merging takes the widest.
    return Histogram(d, spacing=spacing).update(chunk)


def _merged(histograms: Sequence[Histogram]) -> Histogram:
    result = Histogram(histograms[0].d)
    for histogram in histograms:
        result.merge(histogram)
    return result


def _pieces(chunk: Array, m: int, count: int, seed: np.random.SeedSequence) -> tuple[Array, ...]:
    """m random rows of a chunk, dealt out to the blocks from a random one on."""
    rng = np.random.default_rng(seed)
    rows = np.asarray(chunk)[rng.permutation(len(chunk))[:m]]
    block = (np.arange(m) + rng.integers(count)) % count
    return tuple(rows[block == k] for k in range(count))


def _whole(pieces: list[Array], measure: Measure, method: str | Estimator) -> EntropyFit | FisherFit:
    return measure(np.concatenate(pieces), method, "x")


def _halves(
    pieces: list[Array], measure: Measure, method: str | Estimator
) -> tuple[EntropyFit | FisherFit, ...]:
    rows = np.concatenate(pieces)
    # Rows of a chunk lie together: every second one is a half of each.
    return tuple(measure(rows[side::2], method, "x") for side in (0, 1))


def _places(fits: Sequence[EntropyFit | FisherFit]) -> tuple[list[NDArray[np.intp]], int]:
    """Where the rows of each block would be, had the blocks been laid side by side, and how many they are."""
    ends = np.cumsum([0] + [fit.influence.size for fit in fits])
    return [np.arange(a, b) for a, b in pairwise(ends)], int(ends[-1])
