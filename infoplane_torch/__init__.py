"""Differentiable Fisher information and entropy, and the auto-encoders they control."""

from infoplane_torch.information import (
    entropy,
    entropy_power,
    fisher_information,
    fisher_trace,
    kde_entropy,
    kde_fisher_information,
    kde_fisher_trace,
    knn_entropy,
    knn_mutual_information,
    ksg_mutual_information,
    score,
)
from infoplane_torch.objective import Objective
from infoplane_torch.penalties import FisherInformation
from infoplane_torch.plugins import fisher_penalty, fisher_shannon, gaussian_posterior
from infoplane_torch.vae import VAE

__all__ = [
    "entropy", "entropy_power", "fisher_information", "fisher_trace", "score",
    "knn_entropy", "knn_mutual_information", "ksg_mutual_information",
    "kde_entropy", "kde_fisher_information", "kde_fisher_trace",
    "fisher_penalty", "fisher_shannon", "gaussian_posterior",
    "FisherInformation", "Objective", "VAE",
]  # fmt: skip
