"""Pictures of trained models: their places in the Fisher–Shannon plane, and what they reconstruct."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from infoplane.estimate import FisherShannonPoint
from infoplane.plane import PlanePoint, mean_place
from infoplane.plot import plane
from infoplane_torch.history import History
from infoplane_torch.vae import VAE, evaluating


def models_in_plane(
    points: Mapping[str, FisherShannonPoint],
    *,
    histories: Mapping[str, History] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw models, by name, in the Fisher–Shannon plane, and the way of some of them there.

    Parameters
    ----------
    points : mapping of str to FisherShannonPoint
        Where each model is, from `infoplane_torch.evaluation.plane_point`.
    histories : mapping of str to History, optional
        Training runs whose trajectory over the epochs is drawn, coloured by epoch. More than two are hard to
        read.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        The axes drawn on; ``ax.figure.savefig`` saves them.

    References
    ----------
    Zheng et al., "Understanding VAEs in Fisher-Shannon Plane", Figure 1.

    Examples
    --------
    >>> import torch
    >>> from infoplane_torch import evaluation, presets
    >>> model, _ = presets.build(presets.vae(event_shape=(1, 8, 8), hidden=(16,), latent_dim=2))
    >>> ax = models_in_plane({"VAE": evaluation.plane_point(model, torch.zeros(3, 1, 8, 8))})
    >>> ax.get_ylabel()
    'entropy power N'
    """
    trajectories = {name: history.trajectory for name, history in (histories or {}).items()}
    return plane(points, trajectories=trajectories, time_label="epoch", ax=ax)


def curve_in_plane(
    points: Mapping[str, Sequence[FisherShannonPoint]], *, joined: bool = True, ax: Axes | None = None
) -> Axes:
    """Draw the curve of a family of models in the Fisher–Shannon plane, for example over F.

    Parameters
    ----------
    points : mapping of str to sequence of FisherShannonPoint
        Where the models of each setting are, one of each seed; their mean is drawn, with the standard error
        by their spread, or the only one with its own.
    joined : bool, default True
        Join the settings by a line, in the order of the mapping.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        The axes drawn on.

    References
    ----------
    Zheng et al., "Understanding VAEs in Fisher-Shannon Plane", Figure 1.

    Examples
    --------
    >>> import torch
    >>> from infoplane_torch import evaluation, presets
    >>> model, _ = presets.build(presets.vae(event_shape=(1, 8, 8), hidden=(16,), latent_dim=2))
    >>> point = evaluation.plane_point(model, torch.zeros(3, 1, 8, 8))
    >>> len(curve_in_plane({"F = 1": [point, point], "F = 5": [point]}).get_legend().get_texts())
    2
    """
    places: dict[str, PlanePoint] = {
        name: mean_place(several) if len(several) > 1 else several[0] for name, several in points.items()
    }
    line = {"": list(places.values())} if joined and len(places) > 1 else {}
    return plane(places, curves=line, ax=ax)


def reconstructions(models: Mapping[str, VAE], images: Tensor) -> Figure:
    """Draw images in a row, and below them what each model reconstructs: E[x|z], or of a PixelCNN a sample.

    Parameters
    ----------
    models : mapping of str to VAE
        One row each, by name.
    images : Tensor of shape (n, channels, height, width)
        The images, one column each, with values in [0, 1]; one or three channels.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If `images` is empty or has another shape.

    Examples
    --------
    >>> import torch
    >>> from infoplane_torch import presets
    >>> model, _ = presets.build(presets.vae(event_shape=(1, 8, 8), hidden=(16,), latent_dim=2))
    >>> len(reconstructions({"VAE": model}, torch.zeros(3, 1, 8, 8)).axes)
    6
    """
    _require_images(images)
    rows = {"data": images}
    for name, model in models.items():
        with evaluating(model, seed=0):
            rows[name] = model.reconstruct(images.to(next(model.parameters()).device))
    figure, grid = plt.subplots(
        len(rows),
        len(images),
        figsize=(0.62 * len(images) + 1.0, 0.66 * len(rows)),
        squeeze=False,
        layout="constrained",
    )
    for axes, (name, row) in zip(grid, rows.items(), strict=True):
        for ax, image in zip(axes, row.float().cpu(), strict=True):
            _draw(image, ax)
        axes[0].set_ylabel(name, rotation=0, ha="right", va="center")
    return figure


def grid(images: Tensor) -> Figure:
    """Draw images in a square, for example a model's samples.

    Parameters
    ----------
    images : Tensor of shape (n, channels, height, width)
        The images, with values in [0, 1]; one or three channels.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If `images` is empty or has another shape.

    Examples
    --------
    >>> import torch
    >>> from infoplane_torch.figures import grid
    >>> len(grid(torch.zeros(7, 1, 8, 8)).axes)
    9
    """
    _require_images(images)
    columns = math.ceil(math.sqrt(len(images)))
    rows = math.ceil(len(images) / columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(0.62 * columns, 0.62 * rows), squeeze=False, layout="constrained"
    )
    for ax in axes.flat[len(images) :]:
        ax.axis("off")
    for ax, image in zip(axes.flat, images.float().cpu(), strict=False):
        _draw(image, ax)
    return figure


def write(figure: Any, path: Path) -> None:
    """Write a picture, name it on the standard output, and close it.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        The picture.
    path : Path
        Its file; folders are made.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from infoplane_torch.figures import write
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "empty.png"
    ...     write(plt.figure(), path)  # doctest: +ELLIPSIS
    ...     path.exists()
    /...empty.png
    True
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    plt.close(figure)
    print(path)


def _require_images(images: Tensor) -> None:
    if images.ndim != 4 or not len(images) or images.shape[1] not in (1, 3):
        raise ValueError(
            f"`images` must have shape (n, 1 or 3, height, width) with n ≥ 1, got {tuple(images.shape)}"
        )


def _draw(image: Tensor, ax: Axes) -> None:
    ax.imshow(image.permute(1, 2, 0).clamp(0, 1).numpy(), cmap="gray_r", vmin=0, vmax=1)
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_color("0.8")
