"""Figures 1 to 3, with the numbers that an eye should see in them."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.manifold import TSNE
from sklearn.metrics import silhouette_score
from sklearn.model_selection import cross_val_score
from sklearn.neighbors import KNeighborsClassifier

from examples.paper.study import TABLE, Study, System
from infoplane.plot import COLORS
from infoplane_torch import evaluation, figures
from infoplane_torch.presets import fae
from infoplane_torch.runs import Run
from infoplane_torch.vae import code_center, evaluating

_PLANE_IMAGES = 1000
_EMBEDDED = 2000
_FISHER = (0.0, 1.0, 5.0, 20.0)
_SHOWN = 10


def figure1(study: Study) -> str:
    """All models in the plane (left), and the way of two of them there (right)."""
    seed = study.protocol.seeds[0]
    points, ways = {}, {}
    for system in TABLE:
        run = study.trained(study.config(system, study.chosen_weight(system), seed))
        points[system.name] = evaluation.plane_point(
            run.vae, study.test_images(run)[:_PLANE_IMAGES], num_samples=64
        )
        if system.name in ("VAE", "FAE(F=20)"):
            ways[system.name] = run.history
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 5), layout="constrained")
    figures.models_in_plane(points, ax=left)
    figures.models_in_plane({}, histories=ways, ax=right)
    _save(study, figure, "figure1")
    rows = [
        f"| {name} | {p.entropy_power:.4f} | {p.fisher_trace / p.d:.3f} | {p.product} |"
        for name, p in points.items()
    ]
    return "\n".join(("| model | N | J/d | N·J/d |", "|---|---|---|---|", *rows)) + "\n"


def figure2(study: Study) -> str:
    """Codes of ten dimensions as F grows: embedded by t-SNE (above) and their lengths (below)."""
    study = _labelled(study)
    figure, axes = plt.subplots(
        2, len(_FISHER), figsize=(3.1 * len(_FISHER), 5.6), sharex="row", layout="constrained"
    )
    rows = []
    for (above, below), fisher in zip(axes.T, _FISHER, strict=True):
        system = _fae(fisher)
        run = study.trained(
            study.config(
                system, study.chosen_weight(system, latent_dim=10), study.protocol.seeds[0], latent_dim=10
            )
        )
        codes, labels, found = _codes(study, run)
        for digit in range(10):
            own = codes["embedded"][labels == digit]
            above.scatter(*own.T, s=3, linewidth=0, color=plt.get_cmap("tab10")(digit), label=str(digit))
        above.set(title=f"F = {fisher:g} (J/d = {found['J/d']:.2f})", xticks=[], yticks=[])
        below.hist(codes["distance"], bins=40, color=COLORS[0], density=True)
        below.set(xlabel="‖z − z̄‖", yticks=[])
        below.spines[["top", "right", "left"]].set_visible(False)
        rows.append({"F": fisher, **found})
    figure.legend(
        *axes[0, 0].get_legend_handles_labels(), loc="outside right center", markerscale=4, frameon=False
    )
    _save(study, figure, "figure2")
    study.write("figure2.json", json.dumps(rows, indent=2) + "\n")
    names = list(rows[0])
    lines = ["| " + " | ".join(f"{row[name]:.3g}" for name in names) + " |" for row in rows]
    return "\n".join(("| " + " | ".join(names) + " |", "|---" * len(names) + "|", *lines)) + "\n"


def figure3(study: Study, colour: Study | None) -> str:
    """Reconstructions at F = 20 and F = 0 below the images, of digits and of house numbers."""
    text = ["| data | F | pixels' mean squared error | PSNR, dB |", "|---|---|---|---|"]
    for part, options in ((study, {}), (colour, {"likelihood": "gaussian"})):
        if part is None:
            text.append("| svhn | | not at hand | |")
            continue
        models = {}
        for fisher in (20.0, 0.0):
            system = _fae(fisher)
            weight = part.chosen_weight(system, **options)
            run = part.trained(part.config(system, weight, part.protocol.seeds[0], **options))
            models[f"F = {fisher:g}"] = run.vae
            images = part.test_images(run)
            error = _errors(run, images)
            spread = error.std() / math.sqrt(len(error))
            text.append(
                f"| {part.protocol.data} | {fisher:g} | {error.mean():.5f} ± {spread:.5f} "
                f"| {float(-10 * error.log10().mean()):.2f} |"
            )
        _save(part, figures.reconstructions(models, images[:_SHOWN]), f"figure3-{part.protocol.data}")
    return "\n".join(text) + "\n"


def _fae(fisher: float) -> System:
    return System(f"FAE(F={fisher:g})", None, lambda weight, **o: fae(fisher, weight, **o), weighted=True)


def _labelled(study: Study) -> Study:
    """The statically binarised digits have no labels: MNIST instead, binarised anew each epoch."""
    if study.protocol.data != "binarized_mnist":
        return study
    return dataclasses.replace(study, protocol=dataclasses.replace(study.protocol, data="mnist"))


def _codes(study: Study, run: Run) -> tuple[dict[str, np.ndarray], np.ndarray, dict[str, float]]:
    """Centers of the test images' codes: embedding, distances from their mean, labels, and figures."""
    data = study.data(run)
    assert data.test_labels is not None
    images = run.seen(data, "test")
    chosen = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))[:_EMBEDDED]
    labels = data.test_labels[chosen].numpy()
    with evaluating(run.vae, seed=0):
        posterior = run.vae.encode(images[chosen].to(next(run.vae.parameters()).device))
        codes = code_center(posterior).double().cpu().numpy()
    distance = np.linalg.norm(codes - codes.mean(axis=0), axis=1)
    accuracy = cross_val_score(KNeighborsClassifier(10), codes, labels, cv=5)
    point = evaluation.plane_point(run.vae, images[chosen][:_PLANE_IMAGES], num_samples=64)
    found = {
        "J/d": float(point.fisher_trace) / point.d,
        "N": float(point.entropy_power),
        "mean ‖z − z̄‖": float(distance.mean()),
        "10-NN accuracy": float(accuracy.mean()),
        "its error": float(math.sqrt(accuracy.mean() * (1 - accuracy.mean()) / len(codes))),
        "silhouette": float(silhouette_score(codes, labels)),
    }
    embedded = TSNE(random_state=0, init="pca", perplexity=30).fit_transform(codes)
    return {"embedded": embedded, "distance": distance}, labels, found


def _errors(run: Run, images: torch.Tensor) -> torch.Tensor:
    """Mean squared error of the reconstruction of each image."""
    device = next(run.vae.parameters()).device
    with evaluating(run.vae, seed=0):
        parts = [
            (run.vae.reconstruct(batch.to(device)) - batch.to(device)).square().flatten(1).mean(1).cpu()
            for batch in images.split(500)
        ]
    return torch.cat(parts).double()


def _save(study: Study, figure: Any, name: str) -> None:
    study.folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(study.folder / f"{name}.png", dpi=110)
    plt.close(figure)
