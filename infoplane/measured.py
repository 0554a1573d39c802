"""A sample in memory with the method that measures it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from infoplane.estimate import Estimate, FisherShannonPoint, power_of_entropy
from infoplane.estimators import Estimator
from infoplane.methods import entropy_estimate, fisher_estimator, point_estimate, trace_estimate, unit_of
from infoplane.sample import Sample

Array = NDArray[np.float64]


@dataclass(frozen=True)
class MeasuredSample:
    """What is measured of a sample; `DaskSample` is the same of rows that lie elsewhere.

    Parameters
    ----------
    sample : Sample
        The rows.
    method : str or estimator
        As in `infoplane.entropy`.
    """

    sample: Sample
    method: str | Estimator

    def entropy(self, base: float | None = None) -> Estimate:
        """Differential entropy, in nats.

        Parameters
        ----------
        base : float, optional
            Unit: e (None) for nats, 2 for bits, 10 for hartleys.
        """
        return entropy_estimate(self.method, self.sample, unit_of(base))[0]

    def entropy_power(self) -> Estimate:
        """Entropy power N = exp(2H/d)/(2πe), in squared units of the data."""
        return power_of_entropy(self.entropy())

    def fisher_information(self) -> Array:
        """Fisher information matrix, in inverse squared units of the data."""
        return fisher_estimator(self.method, self.sample).fisher(self.sample).matrix

    def fisher_trace(self) -> Estimate:
        """Trace of the Fisher information matrix, with its standard error."""
        return trace_estimate(self.method, self.sample)[0]

    def fisher_shannon(self) -> FisherShannonPoint:
        """Place in the Fisher–Shannon plane."""
        return point_estimate(self.method, self.sample)
