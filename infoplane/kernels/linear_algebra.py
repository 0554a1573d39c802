"""One thread for NumPy's and SciPy's linear algebra while estimators run."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from threadpoolctl import ThreadpoolController

_P = ParamSpec("_P")
_R = TypeVar("_R")

_controller: ThreadpoolController | None = None


def on_one_blas_thread(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Run a function with the linear algebra of the process on one thread, and give back its threads after.

    Estimators make thousands of products of a few hundred rows. Threads of OpenBLAS wait for each other by
    spinning; where they share their cores with anything else, such a product takes a hundred times as long
    and a Fisher information fifteen times. Nor do results then depend on the number of those threads.

    Parameters
    ----------
    function : callable
        What to run. Once the main thread has set the number, OpenBLAS takes no other from other threads, not
        even the one to go back to: in those nothing is changed. A program that calls from many threads sets
        OPENBLAS_NUM_THREADS=1; without, results are the same and products wait for each other.
    """

    @functools.wraps(function)
    def limited(*arguments: _P.args, **options: _P.kwargs) -> _R:
        global _controller  # noqa: PLW0603
        if threading.current_thread() is not threading.main_thread():
            return function(*arguments, **options)
        # The libraries are looked for once, when NumPy and SciPy are sure to have loaded them.
        _controller = _controller or ThreadpoolController().select(user_api="blas")
        with _controller.limit(limits=1):
            return function(*arguments, **options)

    return limited
