"""How kernels are compiled and driven; the only file that configures numba.

Kernels are serial, release the GIL and work on a range of rows [start, stop); a thread pool hands them
fixed ranges. numba's own `parallel=True` is not used: its workqueue layer aborts when two Python threads
enter it, and OpenMP does not survive a fork.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numba
import numpy as np
from numba.core.compiler_lock import global_compiler_lock

from infoplane.progress import stage

# No `nnan` and `ninf`: kernels may meet infinities, and comparisons with them must hold.
FAST = {"nsz", "arcp", "contract", "afn", "reassoc"}

# Rows a task: fixed, so that results do not depend on the number of threads.
_ROWS = 64

# What Python calls, without the wrapper for callbacks from C, which would only take time to compile.
kernel = numba.njit(nogil=True, cache=True, no_cfunc_wrapper=True, fastmath=FAST, error_model="numpy")
# What kernels call: compiled and cached with each of them, without a way in from Python.
part = numba.njit(no_cpython_wrapper=True, no_cfunc_wrapper=True, fastmath=FAST, error_model="numpy")
# The same, always inlined, but by LLVM: numba would type the body again for each of its calls.
inline = numba.njit(
    forceinline=True, no_cpython_wrapper=True, no_cfunc_wrapper=True, fastmath=FAST, error_model="numpy"
)
# What is called at one place only: typed and optimised there, and not once more alone.
once = numba.njit(inline="always", fastmath=FAST, error_model="numpy")

# For arrays without NaN, infinities aside: a minimum is then vectorised. These kernels make no arrays but are
# given them, and so compile in two thirds of the time, without numba's counts of references.
_NUMBERS = {"no_cfunc_wrapper": True, "fastmath": FAST | {"nnan"}, "error_model": "numpy", "_nrt": False}
kernel_of_numbers = numba.njit(nogil=True, cache=True, **_NUMBERS)
part_of_numbers = numba.njit(no_cpython_wrapper=True, **_NUMBERS)
once_of_numbers = numba.njit(inline="always", **_NUMBERS)

_threads: int | None = None
_pool: ThreadPoolExecutor | None = None
_lock = threading.Lock()


def _before_fork() -> None:
    # Nobody may be compiling or making a pool just now, or the child would wait for them for ever.
    global_compiler_lock.acquire()
    _lock.acquire()


def _after_fork() -> None:
    _lock.release()
    global_compiler_lock.release()


def _after_fork_in_child() -> None:
    # The pool's threads exist only in the parent.
    global _pool  # noqa: PLW0603
    _pool = None
    _after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork_in_child)


def set_num_threads(threads: int | None) -> None:
    """Set on how many threads kernels run, in this process.

    Parameters
    ----------
    threads : int or None
        At least 1; None is what NUMBA_NUM_THREADS says, and without that variable the number of cores that
        the process may use.

    Raises
    ------
    ValueError
        If `threads` is below 1.

    Notes
    -----
    Results do not depend on it. All Python threads that call infoplane share these threads. It does not rule
    those of NumPy's linear algebra: see threadpoolctl, or OPENBLAS_NUM_THREADS.

    Examples
    --------
    >>> import infoplane
    >>> infoplane.set_num_threads(2)
    >>> infoplane.get_num_threads()
    2
    >>> infoplane.set_num_threads(None)
    """
    global _threads, _pool
    if threads is not None and (not isinstance(threads, int | np.integer) or threads < 1):
        raise ValueError(f"`threads` must be an integer of at least 1 or None, got {threads!r}")
    with _lock:
        # A pool of another size is left to those who still wait for it; its threads end with its last task.
        _threads, _pool = None if threads is None else int(threads), None


def get_num_threads() -> int:
    """Number of threads on which kernels run.

    Examples
    --------
    >>> import infoplane
    >>> infoplane.get_num_threads() >= 1
    True
    """
    return _threads or int(numba.config.NUMBA_NUM_THREADS)


def over_rows(function: Callable[..., None], rows: int, *arguments: Any, grain: int = _ROWS) -> None:
    """Run `function(start, stop, *arguments)` over fixed ranges that cover `rows`, on all threads.

    Parameters
    ----------
    function : callable
        A kernel that writes only to the rows it is given.
    rows : int
        Number of rows.
    *arguments : object
        Passed on.
    grain : int, default 64
        Rows a task; as calling a kernel costs 10 μs, their work should take a hundred times that.
    """
    ranges = [(start, min(start + grain, rows)) for start in range(0, rows, grain)]
    with stage(function.__name__.strip("_").replace("_", " "), len(ranges)) as advance:
        if get_num_threads() == 1 or len(ranges) == 1:
            for start, stop in ranges:
                function(start, stop, *arguments)
                advance(1)
            return
        tasks = [_shared_pool().submit(function, start, stop, *arguments) for start, stop in ranges]
        try:
            for task in tasks:
                task.result()
                advance(1)
        except BaseException:
            # Ctrl-C, or a failed task: what has not begun is not wanted any more.
            for task in tasks:
                task.cancel()
            raise


def _shared_pool() -> ThreadPoolExecutor:
    global _pool  # noqa: PLW0603
    with _lock:
        if _pool is None:
            _pool = ThreadPoolExecutor(get_num_threads(), thread_name_prefix="infoplane")
        return _pool
