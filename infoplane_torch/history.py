"""The record of a training run: one row an epoch, and its trajectory in the Fisher–Shannon plane."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import NamedTuple


class TrajectoryPoint(NamedTuple):
    """Where a model was in the Fisher–Shannon plane after an epoch, over the validation images.

    Attributes
    ----------
    epoch : int
        Counted from 1.
    entropy_power : float
        N of the mean of H(Z|x).
    fisher_trace : float
        Mean of tr J(Z|x).
    d : int
        Dimension of the code.
    """

    epoch: int
    entropy_power: float
    fisher_trace: float
    d: int


@dataclass(frozen=True)
class History:
    """What happened, one row an epoch: the columns of ``history.csv``.

    Parameters
    ----------
    latent_dim : int
        Dimension of the code.
    rows : tuple of dict of str to float
        ``epoch``, ``beta``, ``learning_rate``, ``seconds``, and with the prefixes ``train_`` and ``valid_``:
        ``loss``, ``elbo``, ``reconstruction``, ``kl``, ``penalty_<name>``, ``posterior_entropy``,
        ``fisher_trace_mean`` (tr J/d), ``entropy_power`` (N), ``product`` (N·tr J/d) and, of penalties with
        a state, ``<name>_multiplier`` or ``<name>_bound``. Means over images, in nats; those of training
        are taken while the weights change.

    Examples
    --------
    >>> history = History(2, ({"epoch": 1, "valid_elbo": -30.0}, {"epoch": 2, "valid_elbo": -28.0}))
    >>> history.best_epoch, history.column("valid_elbo")
    (2, [-30.0, -28.0])
    """

    latent_dim: int
    rows: tuple[dict[str, float], ...] = ()

    def column(self, name: str) -> list[float]:
        """Return one column.

        Parameters
        ----------
        name : str
            Its name.

        Raises
        ------
        KeyError
            If there is none of that name.
        """
        return [row[name] for row in self.rows]

    @property
    def best_epoch(self) -> int:
        """The first epoch, counted from 1, with the largest ELBO on the validation images; 0 before any."""
        elbo = self.column("valid_elbo")
        return 1 + elbo.index(max(elbo)) if elbo else 0

    @property
    def trajectory(self) -> list[TrajectoryPoint]:
        """The model's way through the Fisher–Shannon plane, one point an epoch."""
        d = self.latent_dim
        return [
            TrajectoryPoint(
                int(row["epoch"]), row["valid_entropy_power"], d * row["valid_fisher_trace_mean"], d
            )
            for row in self.rows
        ]

    def to_csv(self) -> str:
        """Write the rows as comma-separated values with a header line.

        Examples
        --------
        >>> History(2, ({"epoch": 1, "beta": 0.5},)).to_csv()
        'epoch,beta\\n1,0.5\\n'
        """
        text = io.StringIO()
        writer = csv.DictWriter(text, fieldnames=list(self.rows[0]) if self.rows else [], lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        return text.getvalue()
