"""A plain PyTorch VAE, controlled and measured by infoplane in the lines marked with (*)."""

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F

from infoplane_torch import fisher_penalty, fisher_shannon  # (*)


class PlainVAE(nn.Module):
    def __init__(self, pixels: int = 64, hidden: int = 64, latent: int = 8) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(pixels, hidden), nn.ELU(), nn.Linear(hidden, 2 * latent))
        self.decoder = nn.Sequential(nn.Linear(latent, hidden), nn.ELU(), nn.Linear(hidden, pixels))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mu, logvar = self.encoder(x).chunk(2, dim=1)
        z = mu + (0.5 * logvar).exp() * torch.randn_like(mu)
        return self.decoder(z), mu, logvar


def train(model: PlainVAE, images: Tensor, *, fisher: float | None, epochs: int) -> None:
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(epochs):
        for x in images[torch.randperm(len(images))].split(128):
            logits, mu, logvar = model(x)
            reconstruction = F.binary_cross_entropy_with_logits(logits, x, reduction="sum") / len(x)
            kl = -0.5 * (1 + logvar - mu**2 - logvar.exp()).sum(1).mean()
            loss = reconstruction + kl
            if fisher is not None:
                loss = loss + fisher_penalty(mu, logvar, target=fisher, weight=5)  # (*)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


def main(epochs: int = 30) -> None:
    images = (torch.tensor(load_digits().data, dtype=torch.float32) > 8).float()
    for fisher in (None, 2, 20):
        torch.manual_seed(0)
        model = PlainVAE()
        train(model, images, fisher=fisher, epochs=epochs)
        with torch.no_grad():
            _, mu, logvar = model(images)
        point = fisher_shannon(mu, logvar)  # (*)
        information = float(point.fisher_trace) / point.d
        print(f"F = {fisher}: tr J/d = {information:.2f}, N = {point.entropy_power}, N·J = {point.product}")


if __name__ == "__main__":
    main()
