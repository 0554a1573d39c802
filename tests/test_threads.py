"""Public calls from many threads, with forks and processes in between: no crash, and the same numbers."""

import multiprocessing
import os
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

import infoplane
from infoplane.kernels.linear_algebra import on_one_blas_thread
from infoplane.lazy import lazy

RNG = np.random.default_rng(0)
LINE, PLANE, SPACE = RNG.standard_normal(2000), RNG.standard_normal((700, 2)), RNG.standard_normal((400, 10))
CALLS = {
    "entropy of a line": lambda: infoplane.entropy(LINE),
    "entropy by neighbours": lambda: infoplane.entropy(PLANE, method="knn"),
    "entropy by brute force": lambda: infoplane.entropy(SPACE, method="weighted-knn"),
    "entropy by kernels": lambda: infoplane.entropy(PLANE, method="kde"),
    "tr J of a line": lambda: infoplane.fisher_trace(LINE),
    "tr J by kernels": lambda: infoplane.fisher_trace(PLANE, method="kde"),
    "mutual information": lambda: infoplane.mutual_information(PLANE[:, 0], PLANE[:, 1], method="ksg"),
    "other threads": lambda: infoplane.set_num_threads(int(RNG.integers(1, 5))) or 0.0,
}


def number(name):
    return float(CALLS[name]())


def forked(expected):
    """Whether a forked child finds the same number, within a minute."""
    child = os.fork()
    if child == 0:
        same = False
        try:
            same = number("tr J by kernels") == expected
        finally:
            os._exit(0 if same else 1)
    for _ in range(600):
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status) == 0
        time.sleep(0.1)
    os.kill(child, 9)
    os.waitpid(child, 0)
    return False


def stress(seconds):
    expected = {name: number(name) for name in CALLS}
    end, failures, counts = time.monotonic() + seconds, [], dict.fromkeys(CALLS, 0)

    def work(seed):
        names = np.random.default_rng(seed).permutation(list(CALLS))
        while time.monotonic() < end:
            for name in names:
                if number(name) != expected[name]:
                    failures.append(name)
                counts[name] += 1

    with ThreadPoolExecutor(8) as threads:
        tasks = [threads.submit(work, seed) for seed in range(8)]
        if hasattr(os, "fork"):
            while time.monotonic() < end:
                assert forked(expected["tr J by kernels"])
                time.sleep(seconds / 10)
        with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as processes:
            found = list(processes.map(number, expected))
        for task in tasks:
            task.result()
    # Code compiled in this process and code loaded from the cache are inlined differently: a rounding apart.
    assert found == pytest.approx(list(expected.values()), rel=1e-13, abs=0)
    assert not failures
    assert min(counts.values()) > 0
    assert threading.active_count() < 40


@pytest.fixture(autouse=True)
def own_number_of_threads():
    yield
    infoplane.set_num_threads(None)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_many_threads_forks_and_processes_get_the_same_numbers():
    stress(2.0)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_many_threads_forks_and_processes_get_the_same_numbers_for_a_minute():
    stress(60.0)


def blas_threads():
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


def test_linear_algebra_keeps_to_one_thread_until_the_outermost_call_ends():
    seen = []

    @on_one_blas_thread
    def work(nested):
        seen.append(blas_threads())
        if nested:
            work(nested - 1)
            seen.append(blas_threads())

    with threadpool_limits(limits=2, user_api="blas"):
        before = blas_threads()
        work(2)
        assert seen == [{1}] * 5
        assert blas_threads() == before


def test_a_lazy_attribute_is_computed_once_and_waits_for_no_other_instance():
    started, go = threading.Event(), threading.Event()

    class Thing:
        calls = 0

        @lazy
        def value(self):
            self.calls += 1
            if self.slow:
                started.set()
                assert go.wait(10)
            return self.calls

    slow, quick = Thing(), Thing()
    slow.slow, quick.slow = True, False
    thread = threading.Thread(target=lambda: slow.value)
    thread.start()
    assert started.wait(10)
    assert quick.value == quick.value == 1
    go.set()
    thread.join()
    assert slow.value == 1
