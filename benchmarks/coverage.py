"""Check the intervals: how often they cover the truth, and whether estimates respect Stam's inequality.

    python -m benchmarks.coverage
    python -m benchmarks.coverage --only J d=1
    python -m benchmarks.coverage --tables

Shares samples and results/accuracy.jsonl with `benchmarks.accuracy`.
"""

from __future__ import annotations

import os

# One process, one core; before NumPy is loaded.
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1", NUMBA_NUM_THREADS="1")

import math

import tyro

from benchmarks import plan, tables
from benchmarks.accuracy import Options, measure


def main(options: Options) -> None:
    if not options.tables:
        measure(plan.coverage, options, math.inf, 20.0)
    print(f"tables: {tables.write_coverage()}")


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
