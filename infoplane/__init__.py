"""Fisher information and entropy power from samples, with standard errors, in one plane."""

from infoplane.errors import DegenerateSampleError, InfoplaneWarning
from infoplane.estimate import Estimate, FisherShannonPoint
from infoplane.estimators import KDE, KNN, Copula, Estimator, Gaussian, LogSpline, Spacing, Stack, WeightedKNN
from infoplane.measures import (
    entropy,
    entropy_power,
    fisher_information,
    fisher_shannon,
    fisher_trace,
    score,
)

__all__ = [
    "entropy", "entropy_power", "fisher_information", "fisher_trace", "fisher_shannon", "score",
    "Estimate", "FisherShannonPoint",
    "Estimator", "Gaussian", "KNN", "KDE", "Spacing", "LogSpline", "Copula",
    "WeightedKNN", "Stack",
    "DegenerateSampleError", "InfoplaneWarning",
]  # fmt: skip
__version__ = "0.1.0"
