"""Bars of long calls: there when asked for, and without a trace in the numbers."""

import functools
import sys

import numpy as np
import pytest
import tqdm.auto

import infoplane
from infoplane import Blocks, progress
from infoplane.progress import shown, stage

X = np.random.default_rng(0).standard_normal((400, 2))
CALLS = {
    "estimators of entropy: 100%": lambda **options: infoplane.entropy(X, **options),
    "folds of score models: 100%": lambda **options: infoplane.fisher_trace(X, **options),
    "log sums: 100%": lambda **options: infoplane.entropy_power(X, method="kde", **options),
    "moments: 100%": lambda **options: infoplane.fisher_information(X, method="kde", **options).sum(),
    "pairs of folds: 100%": lambda **options: infoplane.fisher_trace(X, method="bound", **options),
    "blocks: 100%": lambda **options: infoplane.entropy(X, method=Blocks(2, method="knn"), **options),
    "windows of x: 100%": lambda **options: infoplane.windows(X[:, 0], 100, **options)[3].product,
    "query tree: 100%": lambda **options: infoplane.mutual_information(X[:, 0], X[:, 1], **options),
}


@pytest.fixture
def at_once(monkeypatch):
    """Bars of short stages too, drawn at each step."""
    monkeypatch.setattr(progress, "_DELAY", 0)
    monkeypatch.setattr(tqdm.auto, "tqdm", functools.partial(tqdm.auto.tqdm, mininterval=0))


@pytest.mark.parametrize("text", CALLS)
def test_stages_are_shown_when_asked_for_and_change_no_number(text, at_once, capfd):
    silent = CALLS[text]()
    assert capfd.readouterr() == ("", "")
    assert CALLS[text](progress=True) == silent
    assert text in capfd.readouterr().err
    CALLS[text]()
    assert capfd.readouterr() == ("", "")


def test_short_stages_show_nothing(capfd):
    infoplane.entropy(X, progress=True)
    assert capfd.readouterr() == ("", "")


def test_an_outer_call_that_shows_is_heard_by_those_within(at_once, capfd):
    with shown(True), shown(False), stage("inner", 2) as advance:
        advance(2)
    assert "inner: 100%" in capfd.readouterr().err


def test_progress_ends_with_the_call_even_if_that_fails(at_once, capfd):
    with pytest.raises(ValueError, match="must be finite"):
        infoplane.entropy(np.full(100, np.nan), progress=True)
    infoplane.entropy(X)
    assert capfd.readouterr() == ("", "")


def test_without_tqdm_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    with pytest.raises(ImportError, match=r"pip install 'infoplane\[progress\]'"):
        infoplane.entropy(X, progress=True)
