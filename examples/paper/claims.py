"""What the paper claims, each with a statistic."""

from __future__ import annotations

import json
import math

import numpy as np

from examples.paper.study import Study, System
from infoplane_torch import evaluation
from infoplane_torch.checkpoints import write_atomically
from infoplane_torch.presets import fae, pixel_vae

_FISHER = (0.0, 1.0, 5.0, 20.0, 50.0)


def claims(study: Study) -> str:
    """Measure a series of F with the Lagrangian-free penalty of the paper, and what follows from it."""
    seed = study.protocol.seeds[0]
    series = []
    for fisher in _FISHER:
        system = System(f"F={fisher:g}", None, lambda w, f=fisher, **o: fae(f, w, **o), weighted=True)
        config = study.config(system, study.chosen_weight(system), seed)
        run = study.trained(config)
        series.append({"F": fisher, **study.measured(config, run), "trajectory": _way(run.history)})
    collapse = []
    for name, penalties in (("PixelVAE", ()), ("PixelVAE + FAE(F=20)", fae(20.0, 10.0).penalties)):
        system = System(name, None, lambda w, p=penalties, **o: pixel_vae(penalties=p, **o), pixels=True)
        run = study.trained(study.config(system, 0.0, seed))
        images = study.test_images(run)
        information = evaluation.aggregated_posterior_information(run.vae, images)
        collapse.append((name, evaluation.elbo(run.vae, images), information.information))
    write_atomically(study.folder / "claims.json", json.dumps(series, indent=2).encode() + b"\n")
    fishers = [row["fisher_mean"] for row in series]
    rows = [
        ("larger J → more detailed reconstruction (E log p(x\\|z))",
         _rank(fishers, [row["reconstruction"] for row in series])),
        ("larger J → larger I(x; z): FAE controls what MAE controls (eqs. 13–15)",
         _rank(fishers, [row["information"] for row in series])),
        ("training moves down and to the right: J up, N down, from first to last epoch",
         f"{sum(row['trajectory']['down_right'] for row in series)} of {len(series)} runs; "
         "log N against log J, slope "
         + ", ".join(f"{row['trajectory']['slope']:.2f}" for row in series)),
        ("a large F avoids the non-informative code of an expressive decoder",
         "; ".join(f"{name}: KL {bound.kl:.2f}, I {i:.2f}, E log p(x\\|z) {bound.reconstruction:.2f}"
                   for name, bound, i in collapse)),
    ]  # fmt: skip
    head = ["| F | mean J | N | E log p(x\\|z) | KL | I | test NLL |", "|---|---|---|---|---|---|---|"]
    head += [
        f"| {row['F']:g} | {row['fisher_mean']:.2f} | {row['entropy_power']:.3f} "
        f"| {row['reconstruction']:.2f} | {row['kl']:.2f} | {row['information']:.2f} "
        f"| {row['nll']:.2f} ± {row['nll_se']:.2f} |"
        for row in series
    ]
    body = ["", "| claim | what was found |", "|---|---|", *(f"| {claim} | {what} |" for claim, what in rows)]
    text = "\n".join((*head, *body)) + "\n"
    write_atomically(study.folder / "claims.md", text.encode())
    return text


def _rank(x: list[float], y: list[float]) -> str:
    """Kendall's τ, and the chance of one so large among all orders."""
    pairs = [(i, j) for i in range(len(x)) for j in range(i)]
    tau = sum(np.sign((x[i] - x[j]) * (y[i] - y[j])) for i, j in pairs) / len(pairs)
    # Of the n! orders one alone has τ = 1; fewer concordant pairs are reported without a probability.
    chance = f", p = {1 / math.factorial(len(x)):.3f}" if tau == 1 else ""
    return f"Kendall's τ = {tau:.2f} over {len(x)} values of F{chance}"


def _way(history: object) -> dict[str, float]:
    """Where a run went in the plane: from its first epoch to its last."""
    points = history.trajectory  # type: ignore[attr-defined]
    log_j = np.log([float(p.fisher_trace) for p in points])
    log_n = np.log([float(p.entropy_power) for p in points])
    return {
        "down_right": bool(log_j[-1] > log_j[0] and log_n[-1] < log_n[0]),
        "slope": float(np.polyfit(log_j, log_n, 1)[0]) if np.ptp(log_j) > 0 else math.nan,
    }
