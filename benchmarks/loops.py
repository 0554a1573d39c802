"""One epoch of the paper's VAE, and its likelihood, the way different people write them."""

from __future__ import annotations

import importlib.metadata
import logging
import math
import tempfile
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from infoplane_torch import evaluation, presets
from infoplane_torch.data import batches
from infoplane_torch.objective import Objective
from infoplane_torch.stacked_loss import StackedLoss
from infoplane_torch.training_config import Precision
from infoplane_torch.training_loss import Loss
from infoplane_torch.training_step import TrainingStep
from infoplane_torch.vae import VAE

Epoch = Callable[[], None]
PIXELS, LATENT = 784, 40


def ours(
    images: Tensor,
    batch_size: int,
    device: str,
    *,
    config: presets.ModelConfig | None = None,
    compile: bool = False,
    record: bool | None = False,
    precision: Precision = "32-true",
) -> Epoch:
    """The package's own: what `infoplane_torch.training.train` does between two validations."""
    built = [presets.build(presets.vae() if config is None else config)]
    options: Any = {"compile": compile, "record": record, "precision": precision}
    return _epochs(built, images, batch_size, device, **options)


def ours_together(
    images: Tensor, batch_size: int, device: str, models: int, *, record: bool | None = False
) -> Epoch:
    """Several FAEs of different F and seeds side by side: what `train_together` does between validations."""
    built = [presets.build(presets.fae(float(fisher), 1.0)) for fisher in range(models)]
    return _epochs(built, images, batch_size, device, compile=False, record=record, precision="32-true")


def _epochs(
    models: Sequence[tuple[VAE, Objective]],
    images: Tensor,
    batch_size: int,
    device: str,
    *,
    compile: bool,
    record: bool | None,
    precision: Precision,
) -> Epoch:
    torch.manual_seed(0)
    fabric = Fabric(accelerator=device, devices=1)
    losses = [Loss(*model, precision=precision).to(fabric.device) for model in models]
    loss = losses[0] if len(losses) == 1 else StackedLoss(losses)
    rate: Any = 1e-3 if record is False else torch.tensor(1e-3, device=fabric.device)
    adam = torch.optim.Adam(loss.parameters(), lr=rate, fused=True, capturable=record is not False)
    wrapped, optimizer = fabric.setup(torch.compile(loss, dynamic=False) if compile else loss, adam)
    options: Any = {"clip_norm": 200.0, "average": None, "record": record}
    step = TrainingStep(fabric, wrapped, optimizer, shape=loss.shape, generators=loss.generators, **options)
    seed = 0 if len(losses) == 1 else range(len(losses))
    images = images.to(fabric.device)
    count = 0

    def epoch() -> None:
        nonlocal count
        count += 1
        step.begin_epoch(beta=1.0, learning_rate=1e-3)
        for number, x in enumerate(batches(images, batch_size, seed=seed, epoch=count, binary=True), start=1):
            step(x)
            if number % 50 == 0:
                assert not any(step.faults())
        assert not any(step.faults())

    return epoch


class PlainVAE(nn.Module):
    """The same networks by hand, as in a tutorial."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = _layers(PIXELS, 2 * LATENT)
        self.decoder = _layers(LATENT, PIXELS)

    def forward(self, x: Tensor) -> Tensor:
        mean, log_variance = self.encoder(x).chunk(2, dim=1)
        z = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
        reconstruction = F.binary_cross_entropy_with_logits(self.decoder(z), x, reduction="none").sum(1)
        kl = -0.5 * (1 + log_variance - mean**2 - log_variance.exp()).sum(1)
        return (reconstruction + kl).mean()


def _layers(inputs: int, outputs: int) -> nn.Sequential:
    widths = [inputs, *[300] * 5]
    hidden = [part for a, b in pairwise(widths) for part in (nn.Linear(a, b), nn.ELU())]
    return nn.Sequential(*hidden, nn.Linear(300, outputs))


def bare_eager(images: Tensor, batch_size: int, device: str) -> Epoch:
    """A loop over slices of one float tensor on the device, with nothing else in it."""
    torch.manual_seed(0)
    model = PlainVAE().to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    flat = images.flatten(1).float().to(device)

    def epoch() -> None:
        for indices in torch.randperm(len(flat), device=device).split(batch_size):
            loss = model(flat[indices])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return epoch


def dataloader_eager(images: Tensor, batch_size: int, device: str) -> Epoch:
    """The loop of most tutorials: a DataLoader, each batch moved to the device, the loss read each step."""
    torch.manual_seed(0)
    model = PlainVAE().to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    loader = DataLoader(TensorDataset(images.flatten(1).float()), batch_size=batch_size, shuffle=True)

    def epoch() -> None:
        total = 0.0
        for (x,) in loader:
            loss = model(x.to(device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()

    return epoch


def pythae(images: Tensor, batch_size: int, device: str) -> Epoch | None:
    """Pythae's trainer with the same networks, or None where it is not installed."""
    try:
        importlib.metadata.version("pythae")
        from pythae.data.datasets import BaseDataset
        from pythae.models import VAE as TheirVAE
        from pythae.models import VAEConfig
        from pythae.models.base.base_utils import ModelOutput
        from pythae.models.nn import BaseDecoder, BaseEncoder
        from pythae.trainers import BaseTrainer, BaseTrainerConfig
    except ImportError:
        return None
    logging.disable(logging.WARNING)

    class Encoder(BaseEncoder):
        def __init__(self) -> None:
            super().__init__()
            self.network = _layers(PIXELS, 2 * LATENT)

        def forward(self, x: Tensor) -> ModelOutput:
            mean, log_variance = self.network(x.flatten(1)).chunk(2, dim=1)
            return ModelOutput(embedding=mean, log_covariance=log_variance)

    class Decoder(BaseDecoder):
        def __init__(self) -> None:
            super().__init__()
            self.network = _layers(LATENT, PIXELS)

        def forward(self, z: Tensor) -> ModelOutput:
            return ModelOutput(reconstruction=self.network(z).sigmoid().view(-1, 1, 28, 28))

    torch.manual_seed(0)
    config = VAEConfig(input_dim=(1, 28, 28), latent_dim=LATENT, reconstruction_loss="bce")
    trainer = BaseTrainer(
        TheirVAE(config, encoder=Encoder(), decoder=Decoder()),
        train_dataset=BaseDataset(images.float(), torch.zeros(len(images))),
        training_config=BaseTrainerConfig(
            output_dir=tempfile.mkdtemp(),
            per_device_train_batch_size=batch_size,
            learning_rate=1e-3,
            no_cuda=device == "cpu",
        ),
    )
    trainer.prepare_training()
    count = 0

    def epoch() -> None:
        nonlocal count
        count += 1
        trainer.train_step(count)

    return epoch


# --- Likelihoods: each function takes images and gives log p(x) of each, in nats -------------------------


def our_likelihood(vae: VAE, x: Tensor, samples: int, **options: Any) -> Tensor:
    """Encoded once, chunks of samples."""
    return evaluation.log_likelihood(vae, x, num_samples=samples, **options).log_likelihood


@torch.no_grad()
def pythae_style_likelihood(vae: VAE, x: Tensor, samples: int, *, batch_size: int = 100) -> Tensor:
    """As Pythae's get_nll does it: x copied and encoded again for every hundred samples."""
    results = []
    for image in x:
        logs = [
            _log_weights(vae, image.expand(batch_size, *image.shape)) for _ in range(samples // batch_size)
        ]
        results.append(torch.cat(logs).logsumexp(0) - math.log(samples))
    return torch.stack(results)


@torch.no_grad()
def naive_likelihood(vae: VAE, x: Tensor, samples: int) -> Tensor:
    """One sample a call."""
    results = []
    for image in x:
        logs = [_log_weights(vae, image[None]) for _ in range(samples)]
        results.append(torch.cat(logs).logsumexp(0) - math.log(samples))
    return torch.stack(results)


def _log_weights(vae: VAE, x: Tensor) -> Tensor:
    mean, log_variance = vae.posterior.network(x).chunk(2, dim=1)
    noise = torch.randn_like(mean)
    z = mean + torch.exp(0.5 * log_variance) * noise
    logits = vae.likelihood.network(z)
    log_x = -F.binary_cross_entropy_with_logits(logits, x.flatten(1), reduction="none").sum(1)
    return log_x - 0.5 * z.square().sum(1) + 0.5 * (log_variance + noise.square()).sum(1)
