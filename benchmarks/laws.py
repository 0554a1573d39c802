"""Check every law of information on every family it applies to, and that each law can fail.

    python -m benchmarks.laws

Writes results/laws.md, in some minutes.
"""

from __future__ import annotations

import os

# One process, one core; before NumPy is loaded.
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1", NUMBA_NUM_THREADS="1")

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from benchmarks.mutations import MUTATIONS, mutated
from benchmarks.tables import table, written
from infoplane import Estimate, inequalities
from infoplane.distributions import (
    Beta,
    Distribution,
    Exponential,
    Gamma,
    GaussianMixture,
    GeneralizedNormal,
    Gumbel,
    Laplace,
    Logistic,
    LogNormal,
    Mixture,
    MultivariateNormal,
    MultivariateT,
    Normal,
    Product,
    StudentT,
    Uniform,
    Weibull,
)

# What quadrature is good to (over times from a jump on 1e-5), and how many errors Monte Carlo is given.
TOLERANCE, ERRORS = 1e-5, 5


@dataclass(frozen=True)
class Law:
    """A law, applied to one distribution: with itself where it speaks of two, with its first coordinate."""

    name: str
    residual: Callable[[Distribution], float]
    identity: bool = False

    def broken(self, residual: float) -> bool:
        """Whether a residual contradicts the law."""
        margin = TOLERANCE + ERRORS * getattr(residual, "standard_error", 0.0)
        return residual < -margin or (self.identity and residual > margin)


def _with_itself(law: Callable[..., float]) -> Callable[[Distribution], float]:
    return lambda x: law(x, x)


def _with_noise(law: Callable[..., float]) -> Callable[[Distribution], float]:
    """With a normal of a third of the spread, so that J(X + Y) is near J(X)."""

    def residual(x: Distribution) -> float:
        scale = math.sqrt(x.entropy_power()) / 3
        noise = Normal(scale=scale) if x.d == 1 else MultivariateNormal(0.0, scale**2 * np.eye(x.d))
        return law(x, noise)

    return residual


def _in_parts(law: Callable[..., float]) -> Callable[[Distribution], float]:
    return lambda x: law(x, [0])


LAWS = [
    Law("Stam", inequalities.stam),
    Law("Stam (determinant)", inequalities.stam_matrix),
    Law("Cramér–Rao", inequalities.cramer_rao),
    Law("maximum entropy", inequalities.maximum_entropy),
    Law("log Sobolev", inequalities.logarithmic_sobolev),
    Law("entropy power", _with_itself(inequalities.entropy_power_inequality)),
    Law("Blachman–Stam", _with_itself(inequalities.blachman_stam)),
    Law("data processing", _with_noise(inequalities.data_processing)),
    Law("de Bruijn", inequalities.de_bruijn, identity=True),
    Law("de Bruijn from t = 0", lambda x: inequalities.de_bruijn(x, times=_from_zero(x)), identity=True),
    Law("Costa", inequalities.costa),
    Law("I ≥ 0", _in_parts(inequalities.nonnegative_information)),
    Law("superadditivity", _in_parts(inequalities.superadditivity)),
    Law("projection", _in_parts(inequalities.projection)),
    Law("chain rule", _in_parts(inequalities.chain_rule), identity=True),
]


def _from_zero(x: Distribution) -> tuple[float, float]:
    return 0.0, x.entropy_power() / 2


TURN = np.array([[0.8, -0.6], [0.6, 0.8]])
SHEAR = np.array([[2.0, 0.0], [0.7, 0.8]])
FAMILIES: dict[str, Distribution] = {
    "Normal": Normal(1.0, 2.0),
    "Laplace": Laplace(),
    "Logistic": Logistic(),
    "StudentT(5)": StudentT(5),
    "StudentT(1)": StudentT(1),
    "GeneralizedNormal(4)": GeneralizedNormal(4),
    "GeneralizedNormal(0.8)": GeneralizedNormal(0.8),
    "Gumbel": Gumbel(),
    "Gamma(3)": Gamma(3),
    "Gamma(2)": Gamma(2),
    "Exponential": Exponential(),
    "Weibull(3)": Weibull(3),
    "LogNormal(0.5)": LogNormal(0.5),
    "Beta(3, 4)": Beta(3, 4),
    "Uniform": Uniform(),
    "−2 Gamma(3)": -2 * Gamma(3),
    "GaussianMixture": GaussianMixture([0.4, 0.6], [-1.5, 1.5], [1.0, 0.3]),
    "Mixture of Laplace and Logistic": Mixture([Laplace(-2.0, 0.7), Logistic(2.0, 0.5)], [0.3, 0.7]),
    "MultivariateNormal, isotropic, d = 3": MultivariateNormal(np.zeros(3), 2 * np.eye(3)),
    "MultivariateNormal, d = 2": MultivariateNormal([0.0, 1.0], [[2.0, 0.9], [0.9, 1.0]]),
    "MultivariateT(4), d = 2": MultivariateT([0.0, 0.0], [[2.0, 0.9], [0.9, 1.0]], 4.0),
    "Laplace × Normal": Product(Laplace(), Normal()),
    "Uniform × Normal": Product(Uniform(), Normal()),
    "Laplace × Logistic, turned": TURN @ Product(Laplace(), Logistic()),
    "Laplace × Logistic, sheared": SHEAR @ Product(Laplace(), Logistic()),
    "GaussianMixture, d = 2": GaussianMixture(
        [0.5, 0.3, 0.2],
        [[-1.0, 2.0], [0.0, 0.0], [3.0, 1.0]],
        [[[1.0, 0.8], [0.8, 1.0]], [[0.3, 0.0], [0.0, 1.0]], [[1.0, 0.0], [0.0, 0.2]]],
    ),
    "GaussianMixture, d = 3": GaussianMixture([0.5, 0.5], [[-1.5, 0, 0], [1.5, 0, 1]], [1.0, 0.5]),
    "mixture of turned and sheared": Mixture(
        [TURN @ Product(Laplace(), Logistic()), SHEAR @ Product(Logistic(), Laplace()) + 2.0], [0.4, 0.6]
    ),
}
# A choice of them that errors are looked for in: one for each way of composing.
MUTANTS = (
    "Normal", "Laplace", "Logistic", "Gamma(3)", "−2 Gamma(3)", "GaussianMixture",
    "Mixture of Laplace and Logistic", "MultivariateNormal, isotropic, d = 3", "MultivariateNormal, d = 2",
    "MultivariateT(4), d = 2", "Laplace × Normal", "Laplace × Logistic, turned",
    "Laplace × Logistic, sheared", "GaussianMixture, d = 2",
)  # fmt: skip
# Where theory has equality, of laws that are not identities.
EQUALITIES: dict[str, set[str]] = {
    "Stam": {"Normal", "MultivariateNormal, isotropic, d = 3"},
    "Stam (determinant)": {"Normal", "MultivariateNormal, isotropic, d = 3", "MultivariateNormal, d = 2"},
    "Cramér–Rao": {
        "Normal",
        "MultivariateNormal, isotropic, d = 3",
        "MultivariateNormal, d = 2",
        "Laplace × Normal",
        "Uniform × Normal",
    },
    "maximum entropy": {"Normal", "MultivariateNormal, isotropic, d = 3", "MultivariateNormal, d = 2"},
    "entropy power": {"Normal", "MultivariateNormal, isotropic, d = 3", "MultivariateNormal, d = 2"},
    "Blachman–Stam": {"Normal", "MultivariateNormal, isotropic, d = 3", "MultivariateNormal, d = 2"},
    "Costa": {"Normal", "MultivariateNormal, isotropic, d = 3"},
    "I ≥ 0": {"MultivariateNormal, isotropic, d = 3", "Laplace × Normal", "Uniform × Normal"},
    "superadditivity": {"MultivariateNormal, isotropic, d = 3", "Laplace × Normal"},
    "projection": {
        "MultivariateNormal, isotropic, d = 3",
        "MultivariateNormal, d = 2",
        "Laplace × Normal",
    },
}


def residual_of(law: Law, x: Distribution) -> float | None:
    """Residual, or None where the law does not apply: one coordinate has no parts, or a sum no known law."""
    if x.d == 1 and law.name in ("I ≥ 0", "superadditivity", "projection", "chain rule"):
        return None
    try:
        return law.residual(x)
    except NotImplementedError:
        return None


def caught_by(
    mutation: str, families: Iterable[str] = MUTANTS, laws: Iterable[Law] = LAWS
) -> tuple[list[str], list[str]]:
    """Laws that fail under a mutation, and those of which only a known equality is lost."""
    violated, unequal = [], []
    with mutated(mutation):
        for law in laws:
            lost = False
            for family in families:
                residual = residual_of(law, _fresh(FAMILIES[family]))
                if residual is None or math.isnan(residual):
                    continue
                if law.broken(residual):
                    violated.append(law.name)
                    break
                lost |= family in EQUALITIES.get(law.name, ()) and abs(residual) > TOLERANCE
            else:
                unequal += [law.name] * lost
    return violated, unequal


def _fresh(x: Distribution) -> Distribution:
    """The same distribution without what it has cached."""
    if isinstance(x, GaussianMixture):
        return GaussianMixture(x.weights, x.means, x.covariances)
    return Mixture(x.parts, x.weights) if isinstance(x, Mixture) else x


def main() -> None:
    begun = time.perf_counter()
    rows, checked = [], 0
    for name, x in FAMILIES.items():
        residuals = [residual_of(law, x) for law in LAWS]
        broken = [law.name for law, r in zip(LAWS, residuals, strict=True) if r is not None and law.broken(r)]
        if broken:
            raise SystemExit(f"{name} breaks {broken}")
        checked += sum(r is not None for r in residuals)
        rows.append([name, *map(_shown, residuals)])
    names = [law.name + (" (= 0)" if law.identity else "") for law in LAWS]
    half = 8
    caught = [(mutation, *caught_by(mutation)) for mutation in MUTATIONS]
    parts = [
        "# Laws",
        "Rendered by `python -m benchmarks.laws`. Residuals are what `infoplane.inequalities` returns for a "
        "distribution: not negative by theory, or zero. Laws of sums take the distribution twice (two "
        "copies), data processing normal noise of a third of its size, laws of parts the first coordinate.",
        f"## Residuals: {checked} of them, none against theory",
        "0 is below 1e-9. ∞: an infinite J, or no second moments. n/a: J of a part is infinite. –: the law "
        "is not about one coordinate, or the distribution of the sum or the part has no closed form.",
        table(["", *names[:half]], [row[: half + 1] for row in rows]),
        table(["", *names[half:]], [[row[0], *row[half + 1 :]] for row in rows]),
        "## Mutations: deliberate errors, and the laws that fail",
        "Each error is planted in the library while all laws are checked on 14 of the families. Equality "
        "lost: the law holds, but a distribution for which theory has equality no longer shows it.",
        table(
            ["error", "laws that fail", "equality lost"],
            [[m, ", ".join(v) or "**none**", ", ".join(u)] for m, v, u in caught],
        ),
    ]
    path = written("laws.md", parts)
    print(f"tables: {path} ({time.perf_counter() - begun:.0f} s)")


def _shown(residual: float | None) -> str:
    if residual is None:
        return "–"
    if math.isnan(residual):
        return "n/a"
    if math.isinf(residual):
        return "∞"
    if isinstance(residual, Estimate):
        return f"{float(residual):.3f} ± {residual.standard_error:.3f}"
    if abs(residual) < 1e-9:
        return "0"
    return f"{residual:.3g}" if abs(residual) < 1e-3 else f"{residual:.4f}"


if __name__ == "__main__":
    main()
