"""The exceptions and warnings a user may want to catch."""

from __future__ import annotations

import inspect
import warnings


class DegenerateSampleError(ValueError):
    """The sample has no density: tied rows, a constant column, or a rank-deficient covariance."""


class InfoplaneWarning(UserWarning):
    """The number returned is the best the method can do, but is not to be trusted as usual."""


def warn(message: str) -> None:
    """Warn at the line outside this package that asked for what the warning is about.

    Parameters
    ----------
    message : str
        What a caller should know, and can do.
    """
    package = __name__.partition(".")[0]
    level, frame = 1, inspect.currentframe()
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] == package:
        level, frame = level + 1, frame.f_back
    warnings.warn(message, InfoplaneWarning, stacklevel=level)
