"""Which cells are measured, how often, and what the targets are."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product

from benchmarks import methods
from benchmarks.families import FAMILIES
from benchmarks.store import Cell

Plan = Callable[[Callable[[Cell], bool]], dict[Cell, int]]

SMOOTH_LINE = ("normal", "t5", "logistic", "generalised normal 4", "two normals", "three normals")
KINKED_LINE = ("laplace", "gamma 3")
TEN_LINES = (
    "normal", "t3", "laplace", "uniform", "exponential", "gamma 0.5", "beta 0.5, 0.5", "beta 2, 5",
    "lognormal", "clusters",
)  # fmt: skip
ROUND = ("normal", "t5", "two normals", "three normals", "laplace rotated", "banana")
EIGHT = ("normal", "t5", "laplace", "laplace rotated", "uniform", "gamma 2", "clusters", "bananas")
BESIDE_EIGHT = ("uniform rotated", "lognormal")
HELD_OUT_LINE = ("gumbel", "skew normal", "hyperbolic secant", "two t")
HELD_OUT = ("gumbel rotated", "gamma 4 rotated", "two t", "funnel", "shell")

REPEATS = {1_000: 100, 10_000: 30, 100_000: 5}
REPEATS_BEYOND = {1_000: 12, 10_000: 12}
PEERS_REPEATS = {1_000: 40, 10_000: 8, 100_000: 2}
PEERS_REPEATS_BEYOND = {1_000: 12, 10_000: 3}


@dataclass(frozen=True)
class Target:
    """A demand on "auto": `limits[n]` on the worst of the families, or on their geometric mean if `mean`."""

    label: str
    quantity: str
    families: tuple[str, ...]
    dimensions: tuple[int, ...]
    limits: dict[int, float]
    mean: bool = False


MIXTURES = ("two normals", "three normals")
TARGETS = (
    Target("J, d=1: normal, t5, logistic, gen. normal, two normals", "J", SMOOTH_LINE[:5], (1,),
           {1_000: 0.09, 10_000: 0.03, 100_000: 0.01}),
    Target("J, d=1: laplace", "J", ("laplace",), (1,), {1_000: 0.20, 10_000: 0.10, 100_000: 0.06}),
    Target("J, d=1: gamma 3", "J", ("gamma 3",), (1,), {1_000: 0.31, 10_000: 0.20, 100_000: 0.11}),
    Target("J, d=2: normal, t5, mixtures", "J", ("normal", "t5", *MIXTURES), (2,),
           {1_000: 0.08, 10_000: 0.04}),
    Target("J, d=2: banana", "J", ("banana",), (2,), {1_000: 0.15, 10_000: 0.06}),
    Target("J, d=5: normal", "J", ("normal",), (5,), {1_000: 0.01, 10_000: 0.01}),
    Target("J, d=5: t5, mixtures", "J", ("t5", *MIXTURES), (5,), {1_000: 0.06, 10_000: 0.025}),
    Target("J, d=5: banana", "J", ("banana",), (5,), {1_000: 0.14, 10_000: 0.08}),
    Target("J, d=10, 20: normal, t5", "J", ("normal", "t5"), (10, 20), {10_000: 0.01}),
    Target("J, d=10, 20: mixtures", "J", MIXTURES, (10, 20), {10_000: 0.02}),
    Target("J, d=10, 20: banana", "J", ("banana",), (10, 20), {10_000: 0.07}),
    Target("H, d=1: geometric mean of ten families", "H", TEN_LINES, (1,),
           {1_000: 0.026, 10_000: 0.009, 100_000: 0.003}, mean=True),
    *(
        Target(f"H, d={d}: geometric mean of eight families", "H", EIGHT, (d,),
               {1_000: small, 10_000: large}, mean=True)
        for d, small, large in ((2, 0.045, 0.010), (3, 0.06, 0.010), (5, 0.085, 0.021), (10, 0.18, 0.07))
    ),
)  # fmt: skip


def subjects() -> Iterator[tuple[str, str, int, int]]:
    """(quantity, family, d, n) of the accuracy tables, the quick ones first."""
    for n in (1_000, 10_000, 100_000):
        beside = HELD_OUT_LINE if n < 100_000 else ()
        yield from (("J", family, 1, n) for family in (*SMOOTH_LINE, *KINKED_LINE, *beside))
        yield from (("H", family, 1, n) for family in (*TEN_LINES, *beside))
        if n < 100_000:
            lines = product((2, 3, 5, 10), (*EIGHT, *BESIDE_EIGHT, *HELD_OUT))
            yield from (("H", family, d, n) for d, family in lines)
            lines = product((2, 5, 10) if n == 1_000 else (2, 5, 10, 20), (*ROUND, *HELD_OUT))
            yield from (("J", family, d, n) for d, family in lines)


def accuracy(chosen: Callable[[Cell], bool]) -> dict[Cell, int]:
    """Repeats of each cell of the accuracy tables that is chosen."""
    plan = {}
    for quantity, family, d, n in subjects():
        ours = REPEATS if d == 1 else REPEATS_BEYOND
        theirs = PEERS_REPEATS if d == 1 else PEERS_REPEATS_BEYOND
        for names, repeats in (
            (methods.own(quantity, d, n), ours[n]),
            (methods.others(quantity, d, n), theirs[n]),
        ):
            plan.update(
                {cell: repeats for name in names if chosen(cell := Cell(quantity, name, family, d, n))}
            )
    return plan


def coverage(chosen: Callable[[Cell], bool]) -> dict[Cell, int]:
    """Repeats of each chosen cell of the coverage tables: intervals, Stam's inequality, an outlier."""
    demands = [
        *(("J", f, 1, n, 300) for n in (1_000, 10_000) for f in (*SMOOTH_LINE, *HELD_OUT_LINE)),
        *(("H", f, 1, n, 300) for n in (1_000, 10_000) for f in (*SMOOTH_LINE, *HELD_OUT_LINE)),
        *(("H", f, d, 1_000, 100) for d in (2, 3) for f in (*ROUND, *HELD_OUT)),
        *(("H", f, d, 10_000, 100) for d in (2, 3) for f in ROUND),
        *(("J", f, 2, 1_000, 100) for f in (*ROUND, *HELD_OUT)),
    ]
    cells = {Cell(q, "auto", f, d, n): repeats for q, f, d, n, repeats in demands if FAMILIES[f].smooth}
    # Limits are asked of every family, smooth or not, where samples are small enough to be hard.
    lines = dict.fromkeys((*SMOOTH_LINE, *KINKED_LINE, *TEN_LINES))
    for quantity, f, d in [(q, f, 1) for q in ("H", "J") for f in lines] + [
        (q, f, 2) for q in ("H", "J") for f in ROUND
    ]:
        if quantity == "H" or math.isfinite(FAMILIES[f].fisher(d)):
            cells[Cell(f"{quantity} limit", "bound", f, d, 300)] = 100
    for n in (100, 1_000, 10_000):
        names = ["auto", *(m for m in methods.others("NJ", 1, n) if m.startswith("fishpy dpik"))]
        cells.update(
            {Cell("NJ", m, "normal", 1, n): 1000 if m == "auto" or n < 10_000 else 40 for m in names}
        )
    for m in (*methods.own("outlier", 1, 1_000), "kde", "knn", *methods.others("outlier", 1, 1_000)):
        cells[Cell("outlier", m, "normal", 1, 1_000)] = 20
    return {cell: repeats for cell, repeats in cells.items() if chosen(cell)}
