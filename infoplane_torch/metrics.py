"""The Fisher–Shannon plane as a torchmetrics metric: accumulates over batches, adds up over processes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution

from infoplane.estimate import FisherShannonPoint
from infoplane_torch.information import has_closed_form
from infoplane_torch.plane_sums import PlaneSums
from infoplane_torch.plugins import as_posterior

try:
    from torchmetrics import Metric
except ImportError as error:
    raise ImportError(
        '`infoplane_torch.metrics` needs torchmetrics: pip install "infoplane[lightning]"'
    ) from error


class FisherShannonPlane(Metric):
    """Place of a model's posteriors in the Fisher–Shannon plane, over all images since the last reset.

    N comes from the mean over x of H(Z|x), J is the mean over x of J(Z|x).

    Parameters
    ----------
    latent_dim : int
        Dimension d of the code.
    **options
        Those of every metric of torchmetrics, like ``sync_on_compute``.

    Raises
    ------
    ValueError
        If `latent_dim` is not positive.

    Notes
    -----
    The states are sums in float64, so that batches of any sizes and any number of processes give the same
    result as all images at once; they take d² + 7 numbers. `compute` gives tensors for loggers, `point` the
    `FisherShannonPoint` with intervals and the matrix J. MPS has no float64: there, leave the metric on the
    CPU; posteriors may be on the device.

    References
    ----------
    Zheng et al., "Understanding VAEs in Fisher-Shannon Plane", figure 1.

    Examples
    --------
    >>> import torch
    >>> from infoplane_torch.metrics import FisherShannonPlane
    >>> plane = FisherShannonPlane(latent_dim=2)
    >>> for logvar in (torch.zeros(5, 2), torch.ones(3, 2)):
    ...     plane.update(torch.zeros_like(logvar), logvar)
    >>> plane.point().n, round(float(plane.compute()["product"]), 3)
    (8, 1.092)
    """

    full_state_update = False
    images: Tensor
    first: Tensor
    second: Tensor
    fisher: Tensor

    def __init__(self, latent_dim: int, **options: Any) -> None:
        if latent_dim < 1:
            raise ValueError(f"`latent_dim` must be at least 1, got {latent_dim}")
        super().__init__(**options)
        for name, shape in (
            ("images", ()),
            ("first", (2,)),
            ("second", (2, 2)),
            ("fisher", (latent_dim,) * 2),
        ):
            self.add_state(name, torch.zeros(shape, dtype=torch.float64), dist_reduce_fx="sum")

    def update(
        self, latent: Distribution | Tensor, log_variance: Tensor | None = None, *, num_samples: int = 256
    ) -> None:
        """Add the posteriors of a batch of images.

        Parameters
        ----------
        latent : Distribution or Tensor of shape (B, d)
            q(z|x), or its mean μ beside `log_variance`.
        log_variance : Tensor of shape (B, d), optional
            log σ² of a Gaussian posterior.
        num_samples : int, default 256
            Draws of the Monte Carlo for each image, if the posterior has no closed form.

        Raises
        ------
        TypeError
            If it is neither; codes alone have no sums, see `infoplane_torch.fisher_shannon`.
        ValueError
            If the posterior has another dimension than `latent_dim`.
        RuntimeError
            If J wants derivatives, as that of a flow, and PyTorch is in inference mode.
        """
        posterior = as_posterior(latent, log_variance)
        if posterior.event_shape != self.fisher.shape[:1]:
            raise ValueError(
                f"`latent` must have dimension {self.fisher.shape[0]}, got {posterior.event_shape[0]}"
            )
        if torch.is_inference_mode_enabled() and not has_closed_form(posterior):
            raise RuntimeError(
                f"J of a {type(posterior).__name__} has no closed form and wants derivatives, which "
                "inference mode forbids: use torch.no_grad(), or in Lightning Trainer(inference_mode=False)"
            )
        total = self._sums().plus(PlaneSums.of(posterior, num_samples=num_samples))
        self.images, self.first, self.second, self.fisher = total

    def compute(self) -> dict[str, Tensor]:
        """Give the place as tensors for loggers.

        Returns
        -------
        dict of str to Tensor
            ``entropy`` H in nats, ``entropy_power`` N, ``fisher_trace`` tr J, ``product`` N·tr J/d, and each
            with ``_error`` its standard error over images; scalars in float32.

        Raises
        ------
        ValueError
            If there was no image.
        """
        point = self._point()
        values = {}
        for name in ("entropy", "entropy_power", "fisher_trace", "product"):
            estimate = getattr(point, name)
            values[name] = float(estimate)
            values[f"{name}_error"] = estimate.standard_error
        return {name: torch.tensor(value, device=self.images.device) for name, value in values.items()}

    def point(self) -> FisherShannonPoint:
        """Give the place over the images of all processes: a collective call, like `compute`.

        Returns
        -------
        FisherShannonPoint

        Raises
        ------
        ValueError
            If there was no image.
        """
        with self.sync_context(
            dist_sync_fn=self.dist_sync_fn, process_group=self.process_group, should_sync=self._to_sync
        ):
            return self._point()

    def _sums(self) -> PlaneSums:
        return PlaneSums(self.images, self.first, self.second, self.fisher)

    def _point(self) -> FisherShannonPoint:
        return self._sums().point(method="posteriors")
