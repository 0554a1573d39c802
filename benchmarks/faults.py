"""Feed faulty inputs to every public function, and to the peers, and write down what comes back.

    python -m benchmarks.faults

One row an input, one column a function; the inputs are those of tests/test_faults.py. Writes
results/faults.md.
"""

from __future__ import annotations

import os

# One process, one core; before NumPy is loaded.
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1", NUMBA_NUM_THREADS="1")

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks import tables
from benchmarks.families import HALF_LOG
from benchmarks.methods import version
from benchmarks.peers import PEERS, quietly
from tests.test_faults import FUNCTIONS, REFUSED, RNG, TIED, X3, X

# Four standard errors √(2/n) of J at n = 1000; those of H are smaller. For many dimensions, a share of d.
_TOLERANCE, _TOLERANCE_EACH = 0.18, 0.05


@dataclass(frozen=True)
class Fault:
    """An input, and what is right: the error to raise, or the scale of the normal sample it is."""

    data: Any
    error: type[Exception] | None = None
    scale: float = math.nan

    def truth(self, quantity: str) -> float:
        """Of a quantity of the normal distribution that was sampled."""
        d = 1 if np.ndim(self.data) == 1 else np.shape(self.data)[1]
        if quantity == "H":
            return d * (HALF_LOG + math.log(self.scale))
        power, size = {"N": (2, 1.0), "J": (-2, d), "√J": (-1, math.sqrt(d))}[quantity]
        log_scale = power * math.log10(self.scale)
        return size * 10.0**log_scale if abs(log_scale) < 300 else math.copysign(math.inf, log_scale)


INPUTS = {
    **{name: Fault(data, error) for name, (data, error, _) in REFUSED.items()},
    **{name: Fault(data, ValueError) for name, (data, _) in TIED.items()},
    **{f"normal · 1e{k}": Fault(X * 10.0**k, scale=10.0**k) for k in (-200, -12, 12, 200)},
    "three normals, jointly": Fault(X3, scale=1.0),
    "single precision": Fault(X.astype(np.float32), scale=1.0),
    "one more point at 1000": Fault(np.append(X, 1000.0), scale=1.0),
    "200 dimensions, n = 1500": Fault(RNG.standard_normal((1500, 200)), scale=1.0),
}

# What each public function returns, as the quantities it is checked by.
_READ: dict[str, Callable[[Any], dict[str, float]]] = {
    "entropy": lambda h: {"H": float(h)},
    "entropy_power": lambda n: {"N": float(n)},
    "fisher_information": lambda j: {"J": float(np.trace(j))},
    "fisher_trace": lambda j: {"J": float(j)},
    "fisher_shannon": lambda p: {"N": float(p.entropy_power), "J": float(p.fisher_trace)},
    "score": lambda s: {"√J": _root_mean_square(s)},
}


def main() -> None:
    parts = [
        "# Faults",
        "Rendered by `python -m benchmarks.faults`. *refused*: an error, as there should be; *right*: the "
        f"number it should be, to four standard errors (in 200 dimensions to {_TOLERANCE_EACH} nats each); "
        "**bold**: a number where there is none, or a wrong one, or an error where none was due; –: the "
        "function takes one variable only. Tied data have no density; kernel estimates of them describe the "
        "data before rounding.",
        '## infoplane, `method="auto"`',
        tables.table(["input", *FUNCTIONS], ([name, *_own(fault)] for name, fault in INPUTS.items())),
    ]
    for quantity, title in (("H", "entropy"), ("J", "Fisher information")):
        names = [name for name, peer in PEERS.items() if quantity in peer.measures and peer.version]
        rows = ([name, *_theirs(fault, quantity, names)] for name, fault in INPUTS.items())
        parts += [f"## Peers: {title}", tables.table(["input", *names], rows)]
    parts.append("Versions: " + ", ".join(sorted({version(name) for name in ("auto", *PEERS)})) + ".")
    print(f"table: {tables.written('faults.md', parts)}")


def _own(fault: Fault) -> Iterator[str]:
    for name, function in FUNCTIONS.items():
        try:
            found = _READ[name](quietly(function, fault.data))
        except Exception as error:
            yield _raised(error, fault, name)
        else:
            verdicts = (_judged(fault, quantity, value) for quantity, value in found.items())
            yield ", ".join(dict.fromkeys(verdicts))


def _root_mean_square(s: np.ndarray) -> float:
    largest = np.abs(s).max()  # 1e200 has no square
    return float(largest * np.sqrt(np.mean(np.sum((s / largest) ** 2, axis=1))))


def _raised(error: Exception, fault: Fault, function: str) -> str:
    if fault.error is not None:
        return "refused" if isinstance(error, fault.error) else f"**{type(error).__name__}**"
    beyond = function not in ("entropy", "score") and not 1e-300 < fault.truth("J") < 1e300
    return "refused" if beyond and isinstance(error, OverflowError) else f"**error**: {type(error).__name__}"


def _theirs(fault: Fault, quantity: str, names: list[str]) -> Iterator[str]:
    rows = np.asarray(fault.data)
    rows = rows[:, None] if rows.ndim == 1 else rows
    for name in names:
        if PEERS[name].dimensions < rows.shape[1]:
            yield "–"
            continue
        try:
            value = float(quietly(PEERS[name].measures[quantity], rows))
        except Exception:
            yield "refused" if fault.error is not None else "**error**"
        else:
            yield _judged(fault, quantity, value)


def _judged(fault: Fault, quantity: str, value: float) -> str:
    if fault.error is not None:
        return "nan" if math.isnan(value) else f"**{value:.4g}**"
    truth = fault.truth(quantity)
    d = 1 if np.ndim(fault.data) == 1 else np.shape(fault.data)[1]
    if quantity == "H":
        right = abs(value - truth) < max(_TOLERANCE, _TOLERANCE_EACH * d)
    else:
        right = 0 < truth < math.inf and abs(value / truth - 1) < _TOLERANCE
    return "right" if right else f"**{value:.4g}**"


if __name__ == "__main__":
    main()
