"""Disjoint random blocks of a sample, measured one by one and averaged, where a method cannot take all."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from infoplane.estimators import Estimator
from infoplane.estimators.base import EntropyFit, FisherFit
from infoplane.kernels.linear_algebra import on_one_blas_thread
from infoplane.methods import entropy_fit, estimator_of, fisher_estimator
from infoplane.progress import stage
from infoplane.sample import Sample

Array = NDArray[np.float64]
Rows = NDArray[np.intp]
_Fit = TypeVar("_Fit", EntropyFit, FisherFit)


@dataclass(frozen=True)
class Blocks:
    """Estimates of disjoint random blocks of the rows, averaged: T = Σ (n_k/n) T_k.

    The standard error is √Σ (n_k/n)² se_k², as blocks are independent; it is that of one estimate from all
    rows if the method is efficient. The bias stays that of a block of n/count rows: ask the estimate's
    `bias`, which then compares with blocks of half the size, or its ``interval(method="conservative")``.

    Parameters
    ----------
    count : int
        Number of blocks, at least 2.
    method : str or estimator, default "auto"
        What measures a block, as in `entropy` and `fisher_information`.
    rows : int, optional
        Rows of a block at most; those that are left over are not used. By default all are.
    n_jobs : int, optional
        Blocks at a time, by joblib, −1 for all cores; by default what `joblib.parallel_config` says, which
        may hand them to a dask or ray cluster, and else one.
    seed : int, default 0
        Of the shuffling.

    Notes
    -----
    For methods whose cost grows faster than n, or whose memory does: in d ≥ 3 "knn" takes 10⁶ rows in 100
    blocks as fast as in one, "kde" and "stack", which evaluate at 20,000 points at most, use all of them.
    Choose blocks as large as time allows: if the bias falls like n^{−r}, it is count^r times that of the
    whole. Do not use it for serially correlated rows, as shuffling hides the correlation, nor for fewer than
    some thousand rows a block.

    Examples
    --------
    >>> import numpy as np
    >>> from infoplane import Blocks, entropy
    >>> x = np.random.default_rng(0).standard_normal((40_000, 3))  # H = 3/2 log 2πe = 4.2568
    >>> h = entropy(x, method=Blocks(4, method="knn"))
    >>> abs(h - 4.2568) < 4 * h.standard_error, abs(h.bias) < 0.05
    (True, True)
    """

    count: int
    method: str | Estimator = "auto"
    rows: int | None = None
    n_jobs: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.count, int | np.integer) or self.count < 2:
            raise ValueError(f"`count` must be an integer of at least 2, got {self.count!r}")
        if self.rows is not None and (not isinstance(self.rows, int | np.integer) or self.rows < 1):
            raise ValueError(f"`rows` must be a positive integer, got {self.rows!r}")
        if self.method != "auto":
            estimator_of(self.method)

    @property
    def name(self) -> str:
        """What `Estimate.method` says."""
        inner = self.method if isinstance(self.method, str) else self.method.name
        return f"{self.count} blocks" if inner == "auto" else f"{inner}, {self.count} blocks"

    def entropy(self, sample: Sample) -> EntropyFit:
        """Differential entropy in nats.

        Parameters
        ----------
        sample : Sample
            Enough distinct rows for the method in every block.
        """
        return joined_entropy(*self._mapped(sample, block_entropy), sample.n)

    def fisher(self, sample: Sample) -> FisherFit:
        """Fisher information matrix in original units.

        Parameters
        ----------
        sample : Sample
            Enough distinct rows for the method in every block.
        """
        return joined_fisher(*self._mapped(sample, block_fisher), sample.n)

    def halved(self) -> Blocks:
        """As many blocks of half as many rows, which measure half of a sample as these do the whole."""
        return self if self.rows is None else replace(self, rows=max(1, self.rows // 2))

    def score(self, sample: Sample, points: Array | None) -> Array:
        """Refuse: blocks have scores of their own.

        Parameters
        ----------
        sample : Sample
            Not used.
        points : ndarray of shape (m, d) or None
            Not used.
        """
        raise ValueError("blocks give no score; use the method itself")

    def _mapped(
        self, sample: Sample, measure: Callable[[Array, str | Estimator, str, Array | None], _Fit]
    ) -> tuple[list[_Fit], list[Rows]]:
        from joblib import Parallel, delayed  # only here, as it takes long to import

        sample.require_distinct_rows(self.name)
        if sample.n < 2 * self.count:
            raise ValueError(
                f"`{sample.name}` must have at least two rows for each of {self.count} blocks, got {sample.n}"
            )
        # From the radial order, so that blocks do not depend on the order or the coordinates of the rows.
        shuffled = sample.radial_order[np.random.default_rng(self.seed).permutation(sample.n)]
        if self.rows is not None:
            shuffled = shuffled[: self.rows * self.count]
        blocks = np.array_split(shuffled, self.count)
        tasks = (
            delayed(measure)(sample.values[rows], self.method, sample.name, sample.widths) for rows in blocks
        )
        fits = []
        with stage("blocks", self.count) as advance:
            for fit in Parallel(n_jobs=self.n_jobs, return_as="generator")(tasks):
                fits.append(fit)
                advance(1)
        return fits, blocks


@on_one_blas_thread
def block_entropy(
    values: Array, method: str | Estimator, name: str, widths: Array | None = None
) -> EntropyFit:
    """Measure H of one block.

    Parameters
    ----------
    values : ndarray of shape (n, d)
        Its rows.
    method : str or Estimator
        How.
    name : str
        How error messages call the sample.
    widths : ndarray of shape (d,), optional
        Of the noise that resolved its ties, if they were.
    """
    return entropy_fit(method, _block(values, name, widths))[1]


@on_one_blas_thread
def block_fisher(values: Array, method: str | Estimator, name: str, widths: Array | None = None) -> FisherFit:
    """Measure J of one block.

    Parameters
    ----------
    values, method, name, widths
        As in `block_entropy`.
    """
    sample = _block(values, name, widths)
    return fisher_estimator(method, sample).fisher(sample)


def _block(values: Array, name: str, widths: Array | None) -> Sample:
    sample = Sample.of(values, name=name)
    return sample if widths is None else replace(sample, widths=widths)


def joined_entropy(fits: Sequence[EntropyFit], blocks: Sequence[Rows], n: int) -> EntropyFit:
    """The entropies of blocks as one.

    Parameters
    ----------
    fits : sequence of EntropyFit
        Of the blocks.
    blocks : sequence of ndarray
        The rows of each.
    n : int
        Number of rows of the sample.
    """
    share, common = _joined(fits, blocks, n)
    return EntropyFit(float(share @ [fit.value for fit in fits]), **common)


def joined_fisher(fits: Sequence[FisherFit], blocks: Sequence[Rows], n: int) -> FisherFit:
    """The Fisher informations of blocks as one.

    Parameters
    ----------
    fits : sequence of FisherFit
        Of the blocks.
    blocks : sequence of ndarray
        The rows of each.
    n : int
        Number of rows of the sample.
    """
    share, common = _joined(fits, blocks, n)
    return FisherFit(np.tensordot(share, np.array([fit.matrix for fit in fits]), 1), **common)


def _joined(
    fits: Sequence[EntropyFit | FisherFit], blocks: Sequence[Rows], n: int
) -> tuple[Array, dict[str, Any]]:
    """The share of each block in the rows that are used, and what is joined alike for both quantities."""
    sizes = np.array([len(rows) for rows in blocks], dtype=float)
    share, influences = sizes / sizes.sum(), np.full(n, math.nan)
    for fit, rows in zip(fits, blocks, strict=True):
        influences[rows] = fit.influence
    return share, {
        "standard_error": math.hypot(*(share * [fit.standard_error for fit in fits])),
        "influences": influences,
        "bound": fits[0].bound,
        "skewness": float(share @ [fit.skewness for fit in fits]),
    }
