"""What is timed: one row a piece of work, with infoplane's call and those of its peers on the same sample."""

from __future__ import annotations

import functools
import importlib.util
import math
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

import infoplane
from benchmarks import bounds, peers
from infoplane.estimators.kernel_density import PairKernels
from infoplane.kernels.neighbors import Neighbors

Array = NDArray[np.float64]
Call = Callable[[Array], Any]
THREADS = int(os.environ.get("NUMBA_NUM_THREADS", "1"))
K = 4


@dataclass(frozen=True)
class Row:
    """Some work on n points in d dimensions; `least` says how many times as fast as a peer it is to be.

    `slow` names peers that are timed once, on one thread. `bound` is arithmetic that cannot be avoided,
    timed alone.
    """

    work: str
    n: int
    d: int
    own: Call
    peers: dict[str, Call] = field(default_factory=dict)
    least: dict[str, float] = field(default_factory=dict)
    slow: tuple[str, ...] = ()
    bound: Call | None = None
    seconds: float | None = None

    @property
    def label(self) -> str:
        """Work, size and dimension."""
        return f"{self.work}, n = {self.n:,}, d = {self.d}"

    def sample(self, n: int | None = None) -> Array:
        """Standard normal points, the same in every process."""
        return np.random.default_rng(self.d).standard_normal((n or self.n, self.d))


def rows(quick: bool) -> list[Row]:
    """All rows; `quick` with a tenth of the points."""
    few = 10 if quick else 1
    return [
        *line(1_000_000 // few),
        *(neighbors(100_000 // few, d, {"scipy cKDTree": 2.5, "pykdtree": 1.8}) for d in (2, 3, 5)),
        *(neighbors(10_000 // few, d, least) for d, least in (
            (10, {"scipy cKDTree": 4, "scikit-learn brute": 2, "faiss flat f32": 1}),
            (20, {"scipy cKDTree": 12, "scikit-learn brute": 2, "faiss flat f32": 1}),
            (40, {"scipy cKDTree": 14, "scikit-learn brute": 2, "faiss flat f32": 1}),
        )),
        *(density(10_000 // few, d, least) for d, least in ((1, 20), (3, 18), (10, 15))),
        score(10_000 // few),
        *(plane(10_000 // few, d, seconds) for d, seconds in ((1, 0.2), (5, 5.0), (20, 15.0))),
    ]  # fmt: skip


def missing() -> list[str]:
    """Peers that are not installed."""
    modules = {
        "fishpy": "FiShPy", "pykdtree": "pykdtree", "scikit-learn": "sklearn", "faiss-cpu": "faiss",
        "divergence": "divergence",
    }  # fmt: skip
    return [name for name, module in modules.items() if importlib.util.find_spec(module) is None]


def _installed(calls: dict[str, Call]) -> dict[str, Call]:
    absent = missing()
    return {name: call for name, call in calls.items() if not any(name.startswith(a[:5]) for a in absent)}


# --- One dimension ----------------------------------------------------------------------------------------


def line(n: int) -> list[Row]:
    # The bound of both: nothing here is done without the order of the values.
    sort: dict[str, Call] = {"numpy.sort alone": lambda x: np.sort(x[:, 0])}
    entropy = sort | {
        "scipy differential_entropy": lambda x: peers.scipy_spacing(x, "auto"),
        "kNN by cKDTree": _tree_entropy,
    }
    fisher = {"fishpy dpik + SEP_FIM": lambda x: peers.quietly(peers.fishpy, x, "dpik")}
    return [
        Row("entropy", n, 1, infoplane.entropy, entropy,
            {"scipy differential_entropy": 1.5, "kNN by cKDTree": 40}, slow=("kNN by cKDTree",)),
        Row("tr J", n, 1, infoplane.fisher_trace, sort | _installed(fisher), {"fishpy dpik + SEP_FIM": 200},
            slow=tuple(fisher)),
    ]  # fmt: skip


def _tree_entropy(x: Array) -> float:
    """Kozachenko–Leonenko as NPEET has it: k = 3 by scipy's tree."""
    from scipy.spatial import cKDTree

    return float(np.log(cKDTree(x).query(x, K, workers=THREADS)[0][:, -1]).mean())


# --- Neighbours -------------------------------------------------------------------------------------------


def neighbors(n: int, d: int, least: dict[str, float]) -> Row:
    calls: dict[str, Call] = {"scipy cKDTree": _scipy_tree, "pykdtree": _pykdtree}
    if d >= 10:
        calls |= {"scikit-learn brute": _sklearn_brute, "faiss flat f32": _faiss}
    # Brute force: a product for each dimension of every pair, taken once.
    bound = (lambda x: bounds.multiplications(len(x) ** 2 * d // (2 * THREADS))) if d > 10 else None
    return Row(
        f"all {K} nearest neighbours", n, d, lambda x: Neighbors(x).of_sources(x, K), _installed(calls),
        least, bound=bound,
    )  # fmt: skip


def _scipy_tree(x: Array) -> Any:
    from scipy.spatial import cKDTree

    return cKDTree(x).query(x, K + 1, workers=THREADS)


def _pykdtree(x: Array) -> Any:
    from pykdtree.kdtree import KDTree

    return KDTree(x).query(x, K + 1)


def _sklearn_brute(x: Array) -> Any:
    from sklearn.neighbors import NearestNeighbors

    return NearestNeighbors(n_neighbors=K, algorithm="brute", n_jobs=THREADS).fit(x).kneighbors()


def _faiss(x: Array) -> Any:
    import faiss

    faiss.omp_set_num_threads(THREADS)
    index = faiss.IndexFlatL2(x.shape[1])
    single = x.astype(np.float32)
    index.add(single)
    return index.search(single, K + 1)


# --- Pair sums --------------------------------------------------------------------------------------------


def density(n: int, d: int, least: float) -> Row:
    def own(x: Array) -> Array:
        return PairKernels(x).log_density(x, np.arange(len(x)), np.array([_scott(x)]))

    def scipy_kde(x: Array) -> Array:
        from scipy.stats import gaussian_kde

        return np.log(gaussian_kde(x.T, _scott(x))(x.T))

    # Every pair once: it counts for both of its points.
    return Row(
        "leave-one-out log density", n, d, own, {"scipy gaussian_kde": scipy_kde},
        {"scipy gaussian_kde": least}, bound=lambda x: bounds.kernels(x, len(x) ** 2 // (2 * THREADS)),
    )  # fmt: skip


def score(n: int) -> Row:
    def own(x: Array) -> Any:
        return PairKernels(x).score(x, np.arange(len(x)), _scott(x))

    def theirs(x: Array) -> Any:
        from divergence import score_based

        return score_based._kernel_score_estimate(x, x, _scott(x))

    calls = {"divergence score": theirs, "naive numba prange": lambda x: naive_score(x, _scott(x))}
    return Row(
        "score and divergence of kernels", n, 3, own, _installed(calls),
        {"divergence score": 20, "naive numba prange": 5},
        bound=lambda x: bounds.kernels(x, len(x) ** 2 // THREADS),
    )  # fmt: skip


def _scott(x: Array) -> float:
    n, d = x.shape
    return float(n ** (-1 / (d + 4)))


@numba.njit(parallel=True, fastmath=True)
def naive_score(x, h):
    """The formulas as they stand, in parallel."""
    n, d = x.shape
    log_sum, score, divergence = np.empty(n), np.empty((n, d)), np.empty(n)
    for i in numba.prange(n):
        total = bend = 0.0
        gradient = np.zeros(d)
        for j in range(n):
            if j != i:
                q = 0.0
                for a in range(d):
                    q += ((x[j, a] - x[i, a]) / h) ** 2
                w = math.exp(-0.5 * q)
                total += w
                bend += w * (q - d)
                for a in range(d):
                    gradient[a] += w * (x[j, a] - x[i, a])
        log_sum[i] = math.log(total)
        score[i] = gradient / total / h**2
        divergence[i] = bend / total / h**2 - (score[i] ** 2).sum()
    return log_sum, score, divergence


# --- The whole --------------------------------------------------------------------------------------------


def plane(n: int, d: int, seconds: float) -> Row:
    return Row("fisher_shannon", n, d, infoplane.fisher_shannon, seconds=seconds)


PUBLIC: dict[str, Call] = {
    "entropy": infoplane.entropy,
    "entropy_power": infoplane.entropy_power,
    "fisher_trace": infoplane.fisher_trace,
    "fisher_information": infoplane.fisher_information,
    "fisher_shannon": infoplane.fisher_shannon,
    "score": infoplane.score,
    'entropy(method="kde")': lambda x: infoplane.entropy(x, method="kde"),
    'fisher_trace(method="kde")': lambda x: infoplane.fisher_trace(x, method="kde"),
    'entropy(method="knn")': lambda x: infoplane.entropy(x, method="knn"),
    'fisher_trace(method="knn")': lambda x: infoplane.fisher_trace(x, method="knn"),
    "mutual_information": lambda x: infoplane.mutual_information(x[:, 0], x[:, 0] ** 2 + x[:, -1] ** 3),
    "windows": lambda x: infoplane.windows(x[:, 0], width=len(x) // 2, step=len(x) // 2),
}
METHODS = ("gaussian", "knn", "kde", "stack", "copula", "weighted-knn", "bound")
# Public calls whose memory is looked at: all of them, by every method that makes sense for what is asked.
CALLS: dict[str, Call] = PUBLIC | {
    "conditional_entropy": lambda x: infoplane.conditional_entropy(x[:, 0], given=x[:, 0] + x[:, -1] ** 2),
    "conditional_mutual_information": lambda x: infoplane.conditional_mutual_information(
        x[:, 0], x[:, 0] + x[:, -1], given=x[:, -1] ** 3
    ),
    'mutual_information(method="entropies")': lambda x: infoplane.mutual_information(
        x[:, 0], x[:, 0] + x[:, -1], method="entropies"
    ),
}
for _method in (*METHODS, "spacing", "logspline"):
    for _function in (infoplane.entropy, infoplane.fisher_trace):
        CALLS[f'{_function.__name__}(method="{_method}")'] = functools.partial(_function, method=_method)


def by(*methods: str, of: tuple[str, ...] = ("entropy", "fisher_trace")) -> list[str]:
    """Names of calls by some methods."""
    return [f'{function}(method="{method}")' for method in methods for function in of]


_EVERY = [
    "entropy", "entropy_power", "fisher_trace", "fisher_information", "fisher_shannon", "score",
]  # fmt: skip
_OF_PAIRS = [
    "mutual_information", 'mutual_information(method="entropies")', "conditional_entropy",
    "conditional_mutual_information",
]  # fmt: skip
# 10⁶ rows in one and two dimensions and 10⁵ in more, but where a call would take many minutes.
MEMORY = {
    (1_000_000, 1): [
        *_EVERY, "windows", *by("gaussian", "knn", "logspline", "bound", "kde"),
        *by("spacing", of=("entropy",)),
    ],
    (1_000_000, 2): [
        *_EVERY, *_OF_PAIRS, *by("gaussian", "bound", "kde"), *by("knn", "copula", of=("entropy",)),
        *by("stack", of=("fisher_trace",)),
    ],
    (100_000, 2): by("knn", of=("fisher_trace",)),
    (100_000, 5): [
        *_EVERY, *by("gaussian", "knn", "bound"), *by("copula", "weighted-knn", of=("entropy",)),
        *by("stack", of=("fisher_trace",)),
    ],
    (20_000, 5): by("kde"),
}  # fmt: skip
