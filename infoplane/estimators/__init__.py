"""Families of estimators, one protocol for all."""

from infoplane.estimators.base import Estimator
from infoplane.estimators.best_entropy import BestEntropy
from infoplane.estimators.bound import Bound
from infoplane.estimators.copula import Copula
from infoplane.estimators.gaussian import Gaussian
from infoplane.estimators.kde import KDE
from infoplane.estimators.knn import KNN
from infoplane.estimators.logspline import LogSpline
from infoplane.estimators.spacing import Spacing
from infoplane.estimators.stack import Stack
from infoplane.estimators.weighted_knn import WeightedKNN

__all__ = [
    "KDE",
    "KNN",
    "BestEntropy",
    "Bound",
    "Copula",
    "Estimator",
    "Gaussian",
    "LogSpline",
    "Spacing",
    "Stack",
    "WeightedKNN",
]
