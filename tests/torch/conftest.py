"""Fixtures that several tests of training share."""

import dataclasses

import pytest
import torch

from infoplane_torch.data import ImageData, load


@pytest.fixture
def one_thread():
    """Results of a run are the same bits only with the same number of threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def digits() -> ImageData:
    digits = load("digits")
    return dataclasses.replace(digits, train=digits.train[:150], valid=digits.valid[:50])
