"""A LightningModule, controlled, measured and drawn by infoplane in the lines marked with (*)."""

from pathlib import Path

import torch
from lightning.pytorch import LightningModule, Trainer
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from infoplane_torch import fisher_penalty  # (*)
from infoplane_torch.callbacks import PlaneTrajectory  # (*)
from infoplane_torch.metrics import FisherShannonPlane  # (*)


class LitVAE(LightningModule):
    def __init__(self, *, fisher: float, pixels: int = 64, hidden: int = 64, latent: int = 8) -> None:
        super().__init__()
        self.fisher = fisher
        self.encoder = nn.Sequential(nn.Linear(pixels, hidden), nn.ELU(), nn.Linear(hidden, 2 * latent))
        self.decoder = nn.Sequential(nn.Linear(latent, hidden), nn.ELU(), nn.Linear(hidden, pixels))
        self.plane = FisherShannonPlane(latent_dim=latent)  # (*)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mu, logvar = self.encoder(x).chunk(2, dim=1)
        return mu, logvar

    def training_step(self, x: Tensor, index: int) -> Tensor:
        mu, logvar = self.encode(x)
        z = mu + (0.5 * logvar).exp() * torch.randn_like(mu)
        reconstruction = F.binary_cross_entropy_with_logits(self.decoder(z), x, reduction="sum") / len(x)
        kl = -0.5 * (1 + logvar - mu**2 - logvar.exp()).sum(1).mean()
        return reconstruction + kl + fisher_penalty(mu, logvar, target=self.fisher, weight=5)  # (*)

    def validation_step(self, x: Tensor, index: int) -> None:
        self.plane.update(*self.encode(x))  # (*)

    def on_validation_epoch_end(self) -> None:
        self.log_dict({f"valid/{name}": value for name, value in self.plane.compute().items()})  # (*)
        self.plane.reset()  # (*)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=1e-3)


def main(epochs: int = 20, out: Path = Path("runs/lightning")) -> None:
    torch.manual_seed(0)
    images = (torch.tensor(load_digits().data, dtype=torch.float32) > 8).float()
    trajectory = PlaneTrajectory(lambda model, x: model.encode(x), out / "plane.png")  # (*)
    trainer = Trainer(
        max_epochs=epochs, accelerator="cpu", callbacks=[trajectory], logger=False, default_root_dir=out,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    batches = (
        DataLoader(images[:1500], batch_size=128, shuffle=True),
        DataLoader(images[1500:], batch_size=128),
    )
    trainer.fit(LitVAE(fisher=20), *batches)
    for name, value in trainer.callback_metrics.items():
        print(f"{name} = {float(value):.4g}")
    print(f"trajectory: {out / 'plane.png'}")


if __name__ == "__main__":
    main()
