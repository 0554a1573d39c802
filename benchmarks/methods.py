"""What is measured, and by which methods: infoplane's own and those of `peers`, called alike."""

from __future__ import annotations

import hashlib
import math
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

import infoplane
from benchmarks.peers import PEERS, quietly

Array = NDArray[np.float64]

QUANTITIES = {
    "H": "entropy in nats",
    "J": "trace of the Fisher information",
    "NJ": "product N·tr J/d",
    "H limit": "upper confidence limit of the entropy",
    "J limit": "lower confidence limit of the trace of the Fisher information",
    "outlier": "relative change of tr J by one more point, at 1000",
}
_FUNCTIONS = {
    "H": infoplane.entropy,
    "J": infoplane.fisher_trace,
    "NJ": lambda x, method: infoplane.fisher_shannon(x, method=method).product,
}


class Reading(NamedTuple):
    """One result: NaN where the method failed; the error and what "auto" took, of infoplane only."""

    value: float
    error: float = math.nan
    used: str = ""
    failure: str = ""


def own(quantity: str, d: int, n: int) -> list[str]:
    """Names of infoplane's methods that apply; "auto" is what a user gets who chooses nothing."""
    kde = ["kde"] if d <= 5 and (n <= 10_000 or (d == 1 and quantity == "J")) else []
    if quantity in ("NJ", "outlier"):
        return ["auto"]
    if quantity == "J":
        return ["auto", *kde, "knn", "gaussian"]
    if d == 1:
        return ["auto", "logspline", *kde, "knn", "gaussian"]
    parts = ["copula", *(["weighted-knn"] if d >= 4 else [])] if d < 10 or n <= 1_000 else []
    return ["auto", *parts, *kde, "knn", "gaussian"]


def others(quantity: str, d: int, n: int) -> list[str]:
    """Names of the installed peers' methods that apply."""
    measured = "J" if quantity == "outlier" else quantity
    return [
        name
        for name, peer in PEERS.items()
        if measured in peer.measures and d <= peer.dimensions and n <= peer.rows and peer.version
        if not peer.twin
    ]


def measure(quantity: str, method: str, x: Array) -> Reading:
    """Apply a method to a sample; what it raises is part of the result."""
    try:
        if quantity == "outlier":
            calm, disturbed = (_value("J", method, y) for y in (x, np.vstack([x, [[1000.0]]])))
            return Reading(disturbed / calm - 1)
        if quantity.endswith(" limit"):
            low, high = quietly(_FUNCTIONS[quantity[0]], x, method=method).interval()
            return Reading(high if quantity == "H limit" else low)
        if method in PEERS:
            return Reading(_value(quantity, method, x))
        result = quietly(_FUNCTIONS[quantity], x, method=method)
        return Reading(float(result), result.standard_error, result.method)
    except Exception as error:  # a peer may raise anything
        return Reading(math.nan, failure=type(error).__name__)


def _value(quantity: str, method: str, x: Array) -> float:
    if method in PEERS:
        return float(quietly(PEERS[method].measures[quantity], x))
    return float(quietly(_FUNCTIONS[quantity], x, method=method))


@cache
def version(method: str) -> str:
    """Package and version; of infoplane also a digest of its sources, which change between versions."""
    if method in PEERS:
        return f"{PEERS[method].package} {PEERS[method].version}"
    digest = hashlib.sha1(usedforsecurity=False)
    for path in sorted(Path(infoplane.__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return f"infoplane {infoplane.__version__} {digest.hexdigest()[:7]}"
