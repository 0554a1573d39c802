"""Settings shared by all tests."""

import os

# Before NumPy is loaded: the matrices here are small, and threads that wait for each other only cost time,
# most of all on a busy machine.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import matplotlib
from hypothesis import settings

matplotlib.use("Agg")

# The first example of a test may compile kernels. Examples are the same in every run, so that a failure
# is a change of the code; `--hypothesis-profile=explore` draws new ones.
settings.register_profile("default", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None, max_examples=1000)
settings.load_profile("default")
