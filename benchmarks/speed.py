"""Time every kernel and the whole beside other packages in the same run, on one thread and on two.

    python -m benchmarks.speed             # → results/speed.json; half an hour, mostly memory
    python -m benchmarks.speed --quick     # a tenth of the points, nothing written
    python -m benchmarks.report            # rewrites the README's table from results/speed.json

The calls of a row take turns, round after round; ratios are medians over the rounds of processor time on one
thread, which other work on the machine changes least, and of wall time on two.
"""

from __future__ import annotations

import importlib.metadata
import json
import math
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from benchmarks.store import RESULTS

PATH = RESULTS / "speed.json"
PACKAGES = (
    "numpy", "scipy", "numba", "scikit-learn", "pykdtree", "faiss-cpu", "fishpy", "divergence",
)  # fmt: skip


@dataclass(frozen=True)
class Options:
    """Time all rows in processes of their own, print the table, and keep the figures."""

    quick: bool = False
    """A tenth of the points, three rounds, and no file."""
    rounds: int = 5
    """Turns that each call takes."""
    only: str = ""
    """Rows whose label contains this."""
    threads: tuple[int, ...] = (1, 2)
    """Numbers of threads."""


def main(options: Options) -> None:
    figures: dict[str, Any] = {"machine": machine(), "quick": options.quick, "rows": [], "missing": []}
    for threads in options.threads:
        found = json.loads(child(threads, "rows", options.quick, options.rounds, options.only))
        figures["rows"] += found["rows"]
        figures["missing"] = found["missing"]
        keep(figures, options)
    if not options.only:
        figures["first call"] = first_calls()
        keep(figures, options)
        figures["memory"] = memory(options.quick)
        keep(figures, options)
    from benchmarks import report

    print(report.tables(figures))


def keep(figures: dict[str, Any], options: Options) -> None:
    """Write what there is of a full run."""
    if not options.quick and not options.only:
        PATH.write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def child(threads: int, *arguments: Any, **environment: str) -> str:
    """Standard output of this module's `worker` in a process with so many threads in every library."""
    names = ("OMP", "OPENBLAS", "MKL", "NUMBA")
    limits = {f"{name}_NUM_THREADS": str(threads) for name in names}
    command = [sys.executable, "-W", "ignore", "-c", _WORKER, json.dumps(arguments)]
    done = subprocess.run(
        command, env=os.environ | limits | environment, check=True, stdout=subprocess.PIPE, text=True
    )
    return done.stdout.splitlines()[-1]


_WORKER = "import json, sys; from benchmarks import speed; speed.worker(*json.loads(sys.argv[1]))"


def worker(what: str, *arguments: Any) -> None:
    """Run one of the measurements and print it as a line of JSON."""
    measure = {"rows": _rows, "memory": _memory, "first": _first, "import": _import}[what]
    print(json.dumps(measure(*arguments)))


def machine() -> dict[str, Any]:
    """What the figures were measured on and with."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        processor = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        processor = platform.processor()
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "processor": processor, "cores": os.cpu_count(), "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(), "versions": versions, "date": time.strftime("%Y-%m-%d"),
    }  # fmt: skip


# --- Rows -------------------------------------------------------------------------------------------------


def _rows(quick: bool, rounds: int, only: str) -> dict[str, Any]:
    from benchmarks import speed_rows

    chosen = [row for row in speed_rows.rows(quick) if only in row.label]
    rows = [_row(row, 3 if quick else rounds) for row in chosen]
    return {"rows": rows, "missing": speed_rows.missing()}


def _row(row: Any, rounds: int) -> dict[str, Any]:
    from benchmarks.speed_rows import THREADS

    x, small = row.sample(), row.sample(max(row.n // 4, 60 * row.d))
    calls = {"infoplane": row.own, **row.peers} | ({"bound": row.bound} if row.bound else {})
    for call in calls.values():  # compiled and imported outside the measured time
        call(small[: max(400, 8 * row.d)])
    if row.seconds is not None:
        rounds = 1
    wall: dict[str, list[float]] = {name: [] for name in calls}
    processor: dict[str, list[float]] = {name: [] for name in calls}
    smaller: list[float] = []
    for turn in range(rounds):
        for name, call in calls.items():
            if name not in row.slow or (turn == 0 and THREADS == 1):
                elapsed = _timed(call, x)
                wall[name].append(elapsed[0])
                processor[name].append(elapsed[1])
        smaller.append(_timed(row.own, small)[1])
    middle = {name: statistics.median(times) for name, times in wall.items() if times}
    of_processor = {name: statistics.median(times) for name, times in processor.items() if times}
    clock = processor if THREADS == 1 else wall
    ratios = {
        name: statistics.median(t / own for own, t in zip(clock["infoplane"], times, strict=False))
        for name, times in clock.items()
        if times
    }
    growth = math.log(of_processor["infoplane"] / statistics.median(smaller)) / math.log(row.n / len(small))
    return {
        "row": row.label, "threads": THREADS, "rounds": rounds, "wall": middle, "processor": of_processor,
        "ratio": ratios, "least": row.least, "seconds": row.seconds, "growth": growth,
    }  # fmt: skip


def _timed(call: Any, x: Any) -> tuple[float, float]:
    wall, processor = time.perf_counter(), time.process_time()
    call(x)
    return time.perf_counter() - wall, time.process_time() - processor


# --- Memory and first calls -------------------------------------------------------------------------------


def memory(quick: bool) -> list[dict[str, Any]]:
    """Peak memory of each public function beyond what is there before the call, in MB."""
    from benchmarks.speed_rows import MEMORY

    few = 10 if quick else 1
    return [
        json.loads(child(1, "memory", name, n // few, d))
        for (n, d), names in MEMORY.items()
        for name in names
    ]


def _memory(name: str, n: int, d: int) -> dict[str, Any]:
    import numpy as np

    from benchmarks.speed_rows import CALLS

    CALLS[name](np.random.default_rng(0).standard_normal((2000, d)))
    x = np.random.default_rng(d).standard_normal((n, d))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    CALLS[name](x)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = time.perf_counter() - start
    return {"call": name, "n": n, "d": d, "MB": round((after - before) / 1024, 1), "seconds": seconds}


def first_calls() -> dict[str, Any]:
    """Seconds of the first call of public functions, less the second: with an empty cache and a full one."""
    from benchmarks.speed_rows import PUBLIC

    result: dict[str, Any] = {"import": min(json.loads(child(1, "import")) for _ in range(3)), "calls": {}}
    for name in PUBLIC:
        with tempfile.TemporaryDirectory() as folder:
            cold, warm = (json.loads(child(1, "first", name, NUMBA_CACHE_DIR=folder)) for _ in range(2))
        result["calls"][name] = {"cold": cold, "warm": warm}
    return result


def _first(name: str) -> float:
    import numpy as np

    from benchmarks.speed_rows import PUBLIC

    x = np.random.default_rng(0).standard_normal((300, 2))
    first, second = (_timed(PUBLIC[name], x)[1] for _ in range(2))
    return first - second


def _import() -> float:
    code = """import numpy, numba, time
start = time.process_time()
import infoplane
print(time.process_time() - start)"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
