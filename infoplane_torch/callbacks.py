"""A Lightning callback that follows a model through the Fisher–Shannon plane, and draws its way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from torch import Tensor
from torch.distributions import Distribution

from infoplane.errors import warn
from infoplane.plot import plane
from infoplane_torch.history import TrajectoryPoint
from infoplane_torch.metrics import FisherShannonPlane
from infoplane_torch.plugins import as_posterior

try:
    from lightning.pytorch import Callback, LightningModule, Trainer
except ImportError as error:
    raise ImportError(
        '`infoplane_torch.callbacks` needs lightning: pip install "infoplane[lightning]"'
    ) from error

Latent = Distribution | tuple[Tensor, Tensor]


class PlaneTrajectory(Callback):
    """Measure N, tr J and N·tr J/d over the validation images of every epoch; draw the trajectory at the end.

    Parameters
    ----------
    posterior : callable
        Takes the LightningModule and a validation batch, and gives q(z|x): a distribution, or μ and log σ².
    path : str or Path, optional
        Where the picture goes, by default ``plane.png`` in the trainer's ``log_dir``.
    num_samples : int, default 256
        Draws of the Monte Carlo for each image, if the posterior has no closed form, as that of a flow. Then
        derivatives are wanted: ``Trainer(inference_mode=False)``.

    Attributes
    ----------
    trajectory : list of TrajectoryPoint
        One point for each epoch with a validation.

    Notes
    -----
    The values are logged as ``plane/entropy_power``, ``plane/fisher_trace`` and ``plane/product``, over the
    images of all processes; the first process draws, and adds the picture to TensorBoard loggers. The
    trajectory is part of checkpoints, so that a resumed run draws all of it.

    Examples
    --------
    >>> from infoplane_torch.callbacks import PlaneTrajectory
    >>> callback = PlaneTrajectory(lambda model, batch: model.encode(batch))
    >>> callback.trajectory
    []
    """

    def __init__(
        self,
        posterior: Callable[[Any, Any], Latent],
        path: str | Path | None = None,
        *,
        num_samples: int = 256,
    ) -> None:
        self.posterior = posterior
        self.num_samples = num_samples
        self.path = path
        self.trajectory: list[TrajectoryPoint] = []
        self._plane: FisherShannonPlane | None = None

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget the images of the last epoch.

        Parameters
        ----------
        trainer, pl_module
            As Lightning calls it.
        """
        self._plane = None

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Add the posteriors of a batch.

        Parameters
        ----------
        trainer, pl_module, outputs, batch, batch_idx, dataloader_idx
            As Lightning calls it.
        """
        latent = self.posterior(pl_module, batch)
        posterior = as_posterior(*latent) if isinstance(latent, tuple) else as_posterior(latent)
        if self._plane is None:
            place = "cpu" if pl_module.device.type == "mps" else pl_module.device  # MPS has no float64
            self._plane = FisherShannonPlane(posterior.event_shape[0]).to(place)
        self._plane.update(posterior, num_samples=self.num_samples)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add the place of the epoch to the trajectory, and log it.

        Parameters
        ----------
        trainer, pl_module
            As Lightning calls it.
        """
        if self._plane is None or trainer.sanity_checking:
            return
        point = self._plane.point()
        n, trace = float(point.entropy_power), float(point.fisher_trace)
        self.trajectory.append(TrajectoryPoint(trainer.current_epoch + 1, n, trace, point.d))
        values = {"entropy_power": n, "fisher_trace": trace, "product": float(point.product)}
        pl_module.log_dict({f"plane/{name}": value for name, value in values.items()})

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the trajectory.

        Parameters
        ----------
        trainer, pl_module
            As Lightning calls it.
        """
        if not trainer.is_global_zero:
            return
        if not self.trajectory:
            warn("no trajectory to draw: PlaneTrajectory measures validation batches, and there were none")
            return
        figure, axes = plt.subplots(figsize=(6.4, 4.8), layout="constrained")
        plane(trajectories=[self.trajectory], time_label="validation", ax=axes)
        path = Path(self.path or Path(trainer.log_dir or trainer.default_root_dir) / "plane.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=120)
        for logger in trainer.loggers:
            if hasattr(logger.experiment, "add_figure"):
                logger.experiment.add_figure("plane", figure, global_step=trainer.global_step, close=False)
        plt.close(figure)

    def state_dict(self) -> dict[str, Any]:
        """Give the trajectory, for checkpoints."""
        return {"trajectory": [tuple(point) for point in self.trajectory]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the trajectory from a checkpoint.

        Parameters
        ----------
        state_dict : dict
            From `state_dict`.
        """
        self.trajectory = [TrajectoryPoint(*point) for point in state_dict["trajectory"]]
