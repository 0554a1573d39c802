"""Fisher information and entropy power from samples, with standard errors, in one plane."""

from infoplane.blocks import Blocks
from infoplane.dependence import conditional_entropy, conditional_mutual_information, mutual_information
from infoplane.errors import DegenerateSampleError, InfoplaneWarning
from infoplane.estimate import Estimate, FisherShannonPoint
from infoplane.estimators import (
    KDE,
    KNN,
    Bound,
    Copula,
    Estimator,
    Gaussian,
    LogSpline,
    Spacing,
    Stack,
    WeightedKNN,
)
from infoplane.histogram import Histogram
from infoplane.kernels.jit import get_num_threads, set_num_threads
from infoplane.measures import (
    entropy,
    entropy_power,
    fisher_information,
    fisher_shannon,
    fisher_trace,
    score,
)
from infoplane.trajectory import Trajectory, windows

__all__ = [
    "entropy", "entropy_power", "fisher_information", "fisher_trace", "fisher_shannon", "score",
    "mutual_information", "conditional_entropy", "conditional_mutual_information",
    "windows", "Histogram", "Estimate", "FisherShannonPoint", "Trajectory",
    "Estimator", "Gaussian", "KNN", "KDE", "Spacing", "LogSpline", "Copula",
    "WeightedKNN", "Stack", "Bound", "Blocks",
    "set_num_threads", "get_num_threads",
    "DegenerateSampleError", "InfoplaneWarning",
]  # fmt: skip
__version__ = "0.1.0"
