"""The exceptions and warnings a user may want to catch."""


class DegenerateSampleError(ValueError):
    """The sample has no density: tied rows, a constant column, or a rank-deficient covariance."""


class InfoplaneWarning(UserWarning):
    """The number returned is the best the method can do, but is not to be trusted as usual."""
