"""Results on disk: one JSON line for some seeds of one cell, appended as they are measured."""

from __future__ import annotations

import json
import math
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks import families, methods

RESULTS = Path(__file__).parent / "results"
PATH = RESULTS / "accuracy.jsonl"


class Cell(NamedTuple):
    """What one number of a table is about; the sample of a seed is the same for every method."""

    quantity: str
    method: str
    family: str
    d: int
    n: int

    @property
    def tags(self) -> set[str]:
        """What a selection may name."""
        return {self.quantity, self.method, self.family, f"d={self.d}", f"n={self.n}"}


@dataclass(frozen=True)
class Results:
    """Everything measured of a cell, seeds 0, 1, …; NaN where the method failed."""

    truth: float
    values: NDArray[np.float64]
    errors: NDArray[np.float64]
    seconds: float
    versions: frozenset[str]
    used: dict[str, int]
    failures: dict[str, int]

    @cached_property
    def finite(self) -> NDArray[np.bool_]:
        """Which of the values are numbers."""
        return np.isfinite(self.values)

    @property
    def deviations(self) -> NDArray[np.float64]:
        """Finite values less the truth."""
        return self.values[self.finite] - self.truth

    @property
    def rmse(self) -> float:
        """Root of the mean squared error, of the finite values."""
        return float(np.sqrt(np.mean(self.deviations**2))) if self.finite.any() else math.nan

    @property
    def bias(self) -> float:
        """Mean error, of the finite values."""
        return float(np.mean(self.deviations)) if self.finite.any() else math.nan


def load(path: Path = PATH) -> dict[Cell, Results]:
    """All results, the lines of a cell joined."""
    lines: dict[Cell, list[dict[str, Any]]] = defaultdict(list)
    if path.exists():
        for text in path.read_text(encoding="utf-8").splitlines():
            line = json.loads(text)
            lines[Cell(*(line[name] for name in Cell._fields))].append(line)
    return {cell: _joined(parts) for cell, parts in lines.items()}


def _joined(parts: list[dict[str, Any]]) -> Results:
    parts = sorted(parts, key=lambda part: part["first_seed"])
    used: dict[str, int] = defaultdict(int)
    failures: dict[str, int] = defaultdict(int)
    for part in parts:
        for total, name in ((used, "used"), (failures, "failures")):
            for key, count in part.get(name, {}).items():
                total[key] += count
    numbers = [[math.nan if v is None else v for v in part["values"]] for part in parts]
    errors = [part.get("errors") or [None] * len(part["values"]) for part in parts]
    return Results(
        truth=parts[-1]["truth"],
        values=np.array([v for some in numbers for v in some]),
        errors=np.array([math.nan if v is None else v for some in errors for v in some]),
        seconds=sum(part["seconds"] for part in parts),
        versions=frozenset(part["version"] for part in parts),
        used=dict(used),
        failures=dict(failures),
    )


def forget(cells: Iterable[Cell], path: Path = PATH) -> None:
    """Drop what was measured of some cells."""
    gone = set(cells)
    if gone and path.exists():
        texts = path.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [t for t in texts if Cell(*(json.loads(t)[name] for name in Cell._fields)) not in gone]
        path.write_text("".join(kept), encoding="utf-8")


@dataclass(frozen=True)
class Limits:
    """When to stop: `cell_seconds` of computing a cell, or the clock at `deadline`."""

    cell_seconds: float = 60.0
    deadline: float = math.inf


def run(plan: dict[Cell, int], limits: Limits, path: Path = PATH) -> int:
    """Measure what is missing of a plan of cells and repeats; return how many cells there was no time for.

    A cell ends early once it has used up its seconds; the first repeat is always made.
    """
    done = load(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    left = 0
    for cell, repeats in plan.items():
        have = done.get(cell)
        first = 0 if have is None else have.values.size
        spent = 0.0 if have is None else have.seconds
        if first >= repeats or (first and spent > limits.cell_seconds):
            continue
        if time.time() > limits.deadline:
            left += 1
            continue
        line = _measured(cell, range(first, repeats), limits.cell_seconds - spent)
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n")
    return left


def _measured(cell: Cell, seeds: range, seconds: float) -> dict[str, Any]:
    readings: list[methods.Reading] = []
    spent = 0.0
    for seed in seeds:
        x = families.sample(cell.family, cell.d, cell.n, seed)
        if not readings:  # compiled and imported outside the measured time
            methods.measure(cell.quantity, cell.method, x[: max(60, 8 * cell.d)])
        start = time.process_time()  # what other work on the machine does not count
        readings.append(methods.measure(cell.quantity, cell.method, x))
        spent += time.process_time() - start
        if spent > seconds:
            break
    line = {
        **cell._asdict(),
        "first_seed": seeds[0],
        "truth": _rounded(truth(cell), 9),
        "values": [_rounded(r.value) for r in readings],
        "seconds": _rounded(spent, 3),
        "version": methods.version(cell.method),
    }
    if any(math.isfinite(r.error) for r in readings):
        line["errors"] = [_rounded(r.error, 3) for r in readings]
    for name in ("used", "failures"):
        found = [getattr(r, {"used": "used", "failures": "failure"}[name]) for r in readings]
        counts = {key: found.count(key) for key in sorted(set(found) - {""})}
        if counts and counts != {cell.method: len(found)}:
            line[name] = counts
    return line


def truth(cell: Cell) -> float:
    """What the cell's values should be."""
    family = families.FAMILIES[cell.family]
    if cell.quantity[0] in "HJ":
        return family.entropy(cell.d) if cell.quantity[0] == "H" else family.fisher(cell.d)
    if cell.quantity == "outlier":
        return 0.0
    log_power = 2 * family.entropy(cell.d) / cell.d - 2 * families.HALF_LOG
    return math.exp(log_power) * family.fisher(cell.d) / cell.d


def _rounded(value: float, digits: int = 6) -> float | None:
    return float(f"{value:.{digits}g}") if math.isfinite(value) else None
