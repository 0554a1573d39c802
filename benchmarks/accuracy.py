"""Measure the error of every method on families whose truth is known, and write it down in tables.

    python -m benchmarks.accuracy                              # infoplane, then the peers that are installed
    python -m benchmarks.accuracy --methods ours --only J d=1  # a part of it
    python -m benchmarks.accuracy --tables                     # the tables again, from what is stored

Goes on where it stopped: what is in results/accuracy.jsonl is not measured again.
"""

from __future__ import annotations

import os

# One process, one core; before NumPy is loaded.
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1", NUMBA_NUM_THREADS="1")

import time
from dataclasses import dataclass

import tyro

from benchmarks import methods, plan, store, tables
from benchmarks.peers import PEERS


@dataclass(frozen=True)
class Options:
    """Measure what is missing in results/accuracy.jsonl and render the tables from all that is there."""

    methods: tuple[str, ...] = ("ours", "peers")
    """"ours", "peers", or names such as auto, kde, "fishpy dpik"."""
    only: tuple[str, ...] = ()
    """Cells that have all of these: a quantity (H, J), a family, d=…, n=…."""
    repeats: int | None = None
    """At most so many repeats a cell, where the plan has more."""
    cell_seconds: float | None = None
    """End a cell early after so much processor time; otherwise 60 (coverage: never), for peers 4 (20)."""
    budget: float = float("inf")
    """Minutes after which no new cell is begun."""
    redo: bool = False
    """Measure again the chosen cells that another version, or another state of infoplane, has measured."""
    tables: bool = False
    """Measure nothing."""


def main(options: Options) -> None:
    if not options.tables:
        measure(plan.accuracy, options, 60.0, 4.0)
    written = tables.write_accuracy()
    print(f"tables: {written}")


def measure(cells_of: plan.Plan, options: Options, own_seconds: float, peers_seconds: float) -> None:
    """Fill the store with the chosen cells of a plan; the seconds hold unless the options say otherwise."""
    missing = sorted({peer.package for peer in PEERS.values() if peer.version is None})
    if missing and {"peers", *PEERS} & set(options.methods):
        print("not installed: " + ", ".join(missing))
    deadline = time.time() + 60 * options.budget
    for own in (True, False):  # infoplane first
        chosen = cells_of(lambda cell, own=own: _chosen(cell, options) and (cell.method not in PEERS) == own)
        if options.repeats is not None:
            chosen = {cell: min(repeats, options.repeats) for cell, repeats in chosen.items()}
        if options.redo:
            done = store.load()
            stale = [c for c in chosen if c in done and done[c].versions != {methods.version(c.method)}]
            store.forget(stale)
        seconds = options.cell_seconds or (own_seconds if own else peers_seconds)
        left = store.run(chosen, store.Limits(seconds, deadline))
        if chosen:
            print(f"{'infoplane' if own else 'peers'}: {len(chosen)} cells, {left} not begun in the budget")


def _chosen(cell: store.Cell, options: Options) -> bool:
    group = "peers" if cell.method in PEERS else "ours"
    return {group, cell.method} & set(options.methods) != set() and set(options.only) <= cell.tags


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
