"""Markdown tables, rendered from the stored results and nothing else."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from benchmarks import plan
from benchmarks.families import FAMILIES
from benchmarks.peers import PEERS
from benchmarks.store import RESULTS, Cell, Results, load
from infoplane import Estimate

Store = dict[Cell, Results]

# The fewest repeats a coverage is given for: its own error is then 2 %.
_LEAST_REPEATS = 100


def write_accuracy() -> Path:
    """Render results/accuracy.md."""
    results = load()
    parts = [
        "# Accuracy",
        "Rendered from `accuracy.jsonl` by `python -m benchmarks.accuracy --tables`; every method "
        "sees the same samples. `benchmarks/README.md` says what is measured.",
        "## Targets",
        'Of `method="auto"`. RMSE of tr J relative to the truth (the worst of the families), of H in nats '
        "(their geometric mean). An RMSE from R repeats is known to about 1/√(2R) of itself.",
        targets(results),
        "## Efficiency, d = 1",
        "RMSE of J over the least standard deviation that theory allows a regular estimator, sd(ψ)/√n. The "
        "target at n = 10,000 is 1.3.",
        efficiency(results),
    ]
    for quantity, families, dimensions in (
        ("J", (*plan.SMOOTH_LINE, *plan.KINKED_LINE, *plan.HELD_OUT_LINE), (1,)),
        ("J", (*plan.ROUND, *plan.HELD_OUT), (2, 5, 10, 20)),
        ("H", (*plan.TEN_LINES, *plan.HELD_OUT_LINE), (1,)),
        ("H", (*plan.EIGHT, *plan.BESIDE_EIGHT, *plan.HELD_OUT), (2, 3, 5, 10)),
    ):
        for d in dimensions:
            for n in (1_000, 10_000, 100_000):
                shown = errors(results, quantity, families, d, n)
                if shown:
                    unit = (
                        "RMSE (bias) of tr J, % of the truth" if quantity == "J" else "RMSE (bias) of H, nats"
                    )
                    parts += [f"## {quantity}, d = {d}, n = {n:,}", f"{unit}; ° held out.", shown]
    parts += ["## Measured", provenance(results)]
    return written("accuracy.md", parts)


def write_coverage() -> Path:
    """Render results/coverage.md."""
    results = load()
    parts = [
        "# Coverage",
        "Rendered from `accuracy.jsonl` by `python -m benchmarks.coverage --tables`.",
        f"## Nominal 95 % intervals of `auto`, at least {_LEAST_REPEATS} repeats",
        "Share of intervals that contain the truth, with its standard error; mean stated standard error, and "
        "bias, over the spread of the estimates. Smooth families; ° held out.",
        coverage(results),
        '## 95 % limits of `method="bound"`, n = 300',
        "Share of samples in which H lies below its upper limit and tr J above its lower one, and how far "
        "the limits lie from the truth in the median. Every family, smooth or not; an infinite J has "
        "no limit to miss.",
        limits(results),
        "## Stam's inequality on normal data, d = 1",
        "Runs with N·J below 1 at all, and by more than two of their standard errors (peers have none).",
        stam(results),
        "## One point at 1000 among 1000 normals",
        "Relative change of J, the median and the largest over repeats.",
        outlier(results),
    ]
    return written("coverage.md", parts)


# --- Accuracy ---------------------------------------------------------------------------------------------


def targets(results: Store) -> str:
    """Demanded and measured, side by side."""
    rows = []
    for target in plan.TARGETS:
        for n, limit in target.limits.items():
            row = [target.label, f"{n:,}", _size(target, limit)]
            found = _sizes(results, target, "auto", n)
            if found is None:
                rows.append([*row, "–", "not measured"])
                continue
            value, worst = _summary(target, found), max(found, key=found.__getitem__)
            repeats = min(results[cell].values.size for cell in found)
            verdict = "met" if value <= limit else "**missed**"
            place = f"{worst.family}, d={worst.d}: {_size(target, found[worst])}"
            rows.append([*row, _size(target, value), verdict, place, str(repeats), _best(results, target, n)])
    heads = ["", "n", "target", "measured", "", "worst family", "repeats", "best peer"]
    return table(heads, rows)


def _sizes(results: Store, target: plan.Target, method: str, n: int) -> dict[Cell, float] | None:
    """Errors of a method on the families of a target, None unless it was measured on all of them."""
    cells = [Cell(target.quantity, method, f, d, n) for f in target.families for d in target.dimensions]
    if not all(cell in results for cell in cells):
        return None
    found = {cell: results[cell] for cell in cells}
    return {c: r.rmse / (abs(r.truth) if target.quantity == "J" else 1.0) for c, r in found.items()}


def _summary(target: plan.Target, sizes: dict[Cell, float]) -> float:
    values = np.array(list(sizes.values()))
    return math.exp(np.mean(np.log(values))) if target.mean else float(values.max())


def _best(results: Store, target: plan.Target, n: int) -> str:
    """The peer of least error, by the same measure."""
    found = {name: sizes for name in PEERS if (sizes := _sizes(results, target, name, n)) is not None}
    values = {name: value for name, sizes in found.items() if math.isfinite(value := _summary(target, sizes))}
    if not values:
        return "–"
    best = min(values, key=values.__getitem__)
    return f"{best}: {_size(target, values[best])}"


def _size(target: plan.Target, value: float) -> str:
    return f"{100 * value:.3g} %" if target.quantity == "J" else f"{value:.4f}"


def efficiency(results: Store) -> str:
    """Relative RMSE over the bound."""
    sizes = (1_000, 10_000, 100_000)
    rows = []
    for family in plan.SMOOTH_LINE:
        spread = FAMILIES[family].spread
        row = [family]
        for n in sizes:
            found = results.get(Cell("J", "auto", family, 1, n))
            bound = spread / math.sqrt(n) if spread else math.nan
            row.append("–" if found is None else f"{found.rmse / found.truth / bound:.2f}")
        rows.append(row)
    return table(["", *(f"n = {n:,}" for n in sizes)], rows)


def errors(results: Store, quantity: str, families: Sequence[str], d: int, n: int) -> str:
    """RMSE and bias, a row for each method and a column for each family."""
    here = {c: r for c, r in results.items() if (c.quantity, c.d, c.n) == (quantity, d, n)}
    shown = [f for f in families if any(c.family == f for c in here)]
    names = sorted({c.method for c in here}, key=_rank)
    rows = []
    for name in names:
        cells = [here.get(Cell(quantity, name, f, d, n)) for f in shown]
        label = f"**{name}**" if name not in PEERS else name
        repeats = sorted({r.values.size for r in cells if r is not None})
        span = f"{repeats[0]}–{repeats[-1]}" if len(repeats) > 1 else str(repeats[0])
        rows.append([label, *(_error(r, quantity) for r in cells), span])
    heads = [f + "°" * FAMILIES[f].held_out for f in shown]
    return table(["", *heads, "repeats"], rows) if rows else ""


def _error(found: Results | None, quantity: str) -> str:
    if found is None:
        return "–"
    if not found.finite.any():
        return "/".join(found.failures) or "not finite"
    lost = found.values.size - int(found.finite.sum())
    mark = f" †{lost}" if lost else ""
    if quantity == "J":
        scale = 100 / found.truth
        return f"{_short(scale * found.rmse)} ({_short(scale * found.bias, signed=True)}){mark}"
    return f"{_short(found.rmse, 3)} ({_short(found.bias, 3, signed=True)}){mark}"


def _short(value: float, decimals: int = 1, *, signed: bool = False) -> str:
    sign = "+" if signed else ""
    if abs(value) >= 10_000:
        return f"{value:{sign}.1e}"
    return f"{value:{sign}.{decimals if abs(value) < 10 else max(0, decimals - 1)}f}"


def _rank(method: str) -> tuple[int, str]:
    order = ["auto", "logspline", "copula", "weighted-knn", "kde", "knn", "gaussian", *PEERS]
    return (order.index(method) if method in order else len(order), method)


def provenance(results: Store) -> str:
    """Which versions made the numbers, and for how long they computed."""
    seconds: dict[str, float] = {}
    for found in results.values():
        versions = " and ".join(sorted(found.versions))
        seconds[versions] = seconds.get(versions, 0.0) + found.seconds
    lines = [f"- {version}: {total / 60:.1f} min" for version, total in sorted(seconds.items())]
    return "\n".join(lines)


# --- Coverage ---------------------------------------------------------------------------------------------


def coverage(results: Store) -> str:
    """Share of intervals with the truth in them."""
    rows = []
    for cell in sorted(results, key=lambda c: (c.quantity, c.d, c.n, _place(c.family))):
        found = results[cell]
        known = found.finite & np.isfinite(found.errors)
        if cell.quantity not in ("H", "J") or cell.method != "auto" or not FAMILIES[cell.family].smooth:
            continue
        if known.sum() < _LEAST_REPEATS:
            continue
        inside = [
            low <= found.truth <= high
            for low, high in _intervals(cell, found.values[known], found.errors[known])
        ]
        share = float(np.mean(inside))
        error = math.sqrt(max(share * (1 - share), 0.01) / len(inside))
        ratio = float(np.mean(found.errors[known]) / np.std(found.values[known], ddof=1))
        mark = "°" * FAMILIES[cell.family].held_out
        bias = found.bias / float(np.std(found.values[known], ddof=1))
        rows.append([
            cell.quantity, str(cell.d), f"{cell.n:,}", cell.family + mark,
            f"{100 * share:.1f} ± {100 * error:.1f} %",
            f"{ratio:.2f}", f"{bias:+.2f}", str(len(inside)),
        ])  # fmt: skip
    heads = ["", "d", "n", "family", "covered", "stated/actual sd", "bias/sd", "repeats"]
    return table(heads, rows) if rows else "Not measured."


def limits(results: Store) -> str:
    """Share of one-sided limits that hold."""
    rows = []
    for d, family in dict.fromkeys((c.d, c.family) for c in results if c.method == "bound"):
        row = [str(d), family]
        for quantity, sign in (("H limit", 1), ("J limit", -1)):
            found = results.get(Cell(quantity, "bound", family, d, 300))
            if found is None:
                row += ["–"] * 3
                continue
            slack = sign * found.deviations
            distance = float(np.median(slack)) / (1 if sign > 0 else found.truth)
            shown = f"{distance:.3f} nats" if sign > 0 else f"{100 * distance:.0f} %"
            row += [f"{100 * float(np.mean(slack >= 0)):.0f} %", shown, str(slack.size)]
        rows.append(row)
    heads = ["d", "family", "H held", "slack", "repeats", "J held", "slack", "repeats"]
    return table(heads, rows) if rows else "Not measured."


def _intervals(cell: Cell, values: np.ndarray, errors: np.ndarray) -> Iterable[tuple[float, float]]:
    for value, error in zip(values, errors, strict=True):
        yield Estimate(
            value, standard_error=error, method=cell.method, n=cell.n, d=cell.d, positive=cell.quantity == "J"
        ).interval(0.95)


def _place(family: str) -> int:
    return list(FAMILIES).index(family)


def stam(results: Store) -> str:
    """Violations of N·J ≥ 1 among the runs."""
    rows = []
    for cell in sorted((c for c in results if c.quantity == "NJ"), key=lambda c: (_rank(c.method), c.n)):
        found = results[cell]
        values, errors = found.values[found.finite], found.errors[found.finite]
        below, runs = int(np.sum(values < 1)), values.size
        beyond = furthest = "–"
        if np.isfinite(errors).any():
            gaps = 1 - values
            beyond = str(int(np.sum(gaps > 2 * errors)))  # an error of zero excuses nothing
            furthest = f"{np.max(gaps[errors > 0] / errors[errors > 0]):.2f}"
        rows.append(
            [cell.method, f"{cell.n:,}", f"{below} of {runs}", beyond, furthest, f"{values.mean():.4f}"]
        )
    heads = ["", "n", "below 1", "by more than 2 SE", "furthest, SE", "mean N·J"]
    return table(heads, rows) if rows else "Not measured."


def outlier(results: Store) -> str:
    """Change of J by one far point."""
    rows = []
    for cell in sorted((c for c in results if c.quantity == "outlier"), key=lambda c: _rank(c.method)):
        found = results[cell]
        sizes = np.abs(found.values[found.finite])
        if sizes.size:
            shown = [f"{100 * np.median(sizes):.3g} %", f"{100 * sizes.max():.3g} %"]
        else:
            shown = ["/".join(found.failures) or "not finite"] * 2
        rows.append([cell.method, *shown, str(found.values.size)])
    return table(["", "median", "largest", "repeats"], rows) if rows else "Not measured."


# --- Markdown ---------------------------------------------------------------------------------------------


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; short rows are filled up."""
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    lines += ["| " + " | ".join([*row, *[""] * (len(heads) - len(row))]) + " |" for row in rows]
    return "\n".join(lines)


def written(name: str, parts: Sequence[str]) -> Path:
    """Write paragraphs to a file among the results."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / name
    path.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    return path
