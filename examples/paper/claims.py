"""What the paper claims, each with a statistic."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np

from examples.paper.study import OutOfTimeError, Study, System, unfinished
from infoplane_torch import evaluation
from infoplane_torch.history import History
from infoplane_torch.penalties import FisherInformation
from infoplane_torch.presets import fae, pixel_vae

_FISHER = (0.0, 1.0, 5.0, 20.0, 50.0)


def claims(study: Study) -> str:
    """Measure a series of F with the penalty of the paper, and what follows from what is finished of it."""
    missing: list[str] = []
    series = [row for fisher in _FISHER if (row := _of_series(study, fisher, missing))]
    pixels = (("PixelVAE", ()), ("PixelVAE + FAE(F=20)", fae(20.0, 10.0).penalties))
    collapse = [text for name, each in pixels if (text := _of_pixels(study, name, each, missing))]
    study.write("claims.json", json.dumps(series, indent=2) + "\n")
    head = ["| F | mean J | N | E log p(x\\|z) | KL | I | test NLL |", "|---|---|---|---|---|---|---|"]
    head += [
        f"| {row['F']:g} | {row['fisher_mean']:.2f} | {row['entropy_power']:.3f} "
        f"| {row['reconstruction']:.2f} | {row['kl']:.2f} | {row['information']:.2f} "
        f"| {row['nll']:.2f} ± {row['nll_se']:.2f} |"
        for row in series
    ]
    rows = _of_all(series) if len(series) == len(_FISHER) else []
    if len(collapse) == len(pixels):
        rows.append(
            ("a large F avoids the non-informative code of an expressive decoder", "; ".join(collapse))
        )
    body = ["", "| claim | what was found |", "|---|---|", *(f"| {claim} | {what} |" for claim, what in rows)]
    text = unfinished(missing) + "\n".join((*head, *body)) + "\n"
    study.write("claims.md", text)
    return text


def _of_series(study: Study, fisher: float, missing: list[str]) -> dict[str, Any] | None:
    """What is measured of one F, and the way it took in training; None if it is `missing`."""
    system = System(f"F={fisher:g}", None, lambda weight, **o: fae(fisher, weight, **o), weighted=True)
    try:
        config = study.config(system, study.chosen_weight(system), study.protocol.seeds[0])
        run = study.trained(config)
        return {"F": fisher, **study.measured(config, run), "trajectory": _way(run.history)}
    except OutOfTimeError as error:
        missing.append(f"{system.name}: {error}")
        return None


def _of_pixels(
    study: Study, name: str, penalties: tuple[FisherInformation, ...], missing: list[str]
) -> str | None:
    """KL, I and reconstruction of a PixelVAE; None if it is `missing`."""
    system = System(name, None, lambda weight, **o: pixel_vae(penalties=penalties, **o), pixels=True)
    try:
        run = study.trained(study.config(system, 0.0, study.protocol.seeds[0]))
    except OutOfTimeError as error:
        missing.append(f"{name}: {error}")
        return None
    images = study.test_images(run)
    bound = evaluation.elbo(run.vae, images)
    information = evaluation.aggregated_posterior_information(run.vae, images).information
    return f"{name}: KL {bound.kl:.2f}, I {information:.2f}, E log p(x\\|z) {bound.reconstruction:.2f}"


def _of_all(series: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """The claims about a series of F, each with its statistic."""
    fishers = [row["fisher_mean"] for row in series]
    ways = [row["trajectory"] for row in series]
    return [
        ("larger J → more detailed reconstruction (E log p(x\\|z))",
         _rank(fishers, [row["reconstruction"] for row in series])),
        ("larger J → larger I(x; z): FAE controls what MAE controls (eqs. 13–15)",
         _rank(fishers, [row["information"] for row in series])),
        ("training moves down and to the right: J up, N down, from first to last epoch",
         f"{sum(way['down_right'] for way in ways)} of {len(ways)} runs; log N against log J, slope "
         + ", ".join(f"{way['slope']:.2f}" for way in ways)),
    ]  # fmt: skip


def _rank(x: list[float], y: list[float]) -> str:
    """Kendall's τ, and the chance of one so large among all orders."""
    pairs = [(i, j) for i in range(len(x)) for j in range(i)]
    tau = sum(np.sign((x[i] - x[j]) * (y[i] - y[j])) for i, j in pairs) / len(pairs)
    # Of the n! orders one alone has τ = 1; fewer concordant pairs are reported without a probability.
    chance = f", p = {1 / math.factorial(len(x)):.3f}" if tau == 1 else ""
    return f"Kendall's τ = {tau:.2f} over {len(x)} values of F{chance}"


def _way(history: History) -> dict[str, float]:
    """Where a run went in the plane: from its first epoch to its last."""
    points = history.trajectory
    log_j = np.log([float(p.fisher_trace) for p in points])
    log_n = np.log([float(p.entropy_power) for p in points])
    return {
        "down_right": bool(log_j[-1] > log_j[0] and log_n[-1] < log_n[0]),
        "slope": float(np.polyfit(log_j, log_n, 1)[0]) if np.ptp(log_j) > 0 else math.nan,
    }
