"""What estimators of entropy answer when asked for more."""

from __future__ import annotations

from typing import NoReturn

from infoplane.estimators.base import Array
from infoplane.sample import Sample


class EntropyOnly:
    """Base of the families that measure entropy but have no score: it refuses the other two members."""

    @property
    def name(self) -> str:
        """What `Estimate.method` says."""
        raise NotImplementedError

    def fisher(self, sample: Sample) -> NoReturn:
        """Refuse: the family has no Fisher information.

        Parameters
        ----------
        sample : Sample
            The data.

        Raises
        ------
        ValueError
            Always.
        """
        raise ValueError(f"method {self.name!r} measures entropy only, not Fisher information")

    def score(self, sample: Sample, points: Array | None) -> NoReturn:
        """Refuse: the family has no score.

        Parameters
        ----------
        sample : Sample
            The data.
        points : ndarray of shape (m, d) or None
            Whitened points.

        Raises
        ------
        ValueError
            Always.
        """
        raise ValueError(f"method {self.name!r} measures entropy only, not the score")
