"""Rewrite the README's table of speed from what `benchmarks.speed` has measured.

python -m benchmarks.report
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from benchmarks.speed import PATH
from benchmarks.tables import table

README = Path(__file__).parent.parent / "README.md"
BEGIN, END = "<!-- speed: begin -->", "<!-- speed: end -->"


def main() -> None:
    """Put the table between the markers."""
    figures = json.loads(PATH.read_text(encoding="utf-8"))
    text = README.read_text(encoding="utf-8")
    part = f"{BEGIN}\n{short(figures)}\n{END}"
    README.write_text(re.sub(f"{BEGIN}.*?{END}", lambda _: part, text, flags=re.DOTALL), encoding="utf-8")
    print(f"rewritten: {README}")


def short(figures: dict[str, Any]) -> str:
    """The README's table: processor time on one thread, wall time on two, and ratios to the peers."""
    by_threads: dict[str, dict[int, dict[str, Any]]] = {}
    for row in figures["rows"]:
        by_threads.setdefault(row["row"], {})[row["threads"]] = row
    lines = []
    for label, found in by_threads.items():
        one, two = found.get(1), found.get(2)
        clocks = ((one, "processor"), (two, "wall"))
        times = [time_of(row[clock]["infoplane"]) if row else "–" for row, clock in clocks]
        lines.append([label, *times, *(_ratios(row) for row in (one, two))])
    machine = figures["machine"]
    heads = ["", "one thread", "two", "peers / infoplane, one thread", "two threads"]
    source = f"{machine['processor']}, {machine['cores']} cores, load {machine['load']}; {machine['date']}"
    return f"{table(heads, lines)}\n\n{source}."


def _ratios(row: dict[str, Any] | None) -> str:
    if row is None:
        return "–"
    shown = {n: r for n, r in row["ratio"].items() if n not in ("infoplane", "bound")}
    return "; ".join(f"{name} {ratio:.3g}×" for name, ratio in shown.items()) or "–"


def tables(figures: dict[str, Any]) -> str:
    """Everything, with the targets."""
    lines = []
    for row in figures["rows"]:
        name = f"{row['row']} ({row['threads']})"
        seconds = time_of(row["wall"]["infoplane"])
        if row["seconds"] is not None:
            seconds += f" (target {row['seconds']:g} s)"
        verdicts = []
        for peer, ratio in row["ratio"].items():
            if peer == "bound":
                verdicts.append(f"{100 * ratio:.0f} % of the bound")
            elif peer != "infoplane":
                least = row["least"].get(peer)
                goal = "" if least is None else f" (≥ {least:g}{'' if ratio >= least else ', missed'})"
                verdicts.append(f"{peer} {ratio:.3g}×{goal}")
        times = [time_of(row["processor"]["infoplane"]), f"n^{row['growth']:.2f}"]
        lines.append([name, seconds, *times, "; ".join(verdicts)])
    parts = [table(["work (threads)", "wall", "processor", "growth", "peers / infoplane"], lines)]
    if figures["missing"]:
        parts.append("Not installed: " + ", ".join(figures["missing"]))
    if "memory" in figures:
        cells = [
            [m["call"], str(m["d"]), f"{m['n']:,}", f"{m['MB']:.0f} MB", time_of(m["seconds"])]
            for m in figures["memory"]
        ]
        parts.append(table(["call", "d", "n", "peak", "wall"], cells))
    if "first call" in figures:
        first = figures["first call"]
        cells = [[n, f"{t['cold']:.2f} s", f"{t['warm']:.2f} s"] for n, t in first["calls"].items()]
        parts += [
            f"Import, beyond NumPy and Numba: {first['import']:.2f} s",
            table(["first call", "empty cache", "full cache"], cells),
        ]
    return "\n\n".join(parts)


def time_of(seconds: float) -> str:
    """Seconds in a readable unit."""
    if seconds < 1e-3:
        return f"{1e6 * seconds:.0f} μs"
    return f"{1e3 * seconds:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"


if __name__ == "__main__":
    main()
