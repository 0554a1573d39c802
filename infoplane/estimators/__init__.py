"""Families of estimators, one protocol for all."""

from infoplane.estimators.base import Estimator
from infoplane.estimators.gaussian import Gaussian
from infoplane.estimators.kde import KDE
from infoplane.estimators.knn import KNN

__all__ = ["KDE", "KNN", "Estimator", "Gaussian"]
