"""What other packages offer for the same quantities, each called as its documentation says.

Packages are imported when they are first used; those that are not installed are listed as missing.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import io
import math
import warnings
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Measure = Callable[[Array], float]


@dataclass(frozen=True)
class Peer:
    """A way to measure with another package.

    `measures` maps a quantity ("H", "J", "NJ") to a function of an (n, d) sample; `dimensions` is the
    most that it takes, `rows` the most that it is given here, where it takes O(n²) memory or seconds a call.
    `twin` names the peer whose numbers it gives to the last digits: its accuracy is not measured again.
    """

    package: str
    measures: dict[str, Measure] = field(hash=False)
    dimensions: float = 1
    rows: float = math.inf
    twin: str = ""

    @property
    def version(self) -> str | None:
        """That installed, or None."""
        try:
            return importlib.metadata.version(self.package)
        except importlib.metadata.PackageNotFoundError:
            return None


# --- One dimension ----------------------------------------------------------------------------------------


def scipy_spacing(x: Array, method: str) -> float:
    from scipy import stats

    return float(stats.differential_entropy(x[:, 0], method=method))


def fishpy(x: Array, bandwidth: str) -> tuple[float, float, float]:
    """Entropy power, Fisher information and their product; bandwidth "dpik", "nsrk", or KDEpy's "isj"."""
    import scipy.integrate

    # The package calls a function that SciPy 1.14 removed.
    if not hasattr(scipy.integrate, "simps"):
        scipy.integrate.simps = scipy.integrate.simpson
    module = importlib.import_module("FiShPy.FiSh")
    line = x[:, 0]
    select = isj_bandwidth if bandwidth == "isj" else getattr(module, bandwidth)
    return module.SEP_FIM(line, select(line))


def fishpy_peer(bandwidth: str, rows: float = math.inf) -> Peer:
    def entropy(x: Array) -> float:
        return 0.5 * math.log(2 * math.pi * math.e * fishpy(x, bandwidth)[0])

    return Peer(
        "fishpy",
        {"H": entropy, "J": lambda x: fishpy(x, bandwidth)[1], "NJ": lambda x: fishpy(x, bandwidth)[2]},
        rows=rows,
    )


def neurokit_power(x: Array) -> float:
    import neurokit2

    return 0.5 * math.log(2 * math.pi * math.e * neurokit2.entropy_power(x[:, 0])[0])


def neurokit_fisher(x: Array) -> float:
    import neurokit2

    return float(neurokit2.fishershannon_information(x[:, 0])[1]["FI"])


def neurokit_product(x: Array) -> float:
    import neurokit2

    return float(neurokit2.fishershannon_information(x[:, 0])[0])


def neurokit_neighbor(x: Array) -> float:
    import neurokit2

    return float(neurokit2.entropy_kl(x[:, 0], delay=1, dimension=1, norm="euclidean")[0])


def isj_entropy(x: Array) -> float:
    """On the density of KDEpy with the bandwidth of Botev, Grotowski and Kroese (2010)."""
    from KDEpy import FFTKDE

    grid, density = FFTKDE(kernel="gaussian", bw="ISJ").fit(x[:, 0]).evaluate(2**14)
    inside = density > 1e-300
    return -float(np.sum(density[inside] * np.log(density[inside])) * (grid[1] - grid[0]))


def isj_bandwidth(line: Array) -> float:
    from KDEpy.bw_selection import improved_sheather_jones

    return float(improved_sheather_jones(line[:, None]))


def divergence_kde(x: Array) -> float:
    import divergence

    return float(divergence.entropy_from_samples(x[:, 0]))


# --- Any dimension ----------------------------------------------------------------------------------------


def infomeasure_neighbors(x: Array) -> float:
    import infomeasure

    return float(infomeasure.entropy(x, approach="kl", base="e"))


def infomeasure_kernel(x: Array) -> float:
    """The bandwidth has no default; this is Silverman's rule, which its documentation cites."""
    import infomeasure

    n, d = x.shape
    bandwidth = (4 / (d + 2) / n) ** (1 / (d + 4)) * float(x.std(axis=0, ddof=1).mean())
    return float(infomeasure.entropy(x, approach="kernel", bandwidth=bandwidth, kernel="gaussian", base="e"))


def ennemi_neighbors(x: Array) -> float:
    import ennemi

    return float(ennemi.estimate_entropy(x, multidim=True))


def entropy_estimators_neighbors(x: Array) -> float:
    from entropy_estimators import continuous

    return float(continuous.get_h(x, k=3))


def divergence_neighbors(x: Array) -> float:
    from divergence import knn

    return float(knn.knn_entropy(x))


def divergence_fisher(x: Array) -> float:
    """Fisher divergence from a density of score zero, which is tr J."""
    from divergence import score_based

    return float(score_based.fisher_divergence(x, np.zeros_like))


def sklearn_neighbors(x: Array, k: int = 3) -> float:
    """Kozachenko–Leonenko in the maximum norm with scikit-learn's trees, as NPEET does it."""
    from scipy.special import digamma
    from sklearn.neighbors import NearestNeighbors

    n, d = x.shape
    distance = NearestNeighbors(n_neighbors=k, metric="chebyshev").fit(x).kneighbors()[0][:, -1]
    return float(digamma(n) - digamma(k) + d * (math.log(2) + np.mean(np.log(distance))))


PEERS = {
    "fishpy dpik": fishpy_peer("dpik"),
    "fishpy nsrk": fishpy_peer("nsrk", rows=1e4),
    "fishpy + KDEpy ISJ": fishpy_peer("isj", rows=1e4),
    "neurokit2": Peer(
        "neurokit2", {"H": neurokit_power, "J": neurokit_fisher, "NJ": neurokit_product}, rows=1e4
    ),
    "neurokit2 kl": Peer("neurokit2", {"H": neurokit_neighbor}),
    **{
        f"scipy {method}": Peer(
            "scipy",
            {"H": partial(scipy_spacing, method=method)},
            rows=1e4 if method == "correa" else math.inf,
        )
        for method in ("auto", "vasicek", "van es", "ebrahimi", "correa")
    },
    "KDEpy ISJ": Peer("KDEpy", {"H": isj_entropy}),
    "divergence kde": Peer("divergence", {"H": divergence_kde}),
    "divergence knn": Peer("divergence", {"H": divergence_neighbors}, math.inf),
    "divergence score": Peer("divergence", {"J": divergence_fisher}, math.inf, rows=2e3),
    "infomeasure knn": Peer("infomeasure", {"H": infomeasure_neighbors}, math.inf),
    "infomeasure kde": Peer("infomeasure", {"H": infomeasure_kernel}, math.inf, rows=2e3),
    "ennemi": Peer("ennemi", {"H": ennemi_neighbors}, math.inf, twin="scikit-learn knn"),
    "entropy_estimators": Peer(
        "entropy_estimators", {"H": entropy_estimators_neighbors}, math.inf, twin="scikit-learn knn"
    ),
    "scikit-learn knn": Peer("scikit-learn", {"H": sklearn_neighbors}, math.inf),
}


def quietly(measure: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """The result without what the call prints or warns of, and with NumPy's error state restored."""
    with warnings.catch_warnings(), np.errstate(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        return measure(*arguments, **options)
