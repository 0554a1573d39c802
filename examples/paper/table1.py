"""Table 1: likelihoods of all models beside the paper's."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from examples.paper.study import BEST, TABLE, OutOfTimeError, Study, System, unfinished

_HEADER = (
    "| model | λ | seeds | epochs | S | test NLL | sd of seeds | gain, paired | −ELBO | KL | I | N | J/d "
    "| N·J/d | active | median ESS | paper |",
    "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|",
)


def table1(study: Study, *, best: bool = False, only: Collection[str] = ()) -> str:
    """Train and measure what there is time for; write the results and return the table in Markdown.

    With names of rows in `only` nothing is done for the others, but what they have reached is shown.
    """
    systems = BEST if best else TABLE
    if unknown := set(only) - {system.name for system in systems}:
        raise ValueError(f"`only` must name rows of the table, got {sorted(unknown)}")
    found: dict[str, list[dict[str, Any]]] = {system.name: [] for system in systems}
    likelihoods: dict[tuple[str, int], np.ndarray] = {}
    missing = []
    for seed in study.protocol.seeds:  # one after the other, so that a part of them is a fair table
        for system in systems:
            part = study if not only or system.name in only else dataclasses.replace(study, deadline=0.0)
            try:
                weight = part.chosen_weight(system)
                config = part.config(system, weight, seed)
                run = part.trained(config)
                likelihoods[system.name, seed] = part.log_likelihoods(config, run)[0]
                found[system.name].append({"seed": seed, "weight": weight, **part.measured(config, run)})
            except OutOfTimeError as error:
                missing.append(f"{system.name}, seed {seed}: {error}")
    name = "best" if best else "table1"
    content = {"protocol": repr(study.protocol), "complete": not missing, "runs": found}
    study.write(f"{name}.json", json.dumps(content, indent=2) + "\n")
    rows = [_row(system, found[system.name], likelihoods) for system in systems]
    text = unfinished(missing) + "\n".join((*_HEADER, *rows)) + "\n"
    study.write(f"{name}.md", text)
    return text


def _row(system: System, runs: list[dict[str, Any]], likelihoods: dict[tuple[str, int], np.ndarray]) -> str:
    paper = "" if system.paper is None else f"{system.paper:.2f}"
    if not runs:
        return f"| {system.name} " + "| " * 15 + f"| {paper} |"

    def mean(name: str, digits: int = 2) -> str:
        return f"{np.mean([run[name] for run in runs]):.{digits}f}"

    nll = np.array([run["nll"] for run in runs])
    spread = f"{nll.std(ddof=1):.2f}" if len(nll) > 1 else ""
    cells = [
        system.name,
        f"{runs[0]['weight']:g}" if system.weighted else "",
        str(len(runs)),
        mean("epochs", 0),
        str(runs[0]["samples"]),
        f"{nll.mean():.2f} ± {np.mean([run['nll_se'] for run in runs]):.2f}",
        spread,
        _paired(system.name, runs, likelihoods),
        mean("negative_elbo"),
        mean("kl"),
        mean("information"),
        mean("entropy_power", 3),
        mean("fisher_mean"),
        mean("product"),
        mean("active_units", 0),
        mean("ess_median", 0),
        paper,
    ]
    return "| " + " | ".join(cells) + " |"


def _paired(name: str, runs: list[dict[str, Any]], likelihoods: dict[tuple[str, int], np.ndarray]) -> str:
    """Gain on the VAE of the same seed, on the same images; its error counts images and seeds."""
    seeds = [run["seed"] for run in runs if ("VAE", run["seed"]) in likelihoods]
    if name == "VAE" or not seeds:
        return ""
    gains = np.array(
        [likelihoods[name, seed] - likelihoods["VAE", seed] for seed in seeds]
    )  # (seeds, images)
    over_images = gains.mean(axis=0).std(ddof=1) / math.sqrt(gains.shape[1])
    over_seeds = gains.mean(axis=1).std(ddof=1) / math.sqrt(len(seeds)) if len(seeds) > 1 else 0.0
    return f"{gains.mean():+.2f} ± {math.hypot(over_images, over_seeds):.2f}"


def results(folder: Path) -> dict[str, Any]:
    """What `table1` has written, or nothing."""
    file = folder / "table1.json"
    kept: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {"runs": {}}
    return kept
