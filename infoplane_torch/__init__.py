"""Differentiable Fisher information and entropy, and the auto-encoders they control."""

from infoplane_torch.information import (
    entropy,
    entropy_power,
    fisher_information,
    fisher_trace,
    score,
)
from infoplane_torch.objective import Objective
from infoplane_torch.penalties import FisherInformation
from infoplane_torch.vae import VAE

__all__ = [
    "entropy", "entropy_power", "fisher_information", "fisher_trace", "score",
    "FisherInformation", "Objective", "VAE",
]  # fmt: skip
