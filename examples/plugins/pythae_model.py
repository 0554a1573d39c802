"""A Pythae VAE, controlled and measured by infoplane in the lines marked with (*)."""

import tempfile
from typing import Any

import torch
from pythae.models import VAE, VAEConfig
from pythae.models.nn import BaseEncoder
from pythae.pipelines import TrainingPipeline
from pythae.trainers import BaseTrainerConfig
from sklearn.datasets import load_digits
from torch import Tensor

from infoplane_torch import fisher_penalty, fisher_shannon  # (*)


class FisherVAE(VAE):
    def __init__(
        self, model_config: VAEConfig, encoder: BaseEncoder | None = None, *, fisher: float = 20
    ) -> None:
        super().__init__(model_config, encoder)
        self.fisher = fisher

    def loss_function(self, recon_x: Tensor, x: Tensor, mu: Tensor, log_var: Tensor, z: Tensor) -> Any:
        loss, reconstruction, kl = super().loss_function(recon_x, x, mu, log_var, z)
        penalty = fisher_penalty(mu, log_var, target=self.fisher, weight=5)  # (*)
        return loss + penalty, reconstruction, kl


def main(epochs: int = 10) -> None:
    images = (torch.tensor(load_digits().data, dtype=torch.float32) > 8).float()
    config = VAEConfig(input_dim=(1, 8, 8), latent_dim=8, reconstruction_loss="bce")
    for fisher in (None, 2, 20):
        torch.manual_seed(0)
        model = VAE(config) if fisher is None else FisherVAE(config, fisher=fisher)
        with tempfile.TemporaryDirectory() as folder:
            options = BaseTrainerConfig(
                output_dir=folder, num_epochs=epochs, per_device_train_batch_size=128, no_cuda=True
            )
            TrainingPipeline(training_config=options, model=model)(train_data=images.reshape(-1, 1, 8, 8))
        with torch.no_grad():
            encoded = model.encoder(images.reshape(-1, 1, 8, 8))
        point = fisher_shannon(encoded.embedding, encoded.log_covariance)  # (*)
        information = float(point.fisher_trace) / point.d
        print(f"F = {fisher}: tr J/d = {information:.2f}, N = {point.entropy_power}, N·J = {point.product}")


if __name__ == "__main__":
    main()
